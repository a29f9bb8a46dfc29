//! Field ownership: `managedFields` and fieldsV1 sets.
//!
//! A set holds paths. It is kept as a tree, because that is how the API server writes it: `f:name` is a field,
//! `k:{"name":"x"}` an item of a keyed list, `v:"x"` an item of a set, `i:0` an item by position, and `.` says that the
//! path itself is a member beside what is below it (structured-merge-diff fieldpath/serialize.go).

use super::path::{Path, Segment};
use super::schema::{self, ListKind};
use crate::text::Clean;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A set of paths, as one entry of `managedFields` holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<Segment, Node>,
}

/// Invariant: a node is a member or has something below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

/// The deepest fieldsV1 tree that is read; a real object has less than thirty levels.
const DEPTH: usize = 128;

impl FieldSet {
    /// Reads a fieldsV1 tree.
    ///
    /// # Errors
    /// A sentence that names the element that is not one, or says that the tree is too deep.
    pub fn from_v1(value: &Value) -> Result<Self, Clean> {
        Self::read(value, DEPTH)
    }

    fn read(value: &Value, depth: usize) -> Result<Self, Clean> {
        let map = value
            .as_object()
            .ok_or_else(|| Clean::new(format!("a fieldsV1 set is not a map but {value}")))?;
        if depth == 0 {
            return Err(Clean::new(format!("a fieldsV1 set is deeper than {DEPTH} levels")));
        }
        let mut set = Self::default();
        for (key, below) in map {
            if key == "." {
                continue;
            }
            let segment = read_element(key)?;
            let mut node = Node { member: false, below: Self::read(below, depth - 1)? };
            node.member = node.below.is_empty() || below.get(".").is_some();
            set.nodes.insert(segment, node);
        }
        Ok(set)
    }

    /// Writes the set as a fieldsV1 tree.
    pub fn to_v1(&self) -> Value {
        let mut map = Map::new();
        for (segment, node) in &self.nodes {
            let mut below = node.below.to_v1();
            if let Value::Object(below) = &mut below
                && node.member
                && !below.is_empty()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(write_element(segment), below);
        }
        Value::Object(map)
    }

    /// Every path of the set, in order.
    pub fn members(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.visit(&Path::default(), &mut |path, _| found.push(path.clone()));
        found
    }

    /// The members that have no members below them.
    pub fn leaves(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.visit(&Path::default(), &mut |path, node| {
            if node.below.is_empty() {
                found.push(path.clone());
            }
        });
        found
    }

    fn visit(&self, at: &Path, report: &mut impl FnMut(&Path, &Node)) {
        for (segment, node) in &self.nodes {
            let path = at.join(segment.clone());
            if node.member {
                report(&path, node);
            }
            node.below.visit(&path, report);
        }
    }

    fn node(&self, path: &Path) -> Option<&Node> {
        let (last, parents) = path.0.split_last()?;
        let set = parents.iter().try_fold(self, |set, segment| Some(&set.nodes.get(segment)?.below))?;
        set.nodes.get(last)
    }

    /// Whether exactly this path is a member.
    pub fn contains(&self, path: &Path) -> bool {
        self.node(path).is_some_and(|node| node.member)
    }

    /// Whether this path, something below it, or a leaf above it is a member: whether the set has a say in its value.
    pub fn covers(&self, path: &Path) -> bool {
        let mut set = self;
        for segment in &path.0 {
            match set.nodes.get(segment) {
                None => return false,
                Some(node) if node.below.is_empty() => return true,
                Some(node) => set = &node.below,
            }
        }
        !set.is_empty()
    }

    /// Adds a path. The empty path is not a member of any set.
    pub fn insert(&mut self, path: Path) {
        let mut set = self;
        let mut segments = path.0.into_iter().peekable();
        while let Some(segment) = segments.next() {
            let node = set.nodes.entry(segment).or_default();
            if segments.peek().is_none() {
                node.member = true;
                return;
            }
            set = &mut node.below;
        }
    }

    /// The paths of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    /// The paths of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// The paths of this set that the other does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    /// The paths of this set that are neither in the other nor below a path of it.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut set = Self::default();
        for (segment, node) in &self.nodes {
            let below = match other.nodes.get(segment) {
                Some(theirs) if theirs.member => continue,
                Some(theirs) => node.below.without(&theirs.below),
                None => node.below.clone(),
            };
            set.put(segment.clone(), node.member, below);
        }
        set
    }

    /// The first segments of the paths, in order: each with whether it is a path itself, and what is below it.
    pub fn entries(&self) -> impl Iterator<Item = (&Segment, bool, &Self)> {
        self.nodes.iter().map(|(segment, node)| (segment, node.member, &node.below))
    }

    /// Whether the path of this one segment is in the set.
    pub fn has(&self, segment: &Segment) -> bool {
        self.nodes.get(segment).is_some_and(|node| node.member)
    }

    /// What is below this segment, if anything is.
    pub fn below(&self, segment: &Segment) -> Option<&Self> {
        self.nodes.get(segment).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// Sets what is at and below a segment; nothing at all removes it.
    pub fn put(&mut self, segment: Segment, member: bool, below: Self) {
        if member || !below.is_empty() {
            self.nodes.insert(segment, Node { member, below });
        } else {
            self.nodes.remove(&segment);
        }
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let none = Node::default();
        let segments: BTreeSet<&Segment> = self.nodes.keys().chain(other.nodes.keys()).collect();
        let mut set = Self::default();
        for segment in segments {
            let (ours, theirs) =
                (self.nodes.get(segment).unwrap_or(&none), other.nodes.get(segment).unwrap_or(&none));
            let node = Node {
                member: keep(ours.member, theirs.member),
                below: ours.below.combine(&theirs.below, keep),
            };
            if node.member || !node.below.is_empty() {
                set.nodes.insert(segment.clone(), node);
            }
        }
        set
    }

    /// Whether the set has no members.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What the members are in an object: the whole value of a scalar or an atomic list or map, `null` for a granular
    /// map or a keyed item (of which only the presence is owned), `None` where it is missing.
    pub fn project(&self, object: &Value) -> BTreeMap<Path, Option<Value>> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let mut found = BTreeMap::new();
        self.visit(&Path::default(), &mut |path, node| {
            let value = path.get(object).map(|value| {
                let granular = match value {
                    Value::Object(_) => !schema::is_atomic_map(kind, path),
                    Value::Array(_) => schema::list_keys(kind, path) != ListKind::Atomic,
                    _ => false,
                };
                if granular || !node.below.is_empty() { Value::Null } else { value.clone() }
            });
            found.insert(path.clone(), value);
        });
        found
    }

    /// The set that a server-side apply of `intent` owns (structured-merge-diff typed/tofieldset.go): scalars and atomic
    /// values own their path, items of keyed lists own themselves too, `{}` and `null` own themselves, an empty keyed
    /// list owns nothing. What the API server strips is left out: apiVersion, kind, the metadata that it sets, status
    /// (apimachinery managedfields/internal/stripmeta.go).
    pub fn of_intent(kind: &str, intent: &Value) -> Self {
        let mut set = Self::default();
        if let Value::Object(map) = intent {
            for (name, value) in map {
                match name.as_str() {
                    "apiVersion" | "kind" | "status" => {}
                    "metadata" => {
                        for (name, value) in value.as_object().into_iter().flatten() {
                            if !STRIPPED.contains(&name.as_str()) {
                                set.own(kind, &Path::fields(["metadata", name]), value);
                            }
                        }
                    }
                    _ => set.own(kind, &Path(vec![Segment::Field(name.clone())]), value),
                }
            }
        }
        set
    }

    fn own(&mut self, kind: &str, path: &Path, value: &Value) {
        match value {
            Value::Object(map) if !map.is_empty() && !schema::is_atomic_map(kind, path) => {
                for (name, value) in map {
                    self.own(kind, &path.join(Segment::Field(name.clone())), value);
                }
            }
            Value::Array(items) => match schema::list_keys(kind, path) {
                ListKind::Atomic => self.insert(path.clone()),
                ListKind::Set => {
                    for item in items {
                        self.insert(path.join(Segment::Item(item.to_string())));
                    }
                }
                ListKind::Map(keys) => {
                    for item in items {
                        let Some(segment) = item_key(item, keys) else { continue };
                        let path = path.join(segment);
                        self.insert(path.clone());
                        self.own(kind, &path, item);
                    }
                }
            },
            _ => self.insert(path.clone()),
        }
    }
}

/// Fields of metadata that no manager can own.
pub const STRIPPED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// The segment that names an item of a keyed list, defaults filled in; `None` where a key is missing.
pub fn item_key(item: &Value, keys: &[&str]) -> Option<Segment> {
    let item = item.as_object()?;
    let mut pairs = BTreeMap::new();
    for key in keys {
        let value = match item.get(*key) {
            Some(value) if !value.is_array() && !value.is_object() => value.to_string(),
            Some(_) => return None,
            None => Value::String(schema::default_key(key)?.to_owned()).to_string(),
        };
        pairs.insert((*key).to_owned(), value);
    }
    Some(Segment::Key(pairs))
}

fn read_element(text: &str) -> Result<Segment, Clean> {
    let wrong = |why: &str| Clean::new(format!("`{text}` is not a path element of fieldsV1: {why}"));
    let (sort, rest) = text.split_once(':').ok_or_else(|| wrong("it has no colon"))?;
    // serde_json refuses what trails the value, as the API server does since 2026 (structured-merge-diff 3001c6e).
    let json = || serde_json::from_str::<Value>(rest).map_err(|error| wrong(&error.to_string()));
    match sort {
        "f" => Ok(Segment::Field(rest.to_owned())),
        "v" => Ok(Segment::Item(json()?.to_string())),
        "i" => rest.parse().map(Segment::Index).map_err(|_| wrong("the index is not a number")),
        "k" => match json()? {
            Value::Object(pairs) if !pairs.is_empty() => Ok(Segment::key(pairs)),
            _ => Err(wrong("the keys are not a map")),
        },
        _ => Err(wrong("it does not begin with f:, k:, v: or i:")),
    }
}

fn write_element(segment: &Segment) -> String {
    match segment {
        Segment::Field(name) => format!("f:{name}"),
        Segment::Index(index) => format!("i:{index}"),
        Segment::Item(value) => format!("v:{}", escape(value)),
        Segment::Key(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), escape(value)))
                .collect();
            format!("k:{{{}}}", pairs.join(","))
        }
    }
}

/// JSON as the API server writes it inside path elements: `<`, `>` and `&` are escaped, as Go's encoder does by default.
fn escape(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By create, update or another patch.
    Update,
}

impl Operation {
    /// As the API writes it: `Apply`, `Update`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerEntry {
    /// The field manager's name, as the API server has it; make it [`Clean`] before it is shown.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// Through which subresource, if not the object itself.
    pub subresource: Option<String>,
    /// In which apiVersion the fields are written.
    pub api_version: String,
    /// When it last wrote, in RFC 3339.
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
    /// The entry as it was read.
    pub raw: Value,
}

/// The entries of `metadata.managedFields`; none where the object has none.
///
/// # Errors
/// A sentence that says which entry cannot be read, and why.
pub fn managers(object: &Value) -> Result<Vec<ManagerEntry>, Clean> {
    match object.pointer("/metadata/managedFields") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(entries)) => entries.iter().map(read_entry).collect(),
        Some(_) => Err(Clean::new("metadata.managedFields is not a list")),
    }
}

fn read_entry(raw: &Value) -> Result<ManagerEntry, Clean> {
    let text =
        |name: &str| raw.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let manager = text("manager").unwrap_or_default();
    let wrong =
        |why: &str| Clean::new(format!("the managedFields entry of `{manager}` cannot be read: {why}"));
    let operation = match text("operation").as_deref() {
        Some("Apply") => Operation::Apply,
        Some("Update") => Operation::Update,
        _ => return Err(wrong("its operation is neither Apply nor Update")),
    };
    let fields = match raw.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::default(),
        Some(fields) => FieldSet::from_v1(fields).map_err(|why| wrong(why.as_str()))?,
    };
    Ok(ManagerEntry {
        operation,
        subresource: text("subresource"),
        api_version: text("apiVersion").unwrap_or_default(),
        time: text("time"),
        fields,
        raw: raw.clone(),
        manager,
    })
}

/// The Apply entry of a manager on the object itself (not on a subresource).
///
/// An object whose entries cannot be read has none; [`managers`] says why.
pub fn apply_entry(object: &Value, manager: &str) -> Option<ManagerEntry> {
    managers(object).ok()?.into_iter().find(|entry| {
        entry.manager == manager && entry.operation == Operation::Apply && entry.subresource.is_none()
    })
}

/// Who has a say in the value at `path`: managers of the path, of anything below it, or of an atomic value above it.
///
/// An entry that cannot be read counts as an owner, because what it owns cannot be ruled out.
pub fn owners_of(object: &Value, path: &Path) -> Vec<(String, Operation)> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut owners: Vec<(String, Operation)> = Vec::new();
    for raw in entries.into_iter().flatten() {
        let owner = match read_entry(raw) {
            Ok(entry) if entry.fields.covers(path) => (entry.manager, entry.operation),
            Ok(_) => continue,
            Err(_) => {
                let manager = raw.get("manager").and_then(Value::as_str).unwrap_or_default().to_owned();
                let apply = raw.get("operation").and_then(Value::as_str) == Some("Apply");
                (manager, if apply { Operation::Apply } else { Operation::Update })
            }
        };
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

#[cfg(test)]
mod tests;
