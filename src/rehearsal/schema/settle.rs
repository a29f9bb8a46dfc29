//! The shape that an object has after the API server has read and written it.

use super::{Scalar, Schema, Shape, TypeId};
use crate::object::kind::Kind;
use serde_json::{Map, Value};

impl Schema {
    /// Brings an object into the shape that it has after the API server's own types have held it.
    ///
    /// Fields that are not of the type are gone, and so are `null` and empty lists and maps (not structs: `emptyDir: {}`
    /// stays); fields that are always written are there (`status: {}`, `resources: {}`). Kinds that the schema does not
    /// know stay as they are. Defaults are not filled in.
    ///
    /// An empty string, zero or `false` stays, although the API server drops it from some fields: the OpenAPI document
    /// does not say from which.
    #[must_use]
    pub fn settle(&self, kind: &Kind, object: Value) -> Value {
        if self.knows(kind) { self.settled(self.root(kind), object) } else { object }
    }

    fn settled(&self, id: TypeId, value: Value) -> Value {
        match (self.shape(id, Some(&value)), value) {
            (Shape::Map(of), Value::Object(map)) => {
                let mut out = Map::new();
                let mut structure = of.rest.is_none();
                for (name, value) in map {
                    let Some(id) = of.member(&name) else { continue };
                    structure |= of.declares(&name);
                    if of.rest.is_some() && !of.declares(&name) {
                        let text = matches!(self.shape(id, None), Shape::Scalar(Scalar::Text));
                        let value =
                            if text && value.is_null() { Value::String(String::new()) } else { value };
                        out.insert(name, self.settled(id, value));
                        continue;
                    }
                    // What is always written is put back below: a list that is empty as null, as it is stored.
                    if self.is_blank(id, &value) {
                        continue;
                    }
                    out.insert(name, self.settled(id, value));
                }
                if structure {
                    for (name, zero) in of.always() {
                        if !out.contains_key(name) {
                            let zero = of.member(name).map(|id| self.settled(id, zero.clone()));
                            out.insert(name.clone(), zero.unwrap_or_default());
                        }
                    }
                }
                Value::Object(out)
            }
            (Shape::List(of), Value::Array(items)) => {
                Value::Array(items.into_iter().map(|item| self.settled(of.of, item)).collect())
            }
            (_, value) => value,
        }
    }

    /// Whether the API server leaves the value out: `null`, an empty list, an empty map that is no struct.
    fn is_blank(&self, id: TypeId, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) if map.is_empty() => {
                matches!(self.shape(id, Some(value)), Shape::Map(of) if of.fields.is_empty() && of.rest.is_some())
            }
            _ => false,
        }
    }
}
