//! Paths into an object, with list items named by their keys as server-side apply names them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segment {
    /// A member of a map.
    Field(String),
    /// An item of an atomic list, by position.
    Index(usize),
    /// An item of an associative list, by its keys (name → JSON scalar, as text of that JSON).
    Key(BTreeMap<String, String>),
    /// An item of a set, as text of its JSON.
    Item(String),
}

impl Segment {
    /// The key segment of one name and value.
    pub fn key(pairs: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self::Key(pairs.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }
}

/// A path from the root of an object. Empty: the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// The path of these fields.
    pub fn fields<const N: usize>(names: [&str; N]) -> Self {
        Self(names.iter().map(|name| Segment::Field((*name).to_owned())).collect())
    }

    /// This path and one more segment.
    pub fn join(&self, segment: Segment) -> Self {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }

    /// Whether this path is `other` or below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path as the API server writes it in conflict causes: `.data.a.yaml`, `.env[name="X"].value`
    /// (structured-merge-diff fieldpath/element.go). Fields are not quoted there, so two paths can look the same.
    pub fn server_form(&self) -> String {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => {
                    out.push('.');
                    out.push_str(name);
                }
                Segment::Index(index) => out.push_str(&format!("[{index}]")),
                Segment::Key(keys) => {
                    let pairs: Vec<String> =
                        keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    out.push_str(&format!("[{}]", pairs.join(",")));
                }
                Segment::Item(value) => out.push_str(&format!("[={value}]")),
            }
        }
        out
    }

    /// Reads the form in which operators write paths: `data['loki-datasource.yaml']`,
    /// `spec.template.spec.containers[name=app].env[name=X].value`, `spec.args[0]`; a leading dot is allowed.
    ///
    /// # Errors
    /// A sentence that says which part of the text is not a path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (segment, after) = bracket(after, text)?;
                segments.push(segment);
                rest = after;
            } else {
                let after = rest.strip_prefix('.').unwrap_or(rest);
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return Err(format!("empty field name in path `{text}`"));
                }
                segments.push(Segment::Field(after[..end].to_owned()));
                rest = &after[end..];
            }
        }
        if segments.is_empty() {
            return Err("empty path".to_owned());
        }
        Ok(Self(segments))
    }

    /// The value at this path, if it is there.
    pub fn get<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(object, |value, segment| match segment {
            Segment::Field(name) => value.get(name),
            _ => value.get(locate(value, segment)?),
        })
    }

    /// The JSON pointer of this path in `object`: keyed items are looked up. `None` where an item on the way is missing;
    /// a missing last field is no hindrance.
    pub fn pointer(&self, object: &Value) -> Option<String> {
        let mut pointer = String::new();
        let mut value = Some(object);
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    value = value.and_then(|v| v.get(name));
                }
                _ => {
                    let index = locate(value?, segment)?;
                    pointer.push_str(&format!("/{index}"));
                    value = value.and_then(|v| v.get(index));
                }
            }
        }
        Some(pointer)
    }
}

/// Whether a scalar's JSON is this text.
fn is_json(scalar: &Value, text: &str) -> bool {
    let json = scalar.to_string();
    json == text
}

/// The position in `list` of the item that `segment` names.
pub fn locate(list: &Value, segment: &Segment) -> Option<usize> {
    let items = list.as_array()?;
    match segment {
        Segment::Field(_) => None,
        Segment::Index(index) => (*index < items.len()).then_some(*index),
        Segment::Key(keys) => items.iter().position(|item| {
            keys.iter().all(|(name, value)| match item.get(name) {
                Some(found) => is_json(found, value),
                // The API server fills the default into a missing key before it compares
                // (structured-merge-diff merge/default_keys_test.go).
                None => name == "protocol" && value == "\"TCP\"",
            })
        }),
        Segment::Item(value) => items.iter().position(|item| is_json(item, value)),
    }
}

fn bracket<'t>(after: &'t str, whole: &str) -> Result<(Segment, &'t str), String> {
    if let Some(quoted) = after.strip_prefix(['\'', '"']) {
        let quote = &after[..1];
        let end = quoted.find(quote).ok_or_else(|| format!("unclosed quote in path `{whole}`"))?;
        let rest =
            quoted[end + 1..].strip_prefix(']').ok_or_else(|| format!("missing `]` in path `{whole}`"))?;
        return Ok((Segment::Field(quoted[..end].to_owned()), rest));
    }
    let end = after.find(']').ok_or_else(|| format!("missing `]` in path `{whole}`"))?;
    let (inside, rest) = (&after[..end], &after[end + 1..]);
    if let Ok(index) = inside.parse::<usize>() {
        return Ok((Segment::Index(index), rest));
    }
    let mut keys = BTreeMap::new();
    for pair in inside.split(',') {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("`[{inside}]` is neither an index nor name=value in path `{whole}`"))?;
        let json = match serde_json::from_str::<Value>(value) {
            Ok(json) if json.is_number() || json.is_boolean() || json.is_string() => json.to_string(),
            _ => Value::String(value.to_owned()).to_string(),
        };
        keys.insert(name.trim().to_owned(), json);
    }
    Ok((Segment::Key(keys), rest))
}

impl fmt::Display for Path {
    /// The form that [`Path::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) if name.contains(['.', '[', '/', '\'', ' ']) || name.is_empty() => {
                    out.push_str(&format!("['{name}']"));
                }
                Segment::Field(name) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
                Segment::Index(index) => out.push_str(&format!("[{index}]")),
                Segment::Key(keys) => {
                    let pairs: Vec<String> = keys
                        .iter()
                        .map(|(name, value)| {
                            let plain = value.trim_matches('"');
                            let safe =
                                plain.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c));
                            format!("{name}={}", if safe { plain } else { value.as_str() })
                        })
                        .collect();
                    out.push_str(&format!("[{}]", pairs.join(",")));
                }
                Segment::Item(value) => out.push_str(&format!("[={value}]")),
            }
        }
        f.write_str(crate::text::Clean::new(out).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_operators_form_is_read_and_written() {
        for text in [
            "data['loki-datasource.yaml']",
            "spec.template.spec.containers[name=app].env[name=LOG_FORMAT].value",
            "spec.ports[port=4317,protocol=TCP]",
            "spec.args[0]",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert!(Path::parse("a..b").is_err());
        assert!(Path::parse("a[").is_err());
        assert!(Path::parse("").is_err());
    }

    #[test]
    fn the_servers_form_is_that_of_conflict_causes() {
        let path = Path::parse("spec.template.spec.containers[name=app].env[name=X].value").unwrap();
        assert_eq!(path.server_form(), r#".spec.template.spec.containers[name="app"].env[name="X"].value"#);
        assert_eq!(Path::parse("data['a.yaml']").unwrap().server_form(), ".data.a.yaml");
    }

    #[test]
    fn keyed_items_are_found_and_pointed_at() {
        let object = json!({"ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}]});
        let path = Path::parse("ports[containerPort=1,protocol=TCP]").unwrap();
        assert_eq!(path.get(&object), Some(&json!({"containerPort": 1})));
        let path = Path::parse("ports[containerPort=2,protocol=UDP].name").unwrap();
        assert_eq!(path.pointer(&object).as_deref(), Some("/ports/1/name"));
        assert_eq!(Path::parse("ports[containerPort=3].name").unwrap().pointer(&object), None);
    }
}
