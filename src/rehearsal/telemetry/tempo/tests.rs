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
    insta::assert_snapshot!(told.join("\n"));
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
    insta::assert_snapshot!(told.join("\n"));
}
