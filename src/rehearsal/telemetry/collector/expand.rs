//! `${…}` in the Collector's configuration (opentelemetry-collector confmap/expand.go, confmap/resolver.go).
//!
//! `${env:NAME}` and `${NAME}` stand for an environment variable, `${env:NAME:-default}` has a default, `$$` is a dollar,
//! and any other dollar stays.

use super::super::Unrehearsed;
use crate::text::Clean;
use crate::yaml::{self, Limits, Source};
use serde_json::Value;
use std::collections::BTreeMap;

/// Expands every text of a configuration.
pub(super) fn expand(
    value: &mut Value,
    env: &BTreeMap<String, String>,
    place: &str,
    unrehearsed: &mut Vec<Unrehearsed>,
) {
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}::{name}") };
    match value {
        Value::String(text) if text.contains('$') => {
            let (expanded, whole) = expand_text(text, env, place, unrehearsed);
            // A value that is one reference takes the type that its text has in YAML.
            *value = whole.then(|| typed(&expanded)).flatten().unwrap_or(Value::String(expanded));
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                expand(item, env, &below(&number.to_string()), unrehearsed);
            }
        }
        Value::Object(members) => {
            for (key, item) in members.iter_mut() {
                let place = below(key);
                expand(item, env, &place, unrehearsed);
            }
        }
        _ => {}
    }
}

/// The text, and whether it was one reference and nothing else.
fn expand_text(
    text: &str,
    env: &BTreeMap<String, String>,
    place: &str,
    unrehearsed: &mut Vec<Unrehearsed>,
) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut references, mut all_played) = (text, 0, true);
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        if let Some(behind) = after.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some((inside, behind)) =
            after.strip_prefix('{').and_then(|inside| inside.split_once('}'))
        {
            match reference(inside, env) {
                Some(value) => out.push_str(&value),
                None => {
                    all_played = false;
                    unrehearsed.push(Unrehearsed {
                        place: Clean::new(format!("{place}: ${{{inside}}}")),
                        instead: Clean::new("it stands for nothing; only environment variables are expanded"),
                    });
                }
            }
            references += 1;
            rest = behind;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    let whole = all_played
        && references == 1
        && text.starts_with("${")
        && text.ends_with('}')
        && text.matches('$').count() == 1;
    (out, whole)
}

/// The value of a reference; one that is not set is nothing. `None`: it is no environment variable.
fn reference(inside: &str, env: &BTreeMap<String, String>) -> Option<String> {
    let inside = match inside.split_once(':') {
        Some(("env", name)) => name,
        Some((name, default)) if default.starts_with('-') && !name.is_empty() => inside,
        Some(_) => return None,
        None => inside,
    };
    let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then(|| env.get(name).cloned().unwrap_or_else(|| default.to_owned()))
}

fn typed(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    let documents = yaml::parse(&Source::new("value", text), &Limits::MANIFEST).ok()?;
    match documents.first()?.root.to_json().ok()? {
        // Only scalars; a text keeps its exact form.
        value @ (Value::Bool(_) | Value::Number(_) | Value::Null) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_expanded_and_dollars_kept() {
        let env =
            BTreeMap::from([("IP".to_owned(), "10.0.0.1".to_owned()), ("N".to_owned(), "80".to_owned())]);
        let mut unrehearsed = Vec::new();
        let mut value = json!({
            "a": "${env:IP}:4317", "b": "${N}", "c": "a$$", "d": "x$y$", "e": "${env:NONE:-dflt}", "f": "${NONE}",
            "g": ["${file:/etc/x}"], "h": "$${env:IP}", "i": "${env:", "j": "${N}0",
        });
        expand(&mut value, &env, "", &mut unrehearsed);
        assert_eq!(
            value,
            json!({
                "a": "10.0.0.1:4317", "b": 80, "c": "a$", "d": "x$y$", "e": "dflt", "f": null,
                "g": [""], "h": "${env:IP}", "i": "${env:", "j": "800",
            })
        );
        insta::assert_snapshot!(unrehearsed[0], @"g::0: ${file:/etc/x} is not rehearsed: it stands for nothing; only environment variables are expanded");
        assert_eq!(unrehearsed.len(), 1);
    }
}
