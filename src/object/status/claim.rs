//! PersistentVolumeClaims.

use super::read::{Event, some_text, text, true_condition};
use super::{Readiness, Surroundings};
use serde_json::Value;

/// The scheduler names the node here once a pod wants the volume (kubernetes
/// pkg/controller/volume/persistentvolume/util.go, `AnnSelectedNode`).
const SELECTED_NODE: &str = "/metadata/annotations/volume.kubernetes.io~1selected-node";

pub(super) fn readiness(claim: &Value, around: Surroundings<'_>) -> Readiness {
    let events = Event::about(claim, around.events);
    let latest = events.last();
    let warning = latest.filter(|event| event.is_warning());
    match text(claim, "/status/phase") {
        "Bound" => {
            let unsettled =
                ["Resizing", "FileSystemResizePending"].iter().find_map(|kind| true_condition(claim, kind));
            match (unsettled, warning) {
                (Some(_), Some(event)) => {
                    Readiness::stuck(format!("{}: {}", event.reason(), event.message()))
                }
                (Some(condition), None) => Readiness::waiting(match some_text(condition, "/message") {
                    Some(message) => format!("the volume is being resized: {message}"),
                    None => "the volume is being resized".to_owned(),
                }),
                (None, _) => Readiness::ready(match some_text(claim, "/status/capacity/storage") {
                    Some(capacity) => format!("bound, {capacity}"),
                    None => "bound".to_owned(),
                }),
            }
        }
        "Lost" => Readiness::failed(format!(
            "its volume {} is gone",
            some_text(claim, "/spec/volumeName").unwrap_or("(not named)")
        )),
        _ => match (latest, warning) {
            (_, Some(event)) => Readiness::stuck(format!("{}: {}", event.reason(), event.message())),
            // Nothing more happens to it until a pod wants it, and that pod's own wait covers the binding.
            (Some(event), None)
                if event.reason() == "WaitForFirstConsumer" && some_text(claim, SELECTED_NODE).is_none() =>
            {
                Readiness::ready("not bound before its first pod is scheduled, as its storage class asks")
            }
            // "no persistent volumes available for this claim and no storage class is set", a normal event.
            (Some(event), None) if event.reason() == "FailedBinding" => {
                Readiness::stuck(format!("FailedBinding: {}", event.message()))
            }
            (Some(event), None) => Readiness::waiting(format!("{}: {}", event.reason(), event.message())),
            (None, None) => Readiness::waiting("not bound to a volume yet"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use serde_json::json;

    fn claim() -> Value {
        json!({
            "kind": "PersistentVolumeClaim", "metadata": { "name": "tempo", "namespace": "ns", "uid": "claim" },
            "spec": { "storageClassName": "proxmox-lvm", "resources": { "requests": { "storage": "20Gi" } } },
            "status": { "phase": "Pending" },
        })
    }

    fn with_events(claim: &Value, events: &[Value]) -> String {
        told(claim, Surroundings { events, ..Surroundings::default() })
    }

    fn said(kind: &str, reason: &str, second: u32, message: &str) -> Value {
        event("claim", kind, reason, &format!("2026-11-23T03:15:{second:02}Z"), message)
    }

    #[test]
    fn a_bound_claim_is_ready_and_a_lost_one_failed() {
        let bound = with(claim(), "/status", json!({ "phase": "Bound", "capacity": { "storage": "20Gi" } }));
        assert_eq!(with_events(&bound, &[]), "ready: bound, 20Gi");
        let lost = with(with(claim(), "/status/phase", json!("Lost")), "/spec/volumeName", json!("pvc-1"));
        assert_eq!(with_events(&lost, &[]), "failed: its volume pvc-1 is gone");
        let resizing = json!([{ "type": "FileSystemResizePending", "status": "True", "message": "Waiting for user to (re-)start a pod" }]);
        let resizing = with(bound, "/status/conditions", resizing);
        assert_eq!(
            with_events(&resizing, &[]),
            "waiting: the volume is being resized: Waiting for user to (re-)start a pod"
        );
        let failed = said("Warning", "VolumeResizeFailed", 1, "resize volume failed");
        assert_eq!(with_events(&resizing, &[failed]), "stuck: VolumeResizeFailed: resize volume failed");
    }

    #[test]
    fn waiting_for_the_first_consumer_is_normal() {
        let first = said(
            "Normal",
            "WaitForFirstConsumer",
            1,
            "waiting for first consumer to be created before binding",
        );
        let ready = "ready: not bound before its first pod is scheduled, as its storage class asks";
        assert_eq!(with_events(&claim(), std::slice::from_ref(&first)), ready);
        let wanted =
            with(claim(), "/metadata/annotations", json!({ "volume.kubernetes.io/selected-node": "n1" }));
        assert!(with_events(&wanted, &[first]).starts_with("waiting"));
        assert_eq!(with_events(&claim(), &[]), "waiting: not bound to a volume yet");
    }

    #[test]
    fn the_latest_event_counts() {
        let failed =
            said("Warning", "ProvisioningFailed", 2, "storageclass.storage.k8s.io \"proxmox-lvm\" not found");
        let text = "stuck: ProvisioningFailed: storageclass.storage.k8s.io \"proxmox-lvm\" not found";
        let first = said(
            "Normal",
            "WaitForFirstConsumer",
            1,
            "waiting for first consumer to be created before binding",
        );
        assert_eq!(with_events(&claim(), &[failed.clone(), first]), text);
        let working = said("Normal", "ExternalProvisioning", 3, "waiting for a volume to be created");
        assert_eq!(
            with_events(&claim(), &[working, failed]),
            "waiting: ExternalProvisioning: waiting for a volume to be created"
        );
        let none = said(
            "Normal",
            "FailedBinding",
            1,
            "no persistent volumes available for this claim and no storage class is set",
        );
        assert!(with_events(&claim(), &[none]).starts_with("stuck: FailedBinding"));
    }

    #[test]
    fn times_with_and_without_fractions_are_compared() {
        let failed = said("Warning", "ProvisioningFailed", 2, "no");
        let mut working = said("Normal", "Provisioning", 0, "being made");
        working["lastTimestamp"] = json!(null);
        working["eventTime"] = json!("2026-11-23T03:15:01.000000Z");
        working["series"] = json!({ "count": 3, "lastObservedTime": "2026-11-23T03:15:09.500000Z" });
        assert_eq!(with_events(&claim(), &[failed, working]), "waiting: Provisioning: being made");
    }
}
