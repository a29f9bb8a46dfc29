use super::*;
use crate::rehearsal::telemetry::testing::{EPOCH, SetClock, get, post, read, said};
use crate::span::{loki_query_path, parse_loki};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CONFIG: &str = "auth_enabled: false\nserver: {http_listen_address: 0.0.0.0}\ningester: {lifecycler: {min_ready_duration: 0s}}\n";

fn loki() -> (Arc<SetClock>, Loki) {
    let clock = SetClock::new();
    let loki = Loki::start(CONFIG, clock.clone(), &Volume::default()).unwrap();
    let at = |n: u64| (EPOCH * 1_000_000 + n).to_string();
    let line = json!({ "level": "info", "msg": "GET", "trace_id": TRACE, "n": { "a": 1 } }).to_string();
    let body = json!({ "streams": [
        { "stream": { "app": "tripit", "namespace": "tripit" },
          "values": [[at(1), "INFO GET /trips 200"], [at(2), line], [at(3), "x", { "sm": "v" }]] },
        { "stream": { "app": "other" }, "values": [[at(2), "o"]] },
    ] });
    assert_eq!(said(&loki.handle(3100, &post("/loki/api/v1/push", &body))), (204, String::new()));
    clock.pass(1_000);
    (clock, loki)
}

fn ask(loki: &Loki, path: &str) -> String {
    let (status, text) = said(&loki.handle(3100, &get(path)));
    format!("{status} {}", text.trim_end())
}

fn path(query: &str, limit: u32) -> String {
    loki_query_path(query, (EPOCH - 300_000) * 1_000_000, (EPOCH + 60_000) * 1_000_000, limit)
}

#[test]
fn lines_are_found_as_the_real_one_finds_them() {
    let (_, loki) = loki();
    let mut told = Vec::new();
    for query in [
        r#"{app="tripit"}"#,
        r#"{app="tripit"} |= "trace_id""#,
        r#"{app="tripit"} | json | trace_id="0af7651916cd43dd8448eb211c80319c""#,
        r#"{app="tripit"} | json"#,
        r#"{app="nobody"}"#,
        r#"{app="tripit"} | json | n_a=1"#,
        r#"{app="tripit"} |= `trace` != "INFO""#,
        r#"{app="tripit",namespace!="a"} !~ "^(INFO|x)""#,
        r#"{app="tripit"} | json | level="info" | trace_id=~"0af.*""#,
        "{}",
        r#"{app="tripit""#,
        "x",
        r#"{app=~".*"}"#,
        r#"{app!="tripit"}"#,
        r#"{app="tripit"} | logfmt"#,
        r#"rate({app="tripit"}[5m])"#,
    ] {
        told.push(format!("{query}\n  {}", ask(&loki, &path(query, 5))));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    {app="tripit"}
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","namespace":"tripit","service_name":"tripit"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"],["1795385700000000001","INFO GET /trips 200"]]},{"stream":{"app":"tripit","detected_level":"unknown","namespace":"tripit","service_name":"tripit","sm":"v"},"values":[["1795385700000000003","x"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} |= "trace_id"
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","namespace":"tripit","service_name":"tripit"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} | json | trace_id="0af7651916cd43dd8448eb211c80319c"
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","level":"info","msg":"GET","n_a":"1","namespace":"tripit","service_name":"tripit","trace_id":"0af7651916cd43dd8448eb211c80319c"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} | json
      200 {"data":{"result":[{"stream":{"__error__":"JSONParserErr","__error_details__":"Value looks like object, but can't find closing '}' symbol","app":"tripit","detected_level":"info","namespace":"tripit","service_name":"tripit"},"values":[["1795385700000000001","INFO GET /trips 200"]]},{"stream":{"__error__":"JSONParserErr","__error_details__":"Value looks like object, but can't find closing '}' symbol","app":"tripit","detected_level":"unknown","namespace":"tripit","service_name":"tripit","sm":"v"},"values":[["1795385700000000003","x"]]},{"stream":{"app":"tripit","detected_level":"info","level":"info","msg":"GET","n_a":"1","namespace":"tripit","service_name":"tripit","trace_id":"0af7651916cd43dd8448eb211c80319c"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="nobody"}
      200 {"data":{"result":[],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} | json | n_a=1
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","level":"info","msg":"GET","n_a":"1","namespace":"tripit","service_name":"tripit","trace_id":"0af7651916cd43dd8448eb211c80319c"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} |= `trace` != "INFO"
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","namespace":"tripit","service_name":"tripit"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit",namespace!="a"} !~ "^(INFO|x)"
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","namespace":"tripit","service_name":"tripit"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {app="tripit"} | json | level="info" | trace_id=~"0af.*"
      200 {"data":{"result":[{"stream":{"app":"tripit","detected_level":"info","level":"info","msg":"GET","n_a":"1","namespace":"tripit","service_name":"tripit","trace_id":"0af7651916cd43dd8448eb211c80319c"},"values":[["1795385700000000002","{\"level\":\"info\",\"msg\":\"GET\",\"n\":{\"a\":1},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}"]]}],"resultType":"streams","stats":{}},"status":"success"}
    {}
      400 parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~".*" does not meet this requirement, but app=~".+" will
    {app="tripit"
      400 parse error at line 1, col 14: syntax error: unexpected $end, expecting } or ,
    x
      400 parse error at line 1, col 1: syntax error: unexpected IDENTIFIER, or a form that is not rehearsed
    {app=~".*"}
      400 parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~".*" does not meet this requirement, but app=~".+" will
    {app!="tripit"}
      400 parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~".*" does not meet this requirement, but app=~".+" will
    {app="tripit"} | logfmt
      400 parse error at line 1, col 24: syntax error: unexpected $end, expecting = or != or =~ or !~
    rate({app="tripit"}[5m])
      400 parse error at line 1, col 1: syntax error: unexpected IDENTIFIER, or a form that is not rehearsed
    "#);
    let newest = parse_loki(loki.handle(3100, &get(&path(r#"{app=~"tri.*"}"#, 1))).body()).unwrap();
    assert_eq!((newest.len(), newest[0].line.as_str()), (1, "x"));
    let forward = path(r#"{app=~"tri.*"}"#, 1).replace("backward", "forward");
    let oldest = parse_loki(loki.handle(3100, &get(&forward)).body()).unwrap();
    assert_eq!(oldest[0].line.as_str(), "INFO GET /trips 200");
    let traced = parse_loki(loki.handle(3100, &get(&path(r#"{app="tripit"}"#, 9))).body()).unwrap();
    assert_eq!(traced.iter().filter(|line| line.trace.is_some()).count(), 1);
}

#[test]
fn labels_are_those_of_the_index() {
    let (clock, loki) = loki();
    let told: Vec<String> = [
        "/ready",
        "/loki/api/v1/labels",
        "/loki/api/v1/labels?query=%7Bapp%3D%22other%22%7D",
        "/loki/api/v1/label/app/values",
        "/loki/api/v1/label/nope/values",
        "/loki/api/v1/label/trace_id/values",
        "/loki/api/v1/series?match[]=%7Bapp%3D%22tripit%22%7D",
        "/loki/api/v1/series",
        "/loki/api/v1/query_range",
        "/loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&start=20&end=10",
        "/loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&limit=100000",
        "/loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&start=yesterday",
        "/loki/api/v1/query?query=%7Bapp%3D%22x%22%7D",
        "/loki/api/v1/query?query=vector(1)%2Bvector(1)",
        "/loki/api/v1/tail",
        "/nope",
    ]
    .iter()
    .map(|path| format!("{path}: {}", ask(&loki, path)))
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    /ready: 200 ready
    /loki/api/v1/labels: 200 {"data":["app","namespace","service_name"],"status":"success"}
    /loki/api/v1/labels?query=%7Bapp%3D%22other%22%7D: 200 {"data":["app","service_name"],"status":"success"}
    /loki/api/v1/label/app/values: 200 {"data":["other","tripit"],"status":"success"}
    /loki/api/v1/label/nope/values: 200 {"status":"success"}
    /loki/api/v1/label/trace_id/values: 200 {"status":"success"}
    /loki/api/v1/series?match[]=%7Bapp%3D%22tripit%22%7D: 200 {"data":[{"app":"tripit","namespace":"tripit","service_name":"tripit"}],"status":"success"}
    /loki/api/v1/series: 200 {"data":[{"app":"other","service_name":"other"},{"app":"tripit","namespace":"tripit","service_name":"tripit"}],"status":"success"}
    /loki/api/v1/query_range: 400 parse error : syntax error: unexpected $end
    /loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&start=20&end=10: 400 end timestamp must not be before or equal to start time
    /loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&limit=100000: 400 max entries limit per query exceeded, limit > max_entries_limit_per_query (100000 > 5000)
    /loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D&start=yesterday: 400 could not parse 'start' parameter: invalid time "yesterday"
    /loki/api/v1/query?query=%7Bapp%3D%22x%22%7D: 400 log queries are not supported as an instant query type, please change your query to a range query type
    /loki/api/v1/query?query=vector(1)%2Bvector(1): 200 {"data":{"result":[{"metric":{},"value":[1795385701,"2"]}],"resultType":"vector","stats":{}},"status":"success"}
    /loki/api/v1/tail: 400 /loki/api/v1/tail is not rehearsed
    /nope: 404 404 page not found
    "#);
    // Without a range the last hour is asked for, and for labels the last six.
    clock.pass(2 * 3_600_000);
    let lines = read(&loki.handle(3100, &get("/loki/api/v1/query_range?query=%7Bapp%3D%22tripit%22%7D")));
    assert_eq!(lines["data"]["result"], json!([]));
    assert_eq!(
        read(&loki.handle(3100, &get("/loki/api/v1/label/app/values")))["data"],
        json!(["other", "tripit"])
    );
}

#[test]
fn a_push_is_taken_or_refused() {
    let (_, loki) = loki();
    let push = |body: &Value| {
        let (status, text) = said(&loki.handle(3100, &post("/loki/api/v1/push", body)));
        format!("{status} {}", text.trim_end())
    };
    let one = |stream: Value, at: &str| json!({ "streams": [{ "stream": stream, "values": [[at, "x"]] }] });
    let future = ((EPOCH + 3_600_000) * 1_000_000).to_string();
    let told = [
        push(&one(json!({ "app": "x" }), "1")),
        push(&one(json!({}), &future)),
        push(&one(json!({}), "now")),
        push(&json!({ "streams": 5 })),
        ask(&loki, "/loki/api/v1/push"),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    400 entry for stream '{app="x", service_name="x"}' has timestamp too old: 1970-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-11-15T22:15:01Z
    400 entry for stream '{service_name="unknown_service"}' has timestamp too new: 2026-11-22T23:15:00Z, newest acceptable timestamp is: 2026-11-22T22:25:01Z
    400 loghttp.PushRequest: a value is no time and line
    400 invalid type: integer `5`, expected a sequence at line 1 column 12
    405 405 method not allowed
    "#);
}

#[test]
fn it_is_ready_after_its_time_and_asks_for_a_tenant_by_default() {
    let clock = SetClock::new();
    let loki = Loki::start("limits_config: {max_line_size: 1}\n", clock.clone(), &Volume::default()).unwrap();
    assert_eq!(ask(&loki, "/ready"), "503 Ingester not ready: waiting for 15s after being ready");
    clock.pass(15_000);
    assert_eq!(ask(&loki, "/ready"), "200 ready");
    assert_eq!(ask(&loki, "/loki/api/v1/labels"), "401 no org id");
    insta::assert_snapshot!(loki.unrehearsed()[0], @"limits_config.max_line_size is not rehearsed: the default holds");
    assert!(Loki::start("server: {http_listen_port: x}", clock.clone(), &Volume::default()).is_err());
    assert!(Loki::start("a: [", clock, &Volume::default()).is_err());
}
