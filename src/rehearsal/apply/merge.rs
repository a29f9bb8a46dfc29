//! Laying an intent over a live object (structured-merge-diff typed/merge.go).

use super::compare::same_sort;
use super::item;
use crate::object::path::Segment;
use crate::rehearsal::schema::{Items, ListType, MapType, Schema, Shape, TypeId};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The live object with everything that the intent says; nothing is removed.
///
/// Items of keyed lists and sets stand in the order of the intent, those that it does not name where they stood.
pub(super) fn merge(
    schema: &Schema,
    id: TypeId,
    live: Option<&Value>,
    intent: Option<&Value>,
) -> Option<Value> {
    let (was, is) = (schema.shape(id, live), schema.shape(id, intent));
    let shape = if intent.is_none() || (live.is_some() && same_sort(&was, &is)) { was } else { is };
    match shape {
        Shape::Map(of) if !of.atomic && !both_hollow(live, intent) => {
            let map = members(schema, of, live, intent);
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Shape::List(of) if of.items != Items::Atomic && !both_hollow(live, intent) => {
            let items = items(schema, of, live, intent);
            (!items.is_empty()).then_some(Value::Array(items))
        }
        _ => intent.or(live).cloned(),
    }
}

fn both_hollow(live: Option<&Value>, intent: Option<&Value>) -> bool {
    item::is_hollow(live) && item::is_hollow(intent)
}

fn members(
    schema: &Schema,
    of: &MapType,
    live: Option<&Value>,
    intent: Option<&Value>,
) -> Map<String, Value> {
    let (live, intent) = (live.and_then(Value::as_object), intent.and_then(Value::as_object));
    let names: BTreeSet<&String> = live
        .into_iter()
        .flat_map(|map| map.keys())
        .chain(intent.into_iter().flat_map(|map| map.keys()))
        .collect();
    let mut out = Map::new();
    for name in names {
        let (live, intent) = (live.and_then(|map| map.get(name)), intent.and_then(|map| map.get(name)));
        let merged = match of.member(name) {
            Some(id) => merge(schema, id, live, intent),
            None => live.cloned(),
        };
        if let Some(value) = merged {
            out.insert(name.clone(), value);
        }
    }
    out
}

/// Two lists of named items become one.
///
/// Items that only the live list has keep their place before the shared item that follows them; a live item that occurs
/// more than once is kept as often where the intent does not name it, and replaced by the intent's one where it does.
fn items(schema: &Schema, of: &ListType, live: Option<&Value>, intent: Option<&Value>) -> Vec<Value> {
    let (live, intent) = (item::named(schema, of, live), item::named(schema, of, intent));
    let ours: BTreeMap<&Segment, &Value> = intent.iter().map(|(segment, item)| (segment, *item)).collect();
    let mut theirs: BTreeMap<&Segment, &Value> = BTreeMap::new();
    for (segment, item) in &live {
        theirs.entry(segment).and_modify(|seen| *seen = &Value::Null).or_insert(item);
    }
    let mut shared = intent.iter().map(|(segment, _)| segment).filter(|segment| theirs.contains_key(segment));
    let mut next = shared.next();
    let mut merged: BTreeSet<&Segment> = BTreeSet::new();
    let mut out = Vec::new();
    let both =
        |segment: &Segment| merge(schema, of.of, theirs.get(segment).copied(), ours.get(segment).copied());
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < intent.len() {
        if let (Some((theirs, _)), Some((segment, _))) = (live.get(left), intent.get(right)) {
            if theirs == segment {
                merged.insert(segment);
                out.extend(both(segment));
                (left, right) = (left + 1, right + 1);
                next = shared.next();
                continue;
            }
            if ours.contains_key(theirs) && next.is_some_and(|next| next != theirs) {
                // Shared, but its turn comes later.
                left += 1;
                continue;
            }
        }
        if let Some((segment, value)) = live.get(left) {
            if !ours.contains_key(segment) {
                out.extend(merge(schema, of.of, Some(value), None));
                left += 1;
                continue;
            }
            if merged.contains(segment) {
                left += 1;
            }
        }
        if let Some((segment, _)) = intent.get(right) {
            merged.insert(segment);
            out.extend(both(segment));
            right += 1;
            if next == Some(segment) {
                next = shared.next();
            }
        }
    }
    out
}
