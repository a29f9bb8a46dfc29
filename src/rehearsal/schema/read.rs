//! Reading the compact tables.

use super::{
    ANY, ANY_ATOMIC, BOOLEAN, Items, ListType, MapType, NUMBER, PatchRule, Scalar, Schema, TEXT, Type,
    TypeId, UNTYPED,
};
use serde_json::{Map, Value};
use std::collections::HashMap;

struct Reader<'c> {
    names: HashMap<&'c str, TypeId>,
    types: Vec<Type>,
}

impl Schema {
    /// Reads what [`super::openapi::compact`] writes.
    ///
    /// # Errors
    /// A sentence that names the type that cannot be read.
    pub fn read(compact: &Value) -> Result<Self, String> {
        let named = compact.get("types").and_then(Value::as_object).ok_or("the schema has no types")?;
        let mut reader = Reader { names: HashMap::new(), types: vec![Type::Any, Type::AnyAtomic] };
        for scalar in [Scalar::Number, Scalar::Text, Scalar::Boolean, Scalar::Untyped] {
            reader.push(Type::Scalar(scalar));
        }
        // Types refer to each other in circles: first the places, then what stands there.
        for name in named.keys() {
            let id = reader.push(Type::Any);
            reader.names.insert(name, id);
        }
        for (name, body) in named {
            let body = reader.body(body).map_err(|why| format!("type {name} {why}"))?;
            let place = reader.names.get(name.as_str()).and_then(|id| reader.types.get_mut(id.0));
            if let Some(place) = place {
                *place = body;
            }
        }
        let mut kinds = HashMap::new();
        for (kind, name) in compact.get("kinds").and_then(Value::as_object).into_iter().flatten() {
            let id = name.as_str().and_then(|name| reader.names.get(name));
            kinds.insert(kind.clone(), *id.ok_or_else(|| format!("kind {kind} has no type {name}"))?);
        }
        let metadata =
            reader.names.get("meta.v1.ObjectMeta").copied().ok_or("the schema has no ObjectMeta")?;
        let fields = [("apiVersion", TEXT), ("kind", TEXT), ("metadata", metadata)];
        let unknown = MapType {
            fields: fields.into_iter().map(|(name, id)| (name.to_owned(), id)).collect(),
            rest: Some(ANY),
            ..MapType::default()
        };
        let unknown = reader.push(Type::Map(unknown));
        Ok(Self { kinds, types: reader.types, unknown })
    }
}

impl Reader<'_> {
    fn push(&mut self, kind: Type) -> TypeId {
        self.types.push(kind);
        TypeId(self.types.len() - 1)
    }

    /// A named type.
    fn body(&mut self, body: &Value) -> Result<Type, String> {
        let Some(fields) = body.get("fields").and_then(Value::as_object) else {
            return match self.reference(body)? {
                ANY => Ok(Type::Any),
                ANY_ATOMIC => Ok(Type::AnyAtomic),
                NUMBER => Ok(Type::Scalar(Scalar::Number)),
                TEXT => Ok(Type::Scalar(Scalar::Text)),
                BOOLEAN => Ok(Type::Scalar(Scalar::Boolean)),
                UNTYPED => Ok(Type::Scalar(Scalar::Untyped)),
                _ => Err(format!("is neither a struct nor a simple type: {body}")),
            };
        };
        let mut map = MapType {
            atomic: is_atomic(body),
            defaults: body.get("defaults").and_then(Value::as_object).cloned().unwrap_or_default(),
            ..MapType::default()
        };
        for (name, field) in fields {
            let id = self.reference(field).map_err(|why| format!("field {name} {why}"))?;
            map.fields.insert(name.clone(), id);
            if let Some(rule) = field.get("patch").and_then(Value::as_object) {
                map.patches.insert(name.clone(), patch_rule(rule));
            }
        }
        Ok(Type::Map(map))
    }

    /// A type where it is used.
    fn reference(&mut self, value: &Value) -> Result<TypeId, String> {
        if let Some(name) = value.as_str() {
            return match name {
                "any" => Ok(ANY),
                "anyAtomic" => Ok(ANY_ATOMIC),
                "number" => Ok(NUMBER),
                "string" => Ok(TEXT),
                "boolean" => Ok(BOOLEAN),
                "scalar" => Ok(UNTYPED),
                _ => self.names.get(name).copied().ok_or_else(|| format!("names a missing type {name}")),
            };
        }
        if let Some(of) = value.get("map") {
            let of = self.reference(of)?;
            let map = MapType { rest: Some(of), atomic: is_atomic(value), ..MapType::default() };
            return Ok(self.push(Type::Map(map)));
        }
        if let Some(of) = value.get("set") {
            let of = self.reference(of)?;
            return Ok(self.push(Type::List(ListType { of, items: Items::Set })));
        }
        if let Some(of) = value.get("list") {
            let of = self.reference(of)?;
            let keys: Vec<String> = texts(value.get("keys"));
            let items = if keys.is_empty() { Items::Atomic } else { Items::Keyed(keys) };
            return Ok(self.push(Type::List(ListType { of, items })));
        }
        value.get("ref").map_or_else(|| Err(format!("is no type: {value}")), |of| self.reference(of))
    }
}

fn is_atomic(value: &Value) -> bool {
    value.get("atomic") == Some(&Value::Bool(true))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn patch_rule(rule: &Map<String, Value>) -> PatchRule {
    let strategy = rule.get("strategy").and_then(Value::as_str).unwrap_or_default();
    PatchRule {
        merge: strategy.split(',').any(|part| part == "merge"),
        retain_keys: strategy.split(',').any(|part| part == "retainKeys"),
        key: rule.get("key").and_then(Value::as_str).map(str::to_owned),
    }
}
