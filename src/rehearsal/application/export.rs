//! The application's span exporter: batches, retries, and the log lines of what fails.

use crate::rehearsal::telemetry::otlp::{KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, Traces};
use crate::rehearsal::telemetry::{Network, http_url};
use http::{Method, header};
use hyper::body::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Spans that wait at most (OTEL_BSP_MAX_QUEUE_SIZE).
const QUEUE: usize = 2048;
/// Spans in one export at most (OTEL_BSP_MAX_EXPORT_BATCH_SIZE).
const BATCH: usize = 512;
/// Milliseconds between two exports (OTEL_BSP_SCHEDULE_DELAY).
const DELAY: u64 = 5_000;
/// Attempts for one batch.
const ATTEMPTS: u32 = 5;

/// Where spans go, by the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// POST to a URL. Whether as JSON or as protobuf is not rehearsed: the rehearsal carries JSON.
    Http(String),
    /// gRPC to a URL.
    Grpc(String),
    /// The environment asks for a protocol that does not exist.
    Unknown(String),
}

/// The target that an environment names; `None`: the application is not told to export.
pub(super) fn target(env: &BTreeMap<String, String>) -> Option<Target> {
    let get = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || get("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    if off {
        return None;
    }
    let own = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = own.or(get("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
    let protocol = get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or(get("OTEL_EXPORTER_OTLP_PROTOCOL"));
    Some(match protocol.unwrap_or("http/protobuf") {
        "http/protobuf" | "http/json" if own.is_some() => Target::Http(base.to_owned()),
        "http/protobuf" | "http/json" => Target::Http(format!("{}/v1/traces", base.trim_end_matches('/'))),
        "grpc" => Target::Grpc(base.to_owned()),
        other => Target::Unknown(other.to_owned()),
    })
}

#[derive(Clone, Debug)]
pub(super) struct Exporter {
    queue: Vec<Span>,
    dropped: usize,
    next_ms: u64,
    attempts: u32,
}

/// What came of one attempt.
enum Outcome {
    Taken,
    Again(String),
    Never(String),
}

impl Exporter {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { queue: Vec::new(), dropped: 0, next_ms: now_ms + DELAY, attempts: 0 }
    }

    pub(super) fn take(&mut self, spans: Vec<Span>) {
        for span in spans {
            if self.queue.len() < QUEUE {
                self.queue.push(span);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Exports if it is time to, and returns what an operator would read in the log.
    pub(super) fn advance(
        &mut self,
        env: &BTreeMap<String, String>,
        now_ms: u64,
        network: &dyn Network,
    ) -> Vec<String> {
        let Some(target) = target(env) else {
            self.queue.clear();
            return Vec::new();
        };
        if now_ms < self.next_ms || self.queue.is_empty() {
            return Vec::new();
        }
        self.next_ms = now_ms + DELAY;
        let service =
            env.get("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()).map_or("tripit", String::as_str);
        let count = self.queue.len().min(BATCH);
        let traces = traces(service, self.queue.iter().take(count).cloned().collect());
        let mut troubles = Vec::new();
        if self.dropped > 0 {
            troubles.push(format!(
                "dropped {} spans: the export queue is full",
                std::mem::take(&mut self.dropped)
            ));
        }
        self.attempts += 1;
        let done = match send(&target, traces, network) {
            Outcome::Taken => true,
            Outcome::Again(why) if self.attempts < ATTEMPTS => {
                troubles.push(format!("failed to export {count} spans, trying again: {why}"));
                false
            }
            Outcome::Again(why) | Outcome::Never(why) => {
                troubles.push(format!("failed to export {count} spans, giving up: {why}"));
                true
            }
        };
        if done {
            self.queue.drain(..count);
            self.attempts = 0;
        }
        troubles
    }
}

fn traces(service: &str, spans: Vec<Span>) -> Traces {
    let resource = Resource { attributes: vec![KeyValue::text("service.name", service)] };
    let scope = Scope { name: "tripit".to_owned(), ..Scope::default() };
    Traces {
        resource_spans: vec![ResourceSpans { resource, scope_spans: vec![ScopeSpans { scope, spans }] }],
    }
}

fn send(target: &Target, traces: Traces, network: &dyn Network) -> Outcome {
    let (Target::Http(url) | Target::Grpc(url)) = target else {
        let Target::Unknown(protocol) = target else { return Outcome::Taken };
        return Outcome::Never(format!("unsupported OTLP protocol {protocol}"));
    };
    let (host, port, path) = match http_url(url) {
        Ok(parts) => parts,
        Err(why) => return Outcome::Never(why.to_string()),
    };
    let (service, port) = match network.reach(host, port) {
        Ok(found) => found,
        Err(why) => return Outcome::Again(format!("{url}: {why}")),
    };
    if matches!(target, Target::Grpc(_)) {
        return match service.export(port, &Arc::new(traces)) {
            Ok(()) => Outcome::Taken,
            Err(refusal) if refusal.retryable => Outcome::Again(refusal.to_string()),
            Err(refusal) => Outcome::Never(refusal.to_string()),
        };
    }
    let body = Bytes::from(traces.to_otlp().to_string());
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::HOST, host)
        .body(body);
    let request = match request {
        Ok(request) => request,
        Err(why) => return Outcome::Never(format!("{url}: {why}")),
    };
    let answer = service.handle(port, &request);
    let said = String::from_utf8_lossy(answer.body());
    let said = format!("POST {url}: {} {}", answer.status(), said.trim());
    match answer.status().as_u16() {
        200..=299 => Outcome::Taken,
        429 | 502..=504 => Outcome::Again(said),
        _ => Outcome::Never(said),
    }
}
