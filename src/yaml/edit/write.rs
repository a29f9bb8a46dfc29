//! Values as YAML that every reader understands alike.

use super::plain_node;
use serde_json::Value;

/// The lines of one item of a block list whose dash stands at `column`.
pub(super) fn item(value: &Value, column: usize) -> Vec<String> {
    let dash = format!("{}- ", " ".repeat(column));
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut lines = block(value, column + 2);
            if let Some(first) = lines.first_mut() {
                *first = format!("{dash}{}", first.trim_start());
            }
            lines
        }
        _ => vec![format!("{dash}{}", scalar(value))],
    }
}

/// The lines of a mapping whose keys stand at `column`.
fn block(value: &Value, column: usize) -> Vec<String> {
    let Value::Object(map) = value else { return Vec::new() };
    let margin = " ".repeat(column);
    let mut lines = Vec::new();
    // People look for the name first.
    let (named, others): (Vec<_>, Vec<_>) = map.iter().partition(|(key, _)| key.as_str() == "name");
    for (key, value) in named.into_iter().chain(others) {
        let key = scalar(&Value::String(key.clone()));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                lines.push(format!("{margin}{key}:"));
                lines.extend(block(value, column + 2));
            }
            Value::Array(items) if !items.is_empty() => {
                lines.push(format!("{margin}{key}:"));
                lines.extend(items.iter().flat_map(|value| item(value, column + 2)));
            }
            _ => lines.push(format!("{margin}{key}: {}", scalar(value))),
        }
    }
    lines
}

/// One value on one line: plain where no reader can mistake it, else in the quotes that need no escapes.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) if !text.chars().any(must_be_escaped) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        _ => flow(value),
    }
}

/// One value in flow style with double quotes, which is JSON but for the escapes that YAML needs on top.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        _ => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let node = plain_node(text);
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && node.to_json().is_ok_and(|value| value.is_string())
        && node.ambiguous_scalars().is_empty()
}

/// Control characters, line separators, byte-order marks and what else is not printable or not kept in quotes.
fn must_be_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if must_be_escaped(c) && c as u32 <= 0xff => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if must_be_escaped(c) => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
