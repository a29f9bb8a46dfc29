//! Tempo's answers: one trace, and a search (grafana/tempo pkg/tempopb/tempo.proto, pkg/tempopb/trace_utils.go).

use super::wire::{ResourceSpans, number, spans};
use super::{Trace, TraceId};
use crate::text::Clean;
use serde::Deserialize;
use serde_json::Value;

/// The most traces of one search that are read; Tempo itself returns 20 if not asked for more.
const FOUND_LIMIT: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceAnswer {
    /// Version 1 of the endpoint.
    batches: Option<Vec<ResourceSpans>>,
    /// OTLP itself, as versions of Tempo and other stores write it at the top.
    resource_spans: Option<Vec<ResourceSpans>>,
    /// Version 2 of the endpoint.
    trace: Option<TraceMember>,
    metrics: Option<Value>,
    status: Option<Value>,
    message: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceMember {
    #[serde(alias = "batches")]
    resource_spans: Option<Vec<ResourceSpans>>,
}

/// Reads the body of `/api/traces/{id}` or `/api/v2/traces/{id}`.
///
/// Version 2 answers 200 with an empty trace to an id that it does not have: count the spans.
///
/// # Errors
/// A fragment that says why this is not Tempo's answer, or that it holds spans of more than one trace.
pub fn parse_tempo_trace(body: &[u8]) -> Result<Trace, Clean> {
    let answer: TraceAnswer = object(body, "a trace")?;
    let known = answer.batches.is_some()
        || answer.resource_spans.is_some()
        || answer.trace.is_some()
        || answer.metrics.is_some();
    if answer.error.is_some() || !known && (answer.status.is_some() || answer.message.is_some()) {
        let words = answer.message.or_else(|| answer.error.map(|error| error.to_string()));
        return Err(Clean::new(format!("an error in place of a trace: {}", words.unwrap_or_default())));
    }
    if !known && !is_empty_object(body) {
        return Err(Clean::new("not a trace: neither batches nor trace.resourceSpans are in it"));
    }
    let inner = answer.trace.and_then(|trace| trace.resource_spans);
    let resources = [answer.batches, answer.resource_spans, inner].into_iter().flatten().flatten().collect();
    let (mut spans, passed_over) = spans(resources);
    let id = spans.first().map(|span| span.trace);
    if let Some(other) = spans.iter().find(|span| Some(span.trace) != id) {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        return Err(Clean::new(format!("spans of more than one trace: {id} and {}", other.trace)));
    }
    spans.sort_by_key(|span| (span.start_ns, span.id));
    // jsonpb leaves out the zero value, COMPLETE.
    let whole = answer
        .status
        .as_ref()
        .is_none_or(|s| matches!(s.as_str(), Some("COMPLETE" | "")) || s.as_u64() == Some(0));
    let message = answer.message.unwrap_or_default();
    let partial =
        (!whole).then(|| Clean::new(if message.is_empty() { "the trace is not complete" } else { &message }));
    Ok(Trace { id, spans, passed_over, partial })
}

/// One trace that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub trace: TraceId,
    /// Service of its root span; Tempo writes `<root span not yet received>` while it has none.
    pub root_service: Clean,
    /// Name of its root span.
    pub root_name: Clean,
    /// Its start, in nanoseconds since the epoch; 0 if not said.
    pub start_ns: u64,
    /// Its length in milliseconds, cut; 0 if shorter than one.
    pub duration_ms: u64,
}

#[derive(Deserialize)]
struct SearchAnswer {
    traces: Option<Vec<WireFound>>,
    metrics: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFound {
    #[serde(rename = "traceID", alias = "traceId")]
    trace_id: String,
    #[serde(default)]
    root_service_name: String,
    #[serde(default)]
    root_trace_name: String,
    #[serde(default)]
    start_time_unix_nano: Value,
    #[serde(default)]
    duration_ms: Value,
}

/// Reads the body of `/api/search`, in its order (latest first).
///
/// # Errors
/// A fragment that says why this is not an answer to a search.
pub fn parse_search(body: &[u8]) -> Result<Vec<Found>, Clean> {
    let answer: SearchAnswer = object(body, "an answer to a search")?;
    if answer.traces.is_none() && answer.metrics.is_none() && !is_empty_object(body) {
        return Err(Clean::new("not an answer to a search: neither traces nor metrics are in it"));
    }
    let found = answer.traces.into_iter().flatten().take(FOUND_LIMIT).map(|wire| {
        Ok(Found {
            trace: TraceId::parse(&wire.trace_id).map_err(|error| Clean::new(error.to_string()))?,
            root_service: Clean::new(wire.root_service_name),
            root_name: Clean::new(wire.root_trace_name),
            start_ns: number(&wire.start_time_unix_nano).unwrap_or(0),
            duration_ms: number(&wire.duration_ms).unwrap_or(0),
        })
    });
    found.collect()
}

/// Reads a JSON object; serde would take an array for a struct as well.
pub(super) fn object<'b, T: Deserialize<'b>>(body: &'b [u8], what: &str) -> Result<T, Clean> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            serde_json::from_slice(body).map_err(|error| Clean::new(format!("not {what}: {error}")))
        }
        Some(_) => Err(Clean::new(format!("not {what}: it is not a JSON object"))),
        None => Err(Clean::new(format!("not {what}: the body is empty"))),
    }
}

fn is_empty_object(body: &[u8]) -> bool {
    body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}")
}
