//! The step that adds a derived field to a Loki data source in a ConfigMap that others made.
//!
//! The new text is the live text with one item more: every other byte stays. The intent owns that one data key.

use crate::object::ObjectRef;
use crate::text::Clean;
use crate::yaml::{Document, Limits, Node, NodeKind, ScalarStyle, Source, append_item, parse};
use serde_json::{Map, Value, json};

/// What stands in the way of an edit, with what to do about it.
fn sentence(object: &ObjectRef, key: &str, what: &str, hint: &str) -> Clean {
    let hint = if hint.is_empty() { String::new() } else { format!("; hint: {hint}") };
    Clean::new(format!("`{}` of {object}: {what}{hint}", Clean::new(key)))
}

/// The intent for a ConfigMap: `data` with `key` only, whose document has `field` at the end of the derived fields of the
/// data source named `datasource`. The same text where the field is there already with these values.
///
/// # Errors
/// One sentence: the ConfigMap has no such key, the document no such data source, a field of that name has other values,
/// or the document is laid out in a way that cannot be edited safely.
pub fn with_field(
    object: &ObjectRef,
    live: &Value,
    key: &str,
    datasource: &str,
    field: &Value,
) -> Result<Value, Clean> {
    let refuse = |what: &str, hint: &str| sentence(object, key, what, hint);
    let data = live.get("data").and_then(Value::as_object);
    let Some(text) = data.and_then(|data| data.get(key)).and_then(Value::as_str) else {
        let keys: Vec<&str> = data.map(|data| data.keys().map(String::as_str).collect()).unwrap_or_default();
        let hint = match keys.as_slice() {
            [] => "it has no data at all".to_owned(),
            keys => format!(
                "its keys are {}",
                keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(refuse("the ConfigMap has no such key", &hint));
    };
    let text = edited(text, datasource, field).map_err(|(what, hint)| refuse(&what, &hint))?;
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), Value::from(object.name.clone()));
    if let Some(namespace) = &object.namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
    }
    Ok(json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "metadata": metadata,
        "data": { key: text },
    }))
}

/// What is wrong, and what to do about it.
type Fault = (String, String);

fn fault<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, Fault> {
    Err((what.into(), hint.into()))
}

fn edited(text: &str, name: &str, field: &Value) -> Result<String, Fault> {
    let document = read(text)?;
    let entry = find(&document, name)?;
    let json = match entry.get("jsonData") {
        Some(node) if matches!(node.kind, NodeKind::Mapping(_)) => node,
        Some(node) if !node.is_null() => {
            return fault(format!("jsonData of the data source is {}", node.describe()), "make it a mapping");
        }
        missing => {
            let with_room = make_room(text, entry, missing).ok_or_else(cannot_edit)?;
            let document = read(&with_room)?;
            let json = find(&document, name)?.get("jsonData").ok_or_else(cannot_edit)?;
            return append(&with_room, &document, json, field);
        }
    };
    let fields = json.get("derivedFields");
    let wanted = field.get("name").and_then(Value::as_str).unwrap_or_default();
    let same_name = fields
        .into_iter()
        .flat_map(Node::items)
        .find(|item| item.get("name").and_then(Node::as_str) == Some(wanted));
    match same_name {
        Some(item) if item.to_json().is_ok_and(|item| item == *field) => Ok(text.to_owned()),
        Some(_) => fault(
            format!("the derived field `{}` is there already with other values", Clean::new(wanted)),
            "choose another name, or change that field where it is made",
        ),
        None => append(text, &document, json, field),
    }
}

fn cannot_edit() -> Fault {
    ("this layout of YAML cannot be edited safely".to_owned(), "make the change by hand".to_owned())
}

fn append(text: &str, document: &Document, json: &Node, field: &Value) -> Result<String, Fault> {
    append_item(text, document, json, "derivedFields", field).map_err(|problem| {
        (
            format!("line {}, column {}: {}", problem.span.line, problem.span.column, problem.message),
            problem.hint.map(|hint| hint.as_str().to_owned()).unwrap_or_default(),
        )
    })
}

fn read(text: &str) -> Result<Document, Fault> {
    let mut documents = parse(&Source::new("the document", text), &Limits::MANIFEST).map_err(|problems| {
        let first = problems.into_iter().next();
        let what = first.map_or_else(String::new, |problem| {
            format!("line {}, column {}: {}", problem.span.line, problem.span.column, problem.message)
        });
        (what, "it must be a provisioning document of Grafana".to_owned())
    })?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => fault("the document is empty", "it must be a provisioning document of Grafana"),
        (Some(_), false) => fault("it holds more than one YAML document", "Grafana reads only the first"),
    }
}

/// The one data source of this name. Grafana looks them up by organisation and name.
fn find<'d>(document: &'d Document, name: &str) -> Result<&'d Node, Fault> {
    let Some(list) = document.root.get("datasources") else {
        return fault("the document has no `datasources`", "it must be a provisioning document of Grafana");
    };
    let named = |entry: &&Node| entry.get("name").and_then(Node::as_str) == Some(name);
    let mut found = list.items().filter(named);
    match (found.next(), found.next()) {
        (Some(entry), None) if matches!(entry.kind, NodeKind::Mapping(_)) => Ok(entry),
        (None, _) => {
            let names: Vec<String> = list
                .items()
                .filter_map(|entry| entry.get("name")?.as_str())
                .map(|name| format!("`{}`", Clean::new(name)))
                .collect();
            let hint = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            fault(format!("there is no data source named `{}`", Clean::new(name)), hint)
        }
        _ => fault(
            format!("there are several data sources named `{}`", Clean::new(name)),
            "they may be of different organisations; make the change by hand",
        ),
    }
}

/// The text with `jsonData: { derivedFields: [] }` in a data source that has no settings. Each place that comes into
/// question is tried, and only a text that parses to the old values and that one is taken.
fn make_room(text: &str, entry: &Node, empty: Option<&Node>) -> Option<String> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (first, _) = entry.entries().next()?;
    let margin = " ".repeat(first.span.column.checked_sub(1)?);
    let block = format!("jsonData:{newline}{margin}  derivedFields: []");
    let mut candidates = Vec::new();
    if let Some(empty) = empty {
        let (key, _) = entry.entries().find(|(key, _)| key.as_str() == Some("jsonData"))?;
        let end = if empty.span.end > key.span.end && !empty.as_str()?.is_empty() {
            empty.span.end
        } else {
            key.span.end + text.get(key.span.end..)?.find(':')? + 1
        };
        candidates.push((
            key.span.start,
            end,
            if entry.flow { "jsonData: { derivedFields: [] }".to_owned() } else { block },
        ));
    } else if entry.flow {
        let end = entry.entries().map(|(key, value)| value.span.end.max(key.span.end)).max()?;
        candidates.push((end, end, ", jsonData: { derivedFields: [] }".to_owned()));
    } else {
        // Behind the last line of the data source, else behind its name.
        let name = entry.get("name")?;
        for leaf in [last_leaf(entry), Some(name)].into_iter().flatten() {
            let rest = text.get(leaf.span.end..)?;
            let (at, before, after) = match rest.find('\n') {
                Some(end) => (leaf.span.end + end + 1, String::new(), newline),
                None => (text.len(), newline.to_owned(), ""),
            };
            candidates.push((at, at, format!("{before}{margin}{block}{after}")));
        }
    }
    let wanted = {
        let mut wanted = read(text).ok()?.root.to_json().ok()?;
        let name = entry.get("name")?.to_json().ok()?;
        let list = wanted.get_mut("datasources")?.as_array_mut()?;
        let target = list.iter_mut().find(|other| other.get("name") == Some(&name))?;
        target.as_object_mut()?.insert("jsonData".to_owned(), json!({ "derivedFields": [] }));
        wanted
    };
    candidates.into_iter().find_map(|(start, end, new)| {
        let edited = format!("{}{new}{}", text.get(..start)?, text.get(end..)?);
        let read = read(&edited).ok()?.root.to_json().ok()?;
        (read == wanted).then_some(edited)
    })
}

/// The last scalar of a tree that ends on the line where its span ends.
fn last_leaf(node: &Node) -> Option<&Node> {
    match &node.kind {
        NodeKind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => None,
        NodeKind::Scalar { text, style } => {
            (!(text.is_empty() && *style == ScalarStyle::Plain)).then_some(node)
        }
        NodeKind::Sequence(items) if node.flow || items.is_empty() => Some(node),
        NodeKind::Mapping(entries) if node.flow || entries.is_empty() => Some(node),
        NodeKind::Sequence(items) => last_leaf(items.last()?),
        NodeKind::Mapping(entries) => entries.last().and_then(|(_, value)| last_leaf(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOKI: &str = "# Provisioned by Terraform\napiVersion: 1\ndatasources:\n- name: Loki\n  type: loki\n  url: http://loki:3100 # in-cluster\n  isDefault: false\n";

    fn field() -> Value {
        json!({ "name": "trace_id", "matcherRegex": "\"trace_id\":\\s*\"(\\w+)\"", "datasourceUid": "tempo", "url": "$${__value.raw}" })
    }

    fn object() -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", Some("monitoring"), "grafana-loki-datasource")
    }

    fn compiled(text: &str) -> Result<String, String> {
        let live = json!({ "data": { "loki.yaml": text, "other": "x" } });
        let intent =
            with_field(&object(), &live, "loki.yaml", "Loki", &field()).map_err(|error| error.to_string())?;
        assert_eq!(intent.get("data").unwrap().as_object().unwrap().len(), 1);
        Ok(intent.pointer("/data/loki.yaml").unwrap().as_str().unwrap().to_owned())
    }

    #[test]
    fn settings_that_are_missing_are_made_and_comments_stay() {
        insta::assert_snapshot!(compiled(LOKI).unwrap());
    }

    #[test]
    fn every_layout_gives_the_old_values_and_the_field() {
        let layouts = [
            LOKI.to_owned(),
            LOKI.trim_end().to_owned(),
            LOKI.replace('\n', "\r\n"),
            format!("{LOKI}  jsonData:\n"),
            format!("{LOKI}  jsonData: null\n"),
            format!("{LOKI}  jsonData: {{}}\n"),
            format!("{LOKI}  jsonData:\n    maxLines: 1000\n"),
            format!("{LOKI}  jsonData:\n    derivedFields:\n"),
            format!("{LOKI}  jsonData:\n    derivedFields: []\n    maxLines: 5\n"),
            format!("{LOKI}  jsonData:\n    derivedFields:\n    - name: a\n      matcherRegex: (a)\n"),
            format!(
                "{LOKI}  jsonData:\n      derivedFields:\n        - {{name: a, matcherRegex: (a)}}\n# end\n"
            ),
            "apiVersion: 1\ndatasources: [{name: Loki, type: loki}]\n".to_owned(),
            "apiVersion: 1\ndatasources: [{name: Loki, type: loki, jsonData: {derivedFields: []}}]\n"
                .to_owned(),
            format!(
                "{LOKI}  secureJsonData:\n    token: |\n      a\n      b\n- name: Tempo\n  type: tempo\n"
            ),
        ];
        for text in layouts {
            let edited = compiled(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            let old = read(&text).unwrap().root.to_json().unwrap();
            let new = read(&edited).unwrap().root.to_json().unwrap();
            let list = |value: &Value| value.pointer("/datasources/0/jsonData/derivedFields").cloned();
            let mut wanted = list(&old).filter(|list| list.is_array()).unwrap_or(json!([]));
            wanted.as_array_mut().unwrap().push(field());
            assert_eq!(list(&new), Some(wanted), "{text}");
            // A second time there is nothing to do.
            assert_eq!(compiled(&edited).unwrap(), edited);
            assert_eq!(edited.contains("\r\n"), text.contains("\r\n"));
            for line in text.lines().filter(|line| line.contains('#')) {
                assert!(edited.contains(line), "{line}");
            }
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let other =
            format!("{LOKI}  jsonData:\n    derivedFields:\n    - name: trace_id\n      matcherRegex: (a)\n");
        insta::assert_snapshot!(compiled(&other).unwrap_err());
        insta::assert_snapshot!(compiled(&LOKI.replace("Loki", "Logs")).unwrap_err());
        insta::assert_snapshot!(compiled(&format!("{LOKI}- name: Loki\n  orgId: 2\n")).unwrap_err());
        insta::assert_snapshot!(compiled("a: [").unwrap_err());
        insta::assert_snapshot!(compiled("").unwrap_err());
        insta::assert_snapshot!(
            with_field(&object(), &json!({ "data": { "b.yaml": "" } }), "loki.yaml", "Loki", &field())
                .unwrap_err()
        );
    }
}
