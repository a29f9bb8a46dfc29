//! What differs between two objects, as sets of paths (structured-merge-diff typed/compare.go).

use super::item;
use crate::object::fields::FieldSet;
use crate::object::path::{Path, Segment};
use crate::rehearsal::schema::{Items, ListType, MapType, Schema, Shape, TypeId};
use serde_json::Value;
use std::collections::BTreeSet;

/// Paths by what became of them. Where a whole branch came or went, its containers are paths too.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    /// What `after` has that `before` has not, or has otherwise.
    pub(super) fn gained(&self) -> FieldSet {
        self.modified.union(&self.added)
    }
}

/// Compares two objects of one type.
pub(super) fn compare(schema: &Schema, root: TypeId, before: &Value, after: &Value) -> Comparison {
    let mut walk = Walk { schema, found: Comparison::default(), path: Path::default() };
    walk.visit(root, Some(before), Some(after));
    walk.found
}

struct Walk<'s> {
    schema: &'s Schema,
    found: Comparison,
    path: Path,
}

impl Walk<'_> {
    fn visit(&mut self, id: TypeId, before: Option<&Value>, after: Option<&Value>) {
        let (was, is) = (self.schema.shape(id, before), self.schema.shape(id, after));
        let leaf = if after.is_none() {
            self.shaped(&was, before, after)
        } else if before.is_none() || same_sort(&was, &is) {
            self.shaped(&is, before, after)
        } else {
            self.shaped(&was, before, after);
            self.shaped(&is, before, after)
        };
        if !leaf {
            if before.is_none() {
                self.found.added.insert(self.path.clone());
            } else if after.is_none() {
                self.found.removed.insert(self.path.clone());
            }
        }
    }

    /// Whether the value was compared as one.
    fn shaped(&mut self, shape: &Shape<'_>, before: Option<&Value>, after: Option<&Value>) -> bool {
        match shape {
            Shape::Map(of) if !of.atomic && !hollow(before, after, Value::is_object) => {
                self.members(of, before, after);
                false
            }
            Shape::List(of) if of.items != Items::Atomic && !hollow(before, after, Value::is_array) => {
                self.items(of, before, after);
                false
            }
            _ => {
                self.leaf(before, after);
                true
            }
        }
    }

    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (None, _) => self.found.added.insert(self.path.clone()),
            (_, None) => self.found.removed.insert(self.path.clone()),
            (Some(before), Some(after)) if !item::equal(before, after) => {
                self.found.modified.insert(self.path.clone());
            }
            _ => {}
        }
    }

    fn descend(&mut self, segment: Segment, id: TypeId, before: Option<&Value>, after: Option<&Value>) {
        self.path.0.push(segment);
        self.visit(id, before, after);
        self.path.0.pop();
    }

    fn members(&mut self, of: &MapType, before: Option<&Value>, after: Option<&Value>) {
        let (before, after) = (before.and_then(Value::as_object), after.and_then(Value::as_object));
        let names: BTreeSet<&String> = before
            .into_iter()
            .flat_map(|map| map.keys())
            .chain(after.into_iter().flat_map(|map| map.keys()))
            .collect();
        for name in names {
            let Some(id) = of.member(name) else { continue };
            let (before, after) = (before.and_then(|map| map.get(name)), after.and_then(|map| map.get(name)));
            self.descend(Segment::Field(name.clone()), id, before, after);
        }
    }

    fn items(&mut self, of: &ListType, before: Option<&Value>, after: Option<&Value>) {
        let before = item::grouped(item::named(self.schema, of, before));
        let after = item::grouped(item::named(self.schema, of, after));
        let before: std::collections::BTreeMap<_, _> = before.into_iter().collect();
        let mut after: std::collections::BTreeMap<_, _> = after.into_iter().collect();
        for (segment, was) in before {
            let is = after.remove(&segment).unwrap_or_default();
            self.item(of, segment, &was, &is);
        }
        for (segment, is) in after {
            self.item(of, segment, &[], &is);
        }
    }

    /// One name of a list, with every item of it: repeated items are compared as one value, without what is below.
    fn item(&mut self, of: &ListType, segment: Segment, was: &[&Value], is: &[&Value]) {
        let here = self.path.join(segment.clone());
        match (was, is) {
            ([_, _, ..], [_, _, ..]) => {
                if was.len() != is.len() || !was.iter().zip(is).all(|(a, b)| item::equal(a, b)) {
                    self.found.modified.insert(here);
                }
            }
            ([_, _, ..], _) => {
                if let Some(is) = is.first() {
                    self.descend(segment, of.of, None, Some(is));
                }
                self.found.removed.insert(here);
            }
            (_, [_, _, ..]) => {
                if let Some(was) = was.first() {
                    self.descend(segment, of.of, Some(was), None);
                }
                self.found.added.insert(here);
            }
            _ => self.descend(segment, of.of, was.first().copied(), is.first().copied()),
        }
    }
}

/// Whether neither side has anything in it: then the difference between empty and null is the value's own.
fn hollow(before: Option<&Value>, after: Option<&Value>, sort: fn(&Value) -> bool) -> bool {
    let one = |value: Option<&Value>| value.is_none_or(|value| !sort(value) || item::is_hollow(Some(value)));
    one(before) && one(after)
}

pub(super) fn same_sort(a: &Shape<'_>, b: &Shape<'_>) -> bool {
    matches!(
        (a, b),
        (Shape::Map(_), Shape::Map(_))
            | (Shape::List(_), Shape::List(_))
            | (Shape::Scalar(_), Shape::Scalar(_))
    )
}
