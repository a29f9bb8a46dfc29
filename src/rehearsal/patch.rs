//! Patches: JSON (RFC 6902), merge (RFC 7386), strategic merge.

use super::resource::Resource;
use super::schema::{Schema, Shape, TypeId};
use super::value::map;
use serde_json::{Map, Value};

/// Applies the operations of a JSON patch.
///
/// # Errors
/// What does not fit: an operation that is none, a path that is not there, a `test` that does not hold.
pub fn json(object: &mut Value, operations: &[Value]) -> Result<(), String> {
    for operation in operations {
        let field = |name: &str| operation.get(name).and_then(Value::as_str);
        let path = field("path").ok_or("an operation has no path")?;
        let value = || operation.get("value").cloned().ok_or_else(|| format!("no value for {path}"));
        match field("op") {
            Some("add") => add(object, path, value()?)?,
            Some("remove") => {
                remove(object, path)?;
            }
            Some("replace") => {
                let place = object.pointer_mut(path).ok_or_else(|| missing(path))?;
                *place = value()?;
            }
            Some("test") => {
                // A value that is not there equals null.
                if object.pointer(path).unwrap_or(&Value::Null)
                    != operation.get("value").unwrap_or(&Value::Null)
                {
                    return Err(format!("testing path {path} failed"));
                }
            }
            Some("copy") => {
                let from = field("from").ok_or("an operation has no from")?;
                let value = object.pointer(from).cloned().ok_or_else(|| missing(from))?;
                add(object, path, value)?;
            }
            Some("move") => {
                let from = field("from").ok_or("an operation has no from")?;
                if path.starts_with(&format!("{from}/")) {
                    return Err(format!("{from} cannot be moved into itself"));
                }
                let value = remove(object, from)?;
                add(object, path, value)?;
            }
            _ => return Err("an operation is unknown".to_owned()),
        }
    }
    Ok(())
}

fn missing(path: &str) -> String {
    format!("{path} is not there")
}

/// The parent's pointer and the last part, decoded.
fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} is not a path"))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

/// An index in its only form: digits without a leading zero.
fn index(text: &str, bound: usize) -> Option<usize> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|one| one.is_ascii_digit()));
    text.parse::<usize>().ok().filter(|index| canonical && *index < bound)
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(last, value);
        }
        Some(Value::Array(list)) if last == "-" => list.push(value),
        Some(Value::Array(list)) => {
            let at = index(&last, list.len() + 1).ok_or_else(|| missing(path))?;
            list.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = split(path)?;
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => members.remove(&last).ok_or_else(|| missing(path)),
        Some(Value::Array(list)) => {
            let at = index(&last, list.len()).ok_or_else(|| missing(path))?;
            Ok(list.remove(at))
        }
        _ => Err(missing(path)),
    }
}

/// Applies a merge patch.
pub fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    let members = map(object);
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Applies a strategic merge patch (apimachinery pkg/util/strategicpatch/patch.go), with the directives `$patch`,
/// `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder`; the last is an order only, and kept out.
///
/// # Errors
/// An item of a merged list lacks its key, or a directive is none.
pub fn strategic(resource: &Resource, object: &mut Value, patch: &Value) -> Result<(), String> {
    let schema = Schema::embedded();
    merge_type(schema, schema.root(&resource.kind()), object, patch)
}

fn merge_type(schema: &Schema, id: TypeId, object: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return Ok(());
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut whole = changes.clone();
            whole.remove("$patch");
            *object = Value::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("unknown patch type {other:?} found")),
    }
    let Shape::Map(kind) = schema.shape(id, Some(patch)) else {
        *object = patch.clone();
        return Ok(());
    };
    let members = map(object);
    if let Some(kept) = changes.get("$retainKeys").and_then(Value::as_array) {
        members.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(items)) = members.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        if change.is_null() {
            members.remove(name);
            continue;
        }
        let rule = kind.patch_rule(name);
        let below = kind.member(name);
        let place = members.entry(name.clone()).or_insert(Value::Null);
        match (change, rule.filter(|rule| rule.merge), below) {
            (Value::Array(items), Some(rule), Some(below)) => {
                let Shape::List(list) = schema.shape(below, Some(change)) else {
                    *place = change.clone();
                    continue;
                };
                match &rule.key {
                    Some(key) => merge_list(schema, list.of, key, place, items)?,
                    None => {
                        if !place.is_array() {
                            *place = Value::Array(Vec::new());
                        }
                        for item in items {
                            if let Some(all) = place.as_array_mut().filter(|all| !all.contains(item)) {
                                all.push(item.clone());
                            }
                        }
                    }
                }
            }
            (Value::Object(_), _, Some(below)) => merge_type(schema, below, place, change)?,
            _ => *place = change.clone(),
        }
    }
    Ok(())
}

fn merge_list(
    schema: &Schema,
    of: TypeId,
    key: &str,
    place: &mut Value,
    items: &[Value],
) -> Result<(), String> {
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    let Some(live) = place.as_array_mut() else { return Ok(()) };
    if items
        .iter()
        .any(|item| item.get("$patch").is_some_and(|it| it == "replace") && item.get(key).is_none())
    {
        live.clear();
    }
    for item in items {
        let directive = item.get("$patch").and_then(Value::as_str);
        let Some(wanted) = item.get(key) else {
            if directive == Some("replace") {
                continue;
            }
            return Err(format!("map: {item} does not contain declared merge key: {key}"));
        };
        let found = live.iter().position(|one| one.get(key) == Some(wanted));
        match (directive, found) {
            (Some("delete"), Some(at)) => {
                live.remove(at);
            }
            (Some("delete"), None) => {}
            (_, Some(at)) => {
                if let Some(one) = live.get_mut(at) {
                    merge_type(schema, of, one, item)?;
                }
            }
            (_, None) => {
                let mut fresh = Value::Null;
                merge_type(schema, of, &mut fresh, item)?;
                live.push(fresh);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(object: Value, operations: Value) -> Result<Value, String> {
        let mut object = object;
        json(&mut object, operations.as_array().unwrap()).map(|()| object)
    }

    #[test]
    fn operations_of_json_patches() {
        let object = json!({"a": [1, 2], "b/c": {"~": 1}});
        let done = patched(
            object.clone(),
            json!([
                {"op": "test", "path": "/b~1c/~0", "value": 1},
                {"op": "add", "path": "/a/-", "value": 3},
                {"op": "add", "path": "/a/0", "value": 0},
                {"op": "remove", "path": "/a/1"},
                {"op": "replace", "path": "/b~1c", "value": null},
                {"op": "copy", "from": "/a", "path": "/d"},
                {"op": "move", "from": "/a", "path": "/e"},
                {"op": "test", "path": "/nowhere", "value": null},
            ]),
        );
        assert_eq!(done.unwrap(), json!({"b/c": null, "d": [0, 2, 3], "e": [0, 2, 3]}));
        for refused in [
            json!([{"op": "test", "path": "/a/0", "value": 2}]),
            json!([{"op": "remove", "path": "/z"}]),
            json!([{"op": "replace", "path": "/z", "value": 1}]),
            json!([{"op": "add", "path": "/a/3", "value": 1}]),
            json!([{"op": "add", "path": "/a/01", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "shine", "path": "/a"}]),
            json!([{"op": "move", "from": "/a", "path": "/a/0"}]),
        ] {
            assert!(patched(object.clone(), refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn merge_patches_of_rfc_7386() {
        for (object, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": [1]}), json!({"a": {"b": 1, "c": null}}), json!({"a": {"b": 1}})),
            (json!({"a": {"b": 1}}), json!({"a": {"c": 2}}), json!({"a": {"b": 1, "c": 2}})),
        ] {
            let mut done = object;
            merge(&mut done, &patch);
            assert_eq!(done, result);
        }
    }

    #[test]
    fn strategic_patches_merge_lists_by_their_keys() {
        let deployments = Resource::of("apps", "v1", "deployments").unwrap();
        let spec = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let mut object = spec(json!([
            {"name": "a", "image": "x", "args": ["1", "2"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "b", "image": "y"},
        ]));
        let patch = spec(json!([
            {"name": "a", "args": ["3"], "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}]},
            {"name": "b", "$patch": "delete"},
        ]));
        strategic(deployments, &mut object, &patch).unwrap();
        let env = json!([{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]);
        assert_eq!(object, spec(json!([{"name": "a", "image": "x", "args": ["3"], "env": env}])));
        assert!(strategic(deployments, &mut object, &spec(json!([{"image": "z"}]))).is_err());
    }
}
