//! An OpenTelemetry Collector: the configuration that a rollout wrote, played.
//!
//! Behaviour and texts are those of v0.145.0 (contrib), seen on the real program. What arrives is masked at once and
//! leaves after the batch's timeout; what the next program does not take is tried again for five minutes, as the
//! exporter's defaults are (opentelemetry-collector config/configretry/backoff.go, without its jitter).

mod config;
mod expand;
mod metrics;
mod redaction;
mod section;
mod transform;

use super::otlp::Traces;
use super::{
    Network, Refusal, Request, Response, Service, StartError, Unrehearsed, duration, json, page_not_found,
    respond,
};
use crate::port::Clock;
use config::{Config, Exporter, Step};
use http::{HeaderMap, Method, StatusCode, header};
use metrics::Counters;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Milliseconds until the first retry, and the longest between two (`initial_interval`, `max_interval`).
const RETRY: (u64, u64) = (5_000, 30_000);
/// Milliseconds after which a batch is given up (`max_elapsed_time`).
const GIVEN_UP: u64 = 300_000;
/// Batches that wait for one exporter at most (`sending_queue::queue_size`).
const QUEUE: usize = 1_000;

/// A running Collector.
pub struct Collector {
    config: Config,
    clock: Arc<dyn Clock>,
    network: Arc<dyn Network>,
    started_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    refuses: bool,
    waiting: Vec<Batch>,
    counters: Counters,
    /// Lines of its log, oldest first, until they are taken.
    log: Vec<String>,
}

/// Spans on their way to one exporter.
struct Batch {
    exporter: Exporter,
    traces: Arc<Traces>,
    due_ms: u64,
    /// When the first attempt was, and how long the next retry waits.
    tried: Option<(u64, u64)>,
}

/// Log lines that are kept until someone takes them.
const LOG: usize = 1_000;

impl Collector {
    /// Starts one with the text of its configuration file and its environment.
    ///
    /// # Errors
    /// What the real program says before it ends.
    pub fn start(
        config: &str,
        env: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
        network: Arc<dyn Network>,
    ) -> Result<Self, StartError> {
        let config = Config::read(config, env)?;
        let started_ms = clock.wall();
        Ok(Self { config, clock, network, started_ms, state: Mutex::default() })
    }

    /// What the configuration asks for and the rehearsal does not play.
    pub fn unrehearsed(&self) -> &[Unrehearsed] {
        &self.config.unrehearsed
    }

    /// Lets a memory limiter in its pipeline refuse what arrives, as it does under a burst, or ends that.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// The log lines since the last call.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes spans into every pipeline.
    fn receive(&self, traces: &Traces, transport: &'static str) -> Result<(), Refusal> {
        let spans = traces.span_count();
        let limited = self
            .config
            .pipelines
            .iter()
            .any(|one| one.steps.iter().any(|step| matches!(step, Step::MemoryLimiter)));
        if limited && self.state().refuses {
            self.state().counters.refused(transport, spans);
            return Err(Refusal::unavailable("data refused due to high memory usage"));
        }
        let now = self.clock.wall();
        for pipeline in &self.config.pipelines {
            let mut traces = traces.clone();
            let mut wait = 0;
            for step in &pipeline.steps {
                match step {
                    Step::MemoryLimiter => {}
                    Step::Redaction(redaction) => redaction.apply(&mut traces),
                    Step::Transform(transform) => transform.apply(&mut traces),
                    Step::Batch(timeout) => wait += timeout,
                }
            }
            let mut state = self.state();
            let state = &mut *state;
            for exporter in pipeline.exporters.iter().filter(|_| spans > 0) {
                let mut queue = state.waiting.iter_mut().filter(|batch| batch.exporter.id == exporter.id);
                // What arrives while a batch waits for more joins it.
                if wait > 0
                    && let Some(batch) = queue.find(|batch| batch.tried.is_none() && batch.due_ms > now)
                {
                    let joined = Arc::make_mut(&mut batch.traces);
                    joined.resource_spans.extend(traces.resource_spans.iter().cloned());
                    continue;
                }
                let queued = state.waiting.iter().filter(|batch| batch.exporter.id == exporter.id).count();
                if queued >= QUEUE {
                    state.counters.enqueue_failed(&exporter.id, spans);
                    continue;
                }
                state.waiting.push(Batch {
                    exporter: exporter.clone(),
                    traces: Arc::new(traces.clone()),
                    due_ms: now + wait,
                    tried: None,
                });
            }
        }
        self.state().counters.accepted(transport, spans);
        self.advance();
        Ok(())
    }

    fn send(&self, batch: &Batch) -> Result<(), Refusal> {
        let Exporter { host, port, plaintext, .. } = &batch.exporter;
        let (service, port) = self.network.reach(host, *port).map_err(Refusal::unavailable)?;
        if !plaintext {
            return Err(Refusal::unavailable(
                "connection error: desc = \"transport: authentication handshake failed: tls: first record does not look like a TLS handshake\"",
            ));
        }
        service.export(port, &batch.traces)
    }

    fn traces(&self, request: &Request) -> Response {
        if request.method() != Method::POST {
            let said = "405 method not allowed, supported: [POST]";
            return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", said);
        }
        match content_type(request.headers()) {
            "application/json" => {}
            "application/x-protobuf" => {
                let said = "415 protobuf is not rehearsed, supported by the rehearsal: [application/json]";
                return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", said);
            }
            _ => {
                let said =
                    "415 unsupported media type, supported: [application/json, application/x-protobuf]";
                return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", said);
            }
        }
        if request.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let said = "415 compressed bodies are not rehearsed";
            return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", said);
        }
        let traces = match Traces::read(request.body()) {
            Ok(traces) => traces,
            Err(why) => return json(StatusCode::BAD_REQUEST, &json!({ "code": 3, "message": why })),
        };
        match self.receive(&traces, "http") {
            Ok(()) => json(StatusCode::OK, &json!({ "partialSuccess": {} })),
            Err(_) => json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({ "code": 14, "message": "data refused due to high memory usage" }),
            ),
        }
    }

    fn health(&self) -> Response {
        let up_ns = i64::try_from(self.clock.wall().saturating_sub(self.started_ms))
            .unwrap_or(0)
            .saturating_mul(1_000_000);
        let since =
            i64::try_from(self.started_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let since = since.map(|since| since.to_string()).unwrap_or_default();
        let body =
            json!({ "status": "Server available", "upSince": since, "uptime": duration::shown(up_ns) });
        json(StatusCode::OK, &body)
    }
}

/// The media type of a body, without parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let whole = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

impl Service for Collector {
    fn ports(&self) -> Vec<u16> {
        let config = &self.config;
        [config.grpc, config.http, config.health, config.metrics]
            .into_iter()
            .flatten()
            .map(|one| one.port)
            .collect()
    }

    fn listens_outside(&self, port: u16) -> bool {
        let config = &self.config;
        let mut all = [config.grpc, config.http, config.health, config.metrics].into_iter().flatten();
        all.any(|one| one.port == port && !one.loopback)
    }

    fn handle(&self, port: u16, request: &Request) -> Response {
        self.advance();
        let at = |listener: Option<config::Listener>| listener.is_some_and(|listener| listener.port == port);
        let path = request.uri().path();
        if at(self.config.http) && path == "/v1/traces" && !self.config.pipelines.is_empty() {
            self.traces(request)
        } else if at(self.config.health) {
            self.health()
        } else if at(self.config.metrics) && path == "/metrics" {
            let state = self.state();
            let queued = |id: &str| state.waiting.iter().filter(|batch| batch.exporter.id == id).count();
            let exporters = self.config.pipelines.iter().flat_map(|one| &one.exporters);
            let queues = exporters.map(|one| (one.id.as_str(), queued(&one.id))).collect();
            respond(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                state.counters.text(&queues, QUEUE),
            )
        } else {
            page_not_found()
        }
    }

    fn export(&self, port: u16, traces: &Arc<Traces>) -> Result<(), Refusal> {
        match self.config.grpc {
            Some(grpc) if grpc.port == port => self.receive(traces, "grpc"),
            _ => Err(Refusal::unavailable("error reading server preface: http2: frame too large")),
        }
    }

    fn advance(&self) {
        let now = self.clock.wall();
        let due: Vec<Batch> = {
            let mut state = self.state();
            let (due, waiting) =
                std::mem::take(&mut state.waiting).into_iter().partition(|batch| batch.due_ms <= now);
            state.waiting = waiting;
            due
        };
        // Nothing is locked while it is sent: the next program may ask this one.
        for mut batch in due {
            let spans = batch.traces.span_count();
            let sent = self.send(&batch);
            let mut state = self.state();
            let id = batch.exporter.id.clone();
            match sent {
                Ok(()) => state.counters.sent(&id, spans),
                Err(refusal) => {
                    let (first, wait) = batch.tried.unwrap_or((now, RETRY.0));
                    let again = refusal.retryable && now + wait < first + GIVEN_UP;
                    let what = if again {
                        "Exporting failed. Will retry the request after interval."
                    } else {
                        "Exporting failed. Dropping data."
                    };
                    let line = json!({ "level": if again { "info" } else { "error" }, "msg": what, "otelcol.component.id": id, "error": refusal.message.as_str(), "spans": spans });
                    if state.log.len() < LOG {
                        state.log.push(line.to_string());
                    }
                    if again {
                        batch.due_ms = now + wait;
                        batch.tried = Some((first, (wait + wait / 2).min(RETRY.1)));
                        state.waiting.push(batch);
                    } else {
                        state.counters.send_failed(&id, spans);
                    }
                }
            }
        }
    }

    fn due_ms(&self) -> Option<u64> {
        self.state().waiting.iter().map(|batch| batch.due_ms).min()
    }
}

#[cfg(test)]
mod tests;
