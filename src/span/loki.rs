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
            let (line, trace) = (Clean::new(line), trace_id_in_log(line));
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
pub fn trace_id_in_log(line: &str) -> Option<TraceId> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn lines_are_read() {
        let log = json!({ "msg": "hello", "trace_id": TRACE, "stack": "x".repeat(10_000) }).to_string();
        let body = json!({
            "status": "success",
            "data": {
                "resultType": "streams",
                "result": [
                    {
                        "stream": { "app": "tripit", "pod": "tripit-\u{1b}" },
                        "values": [["1795403700000000002", log], ["1795403700000000001", "plain \u{1b}[2J", { "trace_id": "ignored" }]],
                    },
                    { "stream": {}, "values": [] },
                ],
                "stats": {},
            },
        });
        let lines = parse_loki(body.to_string().as_bytes()).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].ts_ns, 1_795_403_700_000_000_002);
        // The line is cut, its trace is not lost.
        assert!(lines[0].line.as_str().ends_with('…'));
        assert_eq!(lines[0].trace.unwrap().to_string(), TRACE);
        assert_eq!((lines[1].line.as_str(), lines[1].trace), ("plain \\x1b[2J", None));
        assert_eq!(lines[1].stream.get(&Clean::new("pod")).unwrap().as_str(), "tripit-\\x1b");
        let empty = r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#;
        assert_eq!(parse_loki(empty.as_bytes()).unwrap(), []);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let bodies = [
            "",
            "parse error at line 1",
            "{}",
            r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#,
            r#"{"status":"success","data":{"result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x","y"]]}]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1"]]}]}}"#,
        ];
        let told: Vec<String> =
            bodies.iter().map(|body| parse_loki(body.as_bytes()).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        not an answer of Loki: the body is empty
        not an answer of Loki: it is not a JSON object
        not an answer of Loki: status missing
        not an answer of Loki: status error "parse error"
        not an answer of Loki: no data in it
        not log lines: the result type is matrix, not streams
        not log lines: the result type is missing, not streams
        not an answer of Loki: a value that is not a time and a line
        not an answer of Loki: a value that is not a time and a line
        "#);
    }

    #[test]
    fn ids_are_read_from_json_lines_only() {
        let found = |line: String| trace_id_in_log(&line).map(|id| id.to_string());
        for key in ["trace_id", "traceId", "traceID", "trace.id", "otelTraceID"] {
            assert_eq!(found(json!({ key: TRACE }).to_string()).as_deref(), Some(TRACE), "{key}");
        }
        assert_eq!(
            found(format!(" {}\n", json!({ "trace": { "id": TRACE.to_uppercase() } }))).as_deref(),
            Some(TRACE)
        );
        assert_eq!(
            found(json!({ "trace_id": "48eb211c80319c01" }).to_string()).as_deref(),
            Some("000000000000000048eb211c80319c01")
        );
        // The first that holds an id wins.
        assert_eq!(
            found(json!({ "trace_id": "", "otelTraceID": TRACE }).to_string()).as_deref(),
            Some(TRACE)
        );
        for line in [
            format!("trace_id={TRACE}"),
            format!("[\"{TRACE}\"]"),
            format!("{{\"trace_id\":\"{TRACE}\""),
            json!({ "other": TRACE }).to_string(),
            json!({ "trace_id": "0".repeat(32) }).to_string(),
            json!({ "trace_id": "42" }).to_string(),
            json!({ "trace_id": 42 }).to_string(),
            json!({ "trace_id": "not hexadecimal, 32 bytes long .." }).to_string(),
            json!({ "otelTraceID": "0" }).to_string(),
            json!({ "nested": { "trace_id": TRACE } }).to_string(),
        ] {
            assert_eq!(found(line.clone()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_passed_over(line in any::<String>()) {
            let _ = trace_id_in_log(&line);
            let _ = trace_id_in_log(&format!("{{\"trace_id\":{line:?}}}"));
            let body = json!({ "status": "success", "data": { "resultType": "streams", "result": [{ "stream": { line.as_str(): line }, "values": [["1", line]] }] } });
            let lines = parse_loki(body.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&lines[0].line, &Clean::new(&line));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = parse_loki(&bytes);
        }
    }
}
