//! What names an item of a list.

use crate::object::path::Segment;
use crate::rehearsal::schema::{Items, ListType, Schema, Shape};
use serde_json::Value;
use std::collections::BTreeMap;

/// The segment that names an item of a keyed list or of a set, defaults of the keys filled in.
///
/// # Errors
/// The API server's words where the item cannot have a name: no key at all, `null`, a list in a set.
pub(super) fn segment(schema: &Schema, list: &ListType, item: &Value) -> Result<Segment, String> {
    let keys = match &list.items {
        Items::Atomic => return Err("invalid indexing of non-associative list".to_owned()),
        Items::Set => return set_item(item),
        Items::Keyed(keys) => keys,
    };
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let mut pairs = BTreeMap::new();
    for key in keys {
        let default = || match schema.shape(list.of, Some(item)) {
            Shape::Map(of) => of.default_of(key),
            _ => None,
        };
        // A key that is neither there nor has a default is left out: such an item is another one than any with it.
        if let Some(value) = map.get(key).or_else(default) {
            pairs.insert(key.clone(), value.to_string());
        }
    }
    if pairs.is_empty() {
        let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            keys.join(" ")
        ));
    }
    Ok(Segment::Key(pairs))
}

fn set_item(item: &Value) -> Result<Segment, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
        _ => Ok(Segment::Item(item.to_string())),
    }
}

/// The items of a keyed list or a set with their names, in order; items that cannot have one are left out.
pub(super) fn named<'v>(
    schema: &Schema,
    list: &ListType,
    value: Option<&'v Value>,
) -> Vec<(Segment, &'v Value)> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| Some((segment(schema, list, item).ok()?, item))).collect()
}

/// The names without repetition, in order of appearance, each with all items of that name.
pub(super) fn grouped<'v>(named: Vec<(Segment, &'v Value)>) -> Vec<(Segment, Vec<&'v Value>)> {
    let mut places: BTreeMap<Segment, usize> = BTreeMap::new();
    let mut groups: Vec<(Segment, Vec<&Value>)> = Vec::new();
    for (segment, item) in named {
        let place = *places.entry(segment.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, items)) => items.push(item),
            None => groups.push((segment, vec![item])),
        }
    }
    groups
}

/// Whether two values are one: numbers by value, maps without order.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Whether a map or list has nothing in it, or is not there.
pub(super) fn is_hollow(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => true,
    }
}
