//! Tempo's answers to searches.

use super::super::otlp::{AnyValue, KeyValue, ResourceSpans, Span, hex};
use super::super::{Response, json, text};
use super::traceql::Query;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is searched for.
pub(super) struct Question {
    /// `None`: any trace, without span sets.
    pub(super) query: Option<Query>,
    /// Seconds since the Unix epoch.
    pub(super) start: Option<u64>,
    pub(super) end: Option<u64>,
    /// Traces at most.
    pub(super) limit: usize,
    /// Spans of a span set at most.
    pub(super) spans: usize,
}

fn each(parts: &[ResourceSpans]) -> impl Iterator<Item = (&ResourceSpans, &Span)> {
    parts
        .iter()
        .flat_map(|part| part.scope_spans.iter().flat_map(|one| &one.spans).map(move |span| (part, span)))
}

fn service(part: &ResourceSpans) -> &str {
    let name = part.resource.attributes.iter().find(|pair| pair.key == "service.name");
    name.and_then(|pair| pair.value.as_text()).unwrap_or_default()
}

/// The answer of `/api/search`: the newest traces first.
pub(super) fn search<'t>(
    question: &Question,
    traces: impl Iterator<Item = (&'t [u8; 16], &'t [ResourceSpans])>,
) -> Value {
    let mut found: Vec<(u64, Value)> = traces
        .filter(|(_, parts)| !parts.is_empty())
        .filter_map(|(id, parts)| trace(question, id, parts))
        .collect();
    found.sort_by_key(|(start, _)| std::cmp::Reverse(*start));
    let traces: Vec<Value> = found.into_iter().take(question.limit).map(|(_, trace)| trace).collect();
    json!({ "traces": traces, "metrics": { "completedJobs": 1, "totalJobs": 1 } })
}

fn trace(question: &Question, id: &[u8; 16], parts: &[ResourceSpans]) -> Option<(u64, Value)> {
    let start = each(parts).map(|(_, span)| span.start_time_unix_nano).min()?;
    let end = each(parts).map(|(_, span)| span.end_time_unix_nano).max()?;
    const SECOND: u64 = 1_000_000_000;
    if question.start.is_some_and(|from| end < from.saturating_mul(SECOND))
        || question.end.is_some_and(|to| start > to.saturating_mul(SECOND))
    {
        return None;
    }
    let id = hex(id);
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    // Leading zeros are stripped, as Tempo's util.TraceIDToHexString does.
    put("traceID", json!(id.trim_start_matches('0')));
    let root = each(parts).find(|(_, span)| span.parent_span_id.is_empty());
    put("rootServiceName", json!(root.map_or("<root span not yet received>", |(part, _)| service(part))));
    if let Some((_, root)) = root {
        put("rootTraceName", json!(root.name));
    }
    put("startTimeUnixNano", json!(start.to_string()));
    let duration = end.saturating_sub(start) / 1_000_000;
    if duration > 0 {
        put("durationMs", json!(duration));
    }
    if let Some(query) = &question.query {
        let matched: Vec<(&ResourceSpans, &Span)> =
            each(parts).filter(|(part, span)| query.matches(part, span)).collect();
        if matched.is_empty() {
            return None;
        }
        let spans: Vec<Value> =
            matched.iter().take(question.spans).map(|(part, one)| span(query, part, one)).collect();
        let set = json!({ "spans": spans, "matched": matched.len() });
        put("spanSet", set.clone());
        put("spanSets", json!([set]));
        let mut services: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (part, span) in each(parts) {
            let counts = services.entry(service(part)).or_default();
            counts.0 += 1;
            counts.1 += usize::from(span.status.code == 2);
        }
        let services: Map<String, Value> = services
            .into_iter()
            .map(|(name, (spans, errors))| {
                let mut counts = json!({ "spanCount": spans });
                if let (true, Some(counts)) = (errors > 0, counts.as_object_mut()) {
                    counts.insert("errorCount".to_owned(), json!(errors));
                }
                (name.to_owned(), counts)
            })
            .collect();
        put("serviceStats", Value::Object(services));
    }
    Some((start, Value::Object(out)))
}

fn span(query: &Query, part: &ResourceSpans, span: &Span) -> Value {
    let mut out =
        json!({ "spanID": hex(&span.span_id), "startTimeUnixNano": span.start_time_unix_nano.to_string() });
    let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let (name, attributes) = query.shown(part, span);
    if let Some(out) = out.as_object_mut() {
        if took > 0 {
            out.insert("durationNanos".to_owned(), json!(took.to_string()));
        }
        if let Some(name) = name {
            out.insert("name".to_owned(), json!(name));
        }
        if !attributes.is_empty() {
            out.insert("attributes".to_owned(), Value::Array(attributes));
        }
    }
    out
}

const INTRINSIC: [&str; 20] = [
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:kind",
    "span:name",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
];

/// Names by scope.
fn names<'p>(parts: &[&'p ResourceSpans]) -> Vec<(&'static str, BTreeSet<&'p str>)> {
    let mut scopes: [BTreeSet<&str>; 5] = Default::default();
    let [resource, instrumentation, span_names, event, link] = &mut scopes;
    fn add<'p>(to: &mut BTreeSet<&'p str>, from: &'p [KeyValue]) {
        to.extend(from.iter().map(|pair| pair.key.as_str()));
    }
    for part in parts {
        add(resource, &part.resource.attributes);
        for scope in &part.scope_spans {
            add(instrumentation, &scope.scope.attributes);
            for span in &scope.spans {
                add(span_names, &span.attributes);
                span.events.iter().for_each(|one| add(event, &one.attributes));
                span.links.iter().for_each(|one| add(link, &one.attributes));
            }
        }
    }
    ["resource", "instrumentation", "span", "event", "link"].into_iter().zip(scopes).collect()
}

/// `/api/v2/search/tags`
pub(super) fn tags(parts: &[&ResourceSpans], scope: Option<&str>) -> Response {
    let mut scopes: Vec<Value> = names(parts)
        .into_iter()
        .filter(|(name, tags)| !tags.is_empty() && scope.is_none_or(|scope| scope == *name))
        .map(|(name, tags)| json!({ "name": name, "tags": tags }))
        .collect();
    if scope.is_none_or(|scope| scope == "intrinsic") {
        scopes.push(json!({ "name": "intrinsic", "tags": INTRINSIC }));
    }
    json(StatusCode::OK, &json!({ "scopes": scopes, "metrics": {} }))
}

/// `/api/search/tags`
pub(super) fn tag_names(parts: &[&ResourceSpans]) -> Response {
    let all: BTreeSet<&str> = names(parts).into_iter().flat_map(|(_, tags)| tags).collect();
    json(StatusCode::OK, &json!({ "tagNames": all, "metrics": {} }))
}

/// `/api/v2/search/tag/{name}/values`, and the first version without types and scopes.
pub(super) fn tag_values(parts: &[&ResourceSpans], tag: &str, second: bool) -> Response {
    let all = |parts: &[&ResourceSpans], resource: Option<&str>, span: Option<&str>| {
        let mut values: BTreeSet<(&'static str, String)> = BTreeSet::new();
        let mut add = |pairs: &[KeyValue], key: Option<&str>| {
            for pair in pairs.iter().filter(|pair| Some(pair.key.as_str()) == key) {
                let kind = match &pair.value {
                    AnyValue::Text(_) => "string",
                    AnyValue::Int(_) => "int",
                    AnyValue::Double(_) => "float",
                    AnyValue::Bool(_) => "bool",
                    _ => continue,
                };
                values.insert((kind, pair.value.as_string().into_owned()));
            }
        };
        for part in parts {
            add(&part.resource.attributes, resource);
            part.scope_spans.iter().flat_map(|one| &one.spans).for_each(|one| add(&one.attributes, span));
        }
        values
    };
    let scoped = |scope: &str| tag.strip_prefix(scope).filter(|key| !key.is_empty());
    let spans = || parts.iter().flat_map(|part| part.scope_spans.iter().flat_map(|one| &one.spans));
    let words = |words: &[&str]| words.iter().map(|word| ("keyword", (*word).to_owned())).collect();
    let values = match (second, tag) {
        (true, "name" | "span:name") => spans().map(|span| ("string", span.name.clone())).collect(),
        (true, "status" | "span:status") => words(&["error", "ok", "unset"]),
        (true, "kind" | "span:kind") => {
            words(&["client", "consumer", "internal", "producer", "server", "unspecified"])
        }
        (false, key) => all(parts, Some(key), Some(key)),
        _ => match (scoped("resource."), scoped("span."), scoped(".")) {
            (Some(key), _, _) => all(parts, Some(key), None),
            (_, Some(key), _) => all(parts, None, Some(key)),
            (_, _, Some(key)) => all(parts, Some(key), Some(key)),
            _ => {
                let why = format!(
                    "please provide a valid tagName: tag name is not valid intrinsic or scoped attribute: {tag}\n"
                );
                return text(StatusCode::INTERNAL_SERVER_ERROR, why);
            }
        },
    };
    let values: Vec<Value> = values
        .into_iter()
        .map(|(kind, value)| if second { json!({ "type": kind, "value": value }) } else { json!(value) })
        .collect();
    json(StatusCode::OK, &json!({ "tagValues": values, "metrics": {} }))
}
