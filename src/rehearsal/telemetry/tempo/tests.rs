use super::*;
use crate::rehearsal::telemetry::testing::{EPOCH, SetClock, get, post, read, said};
use crate::span::{TraceId, parse_search, parse_tempo_trace, search_path, trace_path};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn shipped() -> String {
    let asset = include_str!("../../../../assets/tempo/configmap.yaml").replace("${retention}", "720h");
    let asset = asset.replace("${namespace}", "monitoring");
    let documents =
        crate::yaml::parse(&crate::yaml::Source::new("a", asset), &crate::yaml::Limits::MANIFEST).unwrap();
    documents[0].root.get("data").unwrap().get("tempo.yaml").unwrap().as_str().unwrap().to_owned()
}

fn tempo() -> (Arc<SetClock>, Tempo) {
    let clock = SetClock::new();
    let tempo = Tempo::start(&shipped(), clock.clone(), &Volume::default()).unwrap();
    (clock, tempo)
}

fn traces(trace: &str, at_ms: u64) -> Traces {
    let start = at_ms * 1_000_000;
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "canary" } }] },
        "scopeSpans": [{ "scope": { "name": "sc" }, "spans": [
            { "traceId": trace, "spanId": "b7ad6b7169203331", "name": "GET /", "kind": 2, "startTimeUnixNano": start.to_string(),
              "endTimeUnixNano": (start + 30_000_000).to_string(), "status": { "code": 2, "message": "no" },
              "attributes": [{ "key": "i", "value": { "intValue": "42" } }] },
            { "traceId": trace, "spanId": "00000000000000b1", "parentSpanId": "b7ad6b7169203331", "name": "child",
              "startTimeUnixNano": (start + 1_000).to_string(), "endTimeUnixNano": (start + 2_000).to_string() },
        ] }],
    }] });
    Traces::read(body.to_string().as_bytes()).unwrap()
}

fn encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn ask(tempo: &Tempo, path: &str) -> String {
    let (status, text) = said(&tempo.handle(3200, &get(path)));
    format!("{status} {}", text.trim_end())
}

#[test]
fn the_shipped_configuration_is_played_as_a_whole() {
    let (_, tempo) = tempo();
    assert_eq!(tempo.unrehearsed(), []);
    assert_eq!((tempo.ports(), tempo.retention_ms()), (vec![3200, 4317, 4318], 720 * 3_600_000));
    assert!(tempo.listens_outside(4317) && !tempo.listens_outside(9095));
}

#[test]
fn a_trace_is_read_by_id_at_once_and_found_after_it_was_cut() {
    let (clock, tempo) = tempo();
    clock.pass(23_000);
    let at = EPOCH + 23_000;
    tempo.export(4317, &Arc::new(traces(TRACE, at))).unwrap();
    let id = TraceId::parse(TRACE).unwrap();
    let read_by_id = || parse_tempo_trace(tempo.handle(3200, &get(&trace_path(id))).body()).unwrap();
    let seconds = at / 1_000;
    let found = || {
        let path = search_path("canary", seconds - 300, seconds + 60, 20);
        parse_search(tempo.handle(3200, &get(&path)).body()).unwrap()
    };
    let trace = read_by_id();
    assert_eq!((trace.spans.len(), trace.id, trace.root().unwrap().name.as_str()), (2, Some(id), "GET /"));
    // Idle at 28 s; the next flush check is at 30 s.
    clock.pass(6_999);
    assert_eq!(found(), []);
    clock.pass(1);
    let found = found();
    assert_eq!(
        (found.len(), found[0].trace, found[0].root_service.as_str(), found[0].duration_ms),
        (1, id, "canary", 30)
    );
    // A span that comes later is seen by id only, until it is cut as well.
    tempo.receive(&traces(TRACE, at)).unwrap();
    assert_eq!(read_by_id().spans.len(), 4);
    let matched =
        || read(&tempo.handle(3200, &get("/api/search?q=%7B%7D")))["traces"][0]["spanSet"]["matched"].clone();
    assert_eq!(matched(), 2);
    clock.pass(10_000);
    assert_eq!(matched(), 4);
}

#[test]
fn a_trace_that_never_rests_is_cut_after_its_live_period() {
    let (clock, tempo) = tempo();
    for second in 0..31 {
        tempo.receive(&traces(TRACE, EPOCH + second * 1_000)).unwrap();
        clock.pass(1_000);
        let found = !read(&tempo.handle(3200, &get("/api/search")))["traces"].as_array().unwrap().is_empty();
        assert_eq!(found, second >= 29, "{second}");
    }
}

#[test]
fn traces_live_as_long_as_the_retention_and_the_volume() {
    let (clock, volume) = (SetClock::new(), Volume::default());
    let config = shipped().replace("block_retention: 720h", "block_retention: 1h");
    let first = Tempo::start(&config, clock.clone(), &volume).unwrap();
    first.receive(&traces(TRACE, EPOCH)).unwrap();
    let second = Tempo::start(&config, clock.clone(), &volume).unwrap();
    let known = |tempo: &Tempo| tempo.handle(3200, &get(&format!("/api/traces/{TRACE}"))).status() == 200;
    assert!(known(&second));
    clock.pass(3_600_001);
    assert!(!known(&second));
}

#[test]
fn answers_are_those_of_the_real_one() {
    let (clock, tempo) = tempo();
    let mut told = vec![ask(&tempo, "/ready")];
    clock.pass(15_000);
    tempo.receive(&traces(TRACE, EPOCH)).unwrap();
    clock.pass(15_000);
    for path in [
        "/ready",
        "/api/echo",
        "/api/v2/traces/0af7651916cd43dd8448eb211c80319c",
        "/api/traces/AF7651916CD43DD8448EB211C80319C",
        "/api/v2/traces/0af7651916cd43dd8448eb211c80319d",
        "/api/traces/0af7651916cd43dd8448eb211c80319d",
        "/api/v2/traces/xyz",
        "/api/v2/traces/0af7651916cd43dd8448eb211c80319d0",
        "/api/search?start=5",
        "/api/search?q=%7B%7D&start=50&end=20",
        "/api/search?q=%7B%7D&start=50&end=x",
        "/api/search?q=%7B%7D&start=1&end=1795409071",
        "/api/search?q=%7B%7D&limit=0",
        "/api/search?tags=a%3Db",
        "/api/search",
        "/api/search?q=%7B%7D&start=1&end=2",
        "/api/v2/search/tags",
        "/api/v2/search/tags?scope=resource",
        "/api/search/tags",
        "/api/v2/search/tag/resource.service.name/values",
        "/api/search/tag/service.name/values",
        "/api/v2/search/tag/span.i/values",
        "/api/v2/search/tag/nope/values",
        "/status/config",
        "/metrics",
        "/nope",
    ] {
        told.push(format!("{path}: {}", ask(&tempo, path)));
    }
    for query in [
        r#"{resource.service.name="canary"}"#,
        r#"{name="child"}"#,
        r#"{ resource.service.name = "canary" && duration > 20ms }"#,
        "{status=error}",
        "{duration<2us}",
        r#"{resource.service.name="nobody"}"#,
        "{span.i=42}",
        "{kind=server}",
        "{name=",
    ] {
        told.push(format!("{query}: {}", ask(&tempo, &format!("/api/search?q={}", encoded(query)))));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    503 Ingester not ready: ingester check ready failed: waiting for 15s after being ready
    /ready: 200 ready
    /api/echo: 200 echo
    /api/v2/traces/0af7651916cd43dd8448eb211c80319c: 200 {"metrics":{},"trace":{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}]},"scopeSpans":[{"scope":{"name":"sc"},"spans":[{"attributes":[{"key":"i","value":{"intValue":"42"}}],"endTimeUnixNano":"1795385700030000000","kind":"SPAN_KIND_SERVER","name":"GET /","spanId":"t61rcWkgMzE=","startTimeUnixNano":"1795385700000000000","status":{"code":"STATUS_CODE_ERROR","message":"no"},"traceId":"CvdlGRbNQ92ESOshHIAxnA=="},{"endTimeUnixNano":"1795385700000002000","name":"child","parentSpanId":"t61rcWkgMzE=","spanId":"AAAAAAAAALE=","startTimeUnixNano":"1795385700000001000","status":{},"traceId":"CvdlGRbNQ92ESOshHIAxnA=="}]}]}]}}
    /api/traces/AF7651916CD43DD8448EB211C80319C: 200 {"batches":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}]},"scopeSpans":[{"scope":{"name":"sc"},"spans":[{"attributes":[{"key":"i","value":{"intValue":"42"}}],"endTimeUnixNano":"1795385700030000000","kind":"SPAN_KIND_SERVER","name":"GET /","spanId":"t61rcWkgMzE=","startTimeUnixNano":"1795385700000000000","status":{"code":"STATUS_CODE_ERROR","message":"no"},"traceId":"CvdlGRbNQ92ESOshHIAxnA=="},{"endTimeUnixNano":"1795385700000002000","name":"child","parentSpanId":"t61rcWkgMzE=","spanId":"AAAAAAAAALE=","startTimeUnixNano":"1795385700000001000","status":{},"traceId":"CvdlGRbNQ92ESOshHIAxnA=="}]}]}]}
    /api/v2/traces/0af7651916cd43dd8448eb211c80319d: 200 {"metrics":{},"trace":{}}
    /api/traces/0af7651916cd43dd8448eb211c80319d: 404 
    /api/v2/traces/xyz: 400 trace IDs can only contain hex characters: invalid character 'x' at position 1
    /api/v2/traces/0af7651916cd43dd8448eb211c80319d0: 400 trace IDs can't be larger than 128 bits
    /api/search?start=5: 400 http parameter start must be before end. received start=5 end=0
    /api/search?q=%7B%7D&start=50&end=20: 400 http parameter start must be before end. received start=50 end=20
    /api/search?q=%7B%7D&start=50&end=x: 400 invalid end: strconv.ParseInt: parsing "x": invalid syntax
    /api/search?q=%7B%7D&start=1&end=1795409071: 400 range specified by start and end exceeds 720h0m0s. received start=1 end=1795409071
    /api/search?q=%7B%7D&limit=0: 400 invalid limit: must be a positive number
    /api/search?tags=a%3Db: 400 the parameter tags of a search is not rehearsed
    /api/search: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    /api/search?q=%7B%7D&start=1&end=2: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[]}
    /api/v2/search/tags: 200 {"metrics":{},"scopes":[{"name":"resource","tags":["service.name"]},{"name":"span","tags":["i"]},{"name":"intrinsic","tags":["duration","event:name","event:timeSinceStart","instrumentation:name","instrumentation:version","kind","name","rootName","rootServiceName","span:duration","span:kind","span:name","span:status","span:statusMessage","status","statusMessage","trace:duration","trace:rootName","trace:rootService","traceDuration"]}]}
    /api/v2/search/tags?scope=resource: 200 {"metrics":{},"scopes":[{"name":"resource","tags":["service.name"]}]}
    /api/search/tags: 200 {"metrics":{},"tagNames":["i","service.name"]}
    /api/v2/search/tag/resource.service.name/values: 200 {"metrics":{},"tagValues":[{"type":"string","value":"canary"}]}
    /api/search/tag/service.name/values: 200 {"metrics":{},"tagValues":["canary"]}
    /api/v2/search/tag/span.i/values: 200 {"metrics":{},"tagValues":[{"type":"int","value":"42"}]}
    /api/v2/search/tag/nope/values: 500 please provide a valid tagName: tag name is not valid intrinsic or scoped attribute: nope
    /status/config: 200 GET /status/config
    ---
    # Shortened by the rehearsal to what it plays.
    target: all
    server:
        http_listen_port: 3200
    query_frontend:
        search:
            max_duration: 720h0m0s
    compactor:
        compaction:
            block_retention: 720h0m0s
    ingester:
        trace_idle_period: 5s
        trace_live_period: 30s
        flush_check_period: 10s
    storage:
        trace:
            backend: local
    /metrics: 200 tempo_distributor_bytes_received_total{tenant="single-tenant"} 138
    tempo_distributor_spans_received_total{tenant="single-tenant"} 2
    tempo_ingester_traces_created_total{tenant="single-tenant"} 1
    tempo_receiver_accepted_spans{receiver="otlp/otlp_receiver",transport="grpc"} 2
    /nope: 404 404 page not found
    {resource.service.name="canary"}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":2,"spans":[{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"},{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"1000","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]},"spanSets":[{"matched":2,"spans":[{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"},{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"1000","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {name="child"}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"durationNanos":"1000","name":"child","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]},"spanSets":[{"matched":1,"spans":[{"durationNanos":"1000","name":"child","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    { resource.service.name = "canary" && duration > 20ms }: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]},"spanSets":[{"matched":1,"spans":[{"attributes":[{"key":"service.name","value":{"stringValue":"canary"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {status=error}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"attributes":[{"key":"status","value":{"stringValue":"error"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]},"spanSets":[{"matched":1,"spans":[{"attributes":[{"key":"status","value":{"stringValue":"error"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {duration<2us}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"durationNanos":"1000","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]},"spanSets":[{"matched":1,"spans":[{"durationNanos":"1000","spanID":"00000000000000b1","startTimeUnixNano":"1795385700000001000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {resource.service.name="nobody"}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[]}
    {span.i=42}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"attributes":[{"key":"i","value":{"intValue":"42"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]},"spanSets":[{"matched":1,"spans":[{"attributes":[{"key":"i","value":{"intValue":"42"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {kind=server}: 200 {"metrics":{"completedJobs":1,"totalJobs":1},"traces":[{"durationMs":30,"rootServiceName":"canary","rootTraceName":"GET /","serviceStats":{"canary":{"errorCount":1,"spanCount":2}},"spanSet":{"matched":1,"spans":[{"attributes":[{"key":"kind","value":{"stringValue":"server"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]},"spanSets":[{"matched":1,"spans":[{"attributes":[{"key":"kind","value":{"stringValue":"server"}}],"durationNanos":"30000000","spanID":"b7ad6b7169203331","startTimeUnixNano":"1795385700000000000"}]}],"startTimeUnixNano":"1795385700000000000","traceID":"af7651916cd43dd8448eb211c80319c"}]}
    {name=: 400 invalid TraceQL query: parse error at line 1, col 7: syntax error: unexpected $end
    "#);
}

#[test]
fn spans_without_a_trace_are_refused() {
    let (_, tempo) = tempo();
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "name": "x" }] }] }] });
    assert_eq!(
        said(&tempo.handle(4318, &post("/v1/traces", &body))),
        (400, r#"{"code":3,"message":"trace ids must be 128 bit, received 0 bits"}"#.to_owned())
    );
    let traces = Traces::read(body.to_string().as_bytes()).unwrap();
    let refusal = tempo.receive(&traces).unwrap_err();
    assert!(!refusal.retryable);
    insta::assert_snapshot!(refusal, @"rpc error: code = InvalidArgument desc = trace ids must be 128 bit, received 0 bits");
    assert!(tempo.export(3200, &Arc::new(traces)).unwrap_err().retryable);
}

#[test]
fn long_values_are_cut_before_they_are_stored() {
    let (_, tempo) = tempo();
    let mut traces = traces(TRACE, EPOCH);
    let span = &mut traces.resource_spans[0].scope_spans[0].spans[0];
    span.attributes.push(KeyValue::text("long", format!("x{}", "é".repeat(2_000))));
    tempo.receive(&traces).unwrap();
    let trace = read(&tempo.handle(3200, &get(&format!("/api/v2/traces/{TRACE}"))));
    let value =
        trace.pointer("/trace/resourceSpans/0/scopeSpans/0/spans/0/attributes/1/value/stringValue").unwrap();
    assert_eq!(value.as_str().unwrap().len(), 2_047);
}

#[test]
fn a_wrong_configuration_does_not_start() {
    let start = |config: &str| {
        let started = Tempo::start(config, SetClock::new(), &Volume::default());
        started
            .map(|tempo| tempo.unrehearsed().iter().map(|one| format!("{one}; ")).collect::<String>())
            .map_or_else(|error| error.to_string(), |notes| format!("starts: {notes}"))
    };
    let told =
        [
            start(&shipped().replace("720h", "30d")),
            start(&format!("live_store: {{}}\n{}", shipped())),
            start(&shipped().replace("backend: local", "backend: locale")),
            start(&shipped().replace(
                "compactor:",
                "overrides: {defaults: {ingestion: {burst_size_bytes: 1}}}\ncompactor:",
            )),
            start("a: ["),
            start("storage: {trace: {backend: local}}"),
        ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    failed parsing config: failed to parse configFile /conf/tempo.yaml: yaml: unmarshal errors: line 24: cannot unmarshal !!str `30d` into time.Duration
    failed parsing config: failed to parse configFile /conf/tempo.yaml: yaml: unmarshal errors: line 1: field live_store not found in type app.Config
    error running Tempo: failed to init module services: error initialising module: store: failed to create store: unknown backend locale
    starts: overrides.defaults.ingestion.burst_size_bytes is not rehearsed: it has no effect; 
    failed parsing config: failed to parse configFile /conf/tempo.yaml: yaml: tempo.yaml:1:4: this `[` is never closed
    starts: distributor.receivers is not rehearsed: nothing is received: only otlp is played;
    "#);
}
