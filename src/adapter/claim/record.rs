//! What a claim's Lease says.
//!
//! ```yaml
//! apiVersion: coordination.k8s.io/v1
//! kind: Lease
//! metadata:
//!   name: firstlight-0123456789abcdef      # hash of the claim's name
//!   namespace: default
//!   annotations: { firstlight.dev/claim: "stack:monitoring", firstlight.dev/nonce: …, firstlight.dev/host: … }
//! spec: { holderIdentity: "ada@desk pid 7 run R", leaseDurationSeconds: 30, acquireTime: …, renewTime: …, leaseTransitions: 0 }
//! ```
//! An empty holderIdentity is a released claim, as in client-go's leader election.

use super::holder::Holder;
use crate::object::ObjectRef;
use crate::text::Clean;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Namespace of all claims: every cluster has it, and no stack owns it.
const NAMESPACE: &str = "default";

const CLAIM: &str = "firstlight.dev/claim";
const NONCE: &str = "firstlight.dev/nonce";
const USER: &str = "firstlight.dev/user";
const HOST: &str = "firstlight.dev/host";
const BOOT_ID: &str = "firstlight.dev/boot-id";
const PID: &str = "firstlight.dev/pid";
const PID_START: &str = "firstlight.dev/pid-start";
const PID_NAMESPACE: &str = "firstlight.dev/pid-namespace";
const RUN: &str = "firstlight.dev/run";
const PLAN: &str = "firstlight.dev/plan";

/// The Lease of a claim.
pub(super) fn reference(claim: &str) -> ObjectRef {
    let digest = Sha256::digest(claim.as_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    ObjectRef::new("coordination.k8s.io/v1", "Lease", Some(NAMESPACE), &format!("firstlight-{hex}"))
}

/// A Lease as far as the claim reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The claim's name, from the annotation.
    pub(super) claim: String,
    /// Empty when nobody holds it.
    pub(super) identity: String,
    /// Tells one taking from every other, also by the same process.
    pub(super) nonce: String,
    /// What the annotations say of the holder.
    pub(super) holder: Holder,
    /// `leaseDurationSeconds`.
    pub(super) duration: Option<u64>,
    /// `renewTime` in milliseconds since the epoch, by the holder's clock.
    pub(super) renewed: Option<u64>,
    /// When it was taken, as the Lease has it.
    pub(super) acquired: String,
    pub(super) transitions: u64,
    /// For compare-and-swap.
    pub(super) resource_version: String,
    /// The Lease's own; another one of the same name has another.
    pub(super) uid: String,
}

impl Record {
    /// Reads a Lease; whatever is missing or odd reads as absent.
    pub(super) fn read(lease: &Value) -> Self {
        let annotation = |name: &str| {
            lease.pointer("/metadata/annotations").and_then(|all| all.get(name)).and_then(Value::as_str)
        };
        let text = |name: &str| annotation(name).unwrap_or_default().to_owned();
        let optional = |name: &str| annotation(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let spec = |name: &str| lease.get("spec").and_then(|spec| spec.get(name));
        let spec_text = |name: &str| spec(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            claim: text(CLAIM),
            identity: spec_text("holderIdentity"),
            nonce: text(NONCE),
            holder: Holder {
                user: text(USER),
                host: text(HOST),
                boot_id: optional(BOOT_ID),
                pid: annotation(PID).and_then(|pid| pid.parse().ok()).unwrap_or_default(),
                pid_start: annotation(PID_START).and_then(|start| start.parse().ok()),
                pid_namespace: optional(PID_NAMESPACE),
                run: text(RUN),
                plan: text(PLAN),
            },
            duration: spec("leaseDurationSeconds").and_then(Value::as_u64),
            renewed: spec("renewTime").and_then(Value::as_str).and_then(milliseconds),
            acquired: spec_text("acquireTime"),
            transitions: spec("leaseTransitions").and_then(Value::as_u64).unwrap_or_default(),
            resource_version: crate::object::resource_version(lease).unwrap_or_default().to_owned(),
            uid: crate::object::uid(lease).unwrap_or_default().to_owned(),
        }
    }

    /// `ada@desk pid 7 run R, plan P, since T`: for the operator.
    pub(super) fn who(&self) -> Clean {
        let mut who = self.identity.clone();
        for (label, value) in [(", plan ", &self.holder.plan), (", since ", &self.acquired)] {
            if !value.is_empty() {
                who.push_str(label);
                who.push_str(value);
            }
        }
        Clean::new(who)
    }

    /// Whether nothing was done to the Lease between two looks.
    pub(super) fn is_unchanged_since(&self, earlier: &Self) -> bool {
        self.resource_version == earlier.resource_version
    }
}

/// What is written.
pub(super) struct Written<'a> {
    pub(super) claim: &'a str,
    /// `None` releases.
    pub(super) holder: Option<(&'a Holder, &'a str)>,
    pub(super) duration: Duration,
    /// Wall time in milliseconds.
    pub(super) now: u64,
    /// When it was taken, if it was before now.
    pub(super) acquired: Option<&'a str>,
    pub(super) transitions: u64,
    /// The version that this replaces; `None` creates.
    pub(super) over: Option<&'a Record>,
}

/// The Lease to send.
pub(super) fn lease(written: &Written<'_>) -> Value {
    let reference = reference(written.claim);
    let now = micro_time(written.now);
    let mut annotations = Map::new();
    annotations.insert(CLAIM.to_owned(), Value::from(written.claim));
    let identity = match written.holder {
        None => String::new(),
        Some((holder, nonce)) => {
            let number = |value: Option<u64>| value.map(|value| value.to_string());
            for (name, value) in [
                (NONCE, Some(nonce.to_owned())),
                (USER, Some(holder.user.clone())),
                (HOST, Some(holder.host.clone())),
                (BOOT_ID, holder.boot_id.clone()),
                (PID, Some(holder.pid.to_string())),
                (PID_START, number(holder.pid_start)),
                (PID_NAMESPACE, holder.pid_namespace.clone()),
                (RUN, Some(holder.run.clone())),
                (PLAN, Some(holder.plan.clone())),
            ] {
                if let Some(value) = value {
                    annotations.insert(name.to_owned(), Value::from(value));
                }
            }
            holder.identity()
        }
    };
    let mut metadata = json!({ "name": reference.name, "namespace": NAMESPACE, "annotations": annotations });
    if let (Some(over), Value::Object(fields)) = (written.over, &mut metadata) {
        fields.insert("resourceVersion".to_owned(), Value::from(over.resource_version.as_str()));
        // A PUT creates a Lease that is not there, whatever version it names (kubernetes
        // pkg/registry/coordination/lease/strategy.go, AllowCreateOnUpdate); with a uid it is refused.
        if !over.uid.is_empty() {
            fields.insert("uid".to_owned(), Value::from(over.uid.as_str()));
        }
    }
    json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": identity,
            "leaseDurationSeconds": written.duration.as_secs().max(1),
            "acquireTime": written.acquired.filter(|time| !time.is_empty()).unwrap_or(&now),
            "renewTime": now,
            "leaseTransitions": written.transitions,
        },
    })
}

/// Kubernetes' MicroTime: RFC 3339 in UTC with exactly six digits of a second.
fn micro_time(milliseconds: u64) -> String {
    i64::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

fn milliseconds(time: &str) -> Option<u64> {
    u64::try_from(time.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holder() -> Holder {
        Holder {
            user: "ada".into(),
            host: "desk".into(),
            boot_id: Some("b".into()),
            pid: 7,
            pid_start: Some(99),
            pid_namespace: Some("pid:[1]".into()),
            run: "R".into(),
            plan: "P".into(),
        }
    }

    /// The Lease that is written over.
    static OVER: std::sync::LazyLock<Record> = std::sync::LazyLock::new(|| Record {
        resource_version: "41".into(),
        uid: "u".into(),
        ..Record::default()
    });

    fn written<'a>(holder: Option<(&'a Holder, &'a str)>) -> Written<'a> {
        Written {
            claim: "stack:monitoring",
            holder,
            duration: Duration::from_secs(30),
            now: 1_791_072_000_123,
            acquired: None,
            transitions: 2,
            over: Some(&OVER),
        }
    }

    #[test]
    fn the_name_is_a_hash_and_the_annotation_says_what_of() {
        let name = reference("stack:monitoring").name;
        assert_eq!(name.len(), "firstlight-".len() + 16);
        assert!(name.strip_prefix("firstlight-").unwrap().chars().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(reference("stack:tripit"), reference("stack:monitoring"));
        let me = holder();
        let lease = lease(&written(Some((&me, "n"))));
        assert_eq!(lease["metadata"]["name"], name.as_str());
        assert_eq!(lease["metadata"]["annotations"]["firstlight.dev/claim"], "stack:monitoring");
        assert_eq!(lease["metadata"]["resourceVersion"], "41");
        assert_eq!(lease["metadata"]["uid"], "u");
        assert_eq!(lease["spec"]["renewTime"], "2026-10-04T00:00:00.123000Z");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let me = holder();
        let read = Record::read(&lease(&written(Some((&me, "n")))));
        assert_eq!(read.holder, me);
        assert_eq!(
            (read.nonce.as_str(), read.duration, read.renewed),
            ("n", Some(30), Some(1_791_072_000_123))
        );
        assert_eq!(read.who().as_str(), "ada@desk pid 7 run R, plan P, since 2026-10-04T00:00:00.123000Z");
        let released = Record::read(&lease(&written(None)));
        assert_eq!((released.identity.as_str(), released.nonce.as_str()), ("", ""));
        assert_eq!(released.claim, "stack:monitoring");
    }

    proptest! {
        #[test]
        fn no_lease_is_too_odd_to_read(text in any::<String>(), number in any::<i64>()) {
            let odd = json!({
                "metadata": { "annotations": { CLAIM: text, PID: number }, "resourceVersion": number },
                "spec": { "holderIdentity": number, "renewTime": text, "leaseDurationSeconds": number, "leaseTransitions": text },
            });
            let _ = Record::read(&odd);
            let _ = Record::read(&Value::from(text));
        }
    }
}
