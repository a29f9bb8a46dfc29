//! The controllers: what turns a Deployment into running pods, in virtual time.
//!
//! One task looks at the whole store after every change and whenever something is due ([`Controllers::run`]). Each look
//! is a sequence of plain functions from the store to writes, level-triggered like the real controllers: what they do
//! follows from what is there, not from what happened.

mod colleague;
mod collect;
mod deployment;
mod event;
mod kubelet;
mod set;
mod stage;
mod volume;

use super::api::Server;
use super::program::Images;
use super::registry::{self, Write};
use super::resource::Resource;
use super::store::{Key, Store};
use super::value::{items, member, text};
use kubelet::Kubelet;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Who writes.
const MANAGER: &str = "kube-controller-manager";

/// How often one look is repeated while it changes something.
const ROUNDS: usize = 40;

/// What a look needs.
pub(super) struct Look<'l> {
    /// The objects.
    pub(super) store: &'l mut Store,
    /// Virtual time since the start.
    pub(super) now: Duration,
    /// Now, as the API writes it.
    pub(super) time: String,
    /// What goes wrong.
    pub(super) faults: &'l super::fault::Faults,
    /// The earliest time at which there is something to do.
    pub(super) due: Option<Duration>,
}

impl Look<'_> {
    /// Looks again at this time at the latest.
    pub(super) fn at(&mut self, time: Duration) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// The objects of a kind with their keys.
    pub(super) fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Vec<(Key, Arc<Value>)> {
        let Some(resource) = Resource::of_kind(api_version, kind) else { return Vec::new() };
        self.store.list(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// One object.
    pub(super) fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        let resource = Resource::of_kind(api_version, kind)?;
        self.store.get(&Key::new(resource, namespace, name)).cloned()
    }

    /// Creates an object; the refusal's message where it is refused.
    pub(super) fn create(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, String> {
        let resource = Resource::of_kind(api_version, kind).ok_or("no such kind")?;
        let write = Write::controller(&Key::new(resource, namespace, ""), None, MANAGER, &self.time);
        registry::create(self.store, &write, object)
            .map(|done| done.object)
            .map_err(|refusal| refusal.message)
    }

    /// Writes an object through the registry; a refusal changes nothing.
    pub(super) fn update(&mut self, key: &Key, subresource: Option<&str>, manager: &str, object: Value) {
        let Some(live) = self.store.get(key).cloned() else { return };
        let write = Write::controller(key, subresource, manager, &self.time);
        // A controller whose write is refused looks again at the next change, as the real ones do.
        registry::update(self.store, &write, &live, object).ok();
    }

    /// Replaces the status of an object.
    pub(super) fn set_status(&mut self, key: &Key, live: &Value, status: Value) {
        if live.get("status") == Some(&status) {
            return;
        }
        let mut object = live.clone();
        super::value::map(&mut object).insert("status".to_owned(), status);
        self.update(key, Some("status"), MANAGER, object);
    }

    /// Deletes an object as a controller does.
    pub(super) fn delete(&mut self, key: &Key) {
        let time = self.time.clone();
        registry::delete(self.store, key, &registry::Deletion::default(), &time).ok();
    }
}

/// Sets a condition by its type; the transition time changes only with its status.
pub(super) fn set_condition(status: &mut Value, condition: Value, time: &str, stamps: &[&str]) {
    let kind = text(&condition, "/type").to_owned();
    let mut condition = condition;
    let found = items(status, "/conditions").iter().find(|one| text(one, "/type") == kind).cloned();
    let stamped = |name: &str, keep: bool| {
        let old = found.as_ref().and_then(|found| found.get(name)).filter(|_| keep).cloned();
        old.unwrap_or_else(|| Value::from(time))
    };
    let same_status = found.as_ref().is_some_and(|found| found.get("status") == condition.get("status"));
    let same = same_status
        && found.as_ref().is_some_and(|found| {
            found.get("reason") == condition.get("reason") && found.get("message") == condition.get("message")
        });
    for stamp in stamps {
        let value = stamped(stamp, if *stamp == "lastTransitionTime" { same_status } else { same });
        super::value::map(&mut condition).insert((*stamp).to_owned(), value);
    }
    let list = super::value::map(status).entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    match list.iter_mut().find(|one| text(one, "/type") == kind) {
        Some(place) => *place = condition,
        None => list.push(condition),
    }
}

/// The uid of the controlling owner.
pub(super) fn controller(object: &Value) -> Option<&str> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        .and_then(|owner| owner.get("uid")?.as_str())
}

/// The reference of a controlling owner.
pub(super) fn owner(of: &Value) -> Value {
    json!({
        "apiVersion": of.get("apiVersion"), "kind": of.get("kind"), "name": of.pointer("/metadata/name"),
        "uid": of.pointer("/metadata/uid"), "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod from a template.
pub(super) fn pod_of(template: &Value, of: &Value, labels: &[(&str, &str)]) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template.get("metadata"), "spec": template.get("spec")});
    let metadata = super::value::metadata(&mut pod);
    metadata.insert("ownerReferences".to_owned(), json!([owner(of)]));
    let place = super::value::map(metadata.entry("labels").or_insert_with(|| json!({})));
    for (name, value) in labels {
        place.insert((*name).to_owned(), Value::from(*value));
    }
    pod
}

/// The hash of a template, in the letters of generated names. Not the value of the real controller, which hashes a Go
/// value; like it, the same for equal templates.
pub(super) fn template_hash(template: &Value) -> String {
    let mut clean = template.clone();
    if let Some(labels) = clean.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    let mut dice = super::dice::Dice::of(0, &clean.to_string());
    format!("{}{}", dice.suffix(), dice.suffix())
}

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    items(pod, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True")
}

/// Whether an object is being deleted.
pub(super) fn is_going(object: &Value) -> bool {
    super::value::has(object, "/metadata/deletionTimestamp")
}

/// The controllers of a cluster.
pub struct Controllers {
    server: Weak<Server>,
    kubelet: Kubelet,
}

impl Controllers {
    /// Controllers that let these images run.
    pub fn new(server: &Arc<Server>, images: Arc<dyn Images>) -> Self {
        Self { server: Arc::downgrade(server), kubelet: Kubelet::new(server.running().clone(), images) }
    }

    /// Works until the server is gone.
    pub async fn run(mut self) {
        loop {
            let Some(server) = self.server.upgrade() else { return };
            let mut versions = server.versions();
            versions.borrow_and_update();
            let due = self.look(&server);
            let probed = self.kubelet.probe(&server).await;
            let due = [due, probed].into_iter().flatten().min();
            let clock = *server.clock();
            drop(server);
            let ended = self.kubelet.ended();
            tokio::select! {
                biased;
                changed = versions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = ended.notified() => {}
                () = clock.sleep_until(due.unwrap_or(Duration::MAX / 4)), if due.is_some() => {}
            }
        }
    }

    /// One look, repeated until it changes nothing; when to look again.
    fn look(&mut self, server: &Arc<Server>) -> Option<Duration> {
        let mut due = None;
        let mut changed = false;
        for _ in 0..ROUNDS {
            let mut store = server.store();
            let before = store.version();
            let mut look = Look {
                store: &mut store,
                now: server.clock().elapsed(),
                time: server.clock().timestamp(),
                faults: server.faults(),
                due: None,
            };
            colleague::edit(&mut look);
            collect::collect(&mut look);
            deployment::deployments(&mut look);
            set::replica_sets(&mut look);
            set::stateful_sets(&mut look);
            volume::claims(&mut look);
            self.kubelet.look(&mut look);
            due = look.due;
            if store.version() == before {
                break;
            }
            changed = true;
        }
        if changed {
            server.announce();
        }
        due
    }
}

/// Sets a member of the status that is written only where it is not zero, as Go's `omitempty` does.
pub(super) fn count(status: &mut Value, name: &str, number: usize) {
    let fields = super::value::map(status);
    if number == 0 {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), Value::from(number));
    }
}

/// The annotations of an object, for changing them.
pub(super) fn annotations(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    super::value::map(member(object, "metadata").entry("annotations").or_insert_with(|| json!({})))
}
