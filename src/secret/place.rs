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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    /// In a map or list whose name is secret.
    Inside,
    /// All of it is secret, whatever it looks like.
    Secret,
    Binary,
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
        let telling_entry = ["name", "key", "header", "variable", "parameter"]
            .iter()
            .any(|field| map.get(*field).and_then(Value::as_str).is_some_and(name::is_secret_key));
        let members = map.iter().map(|(name, value)| {
            let at = path.join(Segment::Field(name.clone()));
            let place = self.place(&at, name, place, telling_entry);
            (self.visitor.text(path, name), self.value(&at, value, place))
        });
        Value::Object(members.collect())
    }

    fn place(&self, at: &Path, name: &str, outer: Place, telling_entry: bool) -> Place {
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
            // Free maps of an object and the object's own structure: their names are no key names of a document.
            _ if root => Place::Open,
            _ if name::is_secret_key(name) => Place::Inside,
            _ if telling_entry && matches!(name, "value" | "values" | "default") => Place::Inside,
            Place::Inside if name::is_harmless_child(name) => Place::Open,
            outer => outer,
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
