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
    insta::assert_snapshot!(told.join("\n"));
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
    insta::assert_snapshot!(told.join("\n"));
    // Without a range the last hour is asked for, and for labels the last six.
    clock.pass(2 * 3_600_000);
    let lines = read(&loki.handle(3100, &get("/loki/api/v1/query_range?query=%7Bapp%3D%22tripit%22%7D")));
    assert_eq!(lines["data"]["result"], json!([]));
    assert_eq!(read(&loki.handle(3100, &get("/loki/api/v1/label/app/values")))["data"], json!(["other", "tripit"]));
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
    insta::assert_snapshot!(told.join("\n"));
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
