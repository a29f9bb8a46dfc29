//! The JSON of OTLP traces, as senders write it and as Tempo renders it.
//!
//! OTLP/JSON has ids in hex and enums as integers (opentelemetry-proto docs/specification.md); Tempo renders with the
//! standard protobuf mapping, ids in base64 and enums by name. Both have 64-bit numbers as strings, may leave out what
//! is empty, and may add fields.

use super::{Attributes, Span, SpanEvent, SpanId, SpanKind, SpanLink, StatusCode, TraceId};
use crate::text::Clean;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The most spans of one answer that are kept.
pub(super) const SPAN_LIMIT: usize = 100_000;
/// The most attributes, events or links of one span or resource that are kept.
const PART_LIMIT: usize = 1_024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans {
    resource: Option<Resource>,
    /// Before OTLP 0.15 they were called after instrumentation libraries; old blocks of Tempo still are.
    #[serde(alias = "instrumentationLibrarySpans")]
    scope_spans: Option<Vec<ScopeSpans>>,
}

#[derive(Deserialize)]
struct Resource {
    attributes: Option<Vec<KeyValue>>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    spans: Option<Vec<WireSpan>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    trace_id: Option<String>,
    span_id: Option<String>,
    parent_span_id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    kind: Value,
    #[serde(default)]
    start_time_unix_nano: Value,
    #[serde(default)]
    end_time_unix_nano: Value,
    attributes: Option<Vec<KeyValue>>,
    events: Option<Vec<WireEvent>>,
    links: Option<Vec<WireLink>>,
    status: Option<WireStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEvent {
    #[serde(default)]
    time_unix_nano: Value,
    name: Option<String>,
    attributes: Option<Vec<KeyValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLink {
    trace_id: Option<String>,
    span_id: Option<String>,
    attributes: Option<Vec<KeyValue>>,
}

#[derive(Deserialize)]
struct WireStatus {
    #[serde(default)]
    code: Value,
    message: Option<String>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: Option<String>,
    #[serde(default)]
    value: Value,
}

/// A number that is written as a number or as a string of decimal digits.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The spans of these resources, and how many were passed over.
pub(super) fn spans(resources: Vec<ResourceSpans>) -> (Vec<Span>, usize) {
    let mut spans = Vec::new();
    let mut passed_over = 0;
    for resource in resources {
        let attributes = Arc::new(attributes(resource.resource.and_then(|resource| resource.attributes)));
        let service = attributes
            .iter()
            .find(|(key, _)| key.as_str() == "service.name")
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        let scopes = resource.scope_spans.unwrap_or_default();
        for wire in scopes.into_iter().flat_map(|scope| scope.spans.unwrap_or_default()) {
            match span(wire, &service, &attributes) {
                Some(span) if spans.len() < SPAN_LIMIT => spans.push(span),
                _ => passed_over += 1,
            }
        }
    }
    (spans, passed_over)
}

/// `None` where the trace's or the span's id or the start is missing or invalid.
fn span(wire: WireSpan, service: &Clean, resource: &Arc<Attributes>) -> Option<Span> {
    let start_ns = number(&wire.start_time_unix_nano)?;
    let status = wire.status.as_ref();
    Some(Span {
        trace: TraceId::from_wire(&wire.trace_id?).ok()?,
        id: SpanId::from_wire(&wire.span_id?).ok()?,
        parent: wire.parent_span_id.and_then(|id| SpanId::from_wire(&id).ok()),
        name: Clean::new(wire.name.unwrap_or_default()),
        service: service.clone(),
        kind: kind(&wire.kind),
        start_ns,
        end_ns: number(&wire.end_time_unix_nano).unwrap_or(start_ns),
        status: status.map(|status| code(&status.code)).unwrap_or_default(),
        status_message: Clean::new(status.and_then(|s| s.message.as_deref()).unwrap_or_default()),
        attributes: attributes(wire.attributes),
        events: wire.events.into_iter().flatten().take(PART_LIMIT).map(event).collect(),
        links: wire.links.into_iter().flatten().take(PART_LIMIT).filter_map(link).collect(),
        resource: Arc::clone(resource),
    })
}

fn event(wire: WireEvent) -> SpanEvent {
    SpanEvent {
        at_ns: number(&wire.time_unix_nano).unwrap_or(0),
        name: Clean::new(wire.name.unwrap_or_default()),
        attributes: attributes(wire.attributes),
    }
}

fn link(wire: WireLink) -> Option<SpanLink> {
    Some(SpanLink {
        trace: TraceId::from_wire(&wire.trace_id?).ok()?,
        span: SpanId::from_wire(&wire.span_id?).ok()?,
        attributes: attributes(wire.attributes),
    })
}

/// opentelemetry/proto/trace/v1/trace.proto, `Span.SpanKind`.
fn kind(value: &Value) -> SpanKind {
    match (value.as_str(), value.as_u64()) {
        (Some("SPAN_KIND_INTERNAL"), _) | (_, Some(1)) => SpanKind::Internal,
        (Some("SPAN_KIND_SERVER"), _) | (_, Some(2)) => SpanKind::Server,
        (Some("SPAN_KIND_CLIENT"), _) | (_, Some(3)) => SpanKind::Client,
        (Some("SPAN_KIND_PRODUCER"), _) | (_, Some(4)) => SpanKind::Producer,
        (Some("SPAN_KIND_CONSUMER"), _) | (_, Some(5)) => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// opentelemetry/proto/trace/v1/trace.proto, `Status.StatusCode`.
fn code(value: &Value) -> StatusCode {
    match (value.as_str(), value.as_u64()) {
        (Some("STATUS_CODE_OK"), _) | (_, Some(1)) => StatusCode::Ok,
        (Some("STATUS_CODE_ERROR"), _) | (_, Some(2)) => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}

fn attributes(wire: Option<Vec<KeyValue>>) -> Attributes {
    wire.into_iter()
        .flatten()
        .take(PART_LIMIT)
        .map(|pair| {
            let value = match any_value(&pair.value) {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (Clean::new(pair.key.unwrap_or_default()), Clean::new(value))
        })
        .collect()
}

/// An OTLP `AnyValue` as plain JSON. The depth is bounded by that of the parser.
fn any_value(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|members| members.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => inner.clone(),
        // A string on the wire, for JavaScript's sake; a number in meaning.
        "intValue" => match inner.as_str().map(str::parse::<i64>) {
            Some(Ok(number)) => Value::from(number),
            _ => inner.clone(),
        },
        "arrayValue" => inner
            .get("values")
            .and_then(Value::as_array)
            .map_or(Value::Array(Vec::new()), |values| values.iter().map(any_value).collect()),
        "kvlistValue" => Value::Object(
            inner
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|pair| {
                    let key = pair.get("key")?.as_str()?.to_owned();
                    Some((key, pair.get("value").map_or(Value::Null, any_value)))
                })
                .collect(),
        ),
        _ => Value::Null,
    }
}
