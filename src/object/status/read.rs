//! Reading foreign objects: what is missing or of another type is empty, zero or absent.

use serde_json::Value;

/// The text at a JSON pointer, empty if there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a JSON pointer, unless it is missing or empty.
pub(super) fn some_text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The number at a JSON pointer, 0 if there is none: the API leaves out zeros.
pub(super) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a JSON pointer, empty if there is none.
pub(super) fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The condition of this type, if it has a status at all.
pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

/// The condition of this type, if it is true.
pub(super) fn true_condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    condition(object, kind).filter(|condition| text(condition, "/status") == "True")
}

/// Whether `owner` controls `object`: by uid where both have one, else by kind and name.
pub(super) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    items(object, "/metadata/ownerReferences").iter().any(|reference| {
        if !reference.get("controller").and_then(Value::as_bool).unwrap_or(false) {
            return false;
        }
        match (some_text(reference, "/uid"), some_text(owner, "/metadata/uid")) {
            (Some(reference), Some(owner)) => reference == owner,
            _ => text(reference, "/kind") == text(owner, "/kind") && text(reference, "/name") == name(owner),
        }
    })
}

/// A time of the API to the second, for comparison; times with and without fractions are both in use
/// (`2026-11-23T03:15:00Z`, `2026-11-23T03:15:00.123456Z`).
pub(super) fn second(time: &str) -> &str {
    time.get(..19).unwrap_or_default()
}

/// An event, of core/v1 or events.k8s.io/v1.
#[derive(Clone, Copy)]
pub(super) struct Event<'e>(&'e Value);

impl<'e> Event<'e> {
    /// The events about `object`, latest last.
    pub(super) fn about(object: &Value, events: &'e [Value]) -> Vec<Self> {
        let mut found: Vec<Self> = events.iter().map(Self).filter(|event| event.is_about(object)).collect();
        found.sort_by_key(Self::time);
        found
    }

    fn is_about(&self, object: &Value) -> bool {
        let Some(about) = self.0.get("involvedObject").or_else(|| self.0.get("regarding")) else {
            return false;
        };
        match (some_text(about, "/uid"), some_text(object, "/metadata/uid")) {
            (Some(about), Some(object)) => about == object,
            _ => {
                // Items of a list carry no kind of their own.
                some_text(object, "/kind").is_none_or(|kind| kind == text(about, "/kind"))
                    && text(about, "/name") == name(object)
                    && text(about, "/namespace") == text(object, "/metadata/namespace")
            }
        }
    }

    /// When it was last seen, to the second; empty if it does not say.
    pub(super) fn time(&self) -> &'e str {
        [
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
            "/eventTime",
            "/firstTimestamp",
        ]
        .iter()
        .map(|pointer| second(text(self.0, pointer)))
        .max()
        .unwrap_or_default()
    }

    pub(super) fn reason(&self) -> &'e str {
        text(self.0, "/reason")
    }

    pub(super) fn is_warning(&self) -> bool {
        text(self.0, "/type") == "Warning"
    }

    /// Its sentence, without blanks at the ends.
    pub(super) fn message(&self) -> &'e str {
        some_text(self.0, "/message").or_else(|| some_text(self.0, "/note")).unwrap_or_default().trim()
    }
}

/// When the specification was last changed, to the second, as the managed fields say; empty if they do not.
pub(super) fn specified_at(object: &Value) -> &str {
    items(object, "/metadata/managedFields")
        .iter()
        .filter(|entry| {
            some_text(entry, "/subresource").is_none() && entry.pointer("/fieldsV1/f:spec").is_some()
        })
        .map(|entry| second(text(entry, "/time")))
        .max()
        .unwrap_or_default()
}
