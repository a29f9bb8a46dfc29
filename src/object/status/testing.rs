//! Objects as a cluster has them, for the tests of this room.

use super::{Readiness, Surroundings, readiness};
use serde_json::{Value, json};

/// The object with this value at a JSON pointer, maps on the way made as needed.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut object;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/");
        place = match part.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            _ => &mut place[part],
        };
    }
    *place = value;
    object
}

/// One line: `ready`, `waiting`, `stuck` or `failed`, and the reason.
pub(super) fn told(object: &Value, around: Surroundings<'_>) -> String {
    match readiness(object, around) {
        Readiness::Ready(reason) => format!("ready: {reason}"),
        Readiness::Waiting { reason, stuck: false } => format!("waiting: {reason}"),
        Readiness::Waiting { reason, stuck: true } => format!("stuck: {reason}"),
        Readiness::Failed(reason) => format!("failed: {reason}"),
    }
}

/// A Deployment of 3 in its second revision, done.
pub(super) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "app", "namespace": "ns", "uid": "dep", "generation": 2,
            "annotations": { "deployment.kubernetes.io/revision": "2" },
            "managedFields": [
                { "manager": "firstlight:tracing:app", "operation": "Apply", "time": "2026-11-23T03:15:00Z", "fieldsV1": { "f:spec": {} } },
                { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-11-23T03:20:00Z", "fieldsV1": { "f:status": {} } },
            ],
        },
        "spec": {
            "replicas": 3, "selector": { "matchLabels": { "app": "app" } },
            "template": { "spec": { "containers": [{ "name": "app" }] } },
        },
        "status": {
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
        },
    })
}

/// A ReplicaSet of the Deployment, with the uid `rs-<revision>`.
pub(super) fn replica_set(revision: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("app-{revision}"), "namespace": "ns", "uid": format!("rs-{revision}"),
            "annotations": { "deployment.kubernetes.io/revision": revision.to_string() },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "uid": "dep", "controller": true }],
        },
    })
}

/// A StatefulSet of 2 in an update, done.
pub(super) fn stateful_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {
            "name": "tempo", "namespace": "ns", "uid": "set", "generation": 2,
            "managedFields": [
                { "manager": "firstlight:tracing:tempo", "operation": "Apply", "time": "2026-11-23T03:15:00Z", "fieldsV1": { "f:spec": {} } },
            ],
        },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": "tempo" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "template": { "spec": { "containers": [{ "name": "tempo", "resources": { "requests": { "memory": "64Mi" } } }] } },
        },
        "status": {
            "observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
            "currentRevision": "tempo-b", "updateRevision": "tempo-b",
        },
    })
}

/// A running, ready pod of the StatefulSet (of revision `tempo-b`), with one container of 256Mi.
pub(super) fn tempo() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "tempo-0", "namespace": "ns", "uid": "pod-tempo-0",
            "labels": { "app": "tempo", "controller-revision-hash": "tempo-b" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "tempo", "uid": "set", "controller": true }],
        },
        "spec": {
            "restartPolicy": "Always",
            "containers": [{ "name": "tempo", "resources": { "limits": { "memory": "256Mi" }, "requests": { "memory": "64Mi" } } }],
        },
        "status": {
            "phase": "Running",
            "conditions": [{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "tempo", "ready": true, "restartCount": 0, "state": { "running": { "startedAt": "2026-11-23T03:16:00Z" } },
            }],
        },
    })
}

/// The pod with its only container in another state, not ready.
pub(super) fn in_state(pod: Value, state: Value, last: Value) -> Value {
    let pod = with(pod, "/status/conditions/1/status", json!("False"));
    let pod = with(pod, "/status/containerStatuses/0/ready", json!(false));
    let pod =
        with(pod, "/status/containerStatuses/0/restartCount", json!(if last.is_null() { 0 } else { 3 }));
    with(
        with(pod, "/status/containerStatuses/0/state", state),
        "/status/containerStatuses/0/lastState",
        json!({ "terminated": last }),
    )
}

/// The pod as one of the ReplicaSet with this revision.
pub(super) fn of_replica_set(pod: Value, name: &str, revision: u32) -> Value {
    let owner = json!([{ "kind": "ReplicaSet", "name": format!("app-{revision}"), "uid": format!("rs-{revision}"), "controller": true }]);
    let pod = with(with(pod, "/metadata/name", json!(name)), "/metadata/uid", json!(format!("pod-{name}")));
    with(with(pod, "/metadata/ownerReferences", owner), "/metadata/labels", json!({ "app": "app" }))
}

/// A core/v1 event.
pub(super) fn event(uid: &str, kind: &str, reason: &str, time: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": message, "lastTimestamp": time,
        "involvedObject": { "uid": uid },
    })
}
