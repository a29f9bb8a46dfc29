//! What ends objects: garbage collection by owner, namespaces that go, claims that nobody uses any more.

use super::{Look, is_going};
use crate::rehearsal::registry::FOREGROUND;
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{finalizers, items, set_finalizers, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Collects what is to go.
pub(super) fn collect(look: &mut Look<'_>) {
    let all: Vec<(Key, Arc<Value>)> =
        look.store.all().map(|(key, object)| (key.clone(), object.clone())).collect();
    let uids: BTreeSet<&str> = all.iter().map(|(_, object)| text(object, "/metadata/uid")).collect();
    let mut blocked: BTreeSet<String> = BTreeSet::new();
    for (key, object) in &all {
        let owners = items(object, "/metadata/ownerReferences");
        if owners.is_empty() {
            continue;
        }
        let uid = |owner: &Value| text(owner, "/uid").to_owned();
        // A dependent goes when every owner is gone, or its owner waits for it in the foreground.
        let orphaned = owners.iter().all(|owner| !uids.contains(text(owner, "/uid")));
        let waited_for = all.iter().any(|(_, one)| {
            is_going(one)
                && finalizers(one).iter().any(|finalizer| finalizer == FOREGROUND)
                && owners.iter().any(|owner| uid(owner) == text(one, "/metadata/uid"))
        });
        if (orphaned || waited_for) && !is_going(object) {
            if waited_for {
                foreground(look, key);
            } else {
                look.delete(key);
            }
        }
        if look.store.get(key).is_some() {
            blocked.extend(owners.iter().map(uid));
        }
    }
    for (key, object) in &all {
        if !is_going(object) {
            continue;
        }
        let mut left = finalizers(object);
        let before = left.len();
        left.retain(|finalizer| match finalizer.as_str() {
            FOREGROUND => blocked.contains(text(object, "/metadata/uid")),
            "orphan" => false,
            "kubernetes.io/pvc-protection" => in_use(look, key),
            "kubernetes.io/pv-protection" => text(object, "/status/phase") == "Bound",
            _ => true,
        });
        if left.len() < before {
            let mut changed = Value::clone(object);
            set_finalizers(&mut changed, &left);
            look.update(key, None, super::MANAGER, changed);
        }
    }
    for (key, namespace) in look.list("v1", "Namespace", None) {
        if is_going(&namespace) {
            empty(look, &key, &namespace);
        }
    }
}

/// A dependent that may have dependents of its own goes in the foreground as well.
fn foreground(look: &mut Look<'_>, key: &Key) {
    let deletion = crate::rehearsal::registry::Deletion {
        propagation: (key.resource.kind != "Pod").then(|| "Foreground".to_owned()),
        ..Default::default()
    };
    let time = look.time.clone();
    crate::rehearsal::registry::delete(look.store, key, &deletion, &time).ok();
}

fn in_use(look: &Look<'_>, claim: &Key) -> bool {
    look.list("v1", "Pod", Some(&claim.namespace)).iter().any(|(_, pod)| {
        items(pod, "/spec/volumes")
            .iter()
            .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == claim.name)
    })
}

/// A namespace that goes: everything inside, then itself.
fn empty(look: &mut Look<'_>, key: &Key, namespace: &Value) {
    let inside: Vec<Key> =
        look.store.all().filter(|(one, _)| one.namespace == key.name).map(|(one, _)| one.clone()).collect();
    for one in &inside {
        if look.store.get(one).is_some_and(|object| !is_going(object)) {
            look.delete(one);
        }
    }
    let left = look.store.all().any(|(one, _)| one.namespace == key.name);
    if !left {
        let mut changed = namespace.clone();
        crate::rehearsal::value::member(&mut changed, "spec").remove("finalizers");
        look.update(key, None, super::MANAGER, changed);
    }
}
