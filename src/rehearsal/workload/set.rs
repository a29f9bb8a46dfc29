//! ReplicaSets and StatefulSets: pods from a template, as many as wanted.

use super::{Look, controller, count, is_going, is_ready, pod_of, set_condition, template_hash};
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{items, map, members, number, text};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// After a refused pod the set tries again.
const AGAIN: Duration = Duration::from_secs(5);

fn pods_of(look: &Look<'_>, key: &Key, set: &Value) -> Vec<(Key, Arc<Value>)> {
    let uid = text(set, "/metadata/uid");
    let mut pods = look.list("v1", "Pod", Some(&key.namespace));
    pods.retain(|(_, pod)| {
        controller(pod) == Some(uid) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
    });
    pods
}

/// Brings every ReplicaSet one step forward.
pub(super) fn replica_sets(look: &mut Look<'_>) {
    for (key, set) in look.list("apps/v1", "ReplicaSet", None) {
        if !is_going(&set) {
            replica_set(look, &key, &set);
        }
    }
}

fn replica_set(look: &mut Look<'_>, key: &Key, set: &Arc<Value>) {
    let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    let mut pods = pods_of(look, key, set);
    pods.retain(|(_, pod)| !is_going(pod));
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let mut failure = None;
    let missing = if pods.len() < wanted && rests(look, set) { 0 } else { wanted.saturating_sub(pods.len()) };
    for _ in 0..missing {
        let mut pod = pod_of(&template, set, &[]);
        map(map(&mut pod).entry("metadata").or_insert(Value::Null))
            .insert("generateName".to_owned(), Value::from(format!("{}-", key.name)));
        match look.create("v1", "Pod", &key.namespace, pod) {
            Ok(created) => {
                let message = format!("Created pod: {}", text(&created, "/metadata/name"));
                super::event::say(look, set, "Normal", "SuccessfulCreate", &message, "replicaset-controller");
            }
            Err(message) => {
                refused(look, set, &message, "replicaset-controller");
                failure = Some(message);
                break;
            }
        }
    }
    // What is not ready goes first, then the youngest.
    pods.sort_by_key(|(key, pod)| {
        (
            is_ready(pod),
            std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
            key.name.clone(),
        )
    });
    for (pod_key, pod) in pods.iter().take(pods.len().saturating_sub(wanted)) {
        look.delete(pod_key);
        let message = format!("Deleted pod: {}", text(pod, "/metadata/name"));
        super::event::say(look, set, "Normal", "SuccessfulDelete", &message, "replicaset-controller");
    }
    let mut pods = pods_of(look, key, set);
    pods.retain(|(_, pod)| !is_going(pod));
    let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
    let Some(live) = look.store.get(key).cloned() else { return };
    let mut status = live.get("status").cloned().unwrap_or_else(|| json!({}));
    let fields = map(&mut status);
    fields.insert("replicas".to_owned(), Value::from(pods.len()));
    fields.insert(
        "observedGeneration".to_owned(),
        live.pointer("/metadata/generation").cloned().unwrap_or_default(),
    );
    count(&mut status, "fullyLabeledReplicas", pods.len());
    count(&mut status, "readyReplicas", ready);
    count(&mut status, "availableReplicas", ready);
    match failure {
        Some(message) => {
            let condition = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message});
            set_condition(&mut status, condition, &look.time, &["lastTransitionTime"]);
        }
        None if pods.len() >= wanted => {
            map(&mut status).remove("conditions");
        }
        None => {}
    }
    look.set_status(key, &live, status);
}

/// Says that a pod was refused.
fn refused(look: &mut Look<'_>, set: &Value, message: &str, component: &str) {
    super::event::say(look, set, "Warning", "FailedCreate", &format!("Error creating: {message}"), component);
    look.at(look.now + AGAIN);
}

/// Whether a set that was refused a pod waits before it tries again; every refusal doubles the wait. The refusal's
/// message has a fresh name each time, so without the wait every look would change something.
fn rests(look: &mut Look<'_>, set: &Value) -> bool {
    let uid = text(set, "/metadata/uid");
    let refusals: Vec<String> = look
        .list("v1", "Event", Some(text(set, "/metadata/namespace")))
        .iter()
        .filter(|(_, event)| {
            text(event, "/involvedObject/uid") == uid && text(event, "/reason") == "FailedCreate"
        })
        .map(|(_, event)| text(event, "/lastTimestamp").to_owned())
        .collect();
    let Some(Ok(last)) = refusals.iter().max().map(|last| last.parse::<jiff::Timestamp>()) else {
        return false;
    };
    let Ok(now) = look.time.parse::<jiff::Timestamp>() else { return false };
    let doublings = u32::try_from(refusals.len().saturating_sub(1).min(4)).unwrap_or(0);
    let wait = i64::try_from((AGAIN * 2_u32.pow(doublings)).as_secs()).unwrap_or(i64::MAX);
    let left = wait - (now.as_second() - last.as_second());
    if left <= 0 {
        return false;
    }
    look.at(look.now + Duration::from_secs(u64::try_from(left).unwrap_or(1)));
    true
}

/// Brings every StatefulSet one step forward.
pub(super) fn stateful_sets(look: &mut Look<'_>) {
    for (key, set) in look.list("apps/v1", "StatefulSet", None) {
        if !is_going(&set) {
            stateful_set(look, &key, &set);
        }
    }
}

fn stateful_set(look: &mut Look<'_>, key: &Key, set: &Arc<Value>) {
    let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0);
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let revision = format!("{}-{}", key.name, template_hash(&template));
    let parallel = text(set, "/spec/podManagementPolicy") == "Parallel";
    let pods = pods_of(look, key, set);
    let pod = |ordinal: i64| pods.iter().find(|(pod, _)| pod.name == format!("{}-{ordinal}", key.name));
    for ordinal in 0..wanted {
        match pod(ordinal) {
            None => {
                if rests(look, set) || !create(look, key, set, &template, ordinal, &revision) {
                    break;
                }
            }
            Some((_, found)) if is_ready(found) && !is_going(found) => continue,
            Some(_) => {}
        }
        if !parallel {
            break;
        }
    }
    let ordinal_of =
        |name: &str| name.rsplit_once('-').and_then(|(_, number)| number.parse::<i64>().ok()).unwrap_or(0);
    let mut extra: Vec<&Key> =
        pods.iter().map(|(pod, _)| pod).filter(|pod| ordinal_of(&pod.name) >= wanted).collect();
    extra.sort_by_key(|pod| std::cmp::Reverse(ordinal_of(&pod.name)));
    for pod in extra {
        look.delete(pod);
        if !parallel {
            break;
        }
    }
    update_pods(look, set, &pods, &revision, wanted);
    status(look, key, set, &revision, wanted);
}

/// Replaces pods of an earlier revision, from the highest ordinal down, one at a time and only while the others are
/// ready; a pod that was never ready is not replaced (kubernetes/kubernetes issue 67250).
fn update_pods(look: &mut Look<'_>, set: &Value, pods: &[(Key, Arc<Value>)], revision: &str, wanted: i64) {
    if text(set, "/spec/updateStrategy/type") != "RollingUpdate" {
        return;
    }
    let whole = usize::try_from(wanted).is_ok_and(|wanted| pods.len() >= wanted);
    if !whole || pods.iter().any(|(_, pod)| is_going(pod) || !is_ready(pod)) {
        return;
    }
    let stale =
        pods.iter().rev().find(|(_, pod)| text(pod, "/metadata/labels/controller-revision-hash") != revision);
    if let Some((key, _)) = stale {
        look.delete(key);
    }
}

fn create(
    look: &mut Look<'_>,
    key: &Key,
    set: &Value,
    template: &Value,
    ordinal: i64,
    revision: &str,
) -> bool {
    let name = format!("{}-{ordinal}", key.name);
    let mut volumes = Vec::new();
    for claim in items(set, "/spec/volumeClaimTemplates") {
        let template_name = text(claim, "/metadata/name").to_owned();
        let claim_name = format!("{template_name}-{name}");
        volumes.push(json!({"name": template_name, "persistentVolumeClaim": {"claimName": claim_name}}));
        if look.get("v1", "PersistentVolumeClaim", &key.namespace, &claim_name).is_some() {
            continue;
        }
        let mut object = claim.clone();
        let metadata = crate::rehearsal::value::metadata(&mut object);
        metadata.insert("name".to_owned(), Value::from(claim_name.as_str()));
        let labels = map(metadata.entry("labels").or_insert_with(|| json!({})));
        for (label, value) in members(set, "/spec/selector/matchLabels") {
            labels.insert(label.clone(), value.clone());
        }
        match look.create("v1", "PersistentVolumeClaim", &key.namespace, object) {
            Ok(_) => {
                let message =
                    format!("create Claim {claim_name} Pod {name} in StatefulSet {} success", key.name);
                super::event::say(
                    look,
                    set,
                    "Normal",
                    "SuccessfulCreate",
                    &message,
                    "statefulset-controller",
                );
            }
            Err(message) => {
                let message = format!(
                    "create Claim {claim_name} for Pod {name} in StatefulSet {} failed error: {message}",
                    key.name
                );
                refused(look, set, &message, "statefulset-controller");
                return false;
            }
        }
    }
    let ordinal = ordinal.to_string();
    let labels = [
        ("apps.kubernetes.io/pod-index", ordinal.as_str()),
        ("controller-revision-hash", revision),
        ("statefulset.kubernetes.io/pod-name", name.as_str()),
    ];
    let mut pod = pod_of(template, set, &labels);
    crate::rehearsal::value::set_metadata(&mut pod, "name", name.as_str());
    let spec = crate::rehearsal::value::member(&mut pod, "spec");
    spec.insert("hostname".to_owned(), Value::from(name.as_str()));
    let service = text(set, "/spec/serviceName");
    if !service.is_empty() {
        spec.insert("subdomain".to_owned(), Value::from(service));
    }
    let list = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.retain(|volume| volumes.iter().all(|claim| claim.get("name") != volume.get("name")));
        list.extend(volumes);
    }
    match look.create("v1", "Pod", &key.namespace, pod) {
        Ok(_) => {
            let message = format!("create Pod {name} in StatefulSet {} successful", key.name);
            super::event::say(look, set, "Normal", "SuccessfulCreate", &message, "statefulset-controller");
            true
        }
        Err(message) => {
            let message = format!("create Pod {name} in StatefulSet {} failed error: {message}", key.name);
            refused(look, set, &message, "statefulset-controller");
            false
        }
    }
}

fn status(look: &mut Look<'_>, key: &Key, set: &Value, revision: &str, wanted: i64) {
    let pods: Vec<Arc<Value>> = pods_of(look, key, set).into_iter().map(|(_, pod)| pod).collect();
    let Some(live) = look.store.get(key).cloned() else { return };
    let of_revision = |pod: &&Arc<Value>| text(pod, "/metadata/labels/controller-revision-hash") == revision;
    let ready = pods.iter().filter(|pod| is_ready(pod) && !is_going(pod)).count();
    let updated = pods.iter().filter(of_revision).count();
    let current = match text(&live, "/status/currentRevision") {
        "" => revision.to_owned(),
        known => known.to_owned(),
    };
    let done = usize::try_from(wanted)
        .is_ok_and(|wanted| updated == wanted && ready == wanted && pods.len() == wanted);
    let current = if done { revision.to_owned() } else { current };
    let of_current =
        pods.iter().filter(|pod| text(pod, "/metadata/labels/controller-revision-hash") == current).count();
    let mut status = live.get("status").cloned().unwrap_or_else(|| json!({}));
    let fields = map(&mut status);
    fields.insert(
        "observedGeneration".to_owned(),
        live.pointer("/metadata/generation").cloned().unwrap_or_default(),
    );
    fields.insert("replicas".to_owned(), Value::from(pods.len()));
    fields.insert("availableReplicas".to_owned(), Value::from(ready));
    fields.insert("collisionCount".to_owned(), Value::from(0));
    fields.insert("currentRevision".to_owned(), Value::from(current));
    fields.insert("updateRevision".to_owned(), Value::from(revision));
    count(&mut status, "readyReplicas", ready);
    count(&mut status, "currentReplicas", of_current);
    count(&mut status, "updatedReplicas", updated);
    look.set_status(key, &live, status);
}
