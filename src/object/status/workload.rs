//! Deployments, StatefulSets and DaemonSets.

use super::pod::{Trouble, Weight, brief, troubles};
use super::read::{Event, condition, name, number, some_text, specified_at, text, true_condition};
use super::revision::{current_pods, newest_replica_set, old_broken_pod};
use super::{Readiness, Surroundings};
use serde_json::Value;

pub(super) fn deployment(deployment: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(deployment) {
        return Readiness::waiting("the deployment controller has not seen the change yet");
    }
    let set = newest_replica_set(deployment, around.replica_sets);
    let wanted = replicas(deployment);
    let status = |field: &str| number(deployment, &format!("/status/{field}"));
    let (total, updated, available) =
        (status("replicas"), status("updatedReplicas"), status("availableReplicas"));

    let mut found = found_troubles(deployment, around);
    found.extend(creation_trouble(deployment, set.unwrap_or(deployment), updated < wanted, around.events));

    let overdue =
        condition(deployment, "Progressing").filter(|c| text(c, "/reason") == "ProgressDeadlineExceeded");
    if let Some(overdue) = overdue {
        let message = some_text(overdue, "/message").map(brief).unwrap_or_default();
        let worst = worst(&found).map(|trouble| format!("; {}", trouble.text)).unwrap_or_default();
        return Readiness::failed(format!("progress deadline exceeded: {message}{worst}"));
    }
    let progress = if updated < wanted {
        format!("{updated} of {wanted} replicas updated")
    } else if total > updated {
        match total - updated {
            1 => "1 old replica is still to end".to_owned(),
            old => format!("{old} old replicas are still to end"),
        }
    } else if available < updated {
        format!("{available} of {updated} updated replicas available")
    } else {
        return done(format!("{available} of {wanted} replicas updated and available"), wanted, &found);
    };
    if deployment.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Readiness::stuck(format!("{progress}; the rollout is paused (spec.paused)"));
    }
    not_done(&progress, &found)
}

pub(super) fn stateful_set(set: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(set) || number(set, "/status/observedGeneration") == 0 {
        return Readiness::waiting("the statefulset controller has not seen the change yet");
    }
    let wanted = replicas(set);
    let status = |field: &str| number(set, &format!("/status/{field}"));
    let (ready, updated) = (status("readyReplicas"), status("updatedReplicas"));
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").max(0);
    let revision = text(set, "/status/updateRevision");
    let on_delete = text(set, "/spec/updateStrategy/type") == "OnDelete";

    let mut found = found_troubles(set, around);
    found.extend(creation_trouble(set, set, status("replicas") < wanted, around.events));

    let progress = if ready < wanted {
        format!("{ready} of {wanted} pods ready")
    } else if on_delete {
        if updated >= wanted {
            return done(format!("{ready} of {wanted} pods ready, all of the new revision"), wanted, &found);
        }
        return Readiness::stuck(format!(
            "{updated} of {wanted} pods are of the new revision, and it cannot be waited for: with the update strategy \
             OnDelete a pod is replaced only when someone deletes it"
        ));
    } else if partition > 0 {
        let share = (wanted - partition).max(0);
        if updated >= share {
            return done(
                format!("{ready} of {wanted} pods ready, {updated} updated (partition {partition})"),
                wanted,
                &found,
            );
        }
        format!("{updated} of {share} pods above partition {partition} updated")
    } else if revision != text(set, "/status/currentRevision") {
        format!("{updated} of {wanted} pods updated")
    } else {
        return done(format!("{ready} of {wanted} pods ready and updated"), wanted, &found);
    };
    let ordered = text(set, "/spec/podManagementPolicy") != "Parallel";
    if worst(&found).is_none_or(|trouble| trouble.weight == Weight::Passing)
        && ordered
        && !on_delete
        && let Some(old) = old_broken_pod(set, around.pods)
    {
        return Readiness::stuck(format!(
            "{progress}; pod {} is of the earlier revision and not ready, and its controller may wait for it for ever \
             (kubernetes#67250): delete the pod",
            name(old)
        ));
    }
    not_done(&progress, &found)
}

pub(super) fn daemon_set(set: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(set) {
        return Readiness::waiting("the daemonset controller has not seen the change yet");
    }
    let status = |field: &str| number(set, &format!("/status/{field}"));
    let wanted = status("desiredNumberScheduled");
    let (updated, available) = (status("updatedNumberScheduled"), status("numberAvailable"));

    let mut found = found_troubles(set, around);
    found.extend(creation_trouble(set, set, status("currentNumberScheduled") < wanted, around.events));

    let progress = if updated < wanted {
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return Readiness::stuck(format!(
                "{updated} of {wanted} pods are of the new revision, and it cannot be waited for: with the update \
                 strategy OnDelete a pod is replaced only when someone deletes it"
            ));
        }
        format!("{updated} of {wanted} pods updated")
    } else if available < wanted {
        format!("{available} of {wanted} updated pods available")
    } else if wanted == 0 {
        return Readiness::ready("no node is to run it");
    } else {
        return done(format!("{available} of {wanted} pods updated and available"), wanted, &found);
    };
    not_done(&progress, &found)
}

/// Whether the controller has not yet acted on the current specification: its status is about an earlier one.
fn unseen(workload: &Value) -> bool {
    number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation")
}

/// `spec.replicas`, 1 if not set.
fn replicas(workload: &Value) -> i64 {
    workload.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn found_troubles(workload: &Value, around: Surroundings<'_>) -> Vec<Trouble> {
    troubles(workload, &current_pods(workload, around), around.events)
}

fn worst(found: &[Trouble]) -> Option<&Trouble> {
    // The first of the heaviest: `max_by_key` would take the last.
    found.iter().min_by_key(|trouble| std::cmp::Reverse(trouble.weight))
}

fn done(reason: String, wanted: i64, found: &[Trouble]) -> Readiness {
    if wanted == 0 {
        return Readiness::ready("scaled to 0");
    }
    match worst(found).filter(|trouble| trouble.weight == Weight::Fatal) {
        Some(trouble) => Readiness::ready(format!("{reason}; but {}", trouble.text)),
        None => Readiness::ready(reason),
    }
}

fn not_done(progress: &str, found: &[Trouble]) -> Readiness {
    match worst(found) {
        None => Readiness::waiting(progress),
        Some(trouble) => match trouble.weight {
            Weight::Fatal => Readiness::Failed(trouble.text.clone()),
            Weight::Stuck => Readiness::stuck(format!("{progress}; {}", trouble.text)),
            Weight::Passing => Readiness::waiting(format!("{progress}; {}", trouble.text)),
        },
    }
}

/// Why `owner` (the workload, or its ReplicaSet) cannot create the pods that are missing.
fn creation_trouble(workload: &Value, owner: &Value, missing: bool, events: &[Value]) -> Option<Trouble> {
    if !missing {
        return None;
    }
    let condition = [owner, workload].into_iter().find_map(|object| true_condition(object, "ReplicaFailure"));
    let message = condition.and_then(|condition| some_text(condition, "/message")).or_else(|| {
        let events = Event::about(owner, events);
        let failed = events.iter().rev().find(|event| event.reason() == "FailedCreate")?;
        let made_since = events.iter().any(|e| e.reason() == "SuccessfulCreate" && e.time() > failed.time());
        // An event outlives its cause by an hour; what was said before the last change is about an earlier try.
        let outdated = !failed.time().is_empty() && failed.time() < specified_at(workload);
        (!made_since && !outdated).then(|| failed.message())
    })?;
    let weight = if is_refusal(message) { Weight::Fatal } else { Weight::Stuck };
    Some(Trouble::new(weight, format!("a pod cannot be created: {}", brief(message))))
}

/// Whether this is the word of a quota, a LimitRange, pod security or validation. They say the same on every try; a
/// missing service account or a webhook that does not answer may not (kubernetes plugin/pkg/admission/{resourcequota,
/// limitranger}, staging/src/k8s.io/pod-security-admission/admission).
fn is_refusal(message: &str) -> bool {
    let limit_range = message.contains(" per Container is ") || message.contains(" per Pod is ");
    message.contains(" is invalid: ")
        || (message.contains("forbidden")
            && (limit_range
                || message.contains("exceeded quota")
                || message.contains("failed quota")
                || message.contains("violates PodSecurity")))
}
