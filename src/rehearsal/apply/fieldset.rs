//! Sets of paths and the objects that they speak of: what an object owns, and an object without some of its paths.

use super::item;
use crate::object::fields::FieldSet;
use crate::object::path::{Path, Segment};
use crate::rehearsal::schema::{Items, Schema, Shape, TypeId};
use serde_json::{Map, Value};

/// The set that an apply of this object owns (structured-merge-diff typed/tofieldset.go).
///
/// Scalars and atomic values own their path, items and members of maps own themselves too, `{}` and `null` own
/// themselves, an empty keyed list owns nothing; of repeated items only the name is owned.
pub(super) fn of_object(schema: &Schema, root: TypeId, object: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(schema, root, object, &Path::default(), &mut set);
    set
}

fn collect(schema: &Schema, id: TypeId, value: &Value, path: &Path, set: &mut FieldSet) {
    match schema.shape(id, Some(value)) {
        Shape::Map(of) if !of.atomic => {
            for (name, member) in value.as_object().into_iter().flatten() {
                let Some(id) = of.member(name) else { continue };
                let path = path.join(Segment::Field(name.clone()));
                collect(schema, id, member, &path, set);
                let empty = member.is_null() || member.as_object().is_some_and(Map::is_empty);
                if empty || !of.declares(name) {
                    set.insert(path);
                }
            }
        }
        Shape::List(of) if of.items != Items::Atomic => {
            for (segment, items) in item::grouped(item::named(schema, of, Some(value))) {
                let path = path.join(segment);
                if let [only] = items.as_slice() {
                    collect(schema, of.of, only, &path, set);
                }
                set.insert(path);
            }
        }
        _ => set.insert(path.clone()),
    }
}

/// The set with every declared field on the way to its paths: `spec.replicas` brings `spec` along.
pub(super) fn with_named_fields(schema: &Schema, root: Option<TypeId>, set: &FieldSet) -> FieldSet {
    let shape = root.map(|id| schema.shape(id, None));
    let mut out = FieldSet::default();
    for (segment, member, below) in set.entries() {
        let (named, id) = match (segment, &shape) {
            (Segment::Field(name), Some(Shape::Map(of))) => (of.declares(name), of.member(name)),
            (Segment::Key(_), Some(Shape::List(of))) => (false, Some(of.of)),
            _ => (false, None),
        };
        let below = with_named_fields(schema, id, below);
        out.put(segment.clone(), member || (named && !below.is_empty()), below);
    }
    out
}

/// The object without these paths (structured-merge-diff typed/remove.go); `null` where nothing is left of it.
///
/// A path inside an atomic value takes the whole value away.
pub(super) fn removed(schema: &Schema, id: TypeId, value: &Value, paths: &FieldSet) -> Value {
    match (schema.shape(id, Some(value)), value) {
        (Shape::Map(of), Value::Object(map)) => {
            if of.atomic || map.is_empty() {
                return Value::Null;
            }
            let mut out = Map::new();
            for (name, member) in map {
                let segment = Segment::Field(name.clone());
                if paths.has(&segment) {
                    continue;
                }
                let kept = match (of.member(name), paths.below(&segment)) {
                    (Some(id), Some(below)) => removed(schema, id, member, below),
                    _ => member.clone(),
                };
                out.insert(name.clone(), kept);
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        (Shape::List(of), Value::Array(items)) => {
            if of.items == Items::Atomic {
                return Value::Null;
            }
            let mut out = Vec::new();
            for one in items {
                let kept = match item::segment(schema, of, one) {
                    Ok(segment) if paths.has(&segment) => continue,
                    Ok(segment) => match paths.below(&segment) {
                        Some(below) => removed(schema, of.of, one, below),
                        None => one.clone(),
                    },
                    Err(_) => one.clone(),
                };
                out.push(kept);
            }
            if out.is_empty() { Value::Null } else { Value::Array(out) }
        }
        (Shape::Scalar(_), value) => value.clone(),
        _ => Value::Null,
    }
}

/// The set as the schema of today would have it: of values that are atomic, only the value itself is owned
/// (structured-merge-diff typed/reconcile_schema.go).
pub(super) fn reconciled(schema: &Schema, root: TypeId, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet::default();
    for (segment, member, below) in set.entries() {
        let id = match (segment, schema.shape(root, None)) {
            (Segment::Field(name), Shape::Map(of)) => of.member(name),
            (Segment::Key(_) | Segment::Item(_), Shape::List(of)) => Some(of.of),
            _ => None,
        };
        let Some(id) = id else {
            out.put(segment.clone(), member, below.clone());
            continue;
        };
        let atomic = match schema.shape(id, None) {
            Shape::Map(of) => of.atomic,
            Shape::List(of) => of.items == Items::Atomic,
            Shape::Scalar(_) => false,
        };
        if atomic && !below.is_empty() {
            out.put(segment.clone(), true, FieldSet::default());
        } else {
            out.put(segment.clone(), member, reconciled(schema, id, below));
        }
    }
    out
}
