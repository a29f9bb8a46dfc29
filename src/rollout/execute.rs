//! The one place that sends effects.
//!
//! [`send`] carries out one effect and says what became of it; it writes no journal. The caller has put the intent on
//! disk before, and puts the outcome there after.

use super::preview::{self, Decision, Planned};
use super::settle;
use super::undo;
use crate::effect::{Create, Effect};
use crate::object::fields;
use crate::object::{ObjectRef, uid};
use crate::port::{Clock, Cluster, ClusterError};
use crate::rollout::event::Settlement;
use crate::secret::StateKey;
use crate::step::Intent;
use crate::text::Clean;
use serde_json::{Value, json};
use std::time::Duration;

/// How often an effect is tried again when the object moved harmlessly, or the connection broke and nothing happened.
const TRIES: usize = 5;

/// The first rest between two tries; each one is longer by this, up to [`REST_TIMES`] of it.
const REST: Duration = Duration::from_millis(50);
const REST_TIMES: u32 = 10;

/// What became of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// It happened.
    Done {
        /// uid of the object it left, empty after a delete.
        uid: String,
    },
    /// What was approved no longer holds; nothing was written.
    Moved(Clean),
    /// It did not happen.
    Failed {
        /// Why.
        reason: Clean,
        /// What to do about it.
        hint: Option<Clean>,
    },
    /// It may have happened, and the cluster could not be asked.
    Unknown(Clean),
}

impl Sent {
    fn failed(object: &ObjectRef, error: &ClusterError) -> Self {
        let reason = Clean::new(format!("{object}: {error}"));
        if error.outcome_unknown() {
            return Self::Unknown(reason);
        }
        Self::Failed { reason, hint: error.hint().map(Clean::from) }
    }
}

/// Sends an approved effect of a step.
pub async fn send(
    cluster: &dyn Cluster,
    clock: &dyn Clock,
    key: &StateKey,
    intent: &Intent,
    planned: &Planned,
) -> Sent {
    match &planned.effect {
        Effect::Create(effect) => create(cluster, key, effect, &planned.body).await,
        Effect::Apply(_) => apply(cluster, clock, key, intent, planned).await,
        Effect::Restore(_) | Effect::Delete(_) | Effect::ReplacePod(_) => Sent::Failed {
            reason: Clean::new(format!("{}: an undo is not an effect of a step", intent.object)),
            hint: None,
        },
    }
}

/// Sends an effect of an undo.
pub async fn send_undo(cluster: &dyn Cluster, clock: &dyn Clock, ready: &undo::Ready) -> Sent {
    match &ready.effect {
        Effect::Delete(effect) => delete(cluster, &effect.object, &effect.uid).await,
        Effect::ReplacePod(effect) => delete(cluster, &effect.object, &effect.uid).await,
        Effect::Restore(effect) => undo::restore(cluster, clock, effect, &ready.changes, &ready.owners).await,
        Effect::Create(effect) => not_an_undo(&effect.object),
        Effect::Apply(effect) => not_an_undo(&effect.object),
    }
}

fn not_an_undo(object: &ObjectRef) -> Sent {
    Sent::Failed { reason: Clean::new(format!("{object}: an effect of a step is not an undo")), hint: None }
}

/// Lets an object rest before it is tried again: a controller in the middle of a rollout writes its status many times
/// in a second, and each write moves the resourceVersion.
pub async fn rest(clock: &dyn Clock, attempt: usize) {
    if attempt > 0 {
        let times = u32::try_from(attempt).unwrap_or(u32::MAX).min(REST_TIMES);
        clock.sleep(REST.saturating_mul(times)).await;
    }
}

async fn create(cluster: &dyn Cluster, key: &StateKey, effect: &Create, body: &Value) -> Sent {
    let mut last = None;
    for _ in 0..TRIES {
        match cluster.create(&effect.object, body, &effect.manager, false).await {
            Ok(created) => return own(cluster, effect, created).await,
            Err(ClusterError::AlreadyExists(_)) if last.is_none() => {
                return Sent::Moved(Clean::new(format!("{} exists meanwhile", effect.object)));
            }
            // A 409 after a lost answer may be our own create: ask, as after any other doubt.
            Err(error) if error.outcome_unknown() || last.is_some() => {
                match settle::settle(cluster, key, &Effect::Create(effect.clone())).await {
                    Ok(Settlement::Done { uid }) => return Sent::Done { uid },
                    Ok(Settlement::NotDone) => last = Some(error),
                    Ok(Settlement::Foreign { what }) => return Sent::Moved(what),
                    Err(doubt) => return Sent::Unknown(Clean::new(format!("{}: {doubt}", effect.object))),
                }
            }
            Err(error) => return Sent::failed(&effect.object, &error),
        }
    }
    let reason = last.map_or_else(String::new, |error| error.to_string());
    Sent::Failed { reason: Clean::new(format!("{}: {reason}", effect.object)), hint: None }
}

/// Turns our Update entry, which a POST leaves, into the Apply entry that a server-side apply would have left, so that
/// a later apply by the same manager can remove fields again.
pub async fn own(cluster: &dyn Cluster, effect: &Create, mut live: Value) -> Sent {
    let Some(created) = uid(&live).map(str::to_owned) else {
        return Sent::Unknown(Clean::new(format!("{} came back without a uid", effect.object)));
    };
    for _ in 0..TRIES {
        let entries = fields::managers(&live).unwrap_or_default();
        let found = entries.iter().enumerate().find(|(_, entry)| {
            entry.manager == effect.manager
                && entry.operation.as_str() == "Update"
                && entry.subresource.is_none()
        });
        let Some((index, entry)) = found else {
            return Sent::Done { uid: created };
        };
        let mut applied = entry.raw.clone();
        if let Some(applied) = applied.as_object_mut() {
            applied.insert("operation".to_owned(), json!("Apply"));
            applied.insert("fieldsV1".to_owned(), effect.fields.clone());
        }
        let at = format!("/metadata/managedFields/{index}");
        let operations = json!([
            { "op": "test", "path": "/metadata/uid", "value": created },
            { "op": "test", "path": format!("{at}/manager"), "value": effect.manager },
            { "op": "test", "path": format!("{at}/operation"), "value": "Update" },
            { "op": "replace", "path": at, "value": applied },
        ]);
        match cluster.patch(&effect.object, &operations, &effect.manager, false).await {
            Ok(_) => return Sent::Done { uid: created },
            Err(ClusterError::NotFound(_)) => {
                return Sent::Unknown(Clean::new(format!(
                    "{} was deleted while it was created",
                    effect.object
                )));
            }
            Err(_) => match cluster.get(&effect.object).await {
                Ok(Some(now)) if uid(&now) == Some(&created) => live = now,
                Ok(_) => {
                    return Sent::Unknown(Clean::new(format!(
                        "{} was replaced while it was created",
                        effect.object
                    )));
                }
                Err(error) => return Sent::Unknown(Clean::new(format!("{}: {error}", effect.object))),
            },
        }
    }
    Sent::Unknown(Clean::new(format!("{}: its ownership could not be recorded", effect.object)))
}

async fn apply(
    cluster: &dyn Cluster,
    clock: &dyn Clock,
    key: &StateKey,
    intent: &Intent,
    planned: &Planned,
) -> Sent {
    let mut body = planned.body.clone();
    let mut effect = planned.effect.clone();
    for attempt in 0..TRIES {
        rest(clock, attempt).await;
        let force = matches!(&effect, Effect::Apply(apply) if apply.force);
        let error = match cluster.apply(&intent.object, &body, &intent.manager, force, false).await {
            Ok(result) => return Sent::Done { uid: uid(&result).unwrap_or_default().to_owned() },
            Err(error) => error,
        };
        if error.outcome_unknown() {
            match settle::settle(cluster, key, &effect).await {
                Ok(Settlement::Done { uid }) => return Sent::Done { uid },
                Ok(Settlement::NotDone) => {}
                Ok(Settlement::Foreign { what }) => return Sent::Moved(what),
                Err(doubt) => return Sent::Unknown(Clean::new(format!("{}: {doubt}", intent.object))),
            }
        }
        let stale = matches!(
            error,
            ClusterError::Stale(_)
                | ClusterError::NotFound(_)
                | ClusterError::Owned(_)
                | ClusterError::AlreadyExists(_)
        );
        if !stale && !error.outcome_unknown() {
            return Sent::failed(&intent.object, &error);
        }
        // Read and dry-run again; what was approved is a fingerprint, and it alone decides.
        match preview::preview(cluster, key, intent.clone(), &[]).await {
            Err(error) => return Sent::failed(&intent.object, &error),
            Ok(again) => match again.decision {
                Decision::Change(now) if now.fingerprint == planned.fingerprint => {
                    body = now.body;
                    effect = now.effect;
                }
                Decision::Change(_) => {
                    return Sent::Moved(Clean::new(format!(
                        "the change of {} is another one now",
                        intent.object
                    )));
                }
                Decision::Same => {
                    return Sent::Moved(Clean::new(format!("{} is already as intended now", intent.object)));
                }
                Decision::Blocked(block) => return Sent::Moved(block.reason),
                Decision::Later(text) => return Sent::Moved(text),
            },
        }
    }
    let reason = Clean::new(format!("{} changes faster than it can be applied", intent.object));
    Sent::Failed { reason, hint: Some(Clean::new("see who writes to it, and try again when it rests")) }
}

async fn delete(cluster: &dyn Cluster, object: &ObjectRef, id: &str) -> Sent {
    let mut last = None;
    for _ in 0..TRIES {
        match cluster.delete(object, id, None).await {
            // Gone, or another object by now: ours is deleted either way.
            Ok(()) | Err(ClusterError::NotFound(_) | ClusterError::Stale(_)) => {
                return Sent::Done { uid: String::new() };
            }
            // The uid makes it safe to send again; the cluster says whether that is needed.
            Err(error) if error.outcome_unknown() => match cluster.get(object).await {
                Ok(live) if settle::is_deleted(live.as_ref(), id) => {
                    return Sent::Done { uid: String::new() };
                }
                Ok(_) => last = Some(error),
                Err(doubt) => return Sent::Unknown(Clean::new(format!("{object}: {doubt}"))),
            },
            Err(error) => return Sent::failed(object, &error),
        }
    }
    let reason = last.map_or_else(String::new, |error| error.to_string());
    Sent::Failed { reason: Clean::new(format!("{object}: {reason}")), hint: None }
}
