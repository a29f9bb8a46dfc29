//! Which pods belong to the revision that a workload is rolling out now.

use super::Surroundings;
use super::read::{is_controlled_by, items, name, number, some_text, text};
use serde_json::Value;

/// The revision of a Deployment, as the deployment controller writes it on the Deployment and its ReplicaSets.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// The pods of the current revision that are not being deleted. Where it cannot be told which those are (the
/// controller has not seen the change, the ReplicaSets are not known), none: a wrong pod must not fail a rollout.
pub(super) fn current_pods<'o>(workload: &Value, around: Surroundings<'o>) -> Vec<&'o Value> {
    let has_revisions = matches!(text(workload, "/kind"), "Deployment" | "StatefulSet" | "DaemonSet");
    if has_revisions
        && number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation")
    {
        return Vec::new();
    }
    let living = || {
        around.pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null))
    };
    let controlled = || living().filter(|pod| is_controlled_by(pod, workload));
    match text(workload, "/kind") {
        "Deployment" => match newest_replica_set(workload, around.replica_sets) {
            Some(set) => living().filter(|pod| is_controlled_by(pod, set)).collect(),
            None if !around.replica_sets.is_empty() => Vec::new(),
            // No ReplicaSets were read. While no replica is of an earlier revision, all pods are of this one.
            None if number(workload, "/status/replicas") == number(workload, "/status/updatedReplicas") => {
                living().filter(|pod| is_of_selector(pod, workload)).collect()
            }
            None => Vec::new(),
        },
        "StatefulSet" => {
            let Some(revision) = some_text(workload, "/status/updateRevision") else { return Vec::new() };
            controlled().filter(|pod| stateful_revision(pod) == revision).collect()
        }
        "DaemonSet" => {
            let generation =
                some_text(workload, "/metadata/annotations/deprecated.daemonset.template.generation");
            let all = number(workload, "/status/updatedNumberScheduled")
                >= number(workload, "/status/currentNumberScheduled");
            controlled()
                .filter(|pod| {
                    match (some_text(pod, "/metadata/labels/pod-template-generation"), generation) {
                        (Some(pod), Some(set)) => pod == set,
                        _ => all,
                    }
                })
                .collect()
        }
        "Pod" => living().filter(|pod| name(pod) == name(workload)).collect(),
        _ => controlled().collect(),
    }
}

/// The ReplicaSet of a Deployment's current revision, if it has been seen yet.
pub(super) fn newest_replica_set<'o>(deployment: &Value, replica_sets: &'o [Value]) -> Option<&'o Value> {
    let owned = || replica_sets.iter().filter(|set| is_controlled_by(set, deployment));
    match some_text(deployment, REVISION) {
        // The lists come from different watches: a ReplicaSet of this very number may not have arrived.
        Some(revision) => owned().find(|set| text(set, REVISION) == revision),
        None => owned().max_by_key(|set| {
            (text(set, REVISION).parse::<u64>().unwrap_or(0), text(set, "/metadata/creationTimestamp"))
        }),
    }
}

/// The first pod of a StatefulSet that is of an earlier revision and not ready, and not being deleted.
pub(super) fn old_broken_pod<'o>(set: &Value, pods: &'o [Value]) -> Option<&'o Value> {
    let revision = some_text(set, "/status/updateRevision")?;
    pods.iter()
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null))
        .filter(|pod| is_controlled_by(pod, set) && stateful_revision(pod) != revision)
        .filter(|pod| super::read::true_condition(pod, "Ready").is_none())
        .min_by_key(|pod| name(pod))
}

fn stateful_revision(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

/// Whether the labels that the workload selects by are all on the pod, and some ReplicaSet controls it.
fn is_of_selector(pod: &Value, workload: &Value) -> bool {
    let Some(labels) = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object) else {
        return false;
    };
    !labels.is_empty()
        && labels
            .iter()
            .all(|(key, value)| pod.pointer("/metadata/labels").and_then(|l| l.get(key)) == Some(value))
        && items(pod, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/kind") == "ReplicaSet")
}
