use super::export::{Target, target};
use super::*;
use crate::rehearsal::telemetry::collector::Collector;
use crate::rehearsal::telemetry::testing::{EPOCH, Names, SetClock, get, read};
use crate::rehearsal::telemetry::{Service, grafana, loki, tempo};
use crate::span::trace_id_in_log;
use std::sync::Arc;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn data(asset: &str, key: &str) -> String {
    let asset = asset
        .replace("${namespace}", "monitoring")
        .replace("${retention}", "720h")
        .replace("${app}", "tripit");
    let documents =
        crate::yaml::parse(&crate::yaml::Source::new("a", asset), &crate::yaml::Limits::MANIFEST).unwrap();
    documents[0].root.get("data").unwrap().get(key).unwrap().as_str().unwrap().to_owned()
}

/// The services of the shipped plan, with the application before them.
struct World {
    clock: Arc<SetClock>,
    names: Arc<Names>,
    collector: Arc<Collector>,
    tempo: Arc<tempo::Tempo>,
    loki: Arc<loki::Loki>,
    tripit: Tripit,
    agent: LogAgent,
    now: u64,
}

impl World {
    fn new() -> Self {
        let (clock, names) = (SetClock::new(), Arc::new(Names::default()));
        let config = data(include_str!("../../../assets/tempo/configmap.yaml"), "tempo.yaml");
        let tempo = Arc::new(tempo::Tempo::start(&config, clock.clone(), &tempo::Volume::default()).unwrap());
        let config = data(include_str!("../../../assets/collector/configmap.yaml"), "relay.yaml");
        let collector =
            Arc::new(Collector::start(&config, &BTreeMap::new(), clock.clone(), names.clone()).unwrap());
        let config = "auth_enabled: false\n";
        let loki = Arc::new(loki::Loki::start(config, clock.clone(), &loki::Volume::default()).unwrap());
        names.put("tempo.monitoring.svc", tempo.clone());
        names.put("otel-collector-opentelemetry-collector.monitoring", collector.clone());
        names.put("loki.monitoring.svc", loki.clone());
        let agent = LogAgent::new(
            "http://loki.monitoring.svc:3100/loki/api/v1/push",
            env(&[("app", "tripit"), ("namespace", "tripit")]),
        );
        Self { clock, names, collector, tempo, loki, tripit: Tripit::new(7, EPOCH), agent, now: EPOCH }
    }

    /// Lets time pass in steps of half a second; returns what was logged.
    fn pass(&mut self, env: &BTreeMap<String, String>, ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..ms / 500 {
            self.clock.pass(500);
            self.now += 500;
            let logged = self.tripit.tick(env, self.now, self.names.as_ref());
            lines.extend(logged.iter().map(|line| line.text.clone()));
            self.agent.ship(logged, self.names.as_ref()).unwrap();
            self.collector.advance();
        }
        lines
    }

    fn found(&self) -> usize {
        let (from, to) = (EPOCH / 1_000 - 60, self.now / 1_000 + 60);
        let path = crate::span::search_path("tripit", from, to, 1_000);
        crate::span::parse_search(self.tempo.handle(3200, &get(&path)).body()).unwrap().len()
    }
}

fn right() -> BTreeMap<String, String> {
    env(&[
        ("LOG_FORMAT", "json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector-opentelemetry-collector.monitoring:4318"),
    ])
}

#[test]
fn first_light_is_found() {
    let mut world = World::new();
    let plain = world.pass(&BTreeMap::new(), 2_000);
    assert_eq!(plain, vec!["INFO GET /trips 200"; 5]);
    let lines = world.pass(&right(), 6_000);
    assert_eq!(lines.len(), 12);
    // A line's id leads to its trace, at once after the export.
    let path =
        crate::span::loki_query_path("{app=\"tripit\"}", EPOCH * 1_000_000, (world.now + 1) * 1_000_000, 100);
    let logged = crate::span::parse_loki(world.loki.handle(3100, &get(&path)).body()).unwrap();
    assert_eq!(logged.len(), 17);
    let ids: Vec<_> = logged.iter().filter_map(|line| line.trace).collect();
    assert_eq!(ids.len(), 12);
    let spans = |id| {
        let answer = world.tempo.handle(3200, &get(&crate::span::trace_path(id)));
        crate::span::parse_tempo_trace(answer.body()).unwrap().spans.len()
    };
    assert!(ids.iter().any(|id| spans(*id) == 3));
    assert_eq!(world.found(), 0);
    world.pass(&right(), 20_000);
    assert!(world.found() > 0);
    let trace = crate::span::parse_tempo_trace(
        world.tempo.handle(3200, &get(&crate::span::trace_path(*ids.last().unwrap()))).body(),
    )
    .unwrap();
    assert_eq!((trace.root().unwrap().name.as_str(), trace.orphans().count()), ("GET /trips", 0));
}

#[test]
fn grafana_reaches_what_the_plan_wrote() {
    let world = World::new();
    let text = data(include_str!("../../../assets/grafana/tempo.yaml"), "tempo-datasource.yaml");
    let folder = BTreeMap::from([("tempo-datasource.yaml".to_owned(), text)]);
    let grafana =
        grafana::Grafana::start(folder, world.names.clone(), &grafana::Database::default()).unwrap();
    assert_eq!(grafana.unrehearsed(), []);
    let echo = grafana.handle(3000, &get("/api/datasources/proxy/uid/tempo/api/echo"));
    assert_eq!(echo.body().as_ref(), b"echo\n");
    let tempo = read(&grafana.handle(3000, &get("/api/datasources/uid/tempo")));
    let query = tempo.pointer("/jsonData/tracesToLogsV2/query").unwrap();
    assert_eq!(query, r#"{app="tripit"} | json | trace_id="${__trace.traceId}""#);
}

#[test]
fn an_endpoint_that_carries_the_path_already_gives_silence() {
    let mut world = World::new();
    let mut wrong = right();
    let endpoint = wrong.get_mut("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap();
    endpoint.push_str("/v1/traces");
    let lines = world.pass(&wrong, 30_000);
    assert_eq!(world.found(), 0);
    let errors: Vec<&String> = lines.iter().filter(|line| line.contains("error")).collect();
    assert_eq!(errors.len(), 6);
    insta::assert_snapshot!(errors[0], @r#"{"level":"error","msg":"failed to export 33 spans, giving up: POST http://otel-collector-opentelemetry-collector.monitoring:4318/v1/traces/v1/traces: 404 Not Found 404 page not found"}"#);
}

#[test]
fn what_goes_wrong_is_logged() {
    let first = |endpoint: &str, more: &[(&str, &str)]| {
        let mut env = env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut world = World::new();
        let lines = world.pass(&env, 6_000);
        lines.into_iter().find(|line| line.starts_with("ERROR")).unwrap_or_else(|| "no error".to_owned())
    };
    let collector = "http://otel-collector-opentelemetry-collector.monitoring";
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let told = [
        first("http://nobody.monitoring:4318", &[]),
        first(&format!("{collector}:4319"), &[]),
        first(&format!("{collector}:4317"), &[]),
        first(collector, &[]),
        first(&format!("{collector}:4318").replace("http", "https"), &[]),
        first("otel-collector:4318", &[]),
        first(&format!("{collector}:4317"), &[grpc]),
        first(&format!("{collector}:4318"), &[grpc]),
        first(&format!("{collector}:4318"), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")]),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    ERROR failed to export 33 spans, trying again: http://nobody.monitoring:4318/v1/traces: lookup nobody.monitoring: no such host
    ERROR failed to export 33 spans, trying again: http://otel-collector-opentelemetry-collector.monitoring:4319/v1/traces: dial otel-collector-opentelemetry-collector.monitoring:4319: connection refused
    ERROR failed to export 33 spans, giving up: POST http://otel-collector-opentelemetry-collector.monitoring:4317/v1/traces: 404 Not Found 404 page not found
    ERROR failed to export 33 spans, trying again: http://otel-collector-opentelemetry-collector.monitoring/v1/traces: dial otel-collector-opentelemetry-collector.monitoring:80: connection refused
    ERROR failed to export 33 spans, giving up: tls: first record does not look like a TLS handshake
    ERROR failed to export 33 spans, giving up: otel-collector:4318/v1/traces: unsupported protocol scheme
    no error
    ERROR failed to export 33 spans, trying again: rpc error: code = Unavailable desc = error reading server preface: http2: frame too large
    ERROR failed to export 33 spans, giving up: unsupported OTLP protocol carrier-pigeon
    "#);
}

#[test]
fn a_collector_that_refuses_is_asked_again() {
    let mut world = World::new();
    world.collector.refuse(true);
    let lines = world.pass(&right(), 6_000);
    assert!(lines.iter().any(|line| line.contains("trying again") && line.contains("503")), "{lines:?}");
    world.collector.refuse(false);
    world.pass(&right(), 30_000);
    let first = trace_id_in_log(&lines[0]).unwrap();
    let answer = world.tempo.handle(3200, &get(&crate::span::trace_path(first)));
    assert_eq!(crate::span::parse_tempo_trace(answer.body()).unwrap().spans.len(), 3, "nothing was lost");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let life = |seed: u64| {
        let mut tripit = Tripit::new(seed, EPOCH);
        tripit.tick(&right(), EPOCH + 60_000, &Names::default())
    };
    assert_eq!(life(1), life(1));
    assert_ne!(life(1), life(2));
    // After a long gap only the last minute is made up for.
    let mut tripit = Tripit::new(1, EPOCH);
    let lines = tripit.tick(&BTreeMap::new(), EPOCH + 3_600_000, &Names::default());
    assert_eq!(lines.len(), usize::try_from(CAUGHT_UP).unwrap() + 1);
    assert_eq!(tripit.due_ms(), EPOCH + 3_600_500);
}

#[test]
fn the_endpoint_is_a_base_and_the_one_for_traces_is_not() {
    let http = |url: &str| Some(Target::Http(url.to_owned()));
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    assert_eq!(target(&env(&[])), None);
    assert_eq!(target(&env(&[(general, " ")])), None);
    assert_eq!(target(&env(&[(general, "http://c:4318/")])), http("http://c:4318/v1/traces"));
    assert_eq!(
        target(&env(&[(general, "http://c:4318/v1/traces")])),
        http("http://c:4318/v1/traces/v1/traces")
    );
    assert_eq!(
        target(&env(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318")])),
        http("http://c:4318")
    );
    assert_eq!(target(&env(&[(general, "http://c"), ("OTEL_TRACES_EXPORTER", "none")])), None);
    assert_eq!(target(&env(&[(general, "http://c"), ("OTEL_SDK_DISABLED", "TRUE")])), None);
}
