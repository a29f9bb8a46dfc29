//! The application of the tests: serves a request twice a second, logs it, and traces it as its environment says.

use crate::cluster::random_hex;
use crate::network::Network;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One exported trace and what came of it.
#[derive(Clone, Debug)]
pub struct Export {
    /// The trace's id in hexadecimal digits.
    pub trace: String,
    /// Nothing, or why it did not arrive.
    pub outcome: Result<(), String>,
}

/// What the application did, over all its pods.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<(Vec<Export>, Vec<String>)>>);

impl Record {
    /// Every export so far.
    pub fn exports(&self) -> Vec<Export> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Why log lines were lost.
    pub fn lost_lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn exported(&self, export: Export) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(export);
    }

    fn lost(&self, reason: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push(reason);
    }
}

/// Where traces go, by the environment, as the OpenTelemetry specification says for OTLP over HTTP
/// (specification/protocol/exporter.md): the general endpoint is a base to which `v1/traces` is added, the one for
/// traces is taken as it is. `None`: the application is not told to export.
fn traces_url(environment: &BTreeMap<String, String>) -> Option<String> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if let Some(url) = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Some(url.clone());
    }
    get("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')))
}

/// Runs until it is dropped.
pub async fn run(environment: &BTreeMap<String, String>, network: &Network, record: &Record) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let url = traces_url(environment);
    let structured = environment.get("LOG_FORMAT").is_some_and(|format| format == "json");
    let service = environment.get("OTEL_SERVICE_NAME").map_or("tripit", String::as_str);
    let grpc = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL").is_some_and(|protocol| protocol == "grpc");
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let trace = random_hex()?;
        let (body, span) = request_trace(service, &trace)?;
        let line = if structured {
            json!({"level": "info", "msg": "GET /trips 200", "trace_id": trace, "span_id": span}).to_string()
        } else {
            "INFO GET /trips 200".to_owned()
        };
        if let Err(error) = push_line(&client, network, &line).await {
            record.lost(format!("{error:#}"));
        }
        if let Some(url) = &url {
            let sent = if grpc {
                Err(anyhow::anyhow!("this application speaks OTLP over HTTP only"))
            } else {
                post(&client, network, url, &body).await
            };
            record.exported(Export { trace, outcome: sent.map(drop).map_err(|error| format!("{error:#}")) });
        }
    }
}

/// A request as three spans in OTLP/JSON, with the id of its root span.
fn request_trace(service: &str, trace: &str) -> Result<(Value, String)> {
    let id = || random_hex().map(|hex| hex.chars().take(16).collect::<String>());
    let (root, query, view) = (id()?, id()?, id()?);
    let now = nanoseconds();
    let span = |name: &str, kind: u8, id: &str, parent: &str, from: u64, to: u64| {
        json!({
            "traceId": trace, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": (now + from * 1_000_000).to_string(),
            "endTimeUnixNano": (now + to * 1_000_000).to_string(),
            "attributes": [{"key": "http.route", "value": {"stringValue": "/trips"}}],
            "status": {},
        })
    };
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": "tripit"}, "spans": [
            span("GET /trips", 2, &root, "", 0, 30),
            span("SELECT trips", 3, &query, &root, 5, 20),
            span("render trips", 1, &view, &root, 20, 28),
        ]}],
    }]});
    Ok((body, root))
}

/// Writes a log line to Loki the way a node's log agent does.
async fn push_line(client: &reqwest::Client, network: &Network, line: &str) -> Result<()> {
    let entry = json!([nanoseconds().to_string(), line]);
    let body = json!({"streams": [{"stream": {"app": "tripit", "namespace": "tripit"}, "values": [entry]}]});
    post(client, network, "http://loki.monitoring.svc:3100/loki/api/v1/push", &body).await.map(drop)
}

/// POSTs JSON to a URL as a program in the cluster would: the host's name is looked up in the cluster.
async fn post(client: &reqwest::Client, network: &Network, url: &str, body: &Value) -> Result<String> {
    let local = local_url(network, url).await.with_context(|| format!("POST {url}"))?;
    let request =
        client.post(local).header("content-type", "application/json").body(serde_json::to_vec(body)?);
    let answer = request.send().await.with_context(|| format!("POST {url}"))?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("POST {url}: {status} {text}");
    }
    Ok(text)
}

/// The URL with host name and port replaced by the local address that they lead to now.
async fn local_url(network: &Network, url: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").context("the URL has no scheme")?;
    if scheme != "http" {
        bail!("the harness speaks no {scheme}");
    }
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().context("the port is no number")?),
        None => (authority, 80),
    };
    let address: SocketAddr = network.resolve(host, port).await?;
    Ok(format!("http://{address}/{path}"))
}

fn nanoseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_a_base_and_the_one_for_traces_is_not() {
        let url = |pairs: &[(&str, &str)]| {
            traces_url(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).as_deref(),
            Some("http://c:4318/v1/traces")
        );
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/v1/traces")]).as_deref(),
            Some("http://c:4318/v1/traces/v1/traces")
        );
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318")]).as_deref(),
            Some("http://c:4318")
        );
    }
}
