//! A Tempo 2.x: single binary, filesystem storage.
//!
//! A trace is read by its id at once. Search sees it when it was cut to the head block: at the first flush check at which
//! nothing had arrived for the idle period, or it had lived for the live period (grafana/tempo modules/ingester). With
//! the defaults that is 5 to 15 seconds after the last span. Texts were seen on the real 2.8.

mod config;
mod search;
mod traceql;

pub(super) use traceql::quoted;

use super::form::{Form, decoded};
use super::otlp::{AnyValue, KeyValue, ResourceSpans, Span, Traces};
use super::{
    Refusal, Request, Response, Service, StartError, Unrehearsed, duration, json, page_not_found, respond,
    text, unrehearsed,
};
use crate::port::Clock;
use config::Config;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use traceql::Query;

/// Milliseconds after the start until it is ready.
const UNREADY: u64 = 15_000;

/// Longer attribute values are cut before they are stored (`distributor.max_attribute_bytes`), in bytes.
const ATTRIBUTE_BYTES: usize = 2_048;

/// What Tempo keeps on its volume; it outlives the pod where the volume does.
#[derive(Clone, Default)]
pub struct Volume(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    traces: BTreeMap<[u8; 16], Stored>,
    received_spans: usize,
    received_bytes: usize,
}

/// One trace.
#[derive(Default)]
struct Stored {
    /// What search sees.
    cut: Vec<ResourceSpans>,
    /// What is still in memory.
    live: Vec<ResourceSpans>,
    /// When the first and the last of the live spans arrived, in milliseconds since the Unix epoch.
    arrived: (u64, u64),
    last_ms: u64,
}

impl Stored {
    fn parts(&self) -> impl Iterator<Item = &ResourceSpans> {
        self.cut.iter().chain(&self.live)
    }
}

/// A running Tempo.
pub struct Tempo {
    config: Config,
    clock: Arc<dyn Clock>,
    started_ms: u64,
    volume: Volume,
}

impl Tempo {
    /// Starts one with the text of its configuration file.
    ///
    /// # Errors
    /// What the real program says before it ends.
    pub fn start(config: &str, clock: Arc<dyn Clock>, volume: &Volume) -> Result<Self, StartError> {
        let config = Config::read(config)?;
        let started_ms = clock.wall();
        Ok(Self { config, clock, started_ms, volume: volume.clone() })
    }

    /// What the configuration asks for and the rehearsal does not play.
    pub fn unrehearsed(&self) -> &[Unrehearsed] {
        &self.config.unrehearsed
    }

    /// How long traces are kept, in milliseconds.
    pub fn retention_ms(&self) -> u64 {
        self.config.retention
    }

    /// Takes spans as the distributor does: all of a request or nothing.
    ///
    /// # Errors
    /// A span without the id of a trace.
    pub fn receive(&self, traces: &Traces) -> Result<(), Refusal> {
        if let Some(bad) = traces.spans().find(|span| span.trace_id.len() != 16) {
            let bits = bad.trace_id.len() * 8;
            return Err(Refusal::invalid(format!("trace ids must be 128 bit, received {bits} bits")));
        }
        let now = self.clock.wall();
        let mut kept = self.kept(now);
        for part in &traces.resource_spans {
            for scope in &part.scope_spans {
                for span in &scope.spans {
                    let Ok(id) = <[u8; 16]>::try_from(span.trace_id.as_slice()) else { continue };
                    let stored = kept.traces.entry(id).or_default();
                    if stored.live.is_empty() {
                        stored.arrived.0 = now;
                    }
                    stored.arrived.1 = now;
                    stored.last_ms = now;
                    place(&mut stored.live, part, &scope.scope, shortened(span.clone()));
                    kept.received_spans += 1;
                    // What a span takes on the wire, roughly; the real figure is that of protobuf.
                    kept.received_bytes += 64 + span.name.len();
                }
            }
        }
        Ok(())
    }

    /// When a trace whose live spans arrived then is cut: the first flush check after it was idle or lived too long.
    fn cut_ms(&self, arrived: (u64, u64)) -> u64 {
        let due = (arrived.1 + self.config.idle).min(arrived.0 + self.config.live);
        let since = due.saturating_sub(self.started_ms);
        self.started_ms + since.div_ceil(self.config.check).max(1) * self.config.check
    }

    /// The store, after everything that was due by now.
    fn kept(&self, now: u64) -> MutexGuard<'_, Kept> {
        let mut kept = self.volume.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.traces.retain(|_, stored| stored.last_ms + self.config.retention > now);
        for stored in kept.traces.values_mut().filter(|stored| !stored.live.is_empty()) {
            if self.cut_ms(stored.arrived) <= now {
                let live = std::mem::take(&mut stored.live);
                stored.cut.extend(live);
            }
        }
        kept
    }

    fn by_id(&self, id: &str, second: bool) -> Response {
        let id = match trace_id(&decoded(id)) {
            Ok(id) => id,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        let kept = self.kept(self.clock.wall());
        let parts = kept.traces.get(&id).map(|stored| stored.parts().cloned().collect::<Vec<_>>());
        match (parts, second) {
            (Some(resource_spans), second) => {
                let rendered = Traces { resource_spans }.to_tempo();
                let body = if second {
                    json!({ "trace": { "resourceSpans": rendered }, "metrics": {} })
                } else {
                    json!({ "batches": rendered })
                };
                json(StatusCode::OK, &body)
            }
            // The second version has no 404: an empty trace says nothing.
            (None, true) => json(StatusCode::OK, &json!({ "trace": {}, "metrics": {} })),
            (None, false) => respond(StatusCode::NOT_FOUND, "", ""),
        }
    }

    fn search(&self, form: &Form<'_>) -> Response {
        let refused = |why: String| text(StatusCode::BAD_REQUEST, why);
        for name in ["tags", "minDuration", "maxDuration"] {
            if form.get(name).is_some_and(|value| !value.is_empty()) {
                return unrehearsed(format!("the parameter {name} of a search"));
            }
        }
        let seconds = |name: &str| match form.get(name) {
            None | Some("") => Ok(None),
            Some(value) => value
                .parse::<u64>()
                .map(Some)
                .map_err(|_| format!("invalid {name}: strconv.ParseInt: parsing {value:?}: invalid syntax")),
        };
        let counted = |name: &str, default: usize| match form.get(name) {
            None | Some("") => Ok(default),
            Some(value) => match value.parse::<usize>() {
                Ok(count) if count > 0 => Ok(count),
                Ok(_) => Err(format!("invalid {name}: must be a positive number")),
                Err(_) => Err(format!("invalid {name}: strconv.Atoi: parsing {value:?}: invalid syntax")),
            },
        };
        let read = || -> Result<search::Question, String> {
            let (start, end) = (seconds("start")?, seconds("end")?);
            let (limit, spans) = (counted("limit", 20)?, counted("spss", 3)?);
            if start.is_some() || end.is_some() {
                let (start, end) = (start.unwrap_or(0), end.unwrap_or(0));
                if start >= end {
                    return Err(format!(
                        "http parameter start must be before end. received start={start} end={end}"
                    ));
                }
                if (end - start).saturating_mul(1_000) > self.config.search_range {
                    let range =
                        i64::try_from(self.config.search_range).unwrap_or(i64::MAX).saturating_mul(1_000_000);
                    return Err(format!(
                        "range specified by start and end exceeds {}. received start={start} end={end}",
                        duration::shown(range)
                    ));
                }
            }
            let q = form.get("q").unwrap_or_default();
            let query = if q.is_empty() { None } else { Some(Query::read(q)?) };
            Ok(search::Question { query, start, end, limit, spans })
        };
        match read() {
            Ok(question) => {
                let kept = self.kept(self.clock.wall());
                let found = search::search(
                    &question,
                    kept.traces.iter().map(|(id, stored)| (id, stored.cut.as_slice())),
                );
                json(StatusCode::OK, &found)
            }
            Err(why) => refused(why),
        }
    }

    fn tags(&self, form: &Form<'_>, path: &str) -> Response {
        if form.get("q").is_some_and(|query| !matches!(query.trim(), "" | "{}" | "{ }")) {
            return unrehearsed("a search for tags with a query");
        }
        let kept = self.kept(self.clock.wall());
        let parts: Vec<&ResourceSpans> = kept.traces.values().flat_map(|stored| &stored.cut).collect();
        match path {
            "/api/v2/search/tags" => {
                search::tags(&parts, form.get("scope").filter(|scope| !scope.is_empty()))
            }
            "/api/search/tags" => search::tag_names(&parts),
            _ => {
                let (second, rest) = match path.strip_prefix("/api/v2/search/tag/") {
                    Some(rest) => (true, rest),
                    None => (false, path.strip_prefix("/api/search/tag/").unwrap_or_default()),
                };
                match rest.strip_suffix("/values") {
                    Some(tag) => search::tag_values(&parts, &decoded(tag), second),
                    None => page_not_found(),
                }
            }
        }
    }

    fn ready(&self) -> Response {
        if self.clock.wall().saturating_sub(self.started_ms) < UNREADY {
            let why = "Ingester not ready: ingester check ready failed: waiting for 15s after being ready\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        text(StatusCode::OK, "ready\n")
    }

    /// The effective configuration, as far as it is played.
    fn status_config(&self) -> String {
        let time = |ms: u64| duration::shown(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        let config = &self.config;
        format!(
            "GET /status/config\n---\n# Shortened by the rehearsal to what it plays.\ntarget: all\nserver:\n    http_listen_port: {}\nquery_frontend:\n    search:\n        max_duration: {}\ncompactor:\n    compaction:\n        block_retention: {}\ningester:\n    trace_idle_period: {}\n    trace_live_period: {}\n    flush_check_period: {}\nstorage:\n    trace:\n        backend: local\n",
            config.http_port,
            time(config.search_range),
            time(config.retention),
            time(config.idle),
            time(config.live),
            time(config.check),
        )
    }

    fn metrics(&self) -> String {
        let kept = self.kept(self.clock.wall());
        let tenant = "{tenant=\"single-tenant\"}";
        if kept.received_spans == 0 {
            // A counter appears with its first event.
            return String::new();
        }
        format!(
            "tempo_distributor_bytes_received_total{tenant} {}\ntempo_distributor_spans_received_total{tenant} {}\ntempo_ingester_traces_created_total{tenant} {}\ntempo_receiver_accepted_spans{{receiver=\"otlp/otlp_receiver\",transport=\"grpc\"}} {}\n",
            kept.received_bytes,
            kept.received_spans,
            kept.traces.len(),
            kept.received_spans,
        )
    }

    fn otlp(&self, request: &Request) -> Response {
        if request.uri().path() != "/v1/traces" {
            return page_not_found();
        }
        let is_json =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(
                |value| value.split(';').next().unwrap_or_default().trim() == "application/json",
            );
        if request.method() != Method::POST || !is_json {
            return unrehearsed("OTLP other than a POST of application/json");
        }
        let refused = |why: String| json(StatusCode::BAD_REQUEST, &json!({ "code": 3, "message": why }));
        match Traces::read(request.body()) {
            Err(why) => refused(why),
            Ok(traces) => match self.receive(&traces) {
                Ok(()) => json(StatusCode::OK, &json!({ "partialSuccess": {} })),
                Err(refusal) => {
                    let said = refusal.message.as_str();
                    refused(said.rsplit_once("desc = ").map_or(said, |(_, desc)| desc).to_owned())
                }
            },
        }
    }
}

/// Puts a span into the part of its resource and scope, or into a new one.
fn place(parts: &mut Vec<ResourceSpans>, of: &ResourceSpans, scope: &super::otlp::Scope, span: Span) {
    let new = |spans| super::otlp::ScopeSpans { scope: scope.clone(), spans };
    match parts.iter_mut().find(|part| part.resource == of.resource) {
        Some(part) => match part.scope_spans.iter_mut().find(|one| one.scope == *scope) {
            Some(one) => one.spans.push(span),
            None => part.scope_spans.push(new(vec![span])),
        },
        None => {
            parts.push(ResourceSpans { resource: of.resource.clone(), scope_spans: vec![new(vec![span])] })
        }
    }
}

fn shortened(mut span: Span) -> Span {
    let shorten = |attributes: &mut Vec<KeyValue>| {
        for pair in attributes {
            if let AnyValue::Text(text) = &mut pair.value
                && text.len() > ATTRIBUTE_BYTES
            {
                // Go cuts between bytes; here the last character stays whole.
                let end = (0..=ATTRIBUTE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                text.truncate(end);
            }
        }
    };
    shorten(&mut span.attributes);
    span.events.iter_mut().for_each(|event| shorten(&mut event.attributes));
    span.links.iter_mut().for_each(|link| shorten(&mut link.attributes));
    span
}

/// An id as Tempo reads it: hexadecimal digits, short ones are padded (pkg/util/traceid.go).
fn trace_id(text: &str) -> Result<[u8; 16], String> {
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !c.is_ascii_hexdigit()) {
        return Err(format!(
            "trace IDs can only contain hex characters: invalid character '{c}' at position {}",
            at + 1
        ));
    }
    if text.len() > 32 {
        return Err("trace IDs can't be larger than 128 bits".to_owned());
    }
    Ok(u128::from_str_radix(text, 16).unwrap_or(0).to_be_bytes())
}

impl Service for Tempo {
    fn ports(&self) -> Vec<u16> {
        let config = &self.config;
        let otlp = [config.otlp_grpc, config.otlp_http].into_iter().flatten().map(|(port, _)| port);
        [config.http_port].into_iter().chain(otlp).collect()
    }

    fn listens_outside(&self, port: u16) -> bool {
        let config = &self.config;
        let mut otlp = [config.otlp_grpc, config.otlp_http].into_iter().flatten();
        port == config.http_port || otlp.any(|one| one == (port, false))
    }

    fn handle(&self, port: u16, request: &Request) -> Response {
        if self.config.otlp_http.is_some_and(|(one, _)| one == port) {
            return self.otlp(request);
        }
        if port != self.config.http_port {
            return page_not_found();
        }
        let form = Form::read(request.uri().query().unwrap_or_default());
        let path = request.uri().path();
        let protobuf =
            request.headers().get(header::ACCEPT).is_some_and(|accept| accept == "application/protobuf");
        match path {
            "/ready" => self.ready(),
            "/api/echo" => text(StatusCode::OK, "echo\n"),
            "/api/status/buildinfo" => json(StatusCode::OK, &build_info()),
            "/status/config" if form.get("mode").is_none() => text(StatusCode::OK, self.status_config()),
            "/status/config" => unrehearsed("a mode of /status/config"),
            "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            _ if protobuf => unrehearsed("an answer in protobuf"),
            "/api/search" => self.search(&form),
            _ if path.starts_with("/api/search/tag") || path.starts_with("/api/v2/search/tag") => {
                self.tags(&form, path)
            }
            _ => match (path.strip_prefix("/api/v2/traces/"), path.strip_prefix("/api/traces/")) {
                (Some(id), _) => self.by_id(id, true),
                (_, Some(id)) => self.by_id(id, false),
                _ => page_not_found(),
            },
        }
    }

    fn export(&self, port: u16, traces: &Arc<Traces>) -> Result<(), Refusal> {
        match self.config.otlp_grpc {
            Some((grpc, _)) if grpc == port => self.receive(traces),
            _ => Err(Refusal::unavailable("error reading server preface: http2: frame too large")),
        }
    }
}

/// As of the release that the shipped plan names.
fn build_info() -> Value {
    json!({ "version": "2.8.2", "revision": "", "branch": "HEAD", "buildUser": "", "buildDate": "", "goVersion": "" })
}

#[cfg(test)]
mod tests;
