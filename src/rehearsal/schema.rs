//! The types of the API as server-side apply sees them: what a list is keyed by, what is atomic, what a key defaults to.
//!
//! The tables are data, generated from the OpenAPI of a running kube-apiserver ([`openapi`], `examples/generate_schema.rs`);
//! a test against a real one fails when they differ. Names alone say nothing: `ports` has other keys in a container
//! than in a Service.

pub mod openapi;
mod read;
mod settle;

use crate::object::kind::Kind;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The types of the kinds that the rehearsal serves.
#[derive(Debug)]
pub struct Schema {
    kinds: HashMap<String, TypeId>,
    types: Vec<Type>,
    /// What a kind that is not described is taken for: metadata as everywhere, all else deduced from the values.
    unknown: TypeId,
}

/// The place of a type in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(usize);

/// One type.
#[derive(Debug)]
enum Type {
    Scalar(Scalar),
    Map(MapType),
    List(ListType),
    /// Whatever the value is: maps granular, lists atomic.
    Any,
    /// Whatever the value is, as one value.
    AnyAtomic,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number.
    Number,
    /// A string.
    Text,
    /// A boolean.
    Boolean,
    /// Any of them: quantities, times, a port's number or name.
    Untyped,
}

/// A struct or a map.
#[derive(Debug, Default)]
pub struct MapType {
    fields: HashMap<String, TypeId>,
    /// Defaults of the fields that have one. The zero values (`{}`, `""`, `0`, `false`) and `null` stand for fields
    /// that the API server always writes.
    defaults: Map<String, Value>,
    /// The type of the members that are no fields; a struct has none.
    rest: Option<TypeId>,
    patches: HashMap<String, PatchRule>,
    /// Whether it is one value with one owner.
    pub atomic: bool,
}

impl MapType {
    /// The type of a member, declared or not; `None` where a struct has no such field.
    pub fn member(&self, name: &str) -> Option<TypeId> {
        self.fields.get(name).copied().or(self.rest)
    }

    /// Whether the member is a field of a struct.
    pub fn declares(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// What an absent field is taken for where it is a key of a list.
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        self.defaults.get(name).filter(|value| !value.is_null())
    }

    /// How a strategic merge patch treats a field; `None`: maps are merged, lists replaced.
    pub fn patch_rule(&self, name: &str) -> Option<&PatchRule> {
        self.patches.get(name)
    }

    /// The fields that are written even where nothing is set, with what is written: a zero value, `{}` or `null`.
    fn always(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.defaults.iter().filter(|(_, value)| match value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Bool(flag) => !flag,
            Value::Array(_) => false,
        })
    }
}

/// What tells the items of a list apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// Nothing: the list is one value with one owner.
    Atomic,
    /// Their value.
    Set,
    /// These fields of theirs.
    Keyed(Vec<String>),
}

/// A list.
#[derive(Debug)]
pub struct ListType {
    /// The type of the items.
    pub of: TypeId,
    /// What tells them apart.
    pub items: Items,
}

/// What a value is, given its type.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'s> {
    /// A scalar.
    Scalar(Scalar),
    /// A struct or a map.
    Map(&'s MapType),
    /// A list.
    List(&'s ListType),
}

/// How a strategic merge patch treats a field (`x-kubernetes-patch-strategy`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// Whether a list is merged rather than replaced.
    pub merge: bool,
    /// Whether fields that the patch does not name go away.
    pub retain_keys: bool,
    /// The field that tells items of a merged list apart; `None` for lists of scalars.
    pub key: Option<String>,
}

const EMBEDDED: &str = include_str!("schema.json");

impl Schema {
    /// The schema that is built in, read at the first call.
    ///
    /// Built in is what the tests have read: should it not be readable, every kind is deduced from its values.
    pub fn embedded() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            serde_json::from_str(EMBEDDED)
                .ok()
                .and_then(|value| Self::read(&value).ok())
                .unwrap_or_else(Self::empty)
        })
    }

    fn empty() -> Self {
        Self { kinds: HashMap::new(), types: vec![Type::Any], unknown: TypeId(0) }
    }

    /// Whether the schema describes this kind.
    pub fn knows(&self, kind: &Kind) -> bool {
        self.kinds.contains_key(&key(kind))
    }

    /// The type of a kind's objects; of a kind that is not described, one with metadata and anything else.
    pub fn root(&self, kind: &Kind) -> TypeId {
        self.kinds.get(&key(kind)).copied().unwrap_or(self.unknown)
    }

    /// What a value of this type is; `value` decides where the type leaves it open.
    pub fn shape(&self, id: TypeId, value: Option<&Value>) -> Shape<'_> {
        let (map, list) = match self.types.get(id.0) {
            Some(Type::Scalar(scalar)) => return Shape::Scalar(*scalar),
            Some(Type::Map(map)) => return Shape::Map(map),
            Some(Type::List(list)) => return Shape::List(list),
            Some(Type::AnyAtomic) => (any_map(true), any_list()),
            Some(Type::Any) | None => (any_map(false), any_list()),
        };
        match value {
            None | Some(Value::Null | Value::Object(_)) => Shape::Map(map),
            Some(Value::Array(_)) => Shape::List(list),
            Some(_) => Shape::Scalar(Scalar::Untyped),
        }
    }
}

/// A kind as the tables name it: `apps/v1 Deployment`.
fn key(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("{} {}", kind.version, kind.kind)
    } else {
        format!("{}/{} {}", kind.group, kind.version, kind.kind)
    }
}

const ANY: TypeId = TypeId(0);
const ANY_ATOMIC: TypeId = TypeId(1);
const NUMBER: TypeId = TypeId(2);
const TEXT: TypeId = TypeId(3);
const BOOLEAN: TypeId = TypeId(4);
const UNTYPED: TypeId = TypeId(5);

fn any_map(atomic: bool) -> &'static MapType {
    static GRANULAR: OnceLock<MapType> = OnceLock::new();
    static ATOMIC: OnceLock<MapType> = OnceLock::new();
    let (cell, of) = if atomic { (&ATOMIC, ANY_ATOMIC) } else { (&GRANULAR, ANY) };
    cell.get_or_init(|| MapType { rest: Some(of), atomic, ..MapType::default() })
}

fn any_list() -> &'static ListType {
    static LIST: ListType = ListType { of: ANY_ATOMIC, items: Items::Atomic };
    &LIST
}
