//! Provisioning of data sources.

use super::super::Unrehearsed;
use crate::proof::datasource::{generated_uid, interpolation::interpolate};
use crate::text::Clean;
use crate::yaml::{self, Limits, Source};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A data source in Grafana's database.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) org: u64,
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) url: String,
    rest: Map<String, Value>,
    secure: BTreeSet<String>,
    prunable: bool,
    version: u64,
}

/// Settings of a data source that are kept as they are, with their defaults.
fn settings() -> [(&'static str, Value); 8] {
    [
        ("access", json!("proxy")),
        ("user", json!("")),
        ("database", json!("")),
        ("basicAuth", json!(false)),
        ("basicAuthUser", json!("")),
        ("withCredentials", json!(false)),
        ("isDefault", json!(false)),
        ("jsonData", json!({})),
    ]
}

impl Record {
    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        let mut out = self.rest.clone();
        let secure: Map<String, Value> = self.secure.iter().map(|key| (key.clone(), json!(true))).collect();
        for (key, value) in [
            ("id", json!(self.id)),
            ("uid", json!(self.uid)),
            ("orgId", json!(self.org)),
            ("name", json!(self.name)),
            ("type", json!(self.kind)),
            ("url", json!(self.url)),
            ("secureJsonFields", json!(secure)),
            ("version", json!(self.version)),
        ] {
            out.insert(key.to_owned(), value);
        }
        Value::Object(out)
    }
}

/// A file of provisioning.
struct Document {
    name: String,
    datasources: Vec<Map<String, Value>>,
    deletes: Vec<(u64, String)>,
    prunes: bool,
}

fn number(map: &Map<String, Value>, key: &str) -> u64 {
    map.get(key).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0)
}

fn org(map: &Map<String, Value>) -> u64 {
    number(map, "orgId").max(1)
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> &'m str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Provisions what lies in the folder.
///
/// # Errors
/// The first one ends it; what came before it stays done.
pub(super) fn provision(
    folder: &BTreeMap<String, String>,
    records: &mut Vec<Record>,
    notes: &mut Vec<Unrehearsed>,
) -> Result<(), String> {
    let mut documents = Vec::new();
    for (name, content) in folder.iter().filter(|(name, _)| name.ends_with(".yaml") || name.ends_with(".yml"))
    {
        documents.extend(read(name, content, notes)?);
    }
    let mut defaults: BTreeMap<u64, usize> = BTreeMap::new();
    for entry in documents.iter().flat_map(|document| &document.datasources) {
        if entry.get("isDefault") == Some(&Value::Bool(true)) {
            *defaults.entry(org(entry)).or_default() += 1;
        }
    }
    if defaults.values().any(|count| *count > 1) {
        return Err("datasource.yaml config is invalid. Only one datasource per organization can be marked as default".to_owned());
    }
    let wanted: BTreeSet<(u64, &str)> = documents
        .iter()
        .flat_map(|one| &one.datasources)
        .map(|entry| (org(entry), text(entry, "name")))
        .collect();
    records.retain(|record| !record.prunable || wanted.contains(&(record.org, record.name.as_str())));
    for document in &documents {
        for (org, name) in &document.deletes {
            records.retain(|record| (record.org, &record.name) != (*org, name));
        }
        for entry in &document.datasources {
            put(entry, document.prunes, records).map_err(|why| format!("{}: {why}", document.name))?;
        }
    }
    Ok(())
}

fn read(name: &str, content: &str, notes: &mut Vec<Unrehearsed>) -> Result<Option<Document>, String> {
    let parsed = yaml::parse(&Source::new(name, content), &Limits::MANIFEST);
    let documents = parsed.map_err(|problems| {
        format!("{name}: yaml: {}", problems.first().map(yaml::Problem::headline).unwrap_or_default())
    })?;
    let Some(root) = documents.first().map(|document| &document.root).filter(|root| !root.is_null()) else {
        return Ok(None);
    };
    let mut root = root.to_json().map_err(|problem| format!("{name}: yaml: {}", problem.headline()))?;
    interpolated(&mut root, name, notes);
    let Value::Object(mut root) = root else {
        return Err(format!("{name}: yaml: cannot unmarshal into datasources.configVersion"));
    };
    if number(&root, "apiVersion") == 0 {
        notes.push(Unrehearsed {
            place: Clean::new(format!("{name}: apiVersion 0")),
            instead: Clean::new("the file is left out"),
        });
        return Ok(None);
    }
    let mut list = |key: &str| -> Result<Vec<Map<String, Value>>, String> {
        match root.remove(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::Object(map) => Ok(map),
                    _ => Err(format!("{name}: yaml: cannot unmarshal an item of {key}")),
                })
                .collect(),
            Some(_) => Err(format!("{name}: yaml: cannot unmarshal {key}")),
        }
    };
    let datasources = list("datasources")?;
    let deletes = list("deleteDatasources")?;
    Ok(Some(Document {
        name: name.to_owned(),
        datasources,
        deletes: deletes.iter().map(|entry| (org(entry), text(entry, "name").to_owned())).collect(),
        prunes: root.get("prune") == Some(&Value::Bool(true)),
    }))
}

/// Every text of a value as Grafana sees it. Keys are not interpolated.
fn interpolated(value: &mut Value, place: &str, notes: &mut Vec<Unrehearsed>) {
    match value {
        Value::String(text) if text.contains('$') => {
            let seen = interpolate(text);
            for open in &seen.open {
                notes.push(Unrehearsed {
                    place: Clean::new(format!("{place}: {open}")),
                    instead: Clean::new(
                        "it stands for nothing: Grafana's environment and files are not known",
                    ),
                });
            }
            *text = seen.text;
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                interpolated(item, &format!("{place}.{number}"), notes);
            }
        }
        Value::Object(members) => {
            for (key, item) in members.iter_mut() {
                interpolated(item, &format!("{place}.{key}"), notes);
            }
        }
        _ => {}
    }
}

/// Inserts or updates one data source. An update replaces the whole record.
fn put(entry: &Map<String, Value>, prunable: bool, records: &mut Vec<Record>) -> Result<(), String> {
    let (org, name, uid) = (org(entry), text(entry, "name"), text(entry, "uid"));
    let known = records.iter().position(|record| record.org == org && record.name == name);
    let (id, uid, version) = match known.and_then(|at| records.get(at)) {
        Some(record) if uid.is_empty() || uid == record.uid => {
            (record.id, record.uid.clone(), record.version + 1)
        }
        // The update is looked up by the new uid, which nobody has (grafana/grafana issue 110740).
        Some(_) => return Err("data source not found".to_owned()),
        None => {
            let uid = if uid.is_empty() { generated_uid(name) } else { uid.to_owned() };
            if records.iter().any(|record| record.org == org && record.uid == uid) {
                return Err("data source with the same uid already exists".to_owned());
            }
            (records.iter().map(|record| record.id).max().unwrap_or(0) + 1, uid, 1)
        }
    };
    let mut rest = Map::new();
    for (key, default) in settings() {
        let given = entry.get(key).filter(|value| !value.is_null() && **value != json!(""));
        rest.insert(key.to_owned(), given.cloned().unwrap_or(default));
    }
    rest.insert("readOnly".to_owned(), json!(entry.get("editable") != Some(&Value::Bool(true))));
    let secure = entry.get("secureJsonData").and_then(Value::as_object);
    let record = Record {
        id,
        org,
        uid,
        name: name.to_owned(),
        kind: text(entry, "type").to_owned(),
        url: text(entry, "url").to_owned(),
        rest,
        secure: secure.into_iter().flat_map(Map::keys).cloned().collect(),
        prunable,
        version,
    };
    // One default for an organisation: a new one takes it from another.
    if record.rest.get("isDefault") == Some(&Value::Bool(true)) {
        for other in records.iter_mut().filter(|other| other.org == org) {
            other.rest.insert("isDefault".to_owned(), json!(false));
        }
    }
    match known.and_then(|at| records.get_mut(at)) {
        Some(old) => *old = record,
        None => records.push(record),
    }
    Ok(())
}
