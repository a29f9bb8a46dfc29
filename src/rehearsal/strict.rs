//! Strict decoding: the fields that a type does not have (apimachinery pkg/runtime/serializer/json, `fieldValidation`).

use super::resource::Resource;
use super::schema::{Schema, Shape, TypeId};
use serde_json::Value;

/// The unknown fields of an object in the order in which the server names them, as `spec.containers[0].nam`.
pub fn unknown_fields(resource: &Resource, object: &Value, found: &mut Vec<String>) {
    let schema = Schema::embedded();
    let kind = resource.kind();
    if schema.knows(&kind) {
        walk(schema, schema.root(&kind), object, "", found);
    }
}

fn walk(schema: &Schema, id: TypeId, value: &Value, at: &str, found: &mut Vec<String>) {
    match (schema.shape(id, Some(value)), value) {
        (Shape::Map(map), Value::Object(members)) => {
            for (name, member) in members {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match map.member(name) {
                    Some(id) => walk(schema, id, member, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                walk(schema, list.of, item, &format!("{at}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_by_their_paths() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {"any": "x"}},
            "spec": {"template": {"spec": {"containers": [{"nam": "x"}], "nodeSelector": {"any": "x"}}}}, "foo": 1,
        });
        let mut found = Vec::new();
        unknown_fields(Resource::of("apps", "v1", "deployments").unwrap(), &object, &mut found);
        assert_eq!(found, ["foo", "spec.template.spec.containers[0].nam"]);
    }
}
