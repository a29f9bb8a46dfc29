//! Tempo's configuration, as far as it is played. The real program reads it strictly (`yaml.UnmarshalStrict`).

use super::super::{StartError, Unrehearsed, duration};
use crate::text::Clean;
use crate::yaml::{self, Limits, Node, Source};

/// Top-level keys of 2.8 (grafana/tempo cmd/tempo/app/config.go).
const KEYS: [&str; 27] = [
    "target",
    "enable_go_runtime_metrics",
    "multitenancy_enabled",
    "http_api_prefix",
    "use_otel_tracer",
    "autocomplete_filtering_enabled",
    "stream_over_http_enabled",
    "shutdown_delay",
    "server",
    "internal_server",
    "distributor",
    "ingester_client",
    "metrics_generator_client",
    "querier",
    "query_frontend",
    "compactor",
    "ingester",
    "metrics_generator",
    "block_builder",
    "backend_scheduler",
    "backend_scheduler_client",
    "backend_worker",
    "storage",
    "overrides",
    "memberlist",
    "usage_report",
    "cache_provider",
];

/// Settings that change nothing that the rehearsal shows.
const OF_NO_CONSEQUENCE: [&str; 10] = [
    "stream_over_http_enabled",
    "server.http_listen_address",
    "server.grpc_listen_address",
    "server.grpc_listen_port",
    "server.log_level",
    "server.log_format",
    "ingester.lifecycler.address",
    "storage.trace.local.path",
    "storage.trace.wal.path",
    "usage_report.reporting_enabled",
];

/// Settings of a running Tempo. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) http_port: u16,
    pub(super) otlp_grpc: Option<(u16, bool)>,
    pub(super) otlp_http: Option<(u16, bool)>,
    pub(super) retention: u64,
    pub(super) search_range: u64,
    pub(super) idle: u64,
    pub(super) live: u64,
    pub(super) check: u64,
    pub(super) unrehearsed: Vec<Unrehearsed>,
}

impl Config {
    pub(super) fn read(text: &str) -> Result<Self, StartError> {
        let fails = |why: String| {
            StartError::new(format!(
                "failed parsing config: failed to parse configFile /conf/tempo.yaml: yaml: {why}"
            ))
        };
        let documents = yaml::parse(&Source::new("tempo.yaml", text), &Limits::MANIFEST)
            .map_err(|problems| fails(problems.first().map(yaml::Problem::headline).unwrap_or_default()))?;
        let mut config = Self {
            http_port: 3200,
            otlp_grpc: None,
            otlp_http: None,
            retention: 336 * 3_600_000,
            search_range: 168 * 3_600_000,
            idle: 5_000,
            live: 30_000,
            check: 10_000,
            unrehearsed: Vec::new(),
        };
        let mut receivers = false;
        let mut backend = "";
        if let Some(root) = documents.first().map(|document| &document.root) {
            for (key, _) in root.entries() {
                let name = key.as_str().unwrap_or_default();
                if !KEYS.contains(&name) {
                    let line = key.span.line;
                    return Err(fails(format!(
                        "unmarshal errors: line {line}: field {name} not found in type app.Config"
                    )));
                }
            }
            let mut leaves = Vec::new();
            collect(root, String::new(), &mut leaves);
            for (path, node) in leaves {
                let value = node.as_str().unwrap_or_default();
                let wrong = |kind: &str| {
                    let line = node.span.line;
                    fails(format!(
                        "unmarshal errors: line {line}: cannot unmarshal !!str `{value}` into {kind}"
                    ))
                };
                let time = || {
                    let read = duration::parse(value).ok_or_else(|| wrong("time.Duration"))?;
                    Ok(u64::try_from(read / 1_000_000).unwrap_or(0))
                };
                match path.as_str() {
                    "server.http_listen_port" => {
                        config.http_port = value.parse().map_err(|_| wrong("int"))?
                    }
                    "compactor.compaction.block_retention" => config.retention = time()?,
                    "query_frontend.search.max_duration" => config.search_range = time()?,
                    "ingester.trace_idle_period" => config.idle = time()?,
                    "ingester.trace_live_period" => config.live = time()?,
                    "ingester.flush_check_period" => config.check = time()?.max(1),
                    "storage.trace.backend" => backend = value,
                    "target" if value == "all" => {}
                    "distributor.receivers.otlp.protocols.grpc"
                    | "distributor.receivers.otlp.protocols.grpc.endpoint" => {
                        receivers = true;
                        config.otlp_grpc = Some(endpoint(value, 4317).ok_or_else(|| wrong("an address"))?);
                    }
                    "distributor.receivers.otlp.protocols.http"
                    | "distributor.receivers.otlp.protocols.http.endpoint" => {
                        receivers = true;
                        config.otlp_http = Some(endpoint(value, 4318).ok_or_else(|| wrong("an address"))?);
                    }
                    path if OF_NO_CONSEQUENCE.contains(&path) => {}
                    path => config.unrehearsed.push(Unrehearsed {
                        place: Clean::new(path),
                        instead: Clean::new("it has no effect"),
                    }),
                }
            }
        }
        match backend {
            "local" => {}
            "s3" | "gcs" | "azure" => config.unrehearsed.push(Unrehearsed {
                place: Clean::new("storage.trace.backend"),
                instead: Clean::new("traces are kept as with the local one"),
            }),
            other => {
                return Err(StartError::new(format!(
                    "error running Tempo: failed to init module services: error initialising module: store: failed to create store: unknown backend {other}"
                )));
            }
        }
        if !receivers {
            config.unrehearsed.push(Unrehearsed {
                place: Clean::new("distributor.receivers"),
                instead: Clean::new("nothing is received: only otlp is played"),
            });
        }
        Ok(config)
    }
}

/// Port, and whether it is bound to the pod's loopback alone. Without an address it is (receivers' default).
fn endpoint(text: &str, default: u16) -> Option<(u16, bool)> {
    if text.is_empty() {
        return Some((default, true));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((port.parse().ok()?, matches!(host, "localhost" | "127.0.0.1" | "[::1]")))
}

/// Every value with its path; empty mappings are values too.
fn collect<'n>(node: &'n Node, path: String, leaves: &mut Vec<(String, &'n Node)>) {
    if node.entries().next().is_none() {
        if !path.is_empty() {
            leaves.push((path, node));
        }
        return;
    }
    for (key, value) in node.entries() {
        let name = key.as_str().unwrap_or_default();
        collect(value, if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, leaves);
    }
}
