//! The objects, their versions, and what happened to them lately: what etcd and the watch cache are to an API server.

use super::dice::Dice;
use super::resource::Resource;
use super::value::metadata;
use crate::object::resource_version;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How many changes a watch may lie back; older versions are answered with 410.
const HISTORY: usize = 1000;

/// The place of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its resource.
    pub resource: &'static Resource,
    /// Its namespace, empty for none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A place.
    pub fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was created.
    Added,
    /// It has new content.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the history.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resourceVersion that the change made.
    pub version: u64,
    /// The object's place.
    pub key: Key,
    /// What happened.
    pub happened: Happened,
    /// The object after it (for a deletion: as it last was, with the version of the deletion).
    pub object: Arc<Value>,
    /// The object before it.
    pub before: Option<Arc<Value>>,
}

/// All objects of a cluster.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    version: u64,
    /// Changes up to here are forgotten.
    forgotten: u64,
    dice: Dice,
}

impl Store {
    /// An empty store. Versions begin at a number that follows from the seed, so that those of another life are foreign.
    pub fn new(seed: u64) -> Self {
        let version = 1_000 + Dice::of(seed, "versions").below(1_000_000) * 1_000;
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            version,
            forgotten: version,
            dice: Dice::of(seed, "store"),
        }
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A fresh uid.
    pub fn fresh_uid(&mut self) -> String {
        self.dice.uid()
    }

    /// The end of a generated name.
    pub fn suffix(&mut self) -> String {
        self.dice.suffix()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a resource, of one namespace if one is given, in the order of their names.
    pub fn list<'s>(
        &'s self,
        resource: &'static Resource,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s Key, &'s Arc<Value>)> {
        let from = Key::new(resource, namespace.unwrap_or_default(), "");
        self.objects.range(from..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|namespace| key.namespace == namespace)
        })
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Writes an object: it gets the next resourceVersion. The caller has decided that it may be written.
    pub fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        set_version(&mut object, self.version);
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), object.clone());
        let happened = if before.is_some() { Happened::Modified } else { Happened::Added };
        self.remember(Change { version: self.version, key, happened, object: object.clone(), before });
        object
    }

    /// Removes an object; what it was, with the version of its removal.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&before);
        set_version(&mut last, self.version);
        let object = Arc::new(last);
        self.remember(Change {
            version: self.version,
            key: key.clone(),
            happened: Happened::Deleted,
            object: object.clone(),
            before: Some(before),
        });
        Some(object)
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(change);
        while self.history.len() > HISTORY {
            if let Some(old) = self.history.pop_front() {
                self.forgotten = old.version;
            }
        }
    }

    /// What happened after a version, oldest first; `None` when that is not known any more, or never was: the version
    /// is too old, or of another life.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        if version < self.forgotten || version > self.version {
            return None;
        }
        let first = self.history.partition_point(|change| change.version <= version);
        Some(self.history.range(first..))
    }

    /// Forgets the history: every watch must list again.
    pub fn compact(&mut self) {
        self.history.clear();
        self.forgotten = self.version;
    }
}

fn set_version(object: &mut Value, version: u64) {
    metadata(object).insert("resourceVersion".to_owned(), Value::from(version.to_string()));
}

/// The version of a stored object as a number.
pub fn version_of(object: &Value) -> u64 {
    resource_version(object).and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(name: &str) -> Key {
        Key::new(Resource::of("", "v1", "configmaps").unwrap(), "a", name)
    }

    #[test]
    fn every_change_has_its_own_version_and_is_remembered() {
        let mut store = Store::new(1);
        let start = store.version();
        store.put(key("x"), json!({"data": {"a": "1"}}));
        store.put(key("x"), json!({"data": {"a": "2"}}));
        store.remove(&key("x"));
        let seen: Vec<(u64, Happened)> =
            store.since(start).unwrap().map(|change| (change.version - start, change.happened)).collect();
        assert_eq!(seen, [(1, Happened::Added), (2, Happened::Modified), (3, Happened::Deleted)]);
        assert!(store.get(&key("x")).is_none());
        assert!(store.remove(&key("x")).is_none());
    }

    #[test]
    fn old_and_foreign_versions_are_not_known() {
        let mut store = Store::new(1);
        let start = store.version();
        assert!(store.since(start).is_some());
        assert!(store.since(start - 1).is_none());
        assert!(store.since(start + 1).is_none());
        for number in 0..=HISTORY {
            store.put(key("x"), json!({"data": {"a": number.to_string()}}));
        }
        assert!(store.since(start).is_none());
        assert!(store.since(start + 1).is_some());
        store.compact();
        assert!(store.since(store.version()).is_some_and(|mut rest| rest.next().is_none()));
        assert!(store.since(store.version() - 1).is_none());
    }

    #[test]
    fn a_list_ends_with_its_namespace() {
        let mut store = Store::new(1);
        let resource = Resource::of("", "v1", "configmaps").unwrap();
        for (namespace, name) in [("a", "z"), ("a-b", "x"), ("a", "b"), ("b", "a")] {
            store.put(Key::new(resource, namespace, name), json!({}));
        }
        let names = |namespace| {
            store.list(resource, namespace).map(|(key, _)| key.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Some("a")), "b z");
        assert_eq!(names(Some("a-b")), "x");
        assert_eq!(names(None), "b z x a");
    }
}
