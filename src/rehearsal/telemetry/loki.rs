//! A Loki 3.x: single binary. It takes lines by JSON, and answers range queries, labels and series.
//!
//! Structured metadata and parsed labels are merged into the `stream` of a result, as the real one does without
//! `categorize-labels`; labels of the index are those of `/labels` and `/series` alone (loki-http-api.md,
//! get-started/labels/structured-metadata.md). Texts were seen on the real 3.7.

mod logql;

use super::form::{Form, decoded};
use super::{
    Request, Response, Service, StartError, Unrehearsed, duration, json, page_not_found, respond, text,
    unrehearsed,
};
use crate::port::Clock;
use crate::text::Clean;
use crate::yaml::{self, Limits, Source};
use http::{Method, StatusCode, header};
use logql::{Labels, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECOND: u64 = 1_000_000_000;
/// Older entries are refused (`reject_old_samples_max_age`).
const OLDEST: u64 = 168 * 3_600 * SECOND;
/// Entries further in the future are refused (`creation_grace_period`).
const NEWEST: u64 = 600 * SECOND;
/// Lines of one answer at most (`max_entries_limit_per_query`).
const MOST_LINES: usize = 5_000;

/// What Loki keeps on its volume; it outlives the pod where the volume does.
#[derive(Clone, Default)]
pub struct Volume(Arc<Mutex<BTreeMap<Labels, Vec<Entry>>>>);

#[derive(Clone)]
struct Entry {
    at_ns: u64,
    line: String,
    /// Structured metadata.
    metadata: Labels,
}

/// A running Loki.
pub struct Loki {
    port: u16,
    loopback: bool,
    tenants: bool,
    unready_ms: u64,
    clock: Arc<dyn Clock>,
    started_ms: u64,
    volume: Volume,
    unrehearsed: Vec<Unrehearsed>,
}

#[derive(Deserialize)]
struct Push {
    streams: Vec<PushedStream>,
}

#[derive(Deserialize)]
struct PushedStream {
    stream: Labels,
    values: Vec<Vec<Value>>,
}

/// Labels that a stream takes its `service_name` from (limits_config `discover_service_name`).
const SERVICE: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

impl Loki {
    /// Starts one with the text of its configuration file.
    ///
    /// # Errors
    /// What the real program says before it ends.
    pub fn start(config: &str, clock: Arc<dyn Clock>, volume: &Volume) -> Result<Self, StartError> {
        let fails =
            |why: String| StartError::new(format!("failed parsing config: /etc/loki/loki.yaml: yaml: {why}"));
        let documents = yaml::parse(&Source::new("loki.yaml", config), &Limits::MANIFEST)
            .map_err(|problems| fails(problems.first().map(yaml::Problem::headline).unwrap_or_default()))?;
        let root = documents.first().map(|document| &document.root);
        let value = |path: &[&str]| {
            path.iter().try_fold(root?, |node, key| node.get(key)).and_then(yaml::Node::as_str)
        };
        let port = match value(&["server", "http_listen_port"]) {
            Some(port) => {
                port.parse().map_err(|_| fails(format!("cannot unmarshal !!str `{port}` into int")))?
            }
            None => 3100,
        };
        let unready = match value(&["ingester", "lifecycler", "min_ready_duration"]) {
            Some(text) => duration::parse(text)
                .ok_or_else(|| fails(format!("cannot unmarshal !!str `{text}` into time.Duration")))?,
            None => 15_000_000_000,
        };
        // Where and how it stores changes nothing that is shown; its limits would.
        let limits = root.and_then(|root| root.get("limits_config"));
        let of_no_consequence = ["retention_period", "allow_structured_metadata", "volume_enabled"];
        let unrehearsed = limits
            .into_iter()
            .flat_map(yaml::Node::entries)
            .filter_map(|(key, _)| key.as_str().filter(|key| !of_no_consequence.contains(key)))
            .map(|key| Unrehearsed {
                place: Clean::new(format!("limits_config.{key}")),
                instead: Clean::new("the default holds"),
            })
            .collect();
        Ok(Self {
            port,
            loopback: value(&["server", "http_listen_address"])
                .is_some_and(|host| matches!(host, "localhost" | "127.0.0.1")),
            // With tenants, which is the default, every request needs one.
            tenants: value(&["auth_enabled"]) != Some("false"),
            unready_ms: u64::try_from(unready / 1_000_000).unwrap_or(0),
            started_ms: clock.wall(),
            clock,
            volume: volume.clone(),
            unrehearsed,
        })
    }

    /// What the configuration asks for and the rehearsal does not play.
    pub fn unrehearsed(&self) -> &[Unrehearsed] {
        &self.unrehearsed
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Labels, Vec<Entry>>> {
        self.volume.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        self.clock.wall().saturating_mul(1_000_000)
    }

    fn push(&self, request: &Request) -> Response {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
        }
        let content = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content
            .is_none_or(|content| content.split(';').next().unwrap_or_default().trim() != "application/json")
        {
            return unrehearsed("a push other than application/json");
        }
        let push: Push = match serde_json::from_slice(request.body()) {
            Ok(push) => push,
            Err(why) => return text(StatusCode::BAD_REQUEST, format!("{why}\n")),
        };
        let now = self.now_ns();
        let mut kept = self.kept();
        let mut refused = String::new();
        for PushedStream { stream: mut labels, values } in push.streams {
            if !labels.contains_key("service_name") {
                let name = SERVICE.iter().find_map(|label| labels.get(*label)).cloned();
                labels
                    .insert("service_name".to_owned(), name.unwrap_or_else(|| "unknown_service".to_owned()));
            }
            for value in values {
                let time = value.first().and_then(Value::as_str).and_then(|time| time.parse::<u64>().ok());
                let (Some(at_ns), Some(line)) = (time, value.get(1).and_then(Value::as_str)) else {
                    return text(
                        StatusCode::BAD_REQUEST,
                        "loghttp.PushRequest: a value is no time and line\n",
                    );
                };
                let limit = if at_ns + OLDEST < now {
                    Some(("old, oldest", now - OLDEST))
                } else if at_ns > now + NEWEST {
                    Some(("new, newest", now + NEWEST))
                } else {
                    None
                };
                if let Some((what, limit)) = limit {
                    let (kind, edge) = what.split_once(", ").unwrap_or_default();
                    refused = format!(
                        "entry for stream '{}' has timestamp too {kind}: {}, {edge} acceptable timestamp is: {}\n",
                        shown(&labels),
                        rfc3339(at_ns),
                        rfc3339(limit)
                    );
                    continue;
                }
                let mut metadata: Labels = match value.get(2) {
                    Some(given) => serde_json::from_value(given.clone()).unwrap_or_default(),
                    None => Labels::new(),
                };
                metadata.entry("detected_level".to_owned()).or_insert_with(|| level(line).to_owned());
                let entries = kept.entry(labels.clone()).or_default();
                entries.push(Entry { at_ns, line: line.to_owned(), metadata });
            }
        }
        if refused.is_empty() {
            respond(StatusCode::NO_CONTENT, "", "")
        } else {
            text(StatusCode::BAD_REQUEST, refused)
        }
    }

    /// The time range of a request, in nanoseconds: its begin and its end.
    fn range(&self, form: &Form<'_>, default: u64) -> Result<(u64, u64), String> {
        let time = |name: &str| match form.get(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => {
                let seconds = |seconds: f64| {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a float saturates"
                    )]
                    let nanoseconds = (seconds * 1e9) as u64;
                    nanoseconds
                };
                // Up to ten digits are seconds (pkg/loghttp/params.go `parseTimestamp`).
                let read = match value.parse::<u64>() {
                    Ok(number) if value.len() > 10 => Some(number),
                    Ok(number) => number.checked_mul(SECOND),
                    Err(_) => value.parse::<f64>().ok().map(seconds).or_else(|| {
                        let time: jiff::Timestamp = value.parse().ok()?;
                        u64::try_from(time.as_nanosecond()).ok()
                    }),
                };
                read.map(Some)
                    .ok_or_else(|| format!("could not parse '{name}' parameter: invalid time {value:?}"))
            }
        };
        let end = time("end")?.unwrap_or(self.now_ns());
        let back = match form.get("since") {
            Some(since) => duration::parse(since)
                .and_then(|since| u64::try_from(since).ok())
                .ok_or_else(|| "could not parse 'since' parameter".to_owned())?,
            None => default,
        };
        let start = time("start")?.unwrap_or(end.saturating_sub(back));
        if end <= start {
            return Err("end timestamp must not be before or equal to start time".to_owned());
        }
        Ok((start, end))
    }

    fn query_range(&self, form: &Form<'_>) -> Result<Response, String> {
        let query = Query::read(form.get("query").unwrap_or_default())?;
        let (start, end) = self.range(form, 3_600 * SECOND)?;
        let limit = match form.get("limit") {
            None => 100,
            Some(limit) => match limit.parse::<usize>() {
                Ok(limit) if limit > 0 => limit,
                _ => return Err("limit must be a positive value".to_owned()),
            },
        };
        if limit > MOST_LINES {
            return Err(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {MOST_LINES})"
            ));
        }
        let forward = match form.get("direction").map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "backward") => false,
            Some("forward") => true,
            Some(other) => return Err(format!("invalid direction '{other}'")),
        };
        let kept = self.kept();
        let mut lines: Vec<(u64, &str, Labels)> = Vec::new();
        for (stream, entries) in kept.iter().filter(|(stream, _)| query.selects(stream)) {
            for entry in entries.iter().filter(|entry| (start..end).contains(&entry.at_ns)) {
                let mut labels = stream.clone();
                labels.extend(entry.metadata.iter().map(|(name, value)| (name.clone(), value.clone())));
                if query.keeps(&entry.line, &mut labels) {
                    lines.push((entry.at_ns, &entry.line, labels));
                }
            }
        }
        if forward {
            lines.sort_by_key(|(at, ..)| *at);
        } else {
            lines.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        }
        let mut streams: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
        for (at, line, labels) in lines.into_iter().take(limit) {
            streams.entry(labels).or_default().push(json!([at.to_string(), line]));
        }
        let result: Vec<Value> = streams
            .into_iter()
            .map(|(stream, values)| json!({ "stream": stream, "values": values }))
            .collect();
        Ok(success(json!({ "resultType": "streams", "result": result, "stats": {} })))
    }

    /// The streams that have an entry in the range of a request, as far as selectors choose them.
    fn streams(&self, form: &Form<'_>, selectors: &[&str]) -> Result<Vec<Labels>, String> {
        let queries: Vec<Query> = selectors.iter().map(|one| Query::read(one)).collect::<Result<_, _>>()?;
        if queries.iter().any(|query| !query.is_selector()) {
            return Err("only label matchers are supported".to_owned());
        }
        let (start, end) = self.range(form, 6 * 3_600 * SECOND)?;
        let kept = self.kept();
        let selected = kept.iter().filter(|(stream, entries)| {
            (queries.is_empty() || queries.iter().any(|query| query.selects(stream)))
                && entries.iter().any(|entry| (start..=end).contains(&entry.at_ns))
        });
        Ok(selected.map(|(stream, _)| stream.clone()).collect())
    }

    /// The error is the body of a 400.
    fn answer(&self, request: &Request) -> Result<Response, String> {
        let path = request.uri().path();
        let asked = request.uri().query().unwrap_or_default();
        let body = String::from_utf8_lossy(request.body());
        let form =
            Form::read(if request.method() == Method::POST && asked.is_empty() { &body } else { asked });
        let listed = |names: BTreeSet<String>| {
            // An empty list is left out.
            if names.is_empty() {
                json(StatusCode::OK, &json!({ "status": "success" }))
            } else {
                success(json!(names))
            }
        };
        let selector = || form.get("query").filter(|query| !query.is_empty());
        Ok(match path {
            "/loki/api/v1/query_range" => self.query_range(&form)?,
            "/loki/api/v1/query" => {
                // Grafana's health check.
                if form.get("query").is_some_and(|query| query.replace(' ', "") == "vector(1)+vector(1)") {
                    let at = self.clock.wall() / 1_000;
                    return Ok(success(
                        json!({ "resultType": "vector", "result": [{ "metric": {}, "value": [at, "2"] }], "stats": {} }),
                    ));
                }
                Query::read(form.get("query").unwrap_or_default())?;
                text(
                    StatusCode::BAD_REQUEST,
                    "log queries are not supported as an instant query type, please change your query to a range query type",
                )
            }
            "/loki/api/v1/labels" | "/loki/api/v1/label" => {
                let streams = self.streams(&form, selector().as_slice())?;
                listed(streams.into_iter().flat_map(Labels::into_keys).collect())
            }
            "/loki/api/v1/series" => {
                let selectors: Vec<&str> = form.all("match[]").chain(form.all("match")).collect();
                success(json!(self.streams(&form, &selectors)?))
            }
            "/loki/api/v1/status/buildinfo" => json(
                StatusCode::OK,
                &json!({ "version": "3.7.6", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "" }),
            ),
            _ => match path.strip_prefix("/loki/api/v1/label/").and_then(|rest| rest.strip_suffix("/values"))
            {
                Some(name) => {
                    let name = decoded(name);
                    let streams = self.streams(&form, selector().as_slice())?;
                    listed(
                        streams.into_iter().filter_map(|mut stream| stream.remove(name.as_ref())).collect(),
                    )
                }
                None if path.starts_with("/loki/api/") || path.starts_with("/otlp/") => unrehearsed(path),
                None => page_not_found(),
            },
        })
    }
}

fn success(data: Value) -> Response {
    let body = json!({ "status": "success", "data": data });
    respond(StatusCode::OK, "application/json; charset=UTF-8", body.to_string())
}

/// `{app="x", service_name="x"}`
fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn rfc3339(at_ns: u64) -> String {
    let seconds = i64::try_from(at_ns / SECOND).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// The level that Loki reads out of a line (pkg/distributor/field_detection.go, shortened to what it finds in ours).
fn level(line: &str) -> &'static str {
    let of = |word: &str| match word {
        "trace" | "trc" => Some("trace"),
        "debug" | "dbg" => Some("debug"),
        "info" | "inf" | "information" => Some("info"),
        "warn" | "wrn" | "warning" => Some("warn"),
        "error" | "err" => Some("error"),
        "critical" => Some("critical"),
        "fatal" => Some("fatal"),
        _ => None,
    };
    if line.starts_with('{')
        && let Ok(Value::Object(members)) = serde_json::from_str(line)
    {
        let named = ["level", "LEVEL", "Level", "severity", "SEVERITY", "Severity", "lvl"];
        let said = named.iter().find_map(|name| members.get(*name)).and_then(Value::as_str);
        return said.and_then(|word| of(&word.to_ascii_lowercase())).unwrap_or("unknown");
    }
    let lower = line.to_ascii_lowercase();
    let words = [
        ("info", "info"),
        ("err:", "error"),
        ("error", "error"),
        ("warn", "warn"),
        ("critical", "critical"),
        ("debug", "debug"),
        ("trace", "trace"),
    ];
    words.into_iter().find(|(word, _)| lower.contains(word)).map_or("unknown", |(_, level)| level)
}

impl Service for Loki {
    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn listens_outside(&self, port: u16) -> bool {
        port == self.port && !self.loopback
    }

    fn handle(&self, port: u16, request: &Request) -> Response {
        if port != self.port {
            return page_not_found();
        }
        match request.uri().path() {
            "/ready" if self.clock.wall().saturating_sub(self.started_ms) < self.unready_ms => {
                let why = format!(
                    "Ingester not ready: waiting for {} after being ready\n",
                    duration::shown(i64::try_from(self.unready_ms).unwrap_or(0).saturating_mul(1_000_000))
                );
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
            "/ready" => text(StatusCode::OK, "ready\n"),
            _ if self.tenants && !request.headers().contains_key("x-scope-orgid") => {
                text(StatusCode::UNAUTHORIZED, "no org id\n")
            }
            "/loki/api/v1/push" => self.push(request),
            _ => self.answer(request).unwrap_or_else(|why| text(StatusCode::BAD_REQUEST, why)),
        }
    }
}

#[cfg(test)]
mod tests;
