//! Claims and volumes: a provisioner for every StorageClass, as the cluster's own would do it.

use super::{Look, event, is_going};
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{items, map, text};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a volume takes to be made.
const PROVISION: Duration = Duration::from_secs(3);

/// Binds claims.
pub(super) fn claims(look: &mut Look<'_>) {
    for (key, claim) in look.list("v1", "PersistentVolumeClaim", None) {
        if text(&claim, "/status/phase") != "Pending" || is_going(&claim) {
            continue;
        }
        let class = text(&claim, "/spec/storageClassName");
        let Some(found) = look.get("storage.k8s.io/v1", "StorageClass", "", class) else {
            let message = if class.is_empty() {
                "no persistent volumes available for this claim and no storage class is set".to_owned()
            } else {
                format!("storageclass.storage.k8s.io {class:?} not found")
            };
            let reason = if class.is_empty() { "FailedBinding" } else { "ProvisioningFailed" };
            once(look, &claim, if class.is_empty() { "Normal" } else { "Warning" }, reason, &message);
            continue;
        };
        let waits = text(&found, "/volumeBindingMode") == "WaitForFirstConsumer";
        if waits && !wanted(look, &key) {
            let message = "waiting for first consumer to be created before binding";
            once(look, &claim, "Normal", "WaitForFirstConsumer", message);
            continue;
        }
        let provisioner = text(&found, "/provisioner").to_owned();
        let stuck = look.faults.on("pvc-pending");
        if stuck || !items(&claim, "/status/conditions").is_empty() {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
            );
            once(look, &claim, "Normal", "ExternalProvisioning", &message);
            continue;
        }
        bind(look, &key, &claim, &found);
    }
}

/// Says something about a claim unless it was said.
fn once(look: &mut Look<'_>, claim: &Value, kind: &str, reason: &str, message: &str) {
    let uid = text(claim, "/metadata/uid");
    let said = look
        .list("v1", "Event", Some(text(claim, "/metadata/namespace")))
        .iter()
        .any(|(_, event)| text(event, "/involvedObject/uid") == uid && text(event, "/reason") == reason);
    if !said {
        event::say(look, claim, kind, reason, message, "persistentvolume-controller");
    }
}

/// Whether a pod uses the claim.
fn wanted(look: &Look<'_>, claim: &Key) -> bool {
    look.list("v1", "Pod", Some(&claim.namespace)).iter().any(|(_, pod)| {
        items(pod, "/spec/volumes")
            .iter()
            .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == claim.name)
    })
}

fn bind(look: &mut Look<'_>, key: &Key, claim: &Value, class: &Value) {
    let uid = text(claim, "/metadata/uid").to_owned();
    let name = format!("pvc-{uid}");
    let capacity = claim.pointer("/spec/resources/requests").cloned().unwrap_or_else(|| json!({}));
    let modes = claim.pointer("/spec/accessModes").cloned().unwrap_or_else(|| json!([]));
    let Some(volume) = look.get("v1", "PersistentVolume", "", &name) else {
        // The volume takes its time; it exists when it is made.
        let created = text(claim, "/metadata/creationTimestamp").parse::<jiff::Timestamp>();
        let now = look.time.parse::<jiff::Timestamp>();
        if let (Ok(created), Ok(now)) = (created, now)
            && now.as_second() - created.as_second() < i64::try_from(PROVISION.as_secs()).unwrap_or(0)
        {
            look.at(look.now + PROVISION);
            return;
        }
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": capacity, "accessModes": modes, "storageClassName": text(claim, "/spec/storageClassName"),
                "persistentVolumeReclaimPolicy": text(class, "/reclaimPolicy"),
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": key.namespace, "name": key.name, "uid": uid,
                },
                "csi": {"driver": text(class, "/provisioner"), "volumeHandle": name},
            },
        });
        look.create("v1", "PersistentVolume", "", volume).ok();
        return;
    };
    let Some(volumes) = crate::rehearsal::resource::Resource::of("", "v1", "persistentvolumes") else {
        return;
    };
    look.set_status(
        &Key::new(volumes, "", &name),
        &volume,
        json!({"phase": "Bound", "lastPhaseTransitionTime": look.time}),
    );
    let mut changed = claim.clone();
    let annotations = super::annotations(&mut changed);
    annotations.insert("pv.kubernetes.io/bind-completed".to_owned(), Value::from("yes"));
    annotations.insert("pv.kubernetes.io/bound-by-controller".to_owned(), Value::from("yes"));
    map(&mut changed).entry("spec").and_modify(|spec| {
        map(spec).insert("volumeName".to_owned(), Value::from(name.as_str()));
    });
    look.update(key, None, super::MANAGER, changed);
    if let Some(live) = look.store.get(key).cloned() {
        let status = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
        look.set_status(key, &live, status);
        event::say(
            look,
            claim,
            "Normal",
            "ProvisioningSucceeded",
            &format!("Successfully provisioned volume {name}"),
            "csi-provisioner",
        );
    }
}
