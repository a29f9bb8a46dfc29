//! Where in an object secrets stand: one walk that masking, learning and refusing all go through.

use super::{name, pattern, text};
use crate::diff::Change;
use crate::object::fields::item_key;
use crate::object::path::{Path, Segment};
use crate::object::schema::{self, ListKind};
use serde_json::{Map, Value};

/// What is done with the scalars of an object on a walk.
pub(super) trait Visitor {
    /// A scalar that is secret by its place; returns what stands for it.
    fn secret(&mut self, path: &Path, value: &Value) -> Value;
    /// Base64 of bytes that are no secret by their place.
    fn binary(&mut self, path: &Path, value: &str) -> Value;
    /// Any other string, a name of a member too: it can hold secrets in its text.
    fn text(&mut self, path: &Path, text: &str) -> String;
}

/// Walks an object of this kind and returns what the visitor makes of it.
pub(super) fn walk(kind: &str, object: &Value, visitor: &mut dyn Visitor) -> Value {
    Walk { kind, visitor }.value(&Path::default(), object, Place::Open)
}

/// What the names around a value say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Open,
    /// It is in a map or list whose name is secret, or its own name is.
    Inside,
    /// It is secret, whatever it looks like.
    Secret,
    /// It is base64 of bytes.
    Binary,
}

/// Whether a member of this name names its entry, as `name` does in `{ name: DB_PASSWORD, value: … }`.
pub(super) fn names_entry(member: &str) -> bool {
    matches!(member, "name" | "key" | "header" | "variable" | "parameter")
}

/// The place of a member of a document's map. `telling` says that the entry's own name is secret.
pub(super) fn member(name: &str, outer: Place, telling: bool, container: bool, text: Option<&str>) -> Place {
    let secret = if container { name::is_secret_container(name) } else { name::is_secret_key(name) };
    let basic = matches!(name, "auth" | "_auth") && text.is_some_and(pattern::is_basic);
    match outer {
        Place::Secret | Place::Binary => outer,
        _ if secret || basic || (telling && matches!(name, "value" | "values" | "default")) => Place::Inside,
        Place::Inside if name::is_harmless_child(name) => Place::Open,
        outer => outer,
    }
}

struct Walk<'w> {
    kind: &'w str,
    visitor: &'w mut dyn Visitor,
}

impl Walk<'_> {
    fn value(&mut self, path: &Path, value: &Value, place: Place) -> Value {
        match value {
            Value::Object(map) => self.map(path, map, place),
            Value::Array(items) => self.list(path, items, place),
            Value::String(text) if text.is_empty() => value.clone(),
            Value::String(text) => match place {
                Place::Secret => self.visitor.secret(path, value),
                Place::Inside if !pattern::is_no_secret(text) => self.visitor.secret(path, value),
                Place::Binary => self.visitor.binary(path, text),
                Place::Inside | Place::Open => Value::String(self.visitor.text(path, text)),
            },
            Value::Number(_) if matches!(place, Place::Secret | Place::Inside) => {
                self.visitor.secret(path, value)
            }
            _ => value.clone(),
        }
    }

    fn map(&mut self, path: &Path, map: &Map<String, Value>, place: Place) -> Value {
        let telling = map
            .iter()
            .any(|(name, value)| names_entry(name) && value.as_str().is_some_and(name::is_secret_key));
        let members = map.iter().map(|(name, value)| {
            let at = path.join(Segment::Field(name.clone()));
            let place = self.place(&at, name, value, place, telling);
            (self.visitor.text(path, name), self.value(&at, value, place))
        });
        Value::Object(members.collect())
    }

    fn place(&self, at: &Path, name: &str, value: &Value, outer: Place, telling: bool) -> Place {
        let root = at.0.len() == 1;
        let last_applied = name == "kubectl.kubernetes.io/last-applied-configuration";
        match outer {
            Place::Secret | Place::Binary => outer,
            _ if self.kind == "Secret"
                && ((root && matches!(name, "data" | "stringData")) || last_applied) =>
            {
                Place::Secret
            }
            _ if self.kind == "ConfigMap" && root && name == "binaryData" => Place::Binary,
            // The members of an object itself are named by the API.
            _ if root => Place::Open,
            outer => member(name, outer, telling, value.is_array() || value.is_object(), value.as_str()),
        }
    }

    fn list(&mut self, path: &Path, items: &[Value], place: Place) -> Value {
        let keyed = schema::list_keys(self.kind, path);
        let mut after_flag = false;
        let walked = items.iter().enumerate().map(|(index, item)| {
            let segment = match keyed {
                ListKind::Map(keys) => item_key(item, keys),
                ListKind::Set => Some(Segment::Item(item.to_string())),
                ListKind::Atomic => None,
            };
            let at = path.join(segment.unwrap_or(Segment::Index(index)));
            // `["--password", "x"]`
            let value_of_flag = after_flag && !item.as_str().is_some_and(|text| text.starts_with('-'));
            after_flag = item.as_str().is_some_and(text::is_secret_flag);
            self.value(&at, item, if value_of_flag && place == Place::Open { Place::Inside } else { place })
        });
        Value::Array(walked.collect())
    }
}

/// Notes paths and changes nothing.
#[derive(Default)]
struct Finder {
    found: Vec<Path>,
}

impl Visitor for Finder {
    fn secret(&mut self, path: &Path, _: &Value) -> Value {
        self.found.push(path.clone());
        Value::Null
    }

    fn binary(&mut self, path: &Path, value: &str) -> Value {
        if pattern::decoded(value).is_some_and(|text| !text::scan(&text).is_empty()) {
            self.found.push(path.clone());
        }
        Value::Null
    }

    fn text(&mut self, path: &Path, text: &str) -> String {
        if !text::scan(text).is_empty() {
            self.found.push(path.clone());
        }
        String::new()
    }
}

/// The paths in an object of this kind whose value is a secret or is a text that holds one.
pub fn secret_paths(kind: &str, object: &Value) -> Vec<Path> {
    let mut finder = Finder::default();
    walk(kind, object, &mut finder);
    finder.found.sort();
    finder.found.dedup();
    finder.found
}

/// The first path at which the value before one of the changes is a secret or holds one.
///
/// What an undo journal would have to keep of such a change is the secret itself.
pub fn holds_secret(kind: &str, changes: &[Change]) -> Option<Path> {
    changes.iter().find_map(|change| {
        let before = change.before.as_ref()?;
        let whole = around(&change.path.0, before);
        let found = secret_paths(kind, &whole);
        if found.is_empty() { None } else { Some(change.path.clone()) }
    })
}

/// The value inside the maps and items that its path tells of, so that its place can be judged without the object.
fn around(segments: &[Segment], value: &Value) -> Value {
    let Some((first, rest)) = segments.split_first() else { return value.clone() };
    let inner = around(rest, value);
    match first {
        Segment::Field(name) => Value::Object(Map::from_iter([(name.clone(), inner)])),
        Segment::Key(keys) => {
            let mut item = match inner {
                Value::Object(item) => item,
                other => return Value::Array(vec![other]),
            };
            for (name, value) in keys {
                if let Ok(value) = serde_json::from_str(value) {
                    item.entry(name.clone()).or_insert(value);
                }
            }
            Value::Array(vec![Value::Object(item)])
        }
        Segment::Index(_) | Segment::Item(_) => Value::Array(vec![inner]),
    }
}
