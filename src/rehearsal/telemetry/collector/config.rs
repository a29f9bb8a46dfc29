//! The Collector's configuration, as far as it is played.

use super::super::{StartError, Unrehearsed};
use super::expand::expand;
use super::redaction::Redaction;
use super::section::Section;
use super::transform::Transform;
use crate::text::Clean;
use crate::yaml::{self, Limits, Source};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where the Collector listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) port: u16,
    /// Bound to the pod's loopback: nobody else reaches it.
    pub(super) loopback: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    MemoryLimiter,
    Redaction(Redaction),
    Transform(Transform),
    /// Waits this long, in milliseconds, for more.
    Batch(u64),
}

/// An exporter by OTLP over gRPC.
#[derive(Clone, Debug)]
pub(super) struct Exporter {
    /// `otlp/tempo`
    pub(super) id: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) plaintext: bool,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) steps: Vec<Step>,
    pub(super) exporters: Vec<Exporter>,
}

#[derive(Debug)]
pub(super) struct Config {
    pub(super) grpc: Option<Listener>,
    pub(super) http: Option<Listener>,
    pub(super) health: Option<Listener>,
    pub(super) metrics: Option<Listener>,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) unrehearsed: Vec<Unrehearsed>,
}

fn fails(message: impl AsRef<str>) -> StartError {
    StartError::new(format!("Error: {}", message.as_ref()))
}

/// Type of a component: the part of its id before the slash.
fn kind(id: &str) -> &str {
    id.split_once('/').map_or(id, |(kind, _)| kind)
}

/// Host and port of `host:port`.
fn address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
}

fn listener(section: &Section<'_>, default: &str) -> Result<Listener, StartError> {
    let text = section.text("endpoint")?.unwrap_or(default);
    let (host, port) = address(text).ok_or_else(|| {
        fails(format!("'{}::endpoint' failed to listen: {text:?} is no address", section.place))
    })?;
    Ok(Listener { port, loopback: matches!(host, "localhost" | "127.0.0.1" | "::1") })
}

impl Config {
    pub(super) fn read(text: &str, env: &BTreeMap<String, String>) -> Result<Self, StartError> {
        let documents =
            yaml::parse(&Source::new("relay.yaml", text), &Limits::MANIFEST).map_err(|problems| {
                let first = problems.first().map(yaml::Problem::headline).unwrap_or_default();
                fails(format!("failed to get config: cannot resolve the configuration: yaml: {first}"))
            })?;
        let root = documents.first().map(|document| &document.root).filter(|root| !root.is_null());
        let root = root.ok_or_else(|| fails("empty configuration file"))?;
        let mut value = root.to_json().map_err(|problem| fails(problem.headline()))?;
        let mut unrehearsed = Vec::new();
        expand(&mut value, env, "", &mut unrehearsed);
        let Value::Object(members) = &value else {
            return Err(fails(
                "failed to get config: cannot resolve the configuration: it cannot be used as a Conf",
            ));
        };
        let known = ["receivers", "processors", "exporters", "extensions", "connectors", "service"];
        if let Some(key) = members.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(fails(format!("'' has invalid keys: {key}")));
        }
        let mut reader = Reader { parts: &value, unrehearsed };
        let mut config = reader.service()?;
        reader.unrehearsed.sort();
        reader.unrehearsed.dedup();
        config.unrehearsed = reader.unrehearsed;
        Ok(config)
    }
}

struct Reader<'c> {
    parts: &'c Value,
    unrehearsed: Vec<Unrehearsed>,
}

impl<'c> Reader<'c> {
    fn note(&mut self, place: impl AsRef<str>, instead: &str) {
        self.unrehearsed.push(Unrehearsed { place: Clean::new(place), instead: Clean::new(instead) });
    }

    /// The configuration of a component that a pipeline or the service names.
    fn component(&self, part: &str, id: &str, by: &str) -> Result<Section<'c>, StartError> {
        let all = Section::new(part, self.parts.get(part))?;
        if !all.members().any(|(name, _)| name == id) {
            let what = part.trim_end_matches('s');
            return Err(fails(format!("{by}: references {what} {id:?} which is not configured")));
        }
        all.section(id)
    }

    fn service(&mut self) -> Result<Config, StartError> {
        let mut config = Config {
            grpc: None,
            http: None,
            health: None,
            metrics: Some(Listener { port: 8888, loopback: true }),
            pipelines: Vec::new(),
            unrehearsed: Vec::new(),
        };
        let service = Section::new("service", self.parts.get("service"))?;
        service.keys(&["extensions", "pipelines", "telemetry"], Some(&[]), &mut self.unrehearsed)?;
        for id in service.texts("extensions")? {
            let extension = self.component("extensions", id, "service::extensions")?;
            if kind(id) == "health_check" {
                extension.keys(&["endpoint"], None, &mut self.unrehearsed)?;
                config.health = Some(listener(&extension, "localhost:13133")?);
            } else {
                self.note(&extension.place, "it does nothing");
            }
        }
        self.telemetry(&service.section("telemetry")?, &mut config)?;
        let pipelines = service.section("pipelines")?;
        if pipelines.members().next().is_none() {
            return Err(fails("service::pipelines: service must have at least one pipeline"));
        }
        for (id, _) in pipelines.members() {
            self.pipeline(id, &pipelines.section(id)?, &mut config)?;
        }
        let connectors = Section::new("connectors", self.parts.get("connectors"))?;
        for (id, _) in connectors.members() {
            self.note(format!("connectors::{id}"), "it does nothing");
        }
        Ok(config)
    }

    fn telemetry(&mut self, telemetry: &Section<'_>, config: &mut Config) -> Result<(), StartError> {
        // Logs and traces of its own change nothing that the rehearsal shows.
        telemetry.keys(&["metrics", "logs", "resource"], None, &mut self.unrehearsed)?;
        let metrics = telemetry.section("metrics")?;
        metrics.keys(&["readers", "level"], None, &mut self.unrehearsed)?;
        if metrics.text("level")? == Some("none") {
            config.metrics = None;
        }
        for (number, reader) in metrics.items("readers")?.iter().enumerate() {
            let place = format!("{}::readers::{number}", metrics.place);
            let reader = Section::new(&place, Some(reader))?;
            let prometheus = reader.section("pull")?.section("exporter")?.section("prometheus")?;
            let Ok(port @ 1..) = u16::try_from(prometheus.number("port")?) else {
                self.note(&place, "only a pull by Prometheus is played");
                continue;
            };
            let host = prometheus.text("host")?.unwrap_or("localhost");
            let loopback = matches!(host, "localhost" | "127.0.0.1" | "::1");
            config.metrics = Some(Listener { port, loopback });
        }
        Ok(())
    }

    fn pipeline(&mut self, id: &str, pipeline: &Section<'_>, config: &mut Config) -> Result<(), StartError> {
        let by = format!("service::pipelines::{id}");
        pipeline.keys(&["receivers", "processors", "exporters"], Some(&[]), &mut self.unrehearsed)?;
        let (receivers, exporters) = (pipeline.texts("receivers")?, pipeline.texts("exporters")?);
        if receivers.is_empty() {
            return Err(fails(format!("{by}: must have at least one receiver")));
        }
        if exporters.is_empty() {
            return Err(fails(format!("{by}: must have at least one exporter")));
        }
        if kind(id) != "traces" {
            self.note(&by, "only traces are played");
            return Ok(());
        }
        let mut from_otlp = false;
        for id in receivers {
            let receiver = self.component("receivers", id, &by)?;
            if kind(id) == "otlp" && !from_otlp {
                from_otlp = true;
                self.otlp_receiver(&receiver, config)?;
            } else {
                self.note(&receiver.place, "nothing arrives by it");
            }
        }
        let mut steps = Vec::new();
        for id in pipeline.texts("processors")? {
            let processor = self.component("processors", id, &by)?;
            steps.extend(self.processor(kind(id), &processor)?);
        }
        let mut targets = Vec::new();
        for id in exporters {
            let exporter = self.component("exporters", id, &by)?;
            match kind(id) {
                "otlp" | "otlp_grpc" => targets.push(self.exporter(id, &exporter)?),
                _ => self.note(&exporter.place, "nothing leaves by it"),
            }
        }
        if from_otlp {
            config.pipelines.push(Pipeline { steps, exporters: targets });
        }
        Ok(())
    }

    fn otlp_receiver(&mut self, receiver: &Section<'_>, config: &mut Config) -> Result<(), StartError> {
        receiver.keys(&["protocols"], Some(&[]), &mut self.unrehearsed)?;
        let protocols = receiver.section("protocols")?;
        protocols.keys(&["grpc", "http"], Some(&[]), &mut self.unrehearsed)?;
        let named = |name: &str| protocols.members().any(|(key, _)| key == name);
        if !named("grpc") && !named("http") {
            return Err(fails(format!(
                "{}: must specify at least one protocol when using the OTLP receiver",
                receiver.place
            )));
        }
        for (name, default, listens) in
            [("grpc", "localhost:4317", &mut config.grpc), ("http", "localhost:4318", &mut config.http)]
        {
            if named(name) {
                let protocol = protocols.section(name)?;
                protocol.keys(&["endpoint"], None, &mut self.unrehearsed)?;
                *listens = Some(listener(&protocol, default)?);
            }
        }
        Ok(())
    }

    fn processor(&mut self, kind: &str, processor: &Section<'_>) -> Result<Option<Step>, StartError> {
        Ok(Some(match kind {
            "memory_limiter" => {
                let keys = [
                    "check_interval",
                    "limit_mib",
                    "limit_percentage",
                    "spike_limit_mib",
                    "spike_limit_percentage",
                ];
                let known = ["min_gc_interval_when_soft_limited", "min_gc_interval_when_hard_limited"];
                processor.keys(&keys, Some(&known), &mut self.unrehearsed)?;
                if processor.duration("check_interval")?.unwrap_or(0) == 0 {
                    return Err(fails(format!(
                        "{}: 'check_interval' must be greater than zero",
                        processor.place
                    )));
                }
                if processor.number("limit_mib")? == 0 && processor.number("limit_percentage")? == 0 {
                    return Err(fails(format!(
                        "{}: 'limit_mib' or 'limit_percentage' must be greater than zero",
                        processor.place
                    )));
                }
                Step::MemoryLimiter
            }
            "redaction" => Step::Redaction(Redaction::read(processor, &mut self.unrehearsed)?),
            "transform" => Step::Transform(Transform::read(processor, &mut self.unrehearsed)?),
            "batch" => {
                let keys = ["timeout", "send_batch_size", "send_batch_max_size"];
                let known = ["metadata_keys", "metadata_cardinality_limit"];
                processor.keys(&keys, Some(&known), &mut self.unrehearsed)?;
                for key in ["send_batch_size", "send_batch_max_size"] {
                    if processor.number(key)? > 0 {
                        self.note(format!("{}::{key}", processor.place), "a batch has any size");
                    }
                }
                Step::Batch(processor.duration("timeout")?.unwrap_or(200))
            }
            _ => {
                self.note(&processor.place, "spans pass it unchanged");
                return Ok(None);
            }
        }))
    }

    fn exporter(&mut self, id: &str, exporter: &Section<'_>) -> Result<Exporter, StartError> {
        exporter.keys(&["endpoint", "tls"], None, &mut self.unrehearsed)?;
        let tls = exporter.section("tls")?;
        tls.keys(&["insecure"], None, &mut self.unrehearsed)?;
        let endpoint = exporter.text("endpoint")?.filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint
            .ok_or_else(|| fails(format!("{}: requires a non-empty \"endpoint\"", exporter.place)))?;
        let (plain, rest) = match endpoint.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some((_, rest)) => (false, rest),
            None => (tls.flag("insecure")?, endpoint),
        };
        let (host, port) = address(rest.trim_end_matches('/'))
            .ok_or_else(|| fails(format!("{}: invalid port in \"endpoint\" {endpoint:?}", exporter.place)))?;
        Ok(Exporter { id: id.to_owned(), host: host.to_owned(), port, plaintext: plain })
    }
}
