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
