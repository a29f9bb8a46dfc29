//! An intent without an outcome is unknown: the cluster is asked, nothing is guessed.

use super::event::Settlement;
use super::execute::{self, Sent};
use super::preview::digest;
use super::undo;
use crate::effect::{Apply, Create, Effect};
use crate::object::fields::{self, FieldSet};
use crate::object::{ObjectRef, uid};
use crate::port::{Cluster, ClusterResult};
use crate::secret::StateKey;
use crate::text::Clean;
use serde_json::Value;

/// Asks the cluster what became of an effect whose outcome is not known.
///
/// A create that was interrupted between its two requests is completed: both belong to one effect.
///
/// # Errors
/// The cluster could not be asked; the effect stays unknown.
pub async fn settle(cluster: &dyn Cluster, key: &StateKey, effect: &Effect) -> ClusterResult<Settlement> {
    let live = cluster.get(effect.object()).await?;
    match effect {
        Effect::Create(create) => created(cluster, key, create, live).await,
        Effect::Apply(apply) => Ok(applied(key, apply, live.as_ref())),
        Effect::Restore(restore) => {
            // Undoing is planned anew from the live object, so a restore that stopped half-way is simply taken up again;
            // it is complete when our entry is gone.
            let Some(live) = live.filter(|live| uid(live) == Some(&restore.uid)) else {
                return Ok(Settlement::Done { uid: String::new() });
            };
            let ours =
                fields::managers(&live).unwrap_or_default().iter().any(|e| e.manager == restore.manager);
            Ok(if ours { Settlement::NotDone } else { Settlement::Done { uid: restore.uid.clone() } })
        }
        Effect::Delete(delete) => Ok(deleted(live.as_ref(), &delete.uid)),
        Effect::ReplacePod(replace) => Ok(deleted(live.as_ref(), &replace.uid)),
    }
}

async fn created(
    cluster: &dyn Cluster,
    key: &StateKey,
    effect: &Create,
    live: Option<Value>,
) -> ClusterResult<Settlement> {
    let Some(live) = live else {
        return Ok(Settlement::NotDone);
    };
    if !holds(key, &live, &effect.manager, &effect.fields, &effect.digest) {
        return Ok(foreign(&effect.object, "exists, and is not what was to be created"));
    }
    let id = uid(&live).unwrap_or_default().to_owned();
    Ok(match execute::own(cluster, effect, live).await {
        Sent::Done { .. } => Settlement::Done { uid: id },
        Sent::Unknown(what) | Sent::Moved(what) | Sent::Failed { reason: what, .. } => {
            Settlement::Foreign { what }
        }
    })
}

fn applied(key: &StateKey, effect: &Apply, live: Option<&Value>) -> Settlement {
    let Some(live) = live.filter(|live| uid(live) == Some(&effect.uid)) else {
        return foreign(&effect.object, "was deleted or replaced while it was changed");
    };
    if holds(key, live, &effect.manager, &effect.fields, &effect.digest) {
        return Settlement::Done { uid: effect.uid.clone() };
    }
    let was: Option<FieldSet> = effect
        .owners
        .iter()
        .find(|owner| owner.manager == effect.manager && owner.operation == "Apply")
        .and_then(|owner| FieldSet::from_v1(owner.entry.get("fieldsV1")?).ok());
    let is = fields::apply_entry(live, &effect.manager).map(|entry| entry.fields);
    if undo::is_before(key, effect, live) && was == is {
        return Settlement::NotDone;
    }
    foreign(&effect.object, "is neither as before nor as intended")
}

fn deleted(live: Option<&Value>, id: &str) -> Settlement {
    match live {
        Some(live) if uid(live) == Some(id) && live.pointer("/metadata/deletionTimestamp").is_none() => {
            Settlement::NotDone
        }
        _ => Settlement::Done { uid: String::new() },
    }
}

/// Whether our manager's entry holds exactly these fields, with exactly these values. An Update entry, which a POST
/// leaves, also holds what the server filled in, so there it is enough that none of ours is missing.
fn holds(
    key: &StateKey,
    live: &Value,
    manager: &str,
    fields_v1: &Value,
    expected: &crate::secret::Fingerprint,
) -> bool {
    let Ok(intended) = FieldSet::from_v1(fields_v1) else {
        return false;
    };
    let entries = fields::managers(live).unwrap_or_default();
    let ours = entries.iter().filter(|entry| entry.manager == manager && entry.subresource.is_none());
    let mut held = ours.filter(|entry| match entry.operation.as_str() {
        "Apply" => entry.fields == intended,
        _ => intended.leaves().iter().all(|path| entry.fields.contains(path)),
    });
    held.next().is_some() && digest(key, &intended, live) == *expected
}

fn foreign(object: &ObjectRef, what: &str) -> Settlement {
    Settlement::Foreign { what: Clean::new(format!("{object} {what}")) }
}
