//! Structural differences between two states of an object, for people, for undo and for fingerprints.
//!
//! Keyed lists are matched by their keys and their order means nothing; atomic lists are one value; maps are compared
//! member by member. A subtree that only one side has is one change, at the highest path that was added or removed, so
//! that undo knows which containers the change brought along.

mod embedded;
pub mod fingerprint;
pub mod render;
pub mod restore;
mod yaml_text;

pub use fingerprint::{FingerprintParts, fingerprint};
pub use render::{Line, Mark, render, to_text};
pub use restore::{Drift, RestorePlan, restore_patch};

use crate::object::fields::item_key;
use crate::object::path::{Path, Segment};
use crate::object::schema::{self, ListKind};
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One difference between two states of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where: the highest path whose value was added, removed or replaced. Empty for the whole object.
    pub path: Path,
    /// The value before; `None` where there was none.
    #[serde(default, deserialize_with = "present")]
    pub before: Option<Value>,
    /// The value after; `None` where there is none.
    #[serde(default, deserialize_with = "present")]
    pub after: Option<Value>,
    /// For an item of a keyed list or set that only one side has: its position on that side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

/// Reads a JSON `null` as absence. An object from the API server holds no null, so absence is what it stands for.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Ok(Some(Value::deserialize(deserializer)?).filter(|value| !value.is_null()))
}

/// Which way to go through a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From before to after.
    Forward,
    /// From after to before.
    Backward,
}

impl Change {
    /// The values that this change leads from and to.
    fn ends(&self, direction: Direction) -> (Option<&Value>, Option<&Value>) {
        match direction {
            Direction::Forward => (self.before.as_ref(), self.after.as_ref()),
            Direction::Backward => (self.after.as_ref(), self.before.as_ref()),
        }
    }
}

/// Fields of metadata that the server keeps for itself and that say nothing about the object.
const NOISE: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Annotations that tools and controllers keep for themselves.
const NOISY_ANNOTATIONS: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision"];

/// What the API server holds as the object's content: no status, no server bookkeeping, no annotations of other tools'
/// bookkeeping. Annotations of which only bookkeeping was there are gone altogether.
pub fn without_noise(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(map) = &mut object {
        map.remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            metadata.retain(|name, _| !NOISE.contains(&name.as_str()));
            let emptied = match metadata.get_mut("annotations") {
                Some(Value::Object(annotations)) if !annotations.is_empty() => {
                    annotations.retain(|name, _| !NOISY_ANNOTATIONS.contains(&name.as_str()));
                    annotations.is_empty()
                }
                _ => false,
            };
            if emptied {
                metadata.remove("annotations");
            }
        }
    }
    object
}

/// The differences between two states of an object of this kind, in the order of their paths.
///
/// Noise is left out (see [`without_noise`]). An object that only one side has is one change at the empty path.
pub fn changes(kind: &str, before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let (bare_before, bare_after) = (before.map(without_noise), after.map(without_noise));
    let mut found = Vec::new();
    match (bare_before, bare_after) {
        (Some(mut one), Some(mut other)) => {
            keep_container(before, &mut one, &other);
            keep_container(after, &mut other, &one);
            compare(kind, &Path::default(), &one, &other, &mut found);
        }
        (None, None) => {}
        (before, after) => found.push(Change { path: Path::default(), before, after, index: None }),
    }
    found
}

/// Annotations that held only noise are there all the same when the other side has some of its own: then what changed
/// is the one annotation, and not their container.
fn keep_container(raw: Option<&Value>, bare: &mut Value, other: &Value) {
    let had = raw.and_then(|raw| raw.pointer("/metadata/annotations")).is_some();
    if had
        && other.pointer("/metadata/annotations").is_some()
        && let Some(Value::Object(metadata)) = bare.get_mut("metadata")
    {
        metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    }
}

fn compare(kind: &str, path: &Path, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if same(before, after) {
        return;
    }
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let path = path.join(Segment::Field(name.clone()));
                compare_members(kind, path, one.get(name), other.get(name), None, found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            if let (Some(one), Some(other)) = (items(kind, path, one), items(kind, path, other)) {
                let segments: BTreeSet<&Segment> = one.keys().chain(other.keys()).collect();
                for segment in segments {
                    let (before, after) = (one.get(segment), other.get(segment));
                    let index = match (before, after) {
                        (Some((index, _)), None) | (None, Some((index, _))) => Some(*index),
                        _ => None,
                    };
                    let (before, after) = (before.map(|item| item.1), after.map(|item| item.1));
                    compare_members(kind, path.join(segment.clone()), before, after, index, found);
                }
            } else {
                found.push(replaced(path, before, after));
            }
        }
        _ => found.push(replaced(path, before, after)),
    }
}

fn compare_members(
    kind: &str,
    path: Path,
    before: Option<&Value>,
    after: Option<&Value>,
    index: Option<usize>,
    found: &mut Vec<Change>,
) {
    match (before, after) {
        (Some(before), Some(after)) => compare(kind, &path, before, after, found),
        (before, after) => {
            found.push(Change { path, before: before.cloned(), after: after.cloned(), index });
        }
    }
}

fn replaced(path: &Path, before: &Value, after: &Value) -> Change {
    Change { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()), index: None }
}

/// The items of a keyed list or set by their segments, with their positions. `None` for an atomic list, and for a list
/// whose items do not have their keys or share them: that one can only be compared as a whole.
fn items<'v>(kind: &str, path: &Path, list: &'v [Value]) -> Option<BTreeMap<Segment, (usize, &'v Value)>> {
    let list_kind = schema::list_keys(kind, path);
    let mut found = BTreeMap::new();
    for (index, item) in list.iter().enumerate() {
        let segment = match list_kind {
            ListKind::Atomic => return None,
            ListKind::Set => Segment::Item(item.to_string()),
            ListKind::Map(keys) => item_key(item, keys)?,
        };
        if found.insert(segment, (index, item)).is_some() {
            return None;
        }
    }
    (list_kind != ListKind::Atomic).then_some(found)
}

/// Whether two values are the same JSON; 1 and 1.0 are the same number.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

/// Whether two values at this path are the same state: as [`same`], and the order of keyed lists means nothing.
pub fn equivalent(kind: &str, path: &Path, one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            let mut found = Vec::new();
            compare(kind, path, one, other, &mut found);
            found.is_empty()
        }
        (None, None) => true,
        _ => false,
    }
}

/// Carries changes out on an object, whatever it holds there now.
///
/// # Errors
/// A sentence that names the path whose surroundings are missing (the list item or map that it stands in).
pub fn apply_changes(object: &mut Value, changes: &[Change], direction: Direction) -> Result<(), Clean> {
    for change in in_order(changes, direction) {
        let (_, goal) = change.ends(direction);
        if change.path.0.is_empty() {
            *object = goal.cloned().unwrap_or(Value::Null);
            continue;
        }
        restore::put(object, &change.path, goal, change.index).ok_or_else(|| {
            Clean::new(format!("{} is not there, so nothing can be put into it", change.path))
        })?;
    }
    Ok(())
}

/// Removals first, additions last and by position, so that positions mean what they meant when they were recorded.
fn in_order(changes: &[Change], direction: Direction) -> Vec<&Change> {
    let mut ordered: Vec<&Change> = changes.iter().collect();
    ordered.sort_by_key(|change| match change.ends(direction) {
        (_, None) => (0, 0),
        (Some(_), Some(_)) => (1, 0),
        (None, Some(_)) => (2, change.index.unwrap_or(0)),
    });
    ordered
}

#[cfg(test)]
mod tests;
