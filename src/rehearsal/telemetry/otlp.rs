//! Traces as OTLP carries them: read from OTLP/JSON, written as senders write them and as Tempo renders them.
//!
//! OTLP/JSON has ids in hexadecimal and enums as integers (opentelemetry-proto docs/specification.md); Tempo renders by
//! the standard protobuf mapping (gogo jsonpb): ids in base64, enums by name, 64-bit numbers as strings, nothing that is
//! empty.

mod value;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
pub use value::{AnyValue, KeyValue};

/// Spans of any number of resources.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traces {
    /// One part for each resource.
    #[serde(deserialize_with = "list")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The spans of one resource.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSpans {
    /// What sent them.
    pub resource: Resource,
    /// One part for each instrumentation scope.
    #[serde(deserialize_with = "list")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// What spans come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// `service.name` and more.
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<KeyValue>,
}

/// The spans of one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeSpans {
    /// The instrumentation.
    pub scope: Scope,
    /// Its spans.
    #[serde(deserialize_with = "list")]
    pub spans: Vec<Span>,
}

/// An instrumentation library.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its attributes.
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<KeyValue>,
}

/// One span.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Span {
    /// Its trace; empty where none was given.
    #[serde(deserialize_with = "id::<_, 16>")]
    pub trace_id: Vec<u8>,
    /// Its own id; empty where none was given.
    #[serde(deserialize_with = "id::<_, 8>")]
    pub span_id: Vec<u8>,
    /// W3C trace state.
    pub trace_state: String,
    /// The span that it is a part of; empty for a root.
    #[serde(deserialize_with = "id::<_, 8>")]
    pub parent_span_id: Vec<u8>,
    /// W3C trace flags.
    pub flags: u32,
    /// Its name.
    pub name: String,
    /// 0 to 5, see [`kind_name`].
    pub kind: i32,
    /// Begin, nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "number")]
    pub start_time_unix_nano: u64,
    /// End, nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "number")]
    pub end_time_unix_nano: u64,
    /// Its attributes.
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<KeyValue>,
    /// What happened in it.
    #[serde(deserialize_with = "list")]
    pub events: Vec<Event>,
    /// Spans elsewhere that belong to it.
    #[serde(deserialize_with = "list")]
    pub links: Vec<Link>,
    /// How it ended.
    pub status: Status,
}

/// Something that happened in a span.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When, nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "number")]
    pub time_unix_nano: u64,
    /// Its name.
    pub name: String,
    /// Its attributes.
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<KeyValue>,
}

/// A span elsewhere that belongs to a span.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// Its trace.
    #[serde(deserialize_with = "id::<_, 16>")]
    pub trace_id: Vec<u8>,
    /// Its id.
    #[serde(deserialize_with = "id::<_, 8>")]
    pub span_id: Vec<u8>,
    /// W3C trace state.
    pub trace_state: String,
    /// Attributes of the link.
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<KeyValue>,
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// 0 unset, 1 ok, 2 error.
    pub code: i32,
    /// Said with an error.
    pub message: String,
}

/// Lists may be null.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// 64-bit numbers are strings; numbers are taken as well.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(|_| D::Error::custom("a time is no number")),
    }
}

/// Hexadecimal digits of exactly N bytes, or nothing. An id of zeros is none.
fn id<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes: Option<Vec<u8>> = (text.len() == 2 * N)
        .then(|| {
            let mut digits = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()));
            std::iter::from_fn(|| Some(digits.next()?.zip(digits.next()?)))
                .map(|pair| pair.map(|(high, low)| high << 4 | low))
                .collect()
        })
        .flatten();
    let bytes =
        bytes.ok_or_else(|| D::Error::custom("cannot unmarshal ID from string: invalid length or digit"))?;
    Ok(if bytes.iter().all(|byte| *byte == 0) { Vec::new() } else { bytes })
}

impl Traces {
    /// Reads a body of OTLP/JSON.
    ///
    /// # Errors
    /// What is wrong with it, in the JSON reader's words.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    /// Every span.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.resource_spans.iter().flat_map(|part| part.scope_spans.iter()).flat_map(|part| part.spans.iter())
    }

    /// How many spans there are.
    pub fn span_count(&self) -> usize {
        self.resource_spans.iter().flat_map(|part| &part.scope_spans).map(|part| part.spans.len()).sum()
    }

    /// The body of an OTLP/JSON request.
    pub fn to_otlp(&self) -> Value {
        json!({ "resourceSpans": render(&self.resource_spans, Form::Otlp) })
    }

    /// The `resourceSpans` of Tempo's answers.
    pub fn to_tempo(&self) -> Value {
        render(&self.resource_spans, Form::Tempo)
    }
}

/// Who reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Ids in hexadecimal, enums as numbers.
    Otlp,
    /// Ids in base64, enums by name.
    Tempo,
}

/// The name of a span kind in protobuf.
pub fn kind_name(kind: i32) -> Option<&'static str> {
    Some(match kind {
        0 => "SPAN_KIND_UNSPECIFIED",
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => return None,
    })
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn render(resources: &[ResourceSpans], form: Form) -> Value {
    resources
        .iter()
        .map(|part| {
            let mut resource = Object::default();
            resource.attributes(&part.resource.attributes);
            let scopes: Vec<Value> = part
                .scope_spans
                .iter()
                .map(|part| {
                    let mut scope = Object::default();
                    scope.text("name", &part.scope.name);
                    scope.text("version", &part.scope.version);
                    scope.attributes(&part.scope.attributes);
                    let spans: Vec<Value> = part.spans.iter().map(|one| span(one, form)).collect();
                    json!({ "scope": scope.0, "spans": spans })
                })
                .collect();
            json!({ "resource": resource.0, "scopeSpans": scopes })
        })
        .collect()
}

fn span(span: &Span, form: Form) -> Value {
    let mut out = Object::default();
    out.id("traceId", &span.trace_id, form);
    out.id("spanId", &span.span_id, form);
    out.text("traceState", &span.trace_state);
    out.id("parentSpanId", &span.parent_span_id, form);
    if span.flags != 0 {
        out.put("flags", span.flags);
    }
    out.text("name", &span.name);
    match kind_name(span.kind) {
        _ if span.kind == 0 => {}
        Some(name) if form == Form::Tempo => out.put("kind", name),
        _ => out.put("kind", span.kind),
    }
    out.time("startTimeUnixNano", span.start_time_unix_nano);
    out.time("endTimeUnixNano", span.end_time_unix_nano);
    out.attributes(&span.attributes);
    out.list("events", span.events.iter().map(event));
    out.list("links", span.links.iter().map(|one| link(one, form)));
    let mut status = Object::default();
    status.text("message", &span.status.message);
    match (span.status.code, form) {
        (0, _) => {}
        (1, Form::Tempo) => status.put("code", "STATUS_CODE_OK"),
        (2, Form::Tempo) => status.put("code", "STATUS_CODE_ERROR"),
        (code, _) => status.put("code", code),
    }
    out.put("status", status.0);
    Value::Object(out.0)
}

fn event(event: &Event) -> Value {
    let mut out = Object::default();
    out.time("timeUnixNano", event.time_unix_nano);
    out.text("name", &event.name);
    out.attributes(&event.attributes);
    Value::Object(out.0)
}

fn link(link: &Link, form: Form) -> Value {
    let mut out = Object::default();
    out.id("traceId", &link.trace_id, form);
    out.id("spanId", &link.span_id, form);
    out.text("traceState", &link.trace_state);
    out.attributes(&link.attributes);
    Value::Object(out.0)
}

/// An object that leaves out what is empty.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.put(key, text);
        }
    }

    fn time(&mut self, key: &str, time: u64) {
        if time != 0 {
            self.put(key, time.to_string());
        }
    }

    fn id(&mut self, key: &str, id: &[u8], form: Form) {
        if !id.is_empty() {
            self.put(key, if form == Form::Tempo { STANDARD.encode(id) } else { hex(id) });
        }
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = Value>) {
        let items: Vec<Value> = items.collect();
        if !items.is_empty() {
            self.put(key, items);
        }
    }

    fn attributes(&mut self, attributes: &[KeyValue]) {
        self.list("attributes", attributes.iter().map(KeyValue::to_json));
    }
}
