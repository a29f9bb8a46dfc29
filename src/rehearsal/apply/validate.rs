//! Whether an intent fits its type, in the API server's words (structured-merge-diff typed/validate.go).

use super::item;
use crate::object::path::{Path, Segment};
use crate::rehearsal::schema::{Items, Scalar, Schema, Shape, TypeId};
use serde_json::Value;
use std::collections::BTreeSet;

/// Everything that does not fit: where (`.spec.ports`, empty for the object itself), and why.
pub(super) fn validate(schema: &Schema, root: TypeId, object: &Value) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    visit(schema, root, object, &Path::default(), &mut wrong);
    wrong
}

fn visit(schema: &Schema, id: TypeId, value: &Value, path: &Path, wrong: &mut Vec<(String, String)>) {
    if value.is_null() {
        return;
    }
    match schema.shape(id, Some(value)) {
        Shape::Scalar(scalar) => {
            if let Some(why) = misfit(scalar, value) {
                wrong.push((path.server_form(), why));
            }
        }
        Shape::Map(of) => {
            let Some(map) = value.as_object() else {
                wrong.push((path.server_form(), format!("expected map, got &{{{}}}", go_plain(value))));
                return;
            };
            for (name, member) in map {
                let path = path.join(Segment::Field(name.clone()));
                let Some(id) = of.member(name) else {
                    // The API server stops here with this map, in whose members it has no order.
                    wrong.push((path.server_form(), "field not declared in schema".to_owned()));
                    return;
                };
                visit(schema, id, member, &path, wrong);
            }
        }
        Shape::List(of) => {
            let Some(items) = value.as_array() else {
                wrong.push((path.server_form(), format!("expected list, got &{{{}}}", go_plain(value))));
                return;
            };
            let mut seen = BTreeSet::new();
            for (index, one) in items.iter().enumerate() {
                let segment = match &of.items {
                    Items::Atomic => Segment::Index(index),
                    _ => match item::segment(schema, of, one) {
                        Ok(segment) => segment,
                        Err(why) => {
                            wrong.push((path.server_form(), format!("element {index}: {why}")));
                            return;
                        }
                    },
                };
                let here = path.join(segment.clone());
                if !seen.insert(segment.clone()) {
                    let name = Path(vec![segment]).server_form();
                    wrong.push((path.server_form(), format!("duplicate entries for key {name}")));
                }
                visit(schema, of.of, one, &here, wrong);
            }
        }
    }
}

fn misfit(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::Number if !value.is_number() => {
            Some(format!("expected numeric (int or float), got {}", go_type(value)))
        }
        Scalar::Text if !value.is_string() => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)))
        }
        Scalar::Boolean if !value.is_boolean() => {
            Some(format!("expected boolean, got &{{{}}}", go_plain(value)))
        }
        Scalar::Untyped if value.is_array() || value.is_object() => {
            Some(format!("expected any scalar, got &{{{}}}", go_plain(value)))
        }
        _ => None,
    }
}

/// A value as Go's `%T` names its type.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it.
fn go_plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", go_plain(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        scalar => scalar.to_string(),
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(name, value)| format!("{name:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        scalar => scalar.to_string(),
    }
}
