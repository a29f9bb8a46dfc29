//! The entries of `metadata.managedFields` while they are worked on, and the rules that hold for all of them
//! (apimachinery pkg/util/managedfields/internal).

use super::Manager;
use crate::object::fields::{self, FieldSet, ManagerEntry, Operation, STRIPPED};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More managers than this that update are merged, the oldest first.
const MOST_UPDATERS: usize = 10;

/// Who an entry is about; for those that update, the apiVersion is part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) subresource: Option<String>,
    /// Empty for those that apply.
    api_version: String,
}

impl Identity {
    pub(super) fn new(
        name: &str,
        operation: Operation,
        subresource: Option<&str>,
        api_version: &str,
    ) -> Self {
        Self {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            operation,
            subresource: subresource.map(str::to_owned).filter(|text| !text.is_empty()),
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => api_version.to_owned(),
            },
        }
    }

    /// How conflicts name it: `"name" with subresource "status" using v1`.
    pub(super) fn printed(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if let Some(subresource) = &self.subresource {
            text.push_str(&format!(" with subresource {subresource:?}"));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    /// What the API server sorts identities by.
    fn text(&self) -> String {
        let mut map = vec![format!("\"manager\":{}", json!(self.name))];
        map.push(format!("\"operation\":{}", json!(self.operation.as_str())));
        if !self.api_version.is_empty() {
            map.push(format!("\"apiVersion\":{}", json!(self.api_version)));
        }
        if let Some(subresource) = &self.subresource {
            map.push(format!("\"subresource\":{}", json!(subresource)));
        }
        format!("{{{}}}", map.join(","))
    }
}

/// What one owner owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) set: FieldSet,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(pub(super) BTreeMap<Identity, Holding>);

impl Owners {
    /// Reads the entries of an object.
    ///
    /// # Errors
    /// What is wrong with an entry.
    pub(super) fn read(object: &Value) -> Result<Self, String> {
        let mut owners = BTreeMap::new();
        for entry in fields::managers(object).map_err(|why| why.to_string())? {
            let ManagerEntry { manager, operation, subresource, api_version, time, fields, raw } = entry;
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            if raw.get("fieldsType").and_then(Value::as_str) != Some("FieldsV1") {
                return Err("missing fieldsType in managed fields entry".to_owned());
            }
            let identity = Identity {
                name: manager,
                ..Identity::new("", operation, subresource.as_deref(), &api_version)
            };
            owners.insert(identity, Holding { set: fields, api_version, time });
        }
        Ok(Self(owners))
    }

    /// The entries to go on with at an update: those of the request, unless it has none that can be read.
    ///
    /// A request through a subresource cannot set them. `[]` and `[{}]` forget them all.
    pub(super) fn of_request(live: Option<&Value>, new: &Value, subresource: bool) -> Self {
        let of_live = || live.and_then(|live| Self::read(live).ok()).unwrap_or_default();
        if subresource {
            return of_live();
        }
        match new.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => return Self::default(),
            Some([Value::Object(only)]) if only.is_empty() => return Self::default(),
            _ => {}
        }
        Self::read(new).ok().filter(|owners| !owners.0.is_empty()).unwrap_or_else(of_live)
    }

    /// Makes one bucket of the oldest managers that update, while there are more than ten.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(i64, String, Identity)> = self
            .0
            .iter()
            .filter(|(identity, _)| identity.operation == Operation::Update)
            .map(|(identity, holding)| (seconds(holding.time.as_deref()), identity.text(), identity.clone()))
            .collect();
        updaters.sort();
        let mut left = updaters.len();
        let mut first_of: BTreeMap<String, Identity> = BTreeMap::new();
        for (_, _, identity) in updaters {
            if left <= MOST_UPDATERS {
                return;
            }
            let version = identity.api_version.clone();
            let Some(first) = first_of.get(&version) else {
                first_of.insert(version, identity);
                continue;
            };
            let bucket = Identity::new("ancient-changes", Operation::Update, None, &version);
            if !self.0.contains_key(&bucket)
                && let Some(holding) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), holding);
            }
            if identity == bucket {
                continue;
            }
            if let Some(holding) = self.0.remove(&identity) {
                let into = self.0.entry(bucket).or_default();
                into.set = into.set.union(&holding.set);
                // The time of the younger one.
                into.time = holding.time;
                left -= 1;
            }
        }
    }

    /// Writes the entries into an object, in the API server's order; none at all leaves no field.
    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<(&Identity, &Holding)> = self.0.iter().collect();
        entries.sort_by_cached_key(|(identity, holding)| {
            (
                identity.operation.as_str(),
                seconds(holding.time.as_deref()),
                identity.name.clone(),
                holding.api_version.clone(),
                identity.subresource.clone(),
            )
        });
        let entries: Vec<Value> =
            entries.into_iter().map(|(identity, holding)| entry(identity, holding)).collect();
        let Some(object) = object.as_object_mut() else { return };
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("managedFields");
            if !entries.is_empty() {
                metadata.insert("managedFields".to_owned(), Value::Array(entries));
            }
        }
    }

    /// Forgets what a manager cannot own: its name and all that the API server sets.
    pub(super) fn strip(&mut self, identity: &Identity) {
        if let Some(holding) = self.0.get_mut(identity) {
            holding.set = holding.set.difference(&server_fields());
            if holding.set.is_empty() {
                self.0.remove(identity);
            }
        }
    }
}

/// An identity for the manager of a request.
pub(super) fn identity(manager: &Manager, name: &str, operation: Operation) -> Identity {
    Identity::new(name, operation, manager.subresource.as_deref(), &manager.api_version)
}

fn entry(identity: &Identity, holding: &Holding) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".to_owned(), json!(identity.name));
    entry.insert("operation".to_owned(), json!(identity.operation.as_str()));
    entry.insert("apiVersion".to_owned(), json!(holding.api_version));
    if let Some(time) = &holding.time {
        entry.insert("time".to_owned(), json!(time));
    }
    entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
    entry.insert("fieldsV1".to_owned(), holding.set.to_v1());
    if let Some(subresource) = &identity.subresource {
        entry.insert("subresource".to_owned(), json!(subresource));
    }
    Value::Object(entry)
}

fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map_or(0, jiff::Timestamp::as_second)
}

fn server_fields() -> FieldSet {
    use crate::object::path::Path;
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(Path::fields([name]));
    }
    for name in STRIPPED {
        set.insert(Path::fields(["metadata", name]));
    }
    set
}
