//! Documents embedded in strings: what changed inside, by path.

use super::same;
use crate::object::path::{Path, Segment};
use crate::yaml::{self, Limits, NodeKind, Source};
use serde_json::Value;
use std::collections::BTreeSet;

/// What happened at a path of an embedded document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
}

/// The map or list that a text stands for, in YAML or JSON. A text of several documents is the list of them.
pub(super) fn document(text: &str) -> Option<Value> {
    let first = text.trim_start().chars().next()?;
    if !text.contains('\n') && !matches!(first, '{' | '[') {
        return None;
    }
    let documents = yaml::parse(&Source::new("text", text), &Limits::MANIFEST).ok()?;
    if documents.iter().any(|document| matches!(document.root.kind, NodeKind::Scalar { .. })) {
        return None;
    }
    let mut values =
        documents.iter().map(|document| document.root.to_json().ok()).collect::<Option<Vec<Value>>>()?;
    if values.len() > 1 { Some(Value::Array(values)) } else { values.pop() }
}

/// Where two documents differ. Lists are matched from both ends, so that an item added in front or behind is one item.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<(Path, Happened)> {
    let mut found = Vec::new();
    compare(&Path::default(), Some(before), Some(after), &mut found);
    found
}

fn compare(path: &Path, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<(Path, Happened)>) {
    match (before, after) {
        (None, None) => {}
        (None, Some(_)) => found.push((path.clone(), Happened::Added)),
        (Some(_), None) => found.push((path.clone(), Happened::Removed)),
        (Some(before), Some(after)) if same(before, after) => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(&path.join(Segment::Field(name.clone())), before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let equal = |(a, b): &(&Value, &Value)| same(a, b);
            let front = before.iter().zip(after).take_while(equal).count();
            let least = before.len().min(after.len()) - front;
            let back = before.iter().rev().zip(after.iter().rev()).take(least).take_while(equal).count();
            let (old, new) = (before.len() - back, after.len() - back);
            for index in front..old.max(new) {
                let path = path.join(Segment::Index(index));
                let (before, after) =
                    (before.get(index).filter(|_| index < old), after.get(index).filter(|_| index < new));
                compare(&path, before, after, found);
            }
        }
        _ => found.push((path.clone(), Happened::Changed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_added_item_is_one_item() {
        let before = json!({"a": [{"n": 1}, {"n": 2}], "b": 1, "c": 1});
        let after = json!({"a": [{"n": 0}, {"n": 1}, {"n": 2}], "b": 2, "d": {}});
        let found: Vec<String> = differences(&before, &after)
            .iter()
            .map(|(path, happened)| format!("{path} {happened:?}"))
            .collect();
        assert_eq!(found, ["a[0] Added", "b Changed", "c Removed", "d Added"]);
        assert!(differences(&before, &before).is_empty());
    }

    #[test]
    fn documents_are_maps_and_lists_only() {
        assert_eq!(document("a: 1\nb: [x]\n"), Some(json!({"a": 1, "b": ["x"]})));
        assert_eq!(document(r#"{"a": 1}"#), Some(json!({"a": 1})));
        assert_eq!(document("a: 1\n---\nb: 2\n"), Some(json!([{"a": 1}, {"b": 2}])));
        for text in ["", "a: 1", "just\ntext\n", "a: [\n", "# only a comment\n"] {
            assert_eq!(document(text), None, "{text:?}");
        }
    }
}
