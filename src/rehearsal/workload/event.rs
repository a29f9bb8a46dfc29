//! Events: what controllers and kubelet say about objects.

use super::Look;
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{map, number, text};
use serde_json::{Value, json};

/// Says something about an object; the same again counts up.
pub(super) fn say(
    look: &mut Look<'_>,
    about: &Value,
    kind: &str,
    reason: &str,
    message: &str,
    component: &str,
) {
    let namespace = match text(about, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    let uid = text(about, "/metadata/uid");
    let known: Option<(Key, Value)> = look
        .list("v1", "Event", Some(namespace))
        .into_iter()
        .find(|(_, event)| {
            text(event, "/involvedObject/uid") == uid
                && text(event, "/reason") == reason
                && text(event, "/message") == message
        })
        .map(|(key, event)| (key, Value::clone(&event)));
    if let Some((key, mut event)) = known {
        let count = number(&event, "/count").unwrap_or(1) + 1;
        let fields = map(&mut event);
        fields.insert("count".to_owned(), Value::from(count));
        fields.insert("lastTimestamp".to_owned(), Value::from(look.time.as_str()));
        look.update(&key, None, component, event);
        return;
    }
    let name = format!("{}.{}", text(about, "/metadata/name"), look.store.suffix());
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.get("apiVersion"), "kind": about.get("kind"), "namespace": namespace,
            "name": about.pointer("/metadata/name"), "uid": uid,
            "resourceVersion": about.pointer("/metadata/resourceVersion"),
        },
        "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": look.time, "lastTimestamp": look.time,
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
    });
    look.create("v1", "Event", namespace, event).ok();
}
