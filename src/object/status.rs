//! Rollout status of workloads and claims, with the reason in one line.
//!
//! The rules for "done" are kubectl's (staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go); what
//! kubectl leaves to a timeout (image pull, crash loop, OOM, quota) is said at once, from the pods of the revision that
//! is being rolled out and from the events of their owner. Pods of earlier revisions never fail a rollout.
//!
//! A foreign object is `serde_json::Value`; a field that is missing or of another type counts as not set.

mod claim;
mod container;
mod job;
mod pod;
mod read;
mod revision;
#[cfg(test)]
mod testing;
mod workload;

pub use pod::{Trouble, Weight};

use crate::text::Clean;
use serde_json::Value;

/// How far an object is, with the reason in one line (a lowercase fragment).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is what its specification asks for.
    Ready(Clean),
    /// Not yet.
    Waiting {
        /// What is missing: `2 of 3 replicas updated; pod app-x: container app is running, not ready`.
        reason: Clean,
        /// Whether nothing points to this ending by itself (an unschedulable pod, a missing volume): after a grace the
        /// caller should give up. A plain wait needs only the caller's own deadline.
        stuck: bool,
    },
    /// It will not get there without a change.
    Failed(Clean),
}

impl Readiness {
    /// The reason.
    pub fn reason(&self) -> &Clean {
        match self {
            Self::Ready(reason) | Self::Waiting { reason, .. } | Self::Failed(reason) => reason,
        }
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    fn ready(reason: impl AsRef<str>) -> Self {
        Self::Ready(Clean::new(reason))
    }

    fn waiting(reason: impl AsRef<str>) -> Self {
        Self::Waiting { reason: Clean::new(reason), stuck: false }
    }

    fn stuck(reason: impl AsRef<str>) -> Self {
        Self::Waiting { reason: Clean::new(reason), stuck: true }
    }

    fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed(Clean::new(reason))
    }
}

/// What surrounds a workload, as far as the caller has seen it. What does not belong to the workload is passed over, so
/// whole lists of a namespace will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'o> {
    /// Pods, for instance those that [`pod_selector`] selects.
    pub pods: &'o [Value],
    /// ReplicaSets: they say which pods of a Deployment are of its current revision. Without them no pod of a
    /// Deployment in transition is judged.
    pub replica_sets: &'o [Value],
    /// Events of the workload, its ReplicaSets, its pods, its claims.
    pub events: &'o [Value],
}

/// How far an object that exists is. Kinds without a rollout are ready when they exist and are not being deleted.
pub fn readiness(object: &Value, around: Surroundings<'_>) -> Readiness {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Readiness::stuck("it is being deleted");
    }
    match read::text(object, "/kind") {
        "Deployment" => workload::deployment(object, around),
        "StatefulSet" => workload::stateful_set(object, around),
        "DaemonSet" => workload::daemon_set(object, around),
        "Job" => job::readiness(object, around),
        "Pod" => pod::readiness(object, around),
        "PersistentVolumeClaim" => claim::readiness(object, around),
        _ => Readiness::ready("it exists"),
    }
}

/// What is wrong with the pods of a workload's current revision, worst first, also where the workload is ready: a soak
/// finds there that a container was OOM-killed and came back.
pub fn troubles(workload: &Value, around: Surroundings<'_>) -> Vec<Trouble> {
    pod::troubles(workload, &revision::current_pods(workload, around), around.events)
}

/// Whether [`readiness`] of this kind says more than that the object exists.
pub fn has_rollout(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "Pod" | "PersistentVolumeClaim")
}

/// The label selector of a workload's pods, in the API's syntax; `None` where it has none, or one that cannot be
/// written or selects everything.
pub fn pod_selector(workload: &Value) -> Option<String> {
    let selector = workload.pointer("/spec/selector")?;
    let mut parts = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values = || -> Option<String> {
            let values = expression.get("values")?.as_array()?;
            let values: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            values.filter(|values| !values.is_empty()).map(|values| values.join(","))
        };
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({})", values()?),
            "NotIn" => format!("{key} notin ({})", values()?),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    if parts.is_empty() { None } else { Some(parts.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_has_no_rollout_is_ready_when_it_exists() {
        assert_eq!(
            readiness(&json!({ "kind": "ConfigMap" }), Surroundings::default()),
            Readiness::ready("it exists")
        );
        let going =
            json!({ "kind": "ConfigMap", "metadata": { "deletionTimestamp": "2026-11-23T03:15:00Z" } });
        assert!(!readiness(&going, Surroundings::default()).is_ready());
        assert!(has_rollout("StatefulSet") && !has_rollout("ConfigMap"));
    }

    #[test]
    fn selectors_are_written_as_the_api_reads_them() {
        let rows = [
            (json!({ "matchLabels": { "b": "2", "a": "1" } }), Some("a=1,b=2")),
            (
                json!({ "matchLabels": { "a": "1" }, "matchExpressions": [
                    { "key": "tier", "operator": "In", "values": ["x", "y"] },
                    { "key": "env", "operator": "NotIn", "values": ["test"] },
                    { "key": "c", "operator": "Exists" },
                    { "key": "d", "operator": "DoesNotExist" },
                ] }),
                Some("a=1,tier in (x,y),env notin (test),c,!d"),
            ),
            (json!({}), None),
            (json!({ "matchLabels": { "a": 1 } }), None),
            (json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": [] }] }), None),
            (json!({ "matchExpressions": [{ "key": "a", "operator": "Gt", "values": ["1"] }] }), None),
        ];
        for (selector, expected) in rows {
            let workload = json!({ "kind": "Deployment", "spec": { "selector": selector } });
            assert_eq!(pod_selector(&workload).as_deref(), expected, "{workload}");
        }
        assert_eq!(pod_selector(&json!({ "kind": "PersistentVolumeClaim", "spec": {} })), None);
    }

    /// Objects of the right names and any types.
    fn objects() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            prop_oneof![
                Just("True"),
                Just("OOMKilled"),
                Just("CrashLoopBackOff"),
                Just("Deployment"),
                Just("StatefulSet"),
                Just("Pod"),
                Just("uid"),
                Just("Progressing"),
                Just("Unschedulable"),
                Just("2026-11-23T03:15:ä"),
            ]
            .prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "metadata",
            "spec",
            "status",
            "conditions",
            "type",
            "reason",
            "state",
            "lastState",
            "waiting",
            "terminated",
            "containerStatuses",
            "ownerReferences",
            "uid",
            "controller",
            "replicas",
            "name",
            "message",
            "containers",
        ]);
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_has_a_readiness(object in objects(), others in prop::collection::vec(objects(), 0..3),
            kind in prop::sample::select(vec!["Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "PersistentVolumeClaim"])) {
            let mut object = object;
            if let Some(members) = object.as_object_mut() { members.insert("kind".to_owned(), kind.into()); }
            let around = Surroundings { pods: &others, replica_sets: &others, events: &others };
            let _ = (readiness(&object, around), troubles(&object, around), pod_selector(&object));
        }
    }
}
