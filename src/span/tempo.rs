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

#[cfg(test)]
mod tests {
    use super::super::{SpanKind, StatusCode};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const TRACE_BASE64: &str = "CvdlGRbNQ92ESOshHIAxnA==";

    fn parsed(body: &Value) -> Result<Trace, Clean> {
        parse_tempo_trace(body.to_string().as_bytes())
    }

    fn resources(spans: &Value) -> Value {
        json!([{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "tripit" } }] },
            "scopeSpans": [{ "scope": { "name": "x" }, "spans": spans }],
        }])
    }

    /// As Tempo renders it: base64, names, strings.
    fn rendered() -> Value {
        json!([
            {
                "traceId": TRACE_BASE64, "spanId": "t61rcWkgMzI=", "parentSpanId": "t61rcWkgMzE=", "name": "SELECT",
                "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": "1795403700500000000", "endTimeUnixNano": "1795403700600000000",
                "status": { "code": "STATUS_CODE_ERROR", "message": "timeout" },
                "events": [{ "timeUnixNano": "1795403700550000000", "name": "exception", "attributes": [{ "key": "a", "value": { "boolValue": true } }] }],
                "links": [{ "traceId": TRACE_BASE64, "spanId": "t61rcWkgMzE=", "attributes": [{ "key": "l", "value": { "intValue": "7" } }] }],
            },
            {
                "traceId": TRACE_BASE64, "spanId": "t61rcWkgMzE=", "name": "GET /", "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": "1795403700000000000", "endTimeUnixNano": "1795403701000000000", "status": {},
                "attributes": [
                    { "key": "http.status", "value": { "intValue": "200" } },
                    { "key": "list", "value": { "arrayValue": { "values": [{ "stringValue": "a" }, { "doubleValue": 1.5 }] } } },
                    { "key": "map", "value": { "kvlistValue": { "values": [{ "key": "k", "value": { "stringValue": "v" } }] } } },
                    { "key": "bytes", "value": { "bytesValue": "AQI=" } }, { "key": "none", "value": {} }, { "key": "esc", "value": { "stringValue": "\u{1b}[2J" } },
                ],
            },
        ])
    }

    /// The same as OTLP/JSON has it: hex, integers, numbers.
    fn sent() -> Value {
        json!([
            {
                "traceId": TRACE.to_uppercase(), "spanId": "b7ad6b7169203332", "parentSpanId": "b7ad6b7169203331", "name": "SELECT",
                "kind": 3, "startTimeUnixNano": 1_795_403_700_500_000_000_u64, "endTimeUnixNano": 1_795_403_700_600_000_000_u64,
                "status": { "code": 2, "message": "timeout" },
                "events": [{ "timeUnixNano": 1_795_403_700_550_000_000_u64, "name": "exception", "attributes": [{ "key": "a", "value": { "boolValue": true } }] }],
                "links": [{ "traceId": TRACE, "spanId": "b7ad6b7169203331", "attributes": [{ "key": "l", "value": { "intValue": 7 } }] }],
            },
            {
                "traceId": TRACE, "spanId": "b7ad6b7169203331", "parentSpanId": "", "name": "GET /", "kind": 2,
                "startTimeUnixNano": 1_795_403_700_000_000_000_u64, "endTimeUnixNano": 1_795_403_701_000_000_000_u64,
                "attributes": rendered()[1]["attributes"],
            },
        ])
    }

    #[test]
    fn every_form_of_a_trace_reads_the_same() {
        let trace = parsed(&json!({ "batches": resources(&rendered()) })).unwrap();
        let same = [
            json!({ "trace": { "resourceSpans": resources(&rendered()) }, "metrics": {} }),
            json!({ "trace": { "resourceSpans": resources(&sent()) }, "status": "COMPLETE", "message": "" }),
            json!({ "trace": { "batches": resources(&sent()) } }),
            json!({ "resourceSpans": resources(&sent()), "unknown": [1] }),
        ];
        for body in same {
            assert_eq!(parsed(&body).unwrap(), trace, "{body}");
        }
        let old = json!({ "batches": [{ "resource": resources(&sent())[0]["resource"], "instrumentationLibrarySpans": [{ "spans": sent() }] }] });
        assert_eq!(parsed(&old).unwrap(), trace);

        assert_eq!(trace.id.unwrap().to_string(), TRACE);
        let [root, child] = &trace.spans[..] else { panic!() };
        assert_eq!(trace.root(), Some(root));
        assert_eq!(
            (root.name.as_str(), root.service.as_str(), root.kind, root.status),
            ("GET /", "tripit", SpanKind::Server, StatusCode::Unset)
        );
        assert_eq!(root.duration_ns(), 1_000_000_000);
        let attributes: Vec<String> =
            root.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        insta::assert_snapshot!(attributes.join(" "), @r#"http.status=200 list=["a",1.5] map={"k":"v"} bytes=AQI= none= esc=\x1b[2J"#);
        assert_eq!(
            (child.parent, child.kind, child.status),
            (Some(root.id), SpanKind::Client, StatusCode::Error)
        );
        assert_eq!(child.status_message.as_str(), "timeout");
        assert_eq!(
            (child.events[0].name.as_str(), child.events[0].at_ns),
            ("exception", 1_795_403_700_550_000_000)
        );
        assert_eq!((child.links[0].span, child.links[0].attributes[0].1.as_str()), (root.id, "7"));
        assert_eq!(trace.orphans().count(), 0);
    }

    #[test]
    fn an_empty_trace_has_no_spans_and_is_no_error() {
        for body in [
            "{}",
            " { } ",
            r#"{"trace":{}}"#,
            r#"{"trace":{"resourceSpans":[]},"metrics":{}}"#,
            r#"{"metrics":{"inspectedBytes":"0"}}"#,
            r#"{"batches":[]}"#,
            r#"{"trace":null,"metrics":{},"status":"COMPLETE"}"#,
        ] {
            let trace = parse_tempo_trace(body.as_bytes()).unwrap();
            assert_eq!(trace, Trace::default(), "{body}");
        }
    }

    #[test]
    fn what_is_no_trace_is_an_error() {
        let mixed = json!([rendered()[0], { "traceId": "1af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "startTimeUnixNano": 1 }]);
        let bodies = [
            String::new(),
            "trace not found".to_owned(),
            "<html>".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            r#"{"traces":[]}"#.to_owned(),
            r#"{"message":"bad\u001b[2J id"}"#.to_owned(),
            r#"{"error":"no","trace":{}}"#.to_owned(),
            r#"{"batches":{}}"#.to_owned(),
            r#"{"batches":[{"scopeSpans":[{"spans":[{"name":1}]}]}]}"#.to_owned(),
            json!({ "batches": resources(&mixed) }).to_string(),
            "{\"batches\":".to_owned() + &"[".repeat(100_000),
        ];
        let told: Vec<String> =
            bodies.iter().map(|body| parse_tempo_trace(body.as_bytes()).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        not a trace: the body is empty
        not a trace: it is not a JSON object
        not a trace: it is not a JSON object
        not a trace: it is not a JSON object
        not a trace: it is not a JSON object
        not a trace: neither batches nor trace.resourceSpans are in it
        an error in place of a trace: bad\x1b[2J id
        an error in place of a trace: "no"
        not a trace: invalid type: map, expected a sequence at line 1 column 11
        not a trace: invalid type: integer `1`, expected a string at line 1 column 46
        spans of more than one trace: 0af7651916cd43dd8448eb211c80319c and 1af7651916cd43dd8448eb211c80319c
        not a trace: invalid type: sequence, expected a string at line 1 column 16
        "#);
    }

    #[test]
    fn a_partial_trace_says_so() {
        let body = json!({ "trace": { "resourceSpans": resources(&sent()) }, "status": "PARTIAL", "message": "trace exceeds max size" });
        assert_eq!(parsed(&body).unwrap().partial.unwrap().as_str(), "trace exceeds max size");
        let body = json!({ "trace": { "resourceSpans": resources(&sent()) }, "status": 1 });
        assert_eq!(parsed(&body).unwrap().partial.unwrap().as_str(), "the trace is not complete");
    }

    #[test]
    fn spans_without_an_id_are_counted_and_not_read() {
        let spans = json!([rendered()[1], {}, { "traceId": TRACE, "spanId": "AAAAAAAAAAA=", "startTimeUnixNano": 1 }, { "traceId": "x", "spanId": "b7ad6b7169203331", "startTimeUnixNano": 1 }]);
        let trace = parsed(&json!({ "batches": resources(&spans) })).unwrap();
        assert_eq!((trace.spans.len(), trace.passed_over), (1, 3));
    }

    #[test]
    fn a_search_is_read() {
        let body = json!({
            "traces": [
                {
                    "traceID": TRACE.trim_start_matches('0'), "rootServiceName": "tripit", "rootTraceName": "GET /",
                    "startTimeUnixNano": "1795403700000000000", "durationMs": 12, "spanSets": [{ "matched": 1, "spans": [] }],
                },
                { "traceID": "1" },
            ],
            "metrics": { "inspectedTraces": 2, "totalBlocks": "3" },
        });
        let found = parse_search(body.to_string().as_bytes()).unwrap();
        assert_eq!(found[0].trace.to_string(), TRACE);
        assert_eq!((found[0].root_service.as_str(), found[0].root_name.as_str()), ("tripit", "GET /"));
        assert_eq!((found[0].start_ns, found[0].duration_ms), (1_795_403_700_000_000_000, 12));
        assert_eq!((found[1].trace.to_string().len(), found[1].duration_ms), (32, 0));
        for empty in
            ["{}", r#"{"metrics":{}}"#, r#"{"traces":[],"metrics":{}}"#, r#"{"traces":null,"metrics":{}}"#]
        {
            assert_eq!(parse_search(empty.as_bytes()).unwrap(), [], "{empty}");
        }
        for no_answer in [
            "",
            "[]",
            "invalid TraceQL query",
            r#"{"error":"x"}"#,
            r#"{"traces":[{}]}"#,
            r#"{"traces":[{"traceID":"0"}]}"#,
        ] {
            assert!(parse_search(no_answer.as_bytes()).is_err(), "{no_answer}");
        }
    }

    /// JSON of the right names and any shape.
    fn bodies() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec![
                "",
                TRACE,
                TRACE_BASE64,
                "t61rcWkgMzE=",
                "SPAN_KIND_SERVER",
                "-1",
                "\u{1b}"
            ])
            .prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "trace",
            "batches",
            "resourceSpans",
            "resource",
            "scopeSpans",
            "spans",
            "attributes",
            "key",
            "value",
            "traceId",
            "spanId",
            "name",
            "kind",
            "startTimeUnixNano",
            "events",
            "links",
            "status",
            "code",
            "traces",
            "traceID",
            "metrics",
            "arrayValue",
            "values",
        ]);
        leaf.prop_recursive(8, 64, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(body in bodies()) {
            let body = body.to_string();
            let _ = (parse_tempo_trace(body.as_bytes()), parse_search(body.as_bytes()));
        }

        #[test]
        fn a_damaged_body_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut body = json!({ "batches": resources(&rendered()) }).to_string().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            let _ = parse_tempo_trace(&body);
            body.truncate(at);
            prop_assert!(parse_tempo_trace(&body).is_err());
        }
    }
}
