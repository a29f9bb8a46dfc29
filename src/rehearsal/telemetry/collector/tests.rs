use super::*;
use crate::rehearsal::telemetry::testing::{EPOCH, Names, SetClock, get, post, said};
use serde_json::Value;

/// The configuration of the shipped plan.
pub(super) fn shipped() -> String {
    let asset =
        include_str!("../../../../assets/collector/configmap.yaml").replace("${namespace}", "monitoring");
    let documents =
        crate::yaml::parse(&crate::yaml::Source::new("a", asset), &crate::yaml::Limits::MANIFEST).unwrap();
    documents[0].root.get("data").unwrap().get("relay.yaml").unwrap().as_str().unwrap().to_owned()
}

/// Stands where Tempo would: keeps what arrives, or refuses it.
#[derive(Default)]
struct Sink {
    got: Mutex<Vec<Arc<Traces>>>,
    refusal: Mutex<Option<Refusal>>,
}

impl Service for Sink {
    fn ports(&self) -> Vec<u16> {
        vec![4317]
    }
    fn handle(&self, _: u16, _: &Request) -> Response {
        page_not_found()
    }
    fn export(&self, _: u16, traces: &Arc<Traces>) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        self.got.lock().unwrap().push(Arc::clone(traces));
        Ok(())
    }
}

struct World {
    clock: Arc<SetClock>,
    sink: Arc<Sink>,
    collector: Collector,
}

fn start(config: &str) -> Result<Collector, String> {
    let (clock, names) = (SetClock::new(), Arc::new(Names::default()));
    Collector::start(config, &BTreeMap::new(), clock, names).map_err(|error| error.to_string())
}

fn world(config: &str) -> World {
    let (clock, names, sink) = (SetClock::new(), Arc::new(Names::default()), Arc::new(Sink::default()));
    names.put("tempo.monitoring.svc", sink.clone());
    let collector = Collector::start(config, &BTreeMap::new(), clock.clone(), names).unwrap();
    World { clock, sink, collector }
}

impl World {
    fn send(&self, body: &Value) -> (u16, String) {
        said(&self.collector.handle(4318, &post("/v1/traces", body)))
    }

    fn pass(&self, ms: u64) {
        self.clock.pass(ms);
        self.collector.advance();
    }

    fn arrived(&self) -> usize {
        self.sink.got.lock().unwrap().iter().map(|traces| traces.span_count()).sum()
    }
}

fn span(name: &str) -> Value {
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": name,
    }] }] }] })
}

#[test]
fn the_shipped_configuration_is_played_as_a_whole() {
    let world = world(&shipped());
    assert_eq!(world.collector.unrehearsed(), []);
    assert_eq!(world.collector.ports(), [4317, 4318, 13133, 8888]);
    assert!(world.collector.ports().into_iter().all(|port| world.collector.listens_outside(port)));
    let config = &world.collector.config;
    assert_eq!(config.pipelines.len(), 1);
    assert!(matches!(
        config.pipelines[0].steps[..],
        [Step::MemoryLimiter, Step::Redaction(_), Step::Transform(_), Step::Batch(200)]
    ));
}

/// The same body went through the real Collector 0.145 with this configuration into Tempo 2.8; the expectation is what
/// Tempo then showed.
#[test]
fn secrets_are_masked_where_the_real_one_masks_them() {
    let token = format!("{} {}", "Bearer", "abcdefgh12345678XYZ");
    let pem = format!("-----BEGIN {k}-----\nMIIabc\ndef\n-----END {k}-----", k = "PRIVATE KEY");
    let text = |value: &str| json!({ "stringValue": value });
    let pair = |key: &str, value: Value| json!({ "key": key, "value": value });
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [pair("service.name", text("canary")), pair("r", text(&format!("x {token} y")))] },
        "scopeSpans": [{ "scope": { "name": "sc", "version": "1", "attributes": [pair("sa", text(&token))] }, "spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": format!("GET {token}"),
            "kind": 2, "startTimeUnixNano": "1", "endTimeUnixNano": 2,
            "attributes": [
                pair("authorization", text("line1\nline2")), pair("empty.password", text("")),
                pair("arr", json!({ "arrayValue": { "values": [text(&token), text("<&>"), { "intValue": "5" }] } })),
                pair("i", json!({ "intValue": "42" })), pair("d", json!({ "doubleValue": 1.5 })), pair("b", json!({ "boolValue": true })),
                pair("m", json!({ "kvlistValue": { "values": [pair("k", text(&token)), pair("z", json!({ "doubleValue": 1e21 })), pair("n", json!({}))] } })),
                pair("by", json!({ "bytesValue": "QUJD" })), pair("secret", json!({ "intValue": "7" })), pair("pem", text(&pem)),
                pair("url", text("http://u:p@h/?a=1&token=abc#f")), pair("nullv", json!({})), pair("earr", json!({ "arrayValue": { "values": [] } })),
                pair("arrurl", json!({ "arrayValue": { "values": [text("http://h/?a=1&token=abc")] } })),
            ],
            "events": [{ "timeUnixNano": "1", "name": format!("ev {token}"), "attributes": [pair("ea", text(&token))] }],
            "links": [{ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7", "attributes": [pair("la", text(&token))] }],
            "status": { "code": 2, "message": format!("st {token}") }, "traceState": "a=b", "flags": 1,
        }] }],
    }] });
    let world = world(&shipped());
    assert_eq!(world.send(&body), (200, r#"{"partialSuccess":{}}"#.to_owned()));
    world.pass(200);
    let got = world.sink.got.lock().unwrap();
    let shown = got[0].to_tempo().to_string().replace(&token, "<the token>");
    let shown = shown.replace(
        "},{\"key\"",
        "},
{\"key\"",
    );
    insta::assert_snapshot!(shown, @r#"
    [{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}},
    {"key":"r","value":{"stringValue":"x **** y"}}]},"scopeSpans":[{"scope":{"attributes":[{"key":"sa","value":{"stringValue":"****"}}],"name":"sc","version":"1"},"spans":[{"attributes":[{"key":"authorization","value":{"stringValue":"****\n****"}},
    {"key":"empty.password","value":{"stringValue":"****"}},
    {"key":"arr","value":{"stringValue":"[\"****\",\"\\u003c\\u0026\\u003e\",5]"}},
    {"key":"i","value":{"intValue":"42"}},
    {"key":"d","value":{"doubleValue":1.5}},
    {"key":"b","value":{"boolValue":true}},
    {"key":"m","value":{"stringValue":"{\"k\":\"****\",\"n\":null,\"z\":1e+21}"}},
    {"key":"by","value":{"bytesValue":"QUJD"}},
    {"key":"secret","value":{"stringValue":"****"}},
    {"key":"pem","value":{"stringValue":"****"}},
    {"key":"url","value":{"stringValue":"http****h/?a=1****#f"}},
    {"key":"nullv","value":{}},
    {"key":"earr","value":{"arrayValue":{}}},
    {"key":"arrurl","value":{"stringValue":"[\"http://h/?a=1****\"]"}}],"endTimeUnixNano":"2","events":[{"attributes":[{"key":"ea","value":{"stringValue":"****"}}],"name":"ev ****","timeUnixNano":"1"}],"flags":1,"kind":"SPAN_KIND_SERVER","links":[{"attributes":[{"key":"la","value":{"stringValue":"<the token>"}}],"spanId":"APBnqgupArc=","traceId":"CvdlGRbNQ92ESOshHIAxnA=="}],"name":"GET ****","spanId":"t61rcWkgMzE=","startTimeUnixNano":"1","status":{"code":"STATUS_CODE_ERROR","message":"st ****"},"traceId":"CvdlGRbNQ92ESOshHIAxnA==","traceState":"a=b"}]}]}]
    "#);
}

#[test]
fn a_batch_leaves_after_its_timeout_and_is_tried_again() {
    let world = world(&shipped());
    world.send(&span("a"));
    world.send(&span("b"));
    assert_eq!((world.arrived(), world.collector.due_ms()), (0, Some(EPOCH + 200)));
    world.pass(199);
    assert_eq!(world.arrived(), 0);
    world.pass(1);
    assert_eq!(
        (world.arrived(), world.sink.got.lock().unwrap().len(), world.collector.due_ms()),
        (2, 1, None)
    );

    // Tempo is away for a while.
    *world.sink.refusal.lock().unwrap() = Some(Refusal::unavailable("connection refused"));
    world.send(&span("c"));
    world.pass(200);
    assert_eq!((world.arrived(), world.collector.due_ms()), (2, Some(EPOCH + 400 + 5_000)));
    assert!(world.collector.take_log()[0].contains("Will retry"));
    *world.sink.refusal.lock().unwrap() = None;
    world.pass(5_000);
    assert_eq!(world.arrived(), 3);

    // What is refused for good is dropped.
    *world.sink.refusal.lock().unwrap() = Some(Refusal::invalid("trace ids must be 128 bit"));
    world.send(&span("d"));
    world.pass(200);
    assert_eq!(world.collector.due_ms(), None);
    assert!(world.collector.take_log()[0].contains("Dropping data"));

    // After five minutes it gives up.
    *world.sink.refusal.lock().unwrap() = Some(Refusal::unavailable("connection refused"));
    world.send(&span("e"));
    let mut passed = 0;
    while world.collector.due_ms().is_some() {
        world.pass(1_000);
        passed += 1;
        assert!(passed < 400);
    }
    assert!((250..=301).contains(&passed), "{passed}");
    let metrics = said(&world.collector.handle(8888, &get("/metrics"))).1;
    insta::assert_snapshot!(metrics, @r#"
    # TYPE otelcol_exporter_send_failed_spans_total counter
    otelcol_exporter_send_failed_spans_total{exporter="otlp/tempo"} 2
    # TYPE otelcol_exporter_sent_spans_total counter
    otelcol_exporter_sent_spans_total{exporter="otlp/tempo"} 3
    # TYPE otelcol_receiver_accepted_spans_total counter
    otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"} 5
    # TYPE otelcol_receiver_refused_spans_total counter
    otelcol_receiver_refused_spans_total{receiver="otlp",transport="http"} 0
    # TYPE otelcol_exporter_queue_capacity gauge
    otelcol_exporter_queue_capacity{data_type="traces",exporter="otlp/tempo"} 1000
    # TYPE otelcol_exporter_queue_size gauge
    otelcol_exporter_queue_size{data_type="traces",exporter="otlp/tempo"} 0
    "#);
}

#[test]
fn a_full_collector_refuses_and_only_with_a_limiter() {
    let limited = world(&shipped());
    limited.collector.refuse(true);
    assert_eq!(
        limited.send(&span("a")),
        (503, r#"{"code":14,"message":"data refused due to high memory usage"}"#.to_owned())
    );
    limited.collector.refuse(false);
    assert_eq!(limited.send(&span("a")).0, 200);
    let without = world(&shipped().replace("[memory_limiter, redaction", "[redaction"));
    without.collector.refuse(true);
    assert_eq!(without.send(&span("a")).0, 200);
}

#[test]
fn answers_are_those_of_the_real_one() {
    let world = world(&shipped());
    let ask = |port: u16, request: &Request| {
        let (status, text) = said(&world.collector.handle(port, request));
        format!("{status} {}", text.trim_end())
    };
    let raw = |content: &str, body: &str| {
        let request = http::Request::post("/v1/traces").header("content-type", content);
        request.body(hyper::body::Bytes::from(body.to_owned())).unwrap()
    };
    let told = [
        ask(4318, &post("/v1/traces/v1/traces", &json!({}))),
        ask(4318, &post("/v1/traces", &json!({}))),
        ask(4318, &raw("application/json; charset=utf-8", "{}")),
        ask(4318, &raw("application/json", "{\"a")),
        ask(
            4318,
            &raw("application/json", r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xx"}]}]}]}"#),
        ),
        ask(4318, &raw("text/plain", "{}")),
        ask(4318, &raw("application/x-protobuf", "")),
        ask(4318, &get("/v1/traces")),
        ask(4318, &get("/")),
        ask(4318, &post("/v1/logs", &json!({}))),
        ask(4317, &get("/")),
        ask(13133, &get("/")),
        ask(8888, &get("/")),
        ask(1, &get("/v1/traces")),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    404 404 page not found
    200 {"partialSuccess":{}}
    200 {"partialSuccess":{}}
    400 {"code":3,"message":"EOF while parsing a string at line 1 column 3"}
    400 {"code":3,"message":"cannot unmarshal ID from string: invalid length or digit at line 1 column 59"}
    415 415 unsupported media type, supported: [application/json, application/x-protobuf]
    415 415 protobuf is not rehearsed, supported by the rehearsal: [application/json]
    405 405 method not allowed, supported: [POST]
    404 404 page not found
    404 404 page not found
    404 404 page not found
    200 {"status":"Server available","upSince":"2026-11-22T22:15:00Z","uptime":"0s"}
    404 404 page not found
    404 404 page not found
    "#);
    assert!(world.collector.export(4318, &Arc::default()).is_err());
}

#[test]
fn an_exporter_that_leads_nowhere_says_why() {
    for (config, why) in [
        (shipped().replace("tempo.monitoring.svc", "tempo.elsewhere.svc"), "no such host"),
        (shipped().replace(":4317\n    tls", ":4318\n    tls"), "connection refused"),
        (
            shipped().replace("insecure: true", "insecure: false"),
            "first record does not look like a TLS handshake",
        ),
    ] {
        let world = world(&config);
        world.send(&span("a"));
        world.pass(200);
        assert_eq!(world.arrived(), 0);
        let log = world.collector.take_log();
        assert!(log.len() == 1 && log[0].contains(why), "{why}: {log:?}");
    }
}

#[test]
fn what_the_real_one_refuses_is_refused() {
    let change = |from: &str, to: &str| {
        let config = shipped();
        assert!(config.contains(from), "{from}");
        start(&config.replacen(from, to, 1)).err().unwrap_or_else(|| format!("{from} → {to}: it starts"))
    };
    let told = [
        change("processors: [memory_limiter, redaction", "processors: [memory_limiter, nope, redaction"),
        change("redact_all_types: true", "redact_all_typos: true"),
        change("redact_all_types: true", "redact_all_types: maybe"),
        change("eyJ[A", "eyJ([A"),
        change(r"(?i)\\bbearer", r"(?i)(\\bbearer"),
        change("limit_percentage: 80", ""),
        change("check_interval: 1s", "check_interval: 0s"),
        change("check_interval: 1s", "check_interval: 1d"),
        change("exporters: [otlp/tempo]", "exporters: []"),
        change("extensions: [health_check]", "extensions: [health_chuck]"),
        change("endpoint: tempo.monitoring.svc:4317", ""),
        change("pipelines:", "pipelinos:"),
        change("error_mode: propagate", "error_mode: loud"),
        start("receivers: [").err().unwrap(),
        start("").err().unwrap(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    Error: service::pipelines::traces: references processor "nope" which is not configured
    Error: 'processors::redaction' has invalid keys: redact_all_typos
    Error: 'processors::redaction::redact_all_types' expected type 'bool', got another type
    Error: failed to build pipelines: error creating a redaction processor: failed to process block list: error compiling regex in list: error parsing regexp: unclosed group: `eyJ([A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*`
    Error: processors::transform: unable to parse OTTL statement "replace_pattern(span.name, \"(?i)(\\\\bbearer(?:[\\\\s:=+]|%20)+[\\\"']?[a-z0-9._~+/%=-]{8,}\", \"****\")": couldn't create function: the regex pattern supplied to replace_pattern '"(?i)(\\bbearer(?:[\\s:=+]|%20)+[\"']?[a-z0-9._~+/%=-]{8,}"' is not a valid pattern: error parsing regexp: unclosed group: `(?i)(\bbearer(?:[\s:=+]|%20)+["']?[a-z0-9._~+/%=-]{8,}`
    Error: processors::memory_limiter: 'limit_mib' or 'limit_percentage' must be greater than zero
    Error: processors::memory_limiter: 'check_interval' must be greater than zero
    Error: 'processors::memory_limiter::check_interval' time: invalid duration "1d"
    Error: service::pipelines::traces: must have at least one exporter
    Error: service::extensions: references extension "health_chuck" which is not configured
    Error: exporters::otlp/tempo: requires a non-empty "endpoint"
    Error: 'service' has invalid keys: pipelinos
    Error: 'processors::transform::error_mode' unknown error mode loud
    Error: failed to get config: cannot resolve the configuration: yaml: relay.yaml:1:12: this `[` is never closed
    Error: empty configuration file
    "#);
}

#[test]
fn what_is_not_played_is_said() {
    let said = |from: &str, to: &str| {
        let config = shipped();
        assert!(config.contains(from), "{from}");
        let collector = start(&config.replacen(from, to, 1)).unwrap();
        collector.unrehearsed().iter().map(|one| format!("{one}\n")).collect::<String>()
    };
    let told = [
        said("redact_all_types: true", "hash_function: md5"),
        said("batch: {}", "batch: {send_batch_size: 10}"),
        said("insecure: true", "insecure: true\n    compression: none"),
        said("replace_pattern(span.name", "delete_key(span.name"),
        said("replace_pattern(span.name", "replace_pattern(span.trace_state"),
    ];
    insta::assert_snapshot!(told.concat(), @r#"
    processors::redaction::hash_function is not rehearsed: it has no effect
    processors::batch::send_batch_size is not rehearsed: a batch has any size
    exporters::otlp/tempo::compression is not rehearsed: it has no effect
    processors::transform::trace_statements::0: delete_key(span.name, "(?i)\\bbearer(?:[\\s:=+]|%20)+[\"']?[a-z0-9._~+/%=-]{8,}", "****") is not rehearsed: the statement is left out: only replace_pattern(PATH, "REGEX", "REPLACEMENT") is played
    processors::transform::trace_statements::0: replace_pattern(span.trace_state, "(?i)\\bbearer(?:[\\s:=+]|%20)+[\"']?[a-z0-9._~+/%=-]{8,}", "****") is not rehearsed: the statement is left out: only span.name, span.status.message and spanevent.name are played
    "#);
}
