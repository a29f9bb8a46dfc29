//! The way back: a JSON patch that takes a live object to the state before our changes, and only what is still ours.

use super::{Change, Direction, equivalent, in_order, items};
use crate::object::path::{Path, Segment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// How to restore an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestorePlan {
    /// RFC 6902 operations, to be sent as one patch. Each operation on an existing value is guarded by a `test` of that
    /// value, each position in a keyed list by a `test` of the item's keys. JSON patch cannot test for absence: where
    /// that matters, put a `test` of `/metadata/resourceVersion` in front.
    pub operations: Vec<Value>,
    /// What someone else changed since: neither what we wrote nor what was there before.
    pub foreign: Vec<Drift>,
    /// What is back already.
    pub already: Vec<Path>,
}

/// A value that is no longer what we wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Where.
    pub path: Path,
    /// What we wrote; `None` where we removed something.
    pub expected: Option<Value>,
    /// What is there now; `None` where it is gone.
    pub found: Option<Value>,
}

/// The patch that takes `live` back to the state before `changes`.
///
/// What someone else changed since is left alone and listed, or restored all the same where `overwrite` is set. A change
/// at the empty path is always listed: a created object is undone by deleting it, not by a patch.
pub fn restore_patch(kind: &str, live: &Value, changes: &[Change], overwrite: bool) -> RestorePlan {
    let mut restore = Restore { kind, overwrite, work: live.clone(), plan: RestorePlan::default() };
    for change in in_order(changes, Direction::Backward) {
        let (ours, goal) = change.ends(Direction::Backward);
        if change.path.0.is_empty() {
            restore.drift(&change.path, ours, Some(live.clone()));
        } else {
            restore.value(&change.path, ours, goal, change.index);
        }
    }
    restore.plan
}

struct Restore<'r> {
    kind: &'r str,
    overwrite: bool,
    /// The object as it is after the operations so far, so that positions in lists are right.
    work: Value,
    plan: RestorePlan,
}

impl Restore<'_> {
    fn drift(&mut self, path: &Path, expected: Option<&Value>, found: Option<Value>) {
        self.plan.foreign.push(Drift { path: path.clone(), expected: expected.cloned(), found });
    }

    fn value(&mut self, path: &Path, ours: Option<&Value>, goal: Option<&Value>, index: Option<usize>) {
        let live = path.get(&self.work).cloned();
        if equivalent(self.kind, path, live.as_ref(), goal) {
            self.plan.already.push(path.clone());
        } else if equivalent(self.kind, path, live.as_ref(), ours) {
            match put(&mut self.work, path, goal, index) {
                Some(operations) => self.plan.operations.extend(operations),
                None => self.drift(path, ours, live),
            }
        } else if !self.members(path, ours, goal, live.as_ref()) {
            let operations = if self.overwrite { put(&mut self.work, path, goal, index) } else { None };
            match operations {
                Some(operations) => self.plan.operations.extend(operations),
                None => self.drift(path, ours, live),
            }
        }
    }

    /// Restores a container that others changed too, member by member: theirs stay, ours go back. False where there is
    /// no container, or where its members cannot be told apart.
    fn members(
        &mut self,
        path: &Path,
        ours: Option<&Value>,
        goal: Option<&Value>,
        live: Option<&Value>,
    ) -> bool {
        // An item of a list without its key fields or with half of its content is no item: it goes back as a whole.
        if matches!(path.0.last(), Some(Segment::Key(_))) && (ours.is_none() || goal.is_none()) {
            return false;
        }
        let Some(live) = live else { return false };
        let (Some(ours), Some(goal)) = (self.split(path, ours, live), self.split(path, goal, live)) else {
            return false;
        };
        let checkpoint = (self.work.clone(), self.plan.clone());
        let drifts = self.plan.foreign.len();
        let segments: BTreeSet<&Segment> = ours.iter().chain(&goal).map(|member| &member.0).collect();
        let mut removals_first: Vec<_> = segments
            .into_iter()
            .map(|segment| (segment, lookup(&ours, segment), lookup(&goal, segment)))
            .collect();
        removals_first.sort_by_key(|(_, _, goal)| goal.map(|member| member.1));
        for (segment, ours, goal) in removals_first {
            let path = path.join(segment.clone());
            let (ours, goal, index) =
                (ours.map(|member| &member.2), goal.map(|member| &member.2), goal.map(|member| member.1));
            if !equivalent(self.kind, &path, ours, goal) {
                self.value(&path, ours, goal, index);
            }
        }
        if self.plan.foreign.len() > drifts && !is_free_map(path) {
            // Half of a structure (a probe without its handler) would be worse than the whole: it stays as it is.
            let foreign = self.plan.foreign.split_off(drifts);
            (self.work, self.plan) = checkpoint;
            self.plan.foreign.extend(foreign);
            return true;
        }
        let emptied = path.get(&self.work).is_some_and(is_empty);
        if goal.is_empty()
            && emptied
            && self.plan.foreign.len() == drifts
            && let Some(operations) = put(&mut self.work, path, None, None)
        {
            self.plan.operations.extend(operations);
        }
        true
    }

    /// The members of a container of the same sort as `live`, with their positions; none for an absent one.
    fn split(
        &self,
        path: &Path,
        value: Option<&Value>,
        live: &Value,
    ) -> Option<Vec<(Segment, usize, Value)>> {
        match (value, live) {
            (None, Value::Object(_)) => Some(Vec::new()),
            (None, Value::Array(list)) => items(self.kind, path, list).map(|_| Vec::new()),
            (Some(Value::Object(map)), Value::Object(_)) => Some(
                map.iter()
                    .enumerate()
                    .map(|(index, (name, value))| (Segment::Field(name.clone()), index, value.clone()))
                    .collect(),
            ),
            (Some(Value::Array(list)), Value::Array(live)) => {
                items(self.kind, path, live)?;
                let found = items(self.kind, path, list)?;
                Some(
                    found
                        .into_iter()
                        .map(|(segment, (index, item))| (segment, index, item.clone()))
                        .collect(),
                )
            }
            _ => None,
        }
    }
}

type Member = (Segment, usize, Value);

fn lookup<'m>(members: &'m [Member], segment: &Segment) -> Option<&'m Member> {
    members.iter().find(|member| member.0 == *segment)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Maps whose members mean something each on its own.
fn is_free_map(path: &Path) -> bool {
    const FREE: &[&str] = &[
        "data",
        "binaryData",
        "stringData",
        "labels",
        "annotations",
        "limits",
        "requests",
        "hard",
        "parameters",
        "options",
    ];
    matches!(path.0.last(), Some(Segment::Field(name)) if FREE.contains(&name.as_str()))
        || matches!(path.0.last(), Some(Segment::Field(name)) if name == "metadata" && path.0.len() == 1)
}

/// Sets (`Some`) or removes (`None`) the value at a path, and returns the operations that do so. Maps that are missing
/// on the way are made, and so is a keyed list for its first item; a missing item is not: then `None` is returned and
/// nothing is done.
pub(super) fn put(
    object: &mut Value,
    path: &Path,
    goal: Option<&Value>,
    index: Option<usize>,
) -> Option<Vec<Value>> {
    let (last, parents) = path.0.split_last()?;
    let mut operations = Vec::new();
    let mut pointer = String::new();
    let mut at = object;
    for (depth, segment) in parents.iter().enumerate() {
        if matches!(segment, Segment::Field(_)) && at.is_object() && step(at, segment).is_none() {
            let rest = path.0.get(depth + 1..)?;
            let value = wrap(rest, goal?)?;
            return add_member(at, &pointer, segment, value, operations);
        }
        (at, pointer) = descend(at, segment, &pointer, &mut operations)?;
    }
    match (position(at, last), goal) {
        (Position::Field(name), goal) => {
            let pointer = format!("{pointer}/{}", escape(&name));
            let map = at.as_object_mut()?;
            match (map.get(&name), goal) {
                (None, None) => {}
                (None, Some(goal)) => operations.push(json!({"op": "add", "path": pointer, "value": goal})),
                (Some(live), goal) => {
                    operations.push(json!({"op": "test", "path": pointer, "value": live}));
                    operations.push(match goal {
                        Some(goal) => json!({"op": "replace", "path": pointer, "value": goal}),
                        None => json!({"op": "remove", "path": pointer}),
                    });
                }
            }
            match goal {
                Some(goal) => map.insert(name, goal.clone()),
                None => map.remove(&name),
            };
        }
        (Position::Item(found), goal) => {
            let list = at.as_array_mut()?;
            let pointer = format!("{pointer}/{found}");
            operations.push(json!({"op": "test", "path": pointer, "value": list.get(found)?}));
            match goal {
                Some(goal) => {
                    operations.push(json!({"op": "replace", "path": pointer, "value": goal}));
                    *list.get_mut(found)? = goal.clone();
                }
                None => {
                    operations.push(json!({"op": "remove", "path": pointer}));
                    list.remove(found);
                }
            }
        }
        (Position::Missing, None) => {}
        (Position::Missing, Some(goal)) => {
            let list = at.as_array_mut()?;
            let index = index.unwrap_or(list.len()).min(list.len());
            operations.push(json!({"op": "add", "path": format!("{pointer}/{index}"), "value": goal}));
            list.insert(index, goal.clone());
        }
        (Position::Wrong, _) => return None,
    }
    Some(operations)
}

enum Position {
    Field(String),
    Item(usize),
    /// A list that does not have the item.
    Missing,
    /// Not the sort of container that the segment needs.
    Wrong,
}

fn position(container: &Value, segment: &Segment) -> Position {
    match (container, segment) {
        (Value::Object(_), Segment::Field(name)) => Position::Field(name.clone()),
        (Value::Array(_), Segment::Key(_) | Segment::Item(_) | Segment::Index(_)) => {
            crate::object::path::locate(container, segment).map_or(Position::Missing, Position::Item)
        }
        _ => Position::Wrong,
    }
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match position(value, segment) {
        Position::Field(name) => value.get(name),
        Position::Item(index) => value.get(index),
        Position::Missing | Position::Wrong => None,
    }
}

/// One level down. A position in a keyed list is guarded: should the list have moved, the patch fails and does no harm.
fn descend<'v>(
    at: &'v mut Value,
    segment: &Segment,
    pointer: &str,
    operations: &mut Vec<Value>,
) -> Option<(&'v mut Value, String)> {
    match position(at, segment) {
        Position::Field(name) => {
            let pointer = format!("{pointer}/{}", escape(&name));
            Some((at.get_mut(&name)?, pointer))
        }
        Position::Item(index) => {
            let pointer = format!("{pointer}/{index}");
            let item = at.get_mut(index)?;
            if let Segment::Key(keys) = segment {
                for name in keys.keys() {
                    if let Some(value) = item.get(name) {
                        operations.push(json!({"op": "test", "path": format!("{pointer}/{}", escape(name)), "value": value}));
                    }
                }
            }
            Some((item, pointer))
        }
        Position::Missing | Position::Wrong => None,
    }
}

fn add_member(
    at: &mut Value,
    pointer: &str,
    segment: &Segment,
    value: Value,
    mut operations: Vec<Value>,
) -> Option<Vec<Value>> {
    let Segment::Field(name) = segment else { return None };
    operations.push(json!({"op": "add", "path": format!("{pointer}/{}", escape(name)), "value": value}));
    at.as_object_mut()?.insert(name.clone(), value);
    Some(operations)
}

/// The value at the end of `segments`, inside the maps that lead to it; an item gets its list.
fn wrap(segments: &[Segment], goal: &Value) -> Option<Value> {
    let Some((first, rest)) = segments.split_first() else { return Some(goal.clone()) };
    match first {
        Segment::Field(name) => Some(Value::Object(Map::from_iter([(name.clone(), wrap(rest, goal)?)]))),
        _ if rest.is_empty() => Some(Value::Array(vec![goal.clone()])),
        Segment::Key(_) | Segment::Index(_) | Segment::Item(_) => None,
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
