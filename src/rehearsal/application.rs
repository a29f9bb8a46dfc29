//! The application of the rehearsal: tripit, which serves two requests a second, logs them, and traces them as its
//! environment says.
//!
//! It is instrumented with OpenTelemetry already. Its SDK follows the specification: the general endpoint is a base to
//! which `v1/traces` is added, the one for traces is taken as it is, and spans leave in batches (specification
//! protocol/exporter.md; sdk-environment-variables.md, batch span processor). Without an endpoint it exports nothing.

mod agent;
mod export;

pub use agent::LogAgent;

use crate::rehearsal::telemetry::Network;
use crate::rehearsal::telemetry::otlp::{AnyValue, KeyValue, Span, Status, hex};
use export::Exporter;
use serde_json::json;
use std::collections::BTreeMap;

/// Milliseconds between two requests.
const PACE: u64 = 500;

/// Requests that are made up for after a gap; what lies further back was served while nobody looked.
const CAUGHT_UP: u64 = 120;

/// A line that the application wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Without a line end.
    pub text: String,
}

/// One running pod of the application.
#[derive(Clone, Debug)]
pub struct Tripit {
    ids: Ids,
    next_ms: u64,
    exporter: Exporter,
}

impl Tripit {
    /// Starts it at a time in milliseconds since the Unix epoch; the seed decides the ids of its traces.
    pub fn new(seed: u64, now_ms: u64) -> Self {
        Self { ids: Ids(seed), next_ms: now_ms, exporter: Exporter::new(now_ms) }
    }

    /// When it has something to do next, in milliseconds since the Unix epoch.
    pub fn due_ms(&self) -> u64 {
        self.next_ms
    }

    /// Serves every request that is due by now, exports what is due, and returns the lines that it logged meanwhile.
    pub fn tick(
        &mut self,
        env: &BTreeMap<String, String>,
        now_ms: u64,
        network: &dyn Network,
    ) -> Vec<LogLine> {
        let oldest = now_ms.saturating_sub(PACE * CAUGHT_UP);
        if self.next_ms < oldest {
            self.next_ms += (oldest - self.next_ms).div_ceil(PACE) * PACE;
        }
        let structured = env.get("LOG_FORMAT").is_some_and(|format| format == "json");
        let mut lines = Vec::new();
        let mut log = |at_ms: u64, level: &str, message: &str, ids: Option<(&[u8], &[u8])>| {
            let text = match (structured, ids) {
                (true, Some((trace, span))) => {
                    json!({ "level": level, "msg": message, "trace_id": hex(trace), "span_id": hex(span) })
                        .to_string()
                }
                (true, None) => json!({ "level": level, "msg": message }).to_string(),
                (false, _) => format!("{} {message}", level.to_uppercase()),
            };
            lines.push(LogLine { at_ns: at_ms * 1_000_000, text });
        };
        while self.next_ms <= now_ms {
            let spans = self.request(self.next_ms * 1_000_000);
            if let Some(root) = spans.first() {
                log(self.next_ms, "info", "GET /trips 200", Some((&root.trace_id, &root.span_id)));
            }
            self.exporter.take(spans);
            for trouble in self.exporter.advance(env, self.next_ms, network) {
                log(self.next_ms, "error", &trouble, None);
            }
            self.next_ms += PACE;
        }
        lines
    }

    /// One request as three spans, its root first.
    fn request(&mut self, at_ns: u64) -> Vec<Span> {
        let trace = self.ids.bytes::<16>();
        let (root, query, view) = (self.ids.bytes::<8>(), self.ids.bytes::<8>(), self.ids.bytes::<8>());
        let span = |name: &str, kind: i32, id: &[u8], parent: &[u8], from_ms: u64, to_ms: u64| Span {
            trace_id: trace.clone(),
            span_id: id.to_vec(),
            parent_span_id: parent.to_vec(),
            name: name.to_owned(),
            kind,
            start_time_unix_nano: at_ns + from_ms * 1_000_000,
            end_time_unix_nano: at_ns + to_ms * 1_000_000,
            attributes: vec![KeyValue::text("http.route", "/trips")],
            status: Status::default(),
            ..Span::default()
        };
        let mut spans = vec![
            span("GET /trips", 2, &root, &[], 0, 30),
            span("SELECT trips", 3, &query, &root, 5, 20),
            span("render trips", 1, &view, &root, 20, 28),
        ];
        if let Some(root) = spans.first_mut() {
            let status = KeyValue { key: "http.response.status_code".to_owned(), value: AnyValue::Int(200) };
            root.attributes.push(status);
        }
        spans
    }
}

/// Ids from a seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// N bytes that are not all zero.
    fn bytes<const N: usize>(&mut self) -> Vec<u8> {
        loop {
            let bytes: Vec<u8> =
                std::iter::from_fn(|| Some(self.next().to_be_bytes())).flatten().take(N).collect();
            if bytes.iter().any(|byte| *byte != 0) {
                return bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;
