//! The rehearsal's telemetry services against the real ones: the same spans, with secrets in every place, through the
//! real Collector into the real Tempo and through the rehearsal's, with the configuration that the shipped plan writes.

use crate::condition::until;
use crate::process::{Process, free_port, program};
use crate::substitution::{Surroundings, substitute};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use firstlight::port::Clock;
use firstlight::rehearsal::telemetry::collector::Collector;
use firstlight::rehearsal::telemetry::tempo::{Tempo, Volume};
use firstlight::rehearsal::telemetry::{Network, Service};
use firstlight::text::Clean;
use firstlight::yaml::{Limits, Source, parse};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One key of a ConfigMap asset, with the inputs of the plan.
fn config(asset: &str, key: &str) -> Result<String> {
    let text = asset.replace("${namespace}", "monitoring").replace("${retention}", "720h");
    let documents = parse(&Source::new("asset", text), &Limits::MANIFEST)
        .map_err(|problems| anyhow::anyhow!("{}", problems[0].headline()))?;
    let node = documents.first().and_then(|document| document.root.get("data")?.get(key)?.as_str());
    Ok(node.context("the asset has no such key")?.to_owned())
}

/// Local ports and folders for one program.
struct Local<'t> {
    ports: BTreeMap<u16, u16>,
    names: SocketAddr,
    folder: &'t Path,
}

impl Surroundings for Local<'_> {
    fn listen(&mut self, port: u16) -> u16 {
        // Without a port the program chooses one, and the test fails for not finding it.
        let local = free_port().unwrap_or(0);
        self.ports.insert(port, local);
        local
    }
    fn name(&mut self, _: &str, _: u16) -> SocketAddr {
        self.names
    }
    fn path(&mut self, path: &str) -> Option<String> {
        Some(self.folder.join(path.trim_start_matches('/')).display().to_string())
    }
}

/// A clock that a test moves.
struct Hand(AtomicU64);

#[async_trait]
impl Clock for Hand {
    fn wall(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn boot(&self) -> Duration {
        Duration::from_millis(self.wall())
    }
    async fn sleep(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap_or(0), Ordering::SeqCst);
    }
}

/// Every name leads to Tempo.
struct ToTempo(Arc<Tempo>);

impl Network for ToTempo {
    fn reach(&self, _: &str, port: u16) -> Result<(Arc<dyn Service>, u16), Clean> {
        Ok((self.0.clone(), port))
    }
}

fn start(name: &str, folder: &Path, text: &str, names: SocketAddr) -> Result<(Process, BTreeMap<u16, u16>)> {
    let mut local = Local { ports: BTreeMap::new(), names, folder };
    let text = substitute(text, &mut local);
    let file = folder.join(format!("{name}.yaml"));
    std::fs::write(&file, text)?;
    let argument = if name == "tempo" { "-config.file=" } else { "--config=" };
    let arguments = [format!("{argument}{}", file.display())];
    Ok((Process::start(name, &program(name)?, &arguments, &[], folder)?, local.ports))
}

/// Secrets in every place that a span has, and what looks like one and is none.
fn body(trace: &str, start: u64) -> Value {
    let kind = "PRIVATE KEY";
    let token = format!("{} {}", "Bearer", "abcdefgh12345678XYZ");
    let web = format!("{}.{}.{}", "eyJhbGciOiJub25l", "eyJzdWIiOiIx", "c2lnbmF0dXJl");
    let pem = format!("a -----BEGIN {kind}-----\nMIIabc\ndef\n-----END {kind}----- z");
    let cut = format!("{}\n-----END {kind}-----", "A".repeat(40));
    let issued = format!("{}_{}", "ghp", "a1".repeat(18));
    let address = "postgres://user:word@db/x?token=abc&a=1&PASSWORD=x%20y#f";
    let text = |value: &str| json!({ "stringValue": value });
    let pair = |key: &str, value: Value| json!({ "key": key, "value": value });
    let everywhere = || -> Vec<Value> {
        let all = [
            token.as_str(),
            &web,
            &pem,
            &cut,
            &issued,
            address,
            "plain words, and bearer of news",
            "é ſ \u{212a}",
        ];
        let mut pairs: Vec<Value> =
            all.iter().enumerate().map(|(number, value)| pair(&format!("a{number}"), text(value))).collect();
        let list: Vec<Value> = all.iter().map(|value| text(value)).collect();
        let map: Vec<Value> =
            all.iter().enumerate().rev().map(|(n, value)| pair(&format!("k{n}"), text(value))).collect();
        pairs.extend([
            pair("list", json!({ "arrayValue": { "values": list } })),
            pair("map", json!({ "kvlistValue": { "values": map } })),
            pair("clean.list", json!({ "arrayValue": { "values": [text("a"), { "intValue": "5" }, { "boolValue": true }, {}] } })),
            pair("int", json!({ "intValue": "42" })),
            pair("double", json!({ "doubleValue": 1.5 })),
            pair("bool", json!({ "boolValue": true })),
            pair("bytes", json!({ "bytesValue": "QUJD" })),
            pair("none", json!({})),
            pair("http.request.header.authorization", json!({ "arrayValue": { "values": [text("x")] } })),
            pair("db.password", text("one\ntwo\n")),
            pair("secret", json!({ "doubleValue": 0.000_000_1 })),
            pair("access_token", text("")),
            pair("api-key", json!({ "kvlistValue": { "values": [] } })),
            pair("tokens.used", json!({ "intValue": "7" })),
        ]);
        pairs
    };
    let mut resource = vec![pair("service.name", text("canary"))];
    resource.extend(everywhere());
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{
            "scope": { "name": "scope", "version": "1", "attributes": everywhere() },
            "spans": [
                {
                    "traceId": trace, "spanId": "b7ad6b7169203331", "name": format!("GET {token} {address} {web}"), "kind": 2,
                    "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 30_000_000).to_string(),
                    "attributes": everywhere(), "traceState": "a=b", "flags": 1,
                    "events": [{ "timeUnixNano": (start + 1).to_string(), "name": format!("{pem} {issued}"), "attributes": everywhere() }],
                    "links": [{ "traceId": trace, "spanId": "00f067aa0ba902b7", "attributes": everywhere() }],
                    "status": { "code": 2, "message": format!("{cut} {token}") },
                },
                {
                    "traceId": trace, "spanId": "00000000000000b1", "parentSpanId": "b7ad6b7169203331", "name": "child",
                    "startTimeUnixNano": (start + 1_000).to_string(), "endTimeUnixNano": (start + 2_000).to_string(),
                },
            ],
        }],
    }] })
}

/// Sorts the attributes that a search shows of spans: those come from a map, too.
fn sort_shown(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort_shown),
        Value::Object(members) => {
            if let Some(shown) = members.get_mut("attributes").and_then(Value::as_array_mut) {
                shown.sort_by_key(|pair| pair["key"].to_string());
            }
            members.values_mut().for_each(sort_shown);
        }
        _ => {}
    }
}

/// Without what differs by nature: sizes, counts of work, the order of Go's maps.
fn comparable(mut answer: Value) -> Value {
    if let Some(members) = answer.as_object_mut() {
        members.remove("metrics");
        // Tempo walks a map of scopes.
        if let Some(scopes) = members.get_mut("scopes").and_then(Value::as_array_mut) {
            scopes.sort_by_key(|scope| scope["name"].to_string());
        }
        for trace in members.get_mut("traces").and_then(Value::as_array_mut).into_iter().flatten() {
            sort_shown(trace);
        }
    }
    answer
}

#[tokio::test]
async fn the_same_spans_look_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tempo_config = config(include_str!("../../assets/tempo/configmap.yaml"), "tempo.yaml")?;
    let collector_config = config(include_str!("../../assets/collector/configmap.yaml"), "relay.yaml")?;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let (_tempo, tempo_ports) = start("tempo", folder.path(), &tempo_config, nowhere)?;
    let (_collector, ports) = start(
        "otelcol",
        folder.path(),
        &collector_config,
        SocketAddr::from(([127, 0, 0, 1], tempo_ports[&4317])),
    )?;

    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let clock = Arc::new(Hand(AtomicU64::new(now)));
    let tempo = Arc::new(Tempo::start(&tempo_config, clock.clone(), &Volume::default())?);
    let network = Arc::new(ToTempo(tempo.clone()));
    let collector = Collector::start(&collector_config, &BTreeMap::new(), clock.clone(), network)?;
    ensure!(collector.unrehearsed().is_empty() && tempo.unrehearsed().is_empty());

    firstlight::adapter::kubeconfig::install_tls();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let real = async |port: u16, method: &str, path: &str, body: Option<String>| -> Result<(u16, String)> {
        let request = client.request(method.parse()?, format!("http://127.0.0.1:{port}{path}"));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let ours = |service: &dyn Service, port: u16, method: &str, path: &str, body: Option<String>| {
        let request =
            http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = service.handle(port, &request.body(body.unwrap_or_default().into()).unwrap());
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    };

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let spans = body(trace, now * 1_000_000).to_string();
    until("the Collector takes spans", 60, async || {
        let (status, text) = real(ports[&4318], "POST", "/v1/traces", Some(spans.clone())).await?;
        ensure!(status == 200, "{status} {text}");
        Ok(())
    })
    .await?;
    assert_eq!(
        ours(&collector, 4318, "POST", "/v1/traces", Some(spans)),
        (200, r#"{"partialSuccess":{}}"#.to_owned())
    );
    clock.sleep(Duration::from_millis(200)).await;
    collector.advance();

    let path = format!("/api/v2/traces/{trace}");
    let expected = until("the trace is read by its id", 60, async || {
        let (status, text) = real(tempo_ports[&3200], "GET", &path, None).await?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{status} {text}"))?;
        ensure!(answer.pointer("/trace/resourceSpans").is_some(), "{text}");
        Ok(comparable(answer))
    })
    .await?;
    let got: Value = serde_json::from_str(&ours(tempo.as_ref(), 3200, "GET", &path, None).1)?;
    assert_eq!(comparable(got), expected);

    // What is asked of either in the same words is answered in the same words.
    let (start, end) = (now / 1_000 - 300, now / 1_000 + 300);
    let searched = |query: &str| {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("/api/search?q={query}&start={start}&end={end}")
    };
    let first = searched(r#"{resource.service.name="canary"}"#);
    until("the trace is found by search", 60, async || {
        let (status, text) = real(tempo_ports[&3200], "GET", &first, None).await?;
        ensure!(text.contains("canary"), "{status} {text}");
        Ok(())
    })
    .await?;
    clock.sleep(Duration::from_secs(15)).await;
    for path in [
        first,
        searched("{}"),
        searched(r#"{name="child"}"#),
        searched(r#"{resource.service.name="canary" && duration>20ms}"#),
        searched("{status=error}"),
        searched("{duration<2us}"),
        searched("{span.int=42 && kind=server}"),
        searched(r#"{span.a0="****"}"#),
        searched(r#"{name=~"ch.*"}"#),
        searched(r#"{name=~"ch"}"#),
        searched(r#"{resource.service.name="nobody"}"#),
        searched("{name="),
        "/api/search?start=50&end=20&q=%7B%7D".to_owned(),
        format!("/api/search?q=%7B%7D&start=1&end={end}"),
        "/api/search?q=%7B%7D&limit=0".to_owned(),
        "/api/v2/search/tags".to_owned(),
        "/api/v2/search/tag/resource.service.name/values".to_owned(),
        "/api/search/tag/service.name/values".to_owned(),
        "/api/v2/traces/0af7651916cd43dd8448eb211c80319d".to_owned(),
        "/api/traces/0af7651916cd43dd8448eb211c80319d".to_owned(),
        "/api/v2/traces/xyz".to_owned(),
        "/api/echo".to_owned(),
        "/nope".to_owned(),
    ] {
        let (real_status, real_text) = real(tempo_ports[&3200], "GET", &path, None).await?;
        let (status, text) = ours(tempo.as_ref(), 3200, "GET", &path, None);
        assert_eq!(status, real_status, "{path}: {text} | {real_text}");
        match (serde_json::from_str(&text), serde_json::from_str(&real_text)) {
            (Ok(ours), Ok(real)) => assert_eq!(comparable(ours), comparable(real), "{path}"),
            _ => assert_eq!(text, real_text, "{path}"),
        }
    }
    for (method, path, body) in [
        ("POST", "/v1/traces/v1/traces", Some("{}")),
        ("POST", "/v1/traces", Some("{}")),
        ("GET", "/v1/traces", None),
        ("POST", "/v1/logs", Some("{}")),
    ] {
        let body = body.map(str::to_owned);
        let expected = real(ports[&4318], method, path, body.clone()).await?;
        assert_eq!(ours(&collector, 4318, method, path, body), expected, "{method} {path}");
    }
    Ok(())
}
