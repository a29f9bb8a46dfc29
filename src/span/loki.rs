//! Loki's answer to a range query, and the ids of traces in log lines (grafana/loki docs, loki-http-api.md).

use super::TraceId;
use super::tempo::object;
use super::wire::number;
use crate::text::Clean;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most lines of one answer that are read; Loki itself returns 100 if not asked for more, 5000 at most by default.
const LINE_COUNT_LIMIT: usize = 100_000;
/// The longest line that is searched for an id, in bytes; Loki refuses more than 256 KiB by default.
const LINE_LIMIT: usize = 1 << 20;

/// One log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its time, in nanoseconds since the epoch.
    pub ts_ns: u64,
    /// The line, made safe and cut to the limit of [`Clean`].
    pub line: Clean,
    /// The trace that the line belongs to, read from the line as Loki has it: [`line`](Self::line) may be cut.
    pub trace: Option<TraceId>,
    /// Labels of its stream, structured metadata merged in (Loki does so unless told otherwise), shared among the lines
    /// of one stream.
    pub stream: Arc<BTreeMap<Clean, Clean>>,
}

#[derive(Deserialize)]
struct Answer {
    status: Option<String>,
    error: Option<Value>,
    message: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: Option<String>,
    result: Option<Vec<Stream>>,
}

#[derive(Deserialize)]
struct Stream {
    /// Absent in the other result types (`metric`).
    stream: Option<BTreeMap<String, String>>,
    values: Option<Vec<Vec<Value>>>,
}

/// Reads the body of `/loki/api/v1/query_range` for a query of lines, in its order.
///
/// # Errors
/// A fragment that says why this is not such an answer: Loki's own error, another result type, a malformed value.
pub fn parse_loki(body: &[u8]) -> Result<Vec<LogLine>, Clean> {
    let answer: Answer = object(body, "an answer of Loki")?;
    if answer.status.as_deref() != Some("success") {
        let words = answer.message.or_else(|| answer.error.map(|error| error.to_string()));
        let status = answer.status.unwrap_or_else(|| "missing".to_owned());
        return Err(Clean::new(
            format!("not an answer of Loki: status {status} {}", words.unwrap_or_default()).trim(),
        ));
    }
    let data = answer.data.ok_or_else(|| Clean::new("not an answer of Loki: no data in it"))?;
    match data.result_type.as_deref() {
        Some("streams") => {}
        other => {
            let other = other.unwrap_or("missing");
            return Err(Clean::new(format!("not log lines: the result type is {other}, not streams")));
        }
    }
    let mut lines = Vec::new();
    for stream in data.result.unwrap_or_default() {
        let labels = stream.stream.unwrap_or_default();
        let labels = labels.into_iter().map(|(name, value)| (Clean::new(name), Clean::new(value)));
        let labels: Arc<BTreeMap<Clean, Clean>> = Arc::new(labels.collect());
        for value in stream.values.into_iter().flatten() {
            if lines.len() == LINE_COUNT_LIMIT {
                return Ok(lines);
            }
            let time = value.first().and_then(number);
            let (Some(ts_ns), Some(line)) = (time, value.get(1).and_then(Value::as_str)) else {
                return Err(Clean::new("not an answer of Loki: a value that is not a time and a line"));
            };
            let (line, trace) = (Clean::new(line), trace_ids_in_log(line));
            lines.push(LogLine { ts_ns, line, trace, stream: Arc::clone(&labels) });
        }
    }
    Ok(lines)
}

/// The trace that a JSON log line belongs to: the first valid id under `trace_id`, `traceId`, `traceID`, `trace.id`
/// (also nested, as `{"trace":{"id":…}}`), `otelTraceID`. Nothing is taken from lines that are not JSON objects.
///
/// The id must have all its 32 digits, or 16 (a 64-bit id of B3, whose other half is zero): `"trace_id": "42"` is
/// something else, and OpenTelemetry for Python logs `0` outside of spans.
pub fn trace_ids_in_log(line: &str) -> Option<TraceId> {
    let line = line.trim();
    if !line.starts_with('{') || line.len() > LINE_LIMIT {
        return None;
    }
    let members: Map<String, Value> = serde_json::from_str(line).ok()?;
    let nested = members.get("trace").and_then(|trace| trace.get("id"));
    let named = ["trace_id", "traceId", "traceID", "trace.id"].iter().map(|key| members.get(*key));
    named
        .chain([nested, members.get("otelTraceID")])
        .flatten()
        .filter_map(Value::as_str)
        .filter(|text| matches!(text.len(), 16 | 32))
        .find_map(|text| TraceId::parse(text).ok())
}
