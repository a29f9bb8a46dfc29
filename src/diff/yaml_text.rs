//! A small YAML writer for display: every line knows which value it shows.

use crate::object::fields::item_key;
use crate::object::path::{Path, Segment};
use crate::object::schema::{self, ListKind};
use serde_json::{Map, Value};

/// One line of an object written as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlLine {
    /// The value that the line shows, or begins.
    pub path: Path,
    /// The line, indented.
    pub text: String,
}

/// An object of this kind as YAML. Members are sorted; what names a thing comes first.
pub(super) fn lines(kind: &str, value: &Value) -> Vec<YamlLine> {
    let mut writer = Writer { kind, lines: Vec::new() };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(&Path::default(), map, 0, None),
        Value::Array(items) if !items.is_empty() => writer.list(&Path::default(), items, 0),
        value => writer.leaf(&Path::default(), String::new(), value, 0),
    }
    writer.lines
}

struct Writer<'w> {
    kind: &'w str,
    lines: Vec<YamlLine>,
}

impl Writer<'_> {
    fn push(&mut self, path: &Path, text: String) {
        self.lines.push(YamlLine { path: path.clone(), text });
    }

    /// `dash`: the first member stands on the line of its item's dash.
    fn map(&mut self, path: &Path, map: &Map<String, Value>, indent: usize, dash: Option<usize>) {
        let mut members: Vec<(&String, &Value)> = map.iter().collect();
        members.sort_by_key(|(name, _)| (rank(name, path), *name));
        for (index, (name, value)) in members.into_iter().enumerate() {
            let path = path.join(Segment::Field(name.clone()));
            let lead = match dash {
                Some(dash) if index == 0 => format!("{}- ", " ".repeat(dash)),
                _ => " ".repeat(indent),
            };
            let lead = format!("{lead}{}:", scalar(name));
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.push(&path, lead);
                    self.map(&path, map, indent + 2, None);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.push(&path, lead);
                    self.list(&path, items, indent);
                }
                value => self.leaf(&path, format!("{lead} "), value, indent + 2),
            }
        }
    }

    fn list(&mut self, path: &Path, items: &[Value], indent: usize) {
        let keyed = schema::list_keys(self.kind, path);
        for (index, item) in items.iter().enumerate() {
            let segment = match keyed {
                ListKind::Map(keys) => item_key(item, keys),
                ListKind::Set => Some(Segment::Item(item.to_string())),
                ListKind::Atomic => None,
            };
            let path = path.join(segment.unwrap_or(Segment::Index(index)));
            match item {
                Value::Object(map) if !map.is_empty() => self.map(&path, map, indent + 2, Some(indent)),
                Value::Array(items) if !items.is_empty() => {
                    self.push(&path, format!("{}-", " ".repeat(indent)));
                    self.list(&path, items, indent + 2);
                }
                item => self.leaf(&path, format!("{}- ", " ".repeat(indent)), item, indent + 2),
            }
        }
    }

    fn leaf(&mut self, path: &Path, lead: String, value: &Value, indent: usize) {
        match value {
            Value::String(text) if is_block(text) => {
                let (body, chomp) = match text.strip_suffix('\n') {
                    None => (text.as_str(), "-"),
                    Some(body) if body.ends_with('\n') || body.is_empty() => (body, "+"),
                    Some(body) => (body, ""),
                };
                let hint = if body.starts_with([' ', '\n']) { "2" } else { "" };
                self.push(path, format!("{lead}|{hint}{chomp}"));
                for line in body.split('\n') {
                    let text =
                        if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(indent)) };
                    self.push(path, text);
                }
            }
            Value::String(text) => self.push(path, format!("{lead}{}", scalar(text))),
            Value::Object(_) => self.push(path, format!("{lead}{{}}")),
            Value::Array(_) => self.push(path, format!("{lead}[]")),
            value => self.push(path, format!("{lead}{value}")),
        }
    }
}

/// What names a thing is read first.
fn rank(name: &str, path: &Path) -> u8 {
    match (name, path.0.last()) {
        ("apiVersion", None) => 0,
        ("kind", None) => 1,
        ("metadata", None) => 2,
        ("name", Some(_)) => 0,
        _ => 3,
    }
}

fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n') || (text.ends_with('\n') && text.len() > 1)
}

/// A scalar in the shortest form that is read back as this text.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

fn is_plain(text: &str) -> bool {
    // A placeholder is no YAML text but reads better bare.
    let text = text.replace("‹secret #", "‹secret");
    let reserved = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "~"
            | "null"
            | "true"
            | "false"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "y"
            | "n"
            | ".inf"
            | "-.inf"
            | ".nan"
            | "---"
    );
    let number_like = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.chars().all(|c| c.is_ascii_hexdigit() || "+-.:_xoeEZT".contains(c));
    !reserved
        && !number_like
        && !text.starts_with(|c: char| "!&*-?:,[]{}#|>@`\"'%= ".contains(c) && !is_dash_word(&text))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(char::is_control)
}

/// `--flag` and `-x` are plain scalars.
fn is_dash_word(text: &str) -> bool {
    text.starts_with('-') && text.len() > 1 && !text.starts_with("- ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(kind: &str, value: &Value) -> String {
        lines(kind, value).iter().map(|line| format!("{}\n", line.text)).collect()
    }

    #[test]
    fn an_object_reads_like_a_manifest() {
        let value = json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x", "labels": {}},
            "spec": {"containers": [{"image": "a:1", "name": "app", "args": ["--a=1", "yes", "1"], "env": []}]},
            "text": "one\n two\n", "open": "one\ntwo", "on": "- a", "empty": "", "none": null
        });
        insta::assert_snapshot!(text("Pod", &value), @r#"
        apiVersion: v1
        kind: Pod
        metadata:
          name: x
          labels: {}
        empty: ""
        none: null
        "on": "- a"
        open: |-
          one
          two
        spec:
          containers:
          - name: app
            args:
            - --a=1
            - "yes"
            - "1"
            env: []
            image: a:1
        text: |
          one
           two
        "#);
    }

    #[test]
    fn every_line_knows_its_value() {
        let value = json!({"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}});
        let paths: Vec<String> = lines("Pod", &value).iter().map(|line| line.path.to_string()).collect();
        assert_eq!(paths.last().unwrap(), "spec.containers[name=app].env[name=A].value");
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\n]{0,12}".prop_map(Value::from),
            "[a-z0-9:#-]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_is_there(value in tree()) {
            let text = text("", &value);
            let source = crate::yaml::Source::new("shown", text.clone());
            let documents = crate::yaml::parse(&source, &crate::yaml::Limits::MANIFEST).unwrap_or_else(|p| panic!("{p:?}\n{text}"));
            prop_assert_eq!(documents[0].root.to_json().unwrap(), value, "{}", text);
        }
    }
}
