//! Attribute values, with the text that the Collector makes of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One attribute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: AnyValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Wire")]
pub enum AnyValue {
    /// None.
    #[default]
    Empty,
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// A list.
    Array(Vec<AnyValue>),
    /// Names with values.
    Map(Vec<KeyValue>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A value on the wire: exactly one of these is set.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Int>,
    double_value: Option<Double>,
    array_value: Option<Array>,
    kvlist_value: Option<KeyValues>,
    bytes_value: Option<Base64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Array {
    #[serde(deserialize_with = "super::list")]
    values: Vec<AnyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValues {
    #[serde(deserialize_with = "super::list")]
    values: Vec<KeyValue>,
}

struct Int(i64);
struct Double(f64);
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("intValue is no whole number"))
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("doubleValue is no number"))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("bytesValue is no base64"))
    }
}

impl From<Wire> for AnyValue {
    fn from(wire: Wire) -> Self {
        let text = wire.string_value.map(Self::Text);
        text.or(wire.bool_value.map(Self::Bool))
            .or(wire.int_value.map(|Int(number)| Self::Int(number)))
            .or(wire.double_value.map(|Double(number)| Self::Double(number)))
            .or(wire.array_value.map(|array| Self::Array(array.values)))
            .or(wire.kvlist_value.map(|list| Self::Map(list.values)))
            .or(wire.bytes_value.map(|Base64(bytes)| Self::Bytes(bytes)))
            .unwrap_or_default()
    }
}

impl KeyValue {
    /// An attribute with a text.
    pub fn text(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: AnyValue::Text(value.into()) }
    }

    pub(in super::super) fn to_json(&self) -> Value {
        json!({ "key": self.key, "value": self.value.to_json() })
    }
}

impl AnyValue {
    /// The text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The protobuf JSON of it, the same for senders and for Tempo.
    pub(in super::super) fn to_json(&self) -> Value {
        let values =
            |values: Vec<Value>| if values.is_empty() { json!({}) } else { json!({ "values": values }) };
        match self {
            Self::Empty => json!({}),
            Self::Text(text) => json!({ "stringValue": text }),
            Self::Bool(value) => json!({ "boolValue": value }),
            Self::Int(number) => json!({ "intValue": number.to_string() }),
            Self::Double(number) if number.is_finite() => json!({ "doubleValue": number }),
            Self::Double(number) => json!({ "doubleValue": not_finite(*number) }),
            Self::Array(items) => json!({ "arrayValue": values(items.iter().map(Self::to_json).collect()) }),
            Self::Map(pairs) => {
                json!({ "kvlistValue": values(pairs.iter().map(KeyValue::to_json).collect()) })
            }
            Self::Bytes(bytes) => json!({ "bytesValue": STANDARD.encode(bytes) }),
        }
    }

    /// The text that the Collector looks at where it looks at every type (collector pdata/pcommon value.go `AsString`):
    /// lists and maps as JSON of Go's encoder, which escapes `&`, `<` and `>`.
    pub fn as_string(&self) -> Cow<'_, str> {
        Cow::Owned(match self {
            Self::Text(text) => return Cow::Borrowed(text),
            Self::Empty => return Cow::Borrowed(""),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Double(number) => go_float(*number),
            Self::Bytes(bytes) => STANDARD.encode(bytes),
            Self::Array(_) | Self::Map(_) => {
                let mut out = String::new();
                self.write_go_json(&mut out);
                out
            }
        })
    }

    fn write_go_json(&self, out: &mut String) {
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => write_go_string(text, out),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Double(number) => out.push_str(&go_float(*number)),
            Self::Bytes(bytes) => write_go_string(&STANDARD.encode(bytes), out),
            Self::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    item.write_go_json(out);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                // A Go map: sorted by key, and of two equal keys the last one stays.
                let sorted: BTreeMap<&str, &Self> =
                    pairs.iter().map(|pair| (pair.key.as_str(), &pair.value)).collect();
                out.push('{');
                for (number, (key, value)) in sorted.into_iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    write_go_string(key, out);
                    out.push(':');
                    value.write_go_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn not_finite(number: f64) -> &'static str {
    match number {
        number if number.is_nan() => "NaN",
        number if number > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// Go's encoding/json of a float64: exponents below 1e-6 and from 1e21 on.
fn go_float(number: f64) -> String {
    if !number.is_finite() {
        // The Collector's `float64AsString` says so in place of a number.
        return "json: unsupported value: ".to_owned()
            + match number {
                number if number.is_nan() => "NaN",
                number if number > 0.0 => "+Inf",
                _ => "-Inf",
            };
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if text.contains("e-") { text } else { text.replacen('e', "e+", 1) };
    }
    number.to_string()
}

/// A string in the form of Go's encoding/json.
fn write_go_string(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_collector() {
        let read = |json: Value| serde_json::from_value::<AnyValue>(json).unwrap();
        let shown = |json: Value| read(json).as_string().into_owned();
        assert_eq!(
            shown(json!({ "arrayValue": { "values": [{ "stringValue": "<&>" }, { "intValue": "5" }] } })),
            r#"["\u003c\u0026\u003e",5]"#
        );
        let map = json!({ "kvlistValue": { "values": [
            { "key": "k", "value": { "stringValue": "x" } }, { "key": "z", "value": { "doubleValue": 1e21 } }, { "key": "n", "value": {} },
        ] } });
        assert_eq!(shown(map), r#"{"k":"x","n":null,"z":1e+21}"#);
        assert_eq!(
            (shown(json!({ "doubleValue": 1.5 })), shown(json!({ "doubleValue": 2 }))),
            ("1.5".to_owned(), "2".to_owned())
        );
        assert_eq!(
            (shown(json!({ "doubleValue": 1e-7 })), shown(json!({ "bytesValue": "QUJD" }))),
            ("1e-7".to_owned(), "QUJD".to_owned())
        );
        assert_eq!(
            (shown(json!({})), shown(json!({ "boolValue": true })), shown(json!({ "intValue": -3 }))),
            (String::new(), "true".to_owned(), "-3".to_owned())
        );
        assert_eq!(read(json!({ "arrayValue": {} })).to_json(), json!({ "arrayValue": {} }));
        for bad in
            [json!({ "intValue": "x" }), json!({ "bytesValue": "*" }), json!({ "doubleValue": [] }), json!(5)]
        {
            assert!(serde_json::from_value::<AnyValue>(bad).is_err());
        }
    }
}
