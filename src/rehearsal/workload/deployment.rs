//! Deployments: ReplicaSets of their templates, rolled one into the next.

use super::{Look, annotations, controller, count, is_going, owner, set_condition, template_hash};
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{items, map, member, metadata, number, text};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Brings every Deployment one step forward.
pub(super) fn deployments(look: &mut Look<'_>) {
    for (key, deployment) in look.list("apps/v1", "Deployment", None) {
        if !is_going(&deployment) {
            one(look, &key, &deployment);
        }
    }
}

fn one(look: &mut Look<'_>, key: &Key, deployment: &Arc<Value>) {
    let uid = text(deployment, "/metadata/uid").to_owned();
    let template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
    let hash = template_hash(&template);
    let mut sets: Vec<(Key, Arc<Value>)> = look
        .list("apps/v1", "ReplicaSet", Some(&key.namespace))
        .into_iter()
        .filter(|(_, set)| controller(set) == Some(&uid))
        .collect();
    let newest = sets.iter().position(|(_, set)| text(set, "/metadata/labels/pod-template-hash") == hash);
    let wanted = number(deployment, "/spec/replicas").unwrap_or(1).max(0);
    let (surge, unavailable) = budget(deployment, wanted);
    let highest = sets.iter().filter_map(|(_, set)| revision(set)).max().unwrap_or(0);
    let Some(newest) = newest else {
        let others: i64 = sets.iter().map(|(_, set)| number(set, "/spec/replicas").unwrap_or(0)).sum();
        let replicas = (wanted + surge - others).clamp(0, wanted);
        create_set(look, key, deployment, &template, &hash, replicas, highest + 1);
        return;
    };
    let (set_key, set) = sets.remove(newest);
    let mine = revision(&set).unwrap_or(0);
    // A template that comes back is the newest revision again.
    let mine = if mine < highest { highest + 1 } else { mine };
    note_revision(look, &set_key, &set, mine);
    note_revision(look, key, deployment, mine);
    roll(look, &set_key, &set, &sets, wanted, surge, unavailable);
    status(look, key, deployment, &set_key, &sets, wanted, unavailable);
}

fn revision(set: &Value) -> Option<i64> {
    annotation(set)?.parse().ok()
}

fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(REVISION)?.as_str()
}

/// The revision is an annotation, written to set and Deployment.
fn note_revision(look: &mut Look<'_>, key: &Key, object: &Value, revision: i64) {
    if annotation(object).and_then(|text| text.parse::<i64>().ok()) == Some(revision) {
        return;
    }
    let mut changed = object.clone();
    annotations(&mut changed).insert(REVISION.to_owned(), Value::from(revision.to_string()));
    look.update(key, None, super::MANAGER, changed);
}

/// `maxSurge` rounded up, `maxUnavailable` rounded down; never both zero (pkg/controller/deployment/util).
fn budget(deployment: &Value, wanted: i64) -> (i64, i64) {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return (0, wanted);
    }
    let part =
        |name: &str, up: bool| match deployment.pointer(&format!("/spec/strategy/rollingUpdate/{name}")) {
            Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
            Some(Value::String(text)) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
                (percent * wanted + if up { 99 } else { 0 }) / 100
            }
            _ => 0,
        };
    match (part("maxSurge", true), part("maxUnavailable", false)) {
        (0, 0) => (0, 1),
        found => found,
    }
}

fn create_set(
    look: &mut Look<'_>,
    key: &Key,
    deployment: &Value,
    template: &Value,
    hash: &str,
    replicas: i64,
    revision: i64,
) {
    let mut template = template.clone();
    let labels = map(metadata(&mut template).entry("labels").or_insert_with(|| json!({})));
    labels.insert("pod-template-hash".to_owned(), Value::from(hash));
    let labels = labels.clone();
    let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_default();
    member(&mut selector, "matchLabels").insert("pod-template-hash".to_owned(), Value::from(hash));
    let name = format!("{}-{hash}", key.name);
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": key.namespace, "labels": labels, "ownerReferences": [owner(deployment)],
            "annotations": {
                REVISION: revision.to_string(),
                "deployment.kubernetes.io/desired-replicas": number(deployment, "/spec/replicas").unwrap_or(1).to_string(),
            },
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    if look.create("apps/v1", "ReplicaSet", &key.namespace, set).is_ok() {
        note_revision(look, key, deployment, revision);
        let message = format!("Scaled up replica set {name} from 0 to {replicas}");
        super::event::say(look, deployment, "Normal", "ScalingReplicaSet", &message, "deployment-controller");
    }
}

fn scale(look: &mut Look<'_>, key: &Key, set: &Value, replicas: i64) {
    if number(set, "/spec/replicas") == Some(replicas) {
        return;
    }
    let mut changed = set.clone();
    member(&mut changed, "spec").insert("replicas".to_owned(), Value::from(replicas));
    look.update(key, None, super::MANAGER, changed);
}

fn roll(
    look: &mut Look<'_>,
    key: &Key,
    set: &Value,
    old: &[(Key, Arc<Value>)],
    wanted: i64,
    surge: i64,
    unavailable: i64,
) {
    let spec = |set: &Value| number(set, "/spec/replicas").unwrap_or(0);
    let available = |set: &Value| number(set, "/status/availableReplicas").unwrap_or(0);
    let others: i64 = old.iter().map(|(_, set)| spec(set)).sum();
    // Up: as many as the surge allows.
    let room = (wanted + surge - others - spec(set)).max(0);
    let target = (spec(set) + room).min(wanted);
    let target = if spec(set) > wanted { wanted } else { target };
    scale(look, key, set, target);
    // Down: as many as may be unavailable; those that are not available anyway go first.
    let mut spare = available(set).min(spec(set)) + old.iter().map(|(_, set)| available(set)).sum::<i64>()
        - (wanted - unavailable);
    for (key, set) in old {
        let unhealthy = (spec(set) - available(set)).max(0);
        let healthy = (spec(set) - unhealthy).min(spare.max(0));
        spare -= healthy;
        let left = spec(set) - unhealthy - healthy;
        if left < spec(set) {
            scale(look, key, set, left);
        }
    }
}

fn status(
    look: &mut Look<'_>,
    key: &Key,
    deployment: &Value,
    newest: &Key,
    old: &[(Key, Arc<Value>)],
    wanted: i64,
    unavailable: i64,
) {
    let (Some(live), Some(set)) = (look.store.get(key).cloned(), look.store.get(newest).cloned()) else {
        return;
    };
    let all: Vec<Arc<Value>> =
        old.iter().filter_map(|(key, _)| look.store.get(key).cloned()).chain([set.clone()]).collect();
    let sum = |field: &str| -> usize {
        all.iter().filter_map(|set| usize::try_from(number(set, &format!("/status/{field}"))?).ok()).sum()
    };
    let available = sum("availableReplicas");
    let updated = usize::try_from(number(&set, "/status/replicas").unwrap_or(0)).unwrap_or(0);
    let wanted_count = usize::try_from(wanted).unwrap_or(0);
    let mut status = live.get("status").cloned().unwrap_or_else(|| json!({}));
    map(&mut status).insert(
        "observedGeneration".to_owned(),
        live.pointer("/metadata/generation").cloned().unwrap_or_default(),
    );
    count(&mut status, "replicas", sum("replicas"));
    count(&mut status, "updatedReplicas", updated);
    count(&mut status, "readyReplicas", sum("readyReplicas"));
    count(&mut status, "availableReplicas", available);
    count(&mut status, "unavailableReplicas", wanted_count.saturating_sub(available));
    let enough = i64::try_from(available).unwrap_or(0) >= wanted - unavailable;
    let availability = if enough {
        json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."})
    } else {
        json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."})
    };
    let stamps = ["lastUpdateTime", "lastTransitionTime"];
    set_condition(&mut status, availability, &look.time, &stamps);
    let complete = updated == wanted_count && sum("replicas") == wanted_count && available == wanted_count;
    progress(look, deployment, &set, &mut status, complete);
    // A failure to create pods stands on the set and is shown on the Deployment.
    let failure =
        items(&set, "/status/conditions").iter().find(|one| text(one, "/type") == "ReplicaFailure").cloned();
    match failure {
        Some(failure) => set_condition(&mut status, failure, &look.time, &stamps),
        None => {
            if let Some(list) = map(&mut status).get_mut("conditions").and_then(Value::as_array_mut) {
                list.retain(|one| text(one, "/type") != "ReplicaFailure");
            }
        }
    }
    look.set_status(key, &live, status);
}

/// The Progressing condition: complete, under way, or past its deadline.
fn progress(look: &mut Look<'_>, deployment: &Value, set: &Value, status: &mut Value, complete: bool) {
    let name = text(set, "/metadata/name");
    let known = items(status, "/conditions").iter().find(|one| text(one, "/type") == "Progressing").cloned();
    let known_reason = known.as_ref().map(|known| text(known, "/reason").to_owned()).unwrap_or_default();
    let counts: Vec<String> = ["updatedReplicas", "readyReplicas", "availableReplicas"]
        .iter()
        .map(|field| number(status, &format!("/{field}")).unwrap_or(0).to_string())
        .collect();
    let message = |what: &str| format!("ReplicaSet {name:?} {what}");
    let condition = if complete {
        json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": message("has successfully progressed.")})
    } else {
        let deadline = number(deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let since = known.as_ref().map(|known| text(known, "/lastUpdateTime").to_owned()).unwrap_or_default();
        let other = known.as_ref().is_none_or(|known| !text(known, "/message").contains(name));
        let counted = counts.join(",");
        let before = stored_counts(deployment);
        let waited = seconds_between(&since, &look.time);
        let overdue =
            !other && before == counted && known_reason != "NewReplicaSetAvailable" && waited >= deadline;
        if known_reason == "ProgressDeadlineExceeded" && !other || overdue {
            json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message("has timed out progressing.")})
        } else {
            let left = u64::try_from((deadline - waited).clamp(1, deadline.max(1))).unwrap_or(1);
            look.at(look.now + Duration::from_secs(left));
            json!({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": message("is progressing.")})
        }
    };
    let time = look.time.clone();
    set_condition(status, condition, &time, &["lastUpdateTime", "lastTransitionTime"]);
}

/// What counted as progress last: the counters of the stored status.
fn stored_counts(deployment: &Value) -> String {
    ["updatedReplicas", "readyReplicas", "availableReplicas"]
        .iter()
        .map(|field| number(deployment, &format!("/status/{field}")).unwrap_or(0).to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn seconds_between(from: &str, to: &str) -> i64 {
    match (from.parse::<jiff::Timestamp>(), to.parse::<jiff::Timestamp>()) {
        (Ok(from), Ok(to)) => to.as_second() - from.as_second(),
        _ => 0,
    }
}
