//! What changed between two YAML trees, in the words of additivity: lost, altered, added, moved.

use crate::text::Clean;
use crate::yaml::{Node, NodeKind, ScalarStyle};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One step on the way to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list, with its `name` if it has one.
    Item(usize, Option<String>),
}

/// A place in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

impl Place {
    fn key(&self, key: &str) -> Self {
        self.join(Step::Key(key.to_owned()))
    }

    fn item(&self, index: usize, node: &Node) -> Self {
        self.join(Step::Item(index, node.get("name").and_then(Node::as_str).map(str::to_owned)))
    }

    fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Place {
    /// `datasources[Loki].jsonData.derivedFields[0].url`, safe for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => out.push_str(&format!(".{key}")),
                Step::Item(_, Some(name)) => out.push_str(&format!("[{name}]")),
                Step::Item(index, None) => out.push_str(&format!("[{index}]")),
            }
        }
        if out.is_empty() {
            out.push_str("the document");
        }
        f.write_str(Clean::new(out).as_str())
    }
}

/// One difference.
#[derive(Clone, Debug)]
pub enum Change<'n> {
    /// Something is not there any more.
    Lost { place: Place, old: &'n Node },
    /// Something has another value.
    Altered { place: Place, old: &'n Node, new: &'n Node },
    /// Something has another text, and readers of YAML differ about whether that is another value.
    Unclear { place: Place, why: String },
    /// Something is new.
    Added { place: Place, new: &'n Node },
    /// An item of a list stands behind a new or later one now.
    Moved { place: Place },
}

/// Everything that changed.
pub fn changes<'n>(old: &'n Node, new: &'n Node) -> Vec<Change<'n>> {
    let mut found = Vec::new();
    compare(&Place::default(), old, new, &mut found);
    found
}

fn compare<'n>(place: &Place, old: &'n Node, new: &'n Node, found: &mut Vec<Change<'n>>) {
    match (&old.kind, &new.kind) {
        (NodeKind::Mapping(before), NodeKind::Mapping(after)) => mappings(place, before, after, found),
        (NodeKind::Sequence(before), NodeKind::Sequence(after)) => sequences(place, before, after, found),
        (NodeKind::Scalar { .. }, NodeKind::Scalar { .. }) => match scalars(old, new) {
            Same::Yes => {}
            Same::No if old.is_null() => found.push(Change::Added { place: place.clone(), new }),
            Same::No => found.push(Change::Altered { place: place.clone(), old, new }),
            Same::Unclear(why) => found.push(Change::Unclear { place: place.clone(), why }),
        },
        // A key without a value is no value to keep.
        _ if old.is_null() => found.push(Change::Added { place: place.clone(), new }),
        _ => found.push(Change::Altered { place: place.clone(), old, new }),
    }
}

fn mappings<'n>(
    place: &Place,
    before: &'n [(Node, Node)],
    after: &'n [(Node, Node)],
    found: &mut Vec<Change<'n>>,
) {
    let later: BTreeMap<&str, &(Node, Node)> = by_key(after);
    let earlier = by_key(before);
    for (name, old) in before {
        let Some(key) = name.as_str() else { continue };
        let place = place.key(key);
        match later.get(key) {
            None => found.push(Change::Lost { place, old }),
            Some((other, new)) => {
                if !matches!(scalars(name, other), Same::Yes) {
                    let why = format!("the key `{}` is written in another way", Clean::new(key));
                    found.push(Change::Unclear { place: place.clone(), why });
                }
                compare(&place, old, new, found);
            }
        }
    }
    for (name, new) in after {
        let Some(key) = name.as_str() else { continue };
        if !earlier.contains_key(key) {
            let place = place.key(key);
            if !is_text(name) {
                let why = format!("the key `{}` is no text for every reader of YAML", Clean::new(key));
                found.push(Change::Unclear { place: place.clone(), why });
            }
            found.push(Change::Added { place, new });
        }
    }
}

fn by_key(entries: &[(Node, Node)]) -> BTreeMap<&str, &(Node, Node)> {
    entries.iter().filter_map(|entry| Some((entry.0.as_str()?, entry))).collect()
}

/// Lists whose items all have a `name` of their own are compared by name, so that the sentences are about the right
/// items; all others by position.
fn sequences<'n>(place: &Place, before: &'n [Node], after: &'n [Node], found: &mut Vec<Change<'n>>) {
    let (Some(names_before), Some(names_after)) = (names(before), names(after)) else {
        for (index, old) in before.iter().enumerate() {
            match after.get(index) {
                Some(new) => compare(&place.item(index, old), old, new, found),
                None => found.push(Change::Lost { place: place.item(index, old), old }),
            }
        }
        for (index, new) in after.iter().enumerate().skip(before.len()) {
            found.push(Change::Added { place: place.item(index, new), new });
        }
        return;
    };
    let mut next = 0;
    let later: BTreeMap<&str, (usize, &Node)> =
        names_after.iter().zip(after).enumerate().map(|(at, (name, new))| (*name, (at, new))).collect();
    let earlier: BTreeSet<&str> = names_before.iter().copied().collect();
    for (index, (old, name)) in before.iter().zip(&names_before).enumerate() {
        let place = place.item(index, old);
        match later.get(name) {
            None => found.push(Change::Lost { place, old }),
            Some(&(at, new)) => {
                compare(&place, old, new, found);
                if at != next {
                    found.push(Change::Moved { place });
                }
                next = at + 1;
            }
        }
    }
    for (index, (new, name)) in after.iter().zip(&names_after).enumerate() {
        if !earlier.contains(name) {
            found.push(Change::Added { place: place.item(index, new), new });
        }
    }
}

/// The names of all items, where each has one that no other has.
fn names(items: &[Node]) -> Option<Vec<&str>> {
    let names: Vec<&str> =
        items.iter().map(|item| item.get("name").and_then(Node::as_str)).collect::<Option<_>>()?;
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    (distinct.len() == names.len()).then_some(names)
}

enum Same {
    Yes,
    No,
    Unclear(String),
}

/// Whether two scalars have one value for every reader. The same text in the same kind of style is the same value,
/// whatever a reader takes it for.
fn scalars(old: &Node, new: &Node) -> Same {
    let (NodeKind::Scalar { text: a, style: s }, NodeKind::Scalar { text: b, style: t }) =
        (&old.kind, &new.kind)
    else {
        return Same::No;
    };
    if a == b && (*s == ScalarStyle::Plain) == (*t == ScalarStyle::Plain) {
        return Same::Yes;
    }
    if let Some(ambiguous) = old.ambiguous_scalars().into_iter().chain(new.ambiguous_scalars()).next() {
        return Same::Unclear(format!("`{}` is {}", ambiguous.text, ambiguous.reason));
    }
    match (old.to_json(), new.to_json()) {
        (Ok(Value::Number(x)), Ok(Value::Number(y))) if x.as_f64() == y.as_f64() => {
            Same::Unclear("the number is written in another way".to_owned())
        }
        (Ok(x), Ok(y)) if x == y => Same::Yes,
        // Grafana reads some fields as text whatever they look like, others not.
        _ if a == b => Same::Unclear("the value is in quotes in one document only".to_owned()),
        (Ok(_), Ok(_)) => Same::No,
        _ => Same::Unclear("the value cannot be read".to_owned()),
    }
}

/// Whether every reader of YAML takes this scalar for a text.
pub fn is_text(node: &Node) -> bool {
    node.ambiguous_scalars().is_empty() && matches!(node.to_json(), Ok(Value::String(_)))
}

/// How many values stand in a tree: its scalars that are no keys, and its empty collections.
pub fn values(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Scalar { .. } => 1,
        NodeKind::Sequence(items) => items.iter().map(values).sum::<usize>().max(1),
        NodeKind::Mapping(entries) => entries.iter().map(|(_, value)| values(value)).sum::<usize>().max(1),
    }
}
