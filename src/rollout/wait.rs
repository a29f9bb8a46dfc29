//! Waits for workloads, saying why they are not ready, and failing as soon as that is certain.

use super::event::Sign;
use super::{Halt, World, asked, stopped};
use crate::object::status::{self, Readiness, Surroundings};
use crate::object::{ObjectRef, uid};
use crate::port::{Selection, WatchEvent};
use crate::proof::Finding;
use crate::text::Clean;
use futures::stream::{self, StreamExt};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a workload may look stuck (unschedulable, no volume) before that counts as failed.
const STUCK: Duration = Duration::from_secs(60);

/// How often the reason of a wait is said again.
const SAY: Duration = Duration::from_secs(1);

/// Which of the watched things an event belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Workload,
    ReplicaSet,
    Pod,
    Event,
}

/// Waits until a workload is rolled out.
///
/// # Errors
/// The operator asked to stop.
pub async fn rolled_out(world: &World, object: &ObjectRef, timeout: Duration) -> Result<Finding, Halt> {
    let mut view = View::default();
    let watches = selections(object)
        .into_iter()
        .map(|(kind, selection)| world.cluster.watch(&selection).map(move |event| (kind, event)).boxed());
    let mut events = stream::select_all(watches.collect::<Vec<_>>());
    let mut stop = world.stop.clone();
    let started = world.clock.boot();
    let mut stuck_since: Option<Duration> = None;
    let mut said = Clean::default();
    let mut next = started;
    loop {
        let now = world.clock.boot();
        let waited = now.saturating_sub(started);
        let reason = match view.readiness() {
            Some(Readiness::Ready(text)) => return Ok(Finding::proven(format!("{object}: {text}"))),
            Some(Readiness::Failed(text)) => return Ok(Finding::refuted(format!("{object}: {text}"))),
            Some(Readiness::Waiting { reason, stuck }) => {
                stuck_since = stuck.then(|| stuck_since.unwrap_or(now));
                if stuck_since.is_some_and(|since| now.saturating_sub(since) >= STUCK) {
                    return Ok(Finding::refuted(format!("{object}: {reason}")));
                }
                reason
            }
            None => match &view.lost {
                Some(cause) => Clean::new(format!("the connection is lost: {cause}")),
                None => Clean::from("reading its state"),
            },
        };
        if waited >= timeout {
            let text = format!("{object} is not ready after {} s: {reason}", timeout.as_secs());
            // What was not seen is unknown; what was seen and is not ready is refuted.
            return Ok(if view.lost.is_some() { Finding::unknown(text) } else { Finding::refuted(text) });
        }
        if reason != said || now >= next {
            said = reason.clone();
            next = now + SAY;
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            world.reader.sign(&Sign::Waiting { what: Clean::new(object.to_string()), reason, waited });
        }
        tokio::select! {
            biased;
            cause = asked(&mut stop) => {
                return Err(stopped(cause, &format!("while waiting for {object}; it goes on by itself")));
            }
            event = events.next() => if let Some((kind, event)) = event { view.see(kind, event) },
            () = world.clock.sleep(SAY) => {}
        }
    }
}

/// Waits until an object is gone.
///
/// # Errors
/// The operator asked to stop, or the time is over.
pub async fn gone(world: &World, object: &ObjectRef, id: &str, timeout: Duration) -> Result<(), Halt> {
    let mut events = world.cluster.watch(&Selection::one(object));
    let mut stop = world.stop.clone();
    let started = world.clock.boot();
    let mut present = true;
    let mut listed = false;
    loop {
        if listed && !present {
            return Ok(());
        }
        let waited = world.clock.boot().saturating_sub(started);
        if waited >= timeout {
            let text = format!("{object} is not gone after {} s", timeout.as_secs());
            return Err(Halt::new(super::event::Outcome::Failed, text)
                .hint("see its finalizers and what still depends on it, then roll back again"));
        }
        tokio::select! {
            biased;
            cause = asked(&mut stop) => {
                return Err(stopped(cause, &format!("while {object} was going; it goes on by itself")));
            }
            event = events.next() => match event {
                Some(WatchEvent::Present(live)) => { present = uid(&live) == Some(id); listed = true; }
                Some(WatchEvent::Gone(_)) => { present = false; listed = true; }
                Some(WatchEvent::Listed) => {
                    // The list is complete: the object is there only if it was just reported.
                    listed = true;
                    present = match world.cluster.get(object).await {
                        Ok(live) => live.as_ref().and_then(uid) == Some(id),
                        Err(_) => true,
                    };
                }
                Some(WatchEvent::Lost(_)) | None => {}
            },
            () = world.clock.sleep(SAY) => {
                let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let reason = Clean::from("it is being deleted");
                world.reader.sign(&Sign::Waiting { what: Clean::new(object.to_string()), reason, waited });
            }
        }
    }
}

fn selections(object: &ObjectRef) -> Vec<(Kind, Selection)> {
    let namespaced = |api: &str, kind: &str| Selection {
        api_version: api.to_owned(),
        kind: kind.to_owned(),
        namespace: object.namespace.clone(),
        labels: String::new(),
        fields: String::new(),
    };
    let mut all = vec![(Kind::Workload, Selection::one(object)), (Kind::Event, namespaced("v1", "Event"))];
    if object.kind != "PersistentVolumeClaim" {
        all.push((Kind::Pod, namespaced("v1", "Pod")));
    }
    if object.kind == "Deployment" {
        all.push((Kind::ReplicaSet, namespaced("apps/v1", "ReplicaSet")));
    }
    all
}

/// What the watches have shown so far.
#[derive(Default)]
struct View {
    workload: Option<Value>,
    replica_sets: BTreeMap<ObjectRef, Value>,
    pods: BTreeMap<ObjectRef, Value>,
    events: BTreeMap<ObjectRef, Value>,
    lost: Option<Clean>,
}

impl View {
    fn see(&mut self, kind: Kind, event: WatchEvent) {
        let map = match kind {
            Kind::Workload => {
                match event {
                    WatchEvent::Present(live) => {
                        self.lost = None;
                        self.workload = Some(live);
                    }
                    WatchEvent::Gone(_) => self.workload = None,
                    WatchEvent::Listed => self.lost = None,
                    WatchEvent::Lost(cause) => self.lost = Some(cause),
                }
                return;
            }
            Kind::ReplicaSet => &mut self.replica_sets,
            Kind::Pod => &mut self.pods,
            Kind::Event => &mut self.events,
        };
        match event {
            WatchEvent::Present(live) => {
                if let Some(object) = ObjectRef::of(&live) {
                    map.insert(object, live);
                }
            }
            WatchEvent::Gone(object) => {
                map.remove(&object);
            }
            WatchEvent::Listed | WatchEvent::Lost(_) => {}
        }
    }

    /// `None` while the workload was not seen.
    fn readiness(&self) -> Option<Readiness> {
        // A stale view decides nothing.
        if self.lost.is_some() {
            return None;
        }
        let workload = self.workload.as_ref()?;
        let owned = |uids: &[&str], map: &BTreeMap<ObjectRef, Value>| -> Vec<Value> {
            map.values()
                .filter(|value| owners(value).iter().any(|owner| uids.contains(owner)))
                .cloned()
                .collect()
        };
        let id = uid(workload).unwrap_or_default();
        let replica_sets = owned(&[id], &self.replica_sets);
        let mut parents = vec![id];
        parents.extend(replica_sets.iter().filter_map(uid));
        let pods = owned(&parents, &self.pods);
        let events: Vec<Value> = self.events.values().cloned().collect();
        let around = Surroundings { pods: &pods, replica_sets: &replica_sets, events: &events };
        Some(status::readiness(workload, around))
    }
}

fn owners(object: &Value) -> Vec<&str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.map(|list| list.iter().filter_map(uid_of_owner).collect()).unwrap_or_default()
}

fn uid_of_owner(owner: &Value) -> Option<&str> {
    owner.get("uid").and_then(Value::as_str)
}

/// Sleeps, unless a stop is asked for.
///
/// # Errors
/// The operator asked to stop.
pub async fn pause(world: &World, duration: Duration, what: &str) -> Result<(), Halt> {
    let mut stop = world.stop.clone();
    tokio::select! {
        biased;
        cause = asked(&mut stop) => Err(stopped(cause, what)),
        () = world.clock.sleep(duration) => Ok(()),
    }
}
