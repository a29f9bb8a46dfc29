//! Reading and writing members of objects.

use serde_json::{Map, Value};

/// The metadata of an object, made if there is none.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    member(object, "metadata")
}

/// A map inside a map, made if there is none (or something else in its place).
pub fn member<'v>(value: &'v mut Value, name: &str) -> &'v mut Map<String, Value> {
    let inner = map(value).entry(name.to_owned()).or_insert(Value::Null);
    map(inner)
}

/// The value as a map; whatever else it was is replaced by an empty one.
pub fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made a map"),
    }
}

/// The text at a pointer, empty where there is none.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a pointer.
pub fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The items at a pointer, none where there is no list.
pub fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The members at a pointer, none where there is no map.
pub fn members<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

/// The items of a member list, for changing them.
pub fn items_mut<'v>(map: &'v mut Map<String, Value>, name: &str) -> impl Iterator<Item = &'v mut Value> {
    map.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Sets a member where there is none, or null.
pub fn default(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    let place = map.entry(name.to_owned()).or_insert(Value::Null);
    if place.is_null() {
        *place = value.into();
    }
}

/// Whether something other than null stands at a pointer.
pub fn has(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).is_some_and(|found| !found.is_null())
}

/// Sets a member of the metadata.
pub fn set_metadata(object: &mut Value, name: &str, value: impl Into<Value>) {
    metadata(object).insert(name.to_owned(), value.into());
}

/// The finalizers.
pub fn finalizers(object: &Value) -> Vec<String> {
    items(object, "/metadata/finalizers").iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// Sets the finalizers; an empty list is none.
pub fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let metadata = metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), Value::from(finalizers));
    }
}
