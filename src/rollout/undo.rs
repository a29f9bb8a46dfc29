//! The one inverse: what takes an effect back, planned anew from the live object each time.

use super::execute::{self, Sent};
use super::preview::value_digest;
use super::state::{EffectState, State};
use crate::diff::{self, Change};
use crate::effect::{Apply, Create, Delete, Effect, EffectId, Owner, RecordedChange, Restore};
use crate::object::fields::{self, FieldSet};
use crate::object::{ObjectRef, kind, resource_version, uid};
use crate::port::{Clock, Cluster, ClusterError, ClusterResult};
use crate::secret::StateKey;
use crate::text::Clean;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

/// How often a restore is planned again when the object moves in between.
const TRIES: usize = 15;

/// Managers whose entries are the cluster's own housekeeping, not somebody's change.
const HOUSEKEEPING: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "kubelet"];

/// What an undo is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only effects of this phase and later ones; `None`: everything.
    pub to_phase: Option<Clean>,
    /// Objects that hold data are deleted too.
    pub delete_data: bool,
    /// Objects whose foreign changes are overwritten or deleted with them, as `kind/name` or `kind/name in namespace`.
    pub overwrite: Vec<String>,
}

/// The undo of one effect, as planned from the live object.
#[derive(Clone, Debug)]
pub struct Item {
    /// The effect that is undone.
    pub id: EffectId,
    /// Its phase.
    pub phase: Clean,
    /// Its step.
    pub step: Clean,
    /// Its object.
    pub object: ObjectRef,
    /// The object as it is.
    pub live: Option<Value>,
    /// What is to be done.
    pub undo: Undo,
}

/// What is to be done for one effect.
#[derive(Clone, Debug)]
pub enum Undo {
    /// This takes it back.
    Do(Box<Ready>),
    /// Nothing is sent; `gone` says that nothing of the effect is left.
    Skip {
        /// Why.
        reason: Clean,
        /// Nothing of the effect is left.
        gone: bool,
    },
    /// Someone else changed what the undo would touch.
    Foreign {
        /// What, each one sentence.
        what: Vec<Clean>,
    },
}

/// An undo, ready to be sent.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What the journal will hold.
    pub effect: Effect,
    /// The changes that are taken back, oldest values first; empty for a delete.
    pub changes: Vec<Change>,
    /// Ownership as it was; empty for a delete.
    pub owners: Vec<Owner>,
}

/// Plans the undo of everything that stands, the latest effect first.
///
/// # Errors
/// The cluster could not be asked.
pub async fn plan(
    cluster: &dyn Cluster,
    key: &StateKey,
    state: &State,
    scope: &Scope,
) -> ClusterResult<Vec<Item>> {
    let first = scope
        .to_phase
        .as_ref()
        .and_then(|phase| state.effects.iter().find(|(_, effect)| effect.phase == *phase).map(|(id, _)| *id));
    let chosen: Vec<(EffectId, &EffectState)> =
        state.standing().filter(|(id, _)| first.is_none_or(|first| *id >= first)).collect();
    let mut items = Vec::new();
    let mut planned =
        stream::iter(chosen.into_iter().map(|(id, effect)| item(cluster, key, id, effect, state, scope)))
            .buffered(super::preview::CONCURRENCY);
    while let Some(item) = planned.next().await {
        items.push(item?);
    }
    Ok(items)
}

async fn item(
    cluster: &dyn Cluster,
    key: &StateKey,
    id: EffectId,
    state: &EffectState,
    run: &State,
    scope: &Scope,
) -> ClusterResult<Item> {
    let object = state.effect.object().clone();
    let live = cluster.get(&object).await?;
    let overwrite =
        scope.overwrite.iter().any(|name| *name == object.short().as_str() || *name == object.to_string());
    let undo = match &state.effect {
        Effect::Create(create) => undo_create(id, create, live.as_ref(), run, scope, overwrite),
        Effect::Apply(apply) => undo_apply(key, id, apply, live.as_ref(), overwrite),
        Effect::Restore(_) | Effect::Delete(_) | Effect::ReplacePod(_) => {
            Undo::Skip { reason: Clean::new("is an undo itself"), gone: false }
        }
    };
    Ok(Item { id, phase: state.phase.clone(), step: state.step.clone(), object, live, undo })
}

fn undo_create(
    id: EffectId,
    effect: &Create,
    live: Option<&Value>,
    run: &State,
    scope: &Scope,
    overwrite: bool,
) -> Undo {
    let Some(live) = live else {
        return Undo::Skip { reason: Clean::new("is gone already"), gone: true };
    };
    let created = run.effects.get(&id).and_then(|state| match &state.standing {
        super::state::Standing::Done { uid } => Some(uid.as_str()),
        _ => None,
    });
    let now = uid(live).unwrap_or_default();
    if created.is_some_and(|created| created != now) {
        return Undo::Skip {
            reason: Clean::new("was replaced by another object of the same name; it stays"),
            gone: true,
        };
    }
    if kind::holds_data(&effect.object.kind) && !scope.delete_data {
        return Undo::Skip { reason: Clean::new("holds data and is kept"), gone: false };
    }
    let foreign = touched(live, &effect.manager);
    if !foreign.is_empty() && !overwrite {
        return Undo::Foreign { what: foreign };
    }
    let delete = Delete { undoes: id, object: effect.object.clone(), uid: now.to_owned() };
    Undo::Do(Box::new(Ready { effect: Effect::Delete(delete), changes: Vec::new(), owners: Vec::new() }))
}

/// What others changed on an object that we created: fields whose owner is neither this plan nor the cluster itself.
fn touched(live: &Value, manager: &str) -> Vec<Clean> {
    // `firstlight:PLAN:`: the other steps of the plan are undone by their own effects.
    let ours = manager.rsplit_once(':').map_or(manager, |(plan, _)| plan);
    let entries = fields::managers(live).unwrap_or_default();
    entries
        .iter()
        .filter(|entry| {
            entry.manager != manager && entry.manager.rsplit_once(':').map(|(plan, _)| plan) != Some(ours)
        })
        .filter(|entry| !HOUSEKEEPING.contains(&entry.manager.as_str()))
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .flat_map(|entry| {
            entry
                .fields
                .leaves()
                .into_iter()
                .map(move |path| Clean::new(format!("{path} is owned by {}", entry.manager)))
        })
        .collect()
}

fn undo_apply(key: &StateKey, id: EffectId, effect: &Apply, live: Option<&Value>, overwrite: bool) -> Undo {
    let Some(live) = live.filter(|live| uid(live) == Some(&effect.uid)) else {
        return Undo::Skip {
            reason: Clean::new("was deleted or replaced by someone else; nothing is restored"),
            gone: true,
        };
    };
    let changes = recorded(key, &effect.changes, live);
    let plan = diff::restore_patch(&effect.object.kind, live, &changes, overwrite);
    if !plan.foreign.is_empty() && !overwrite {
        let what = plan
            .foreign
            .iter()
            .map(|drift| Clean::new(format!("{} was changed since", drift.path)))
            .collect();
        return Undo::Foreign { what };
    }
    let restore = Restore {
        undoes: id,
        object: effect.object.clone(),
        uid: effect.uid.clone(),
        manager: effect.manager.clone(),
        overwrite,
    };
    let owners = effect.owners.clone();
    Undo::Do(Box::new(Ready { effect: Effect::Restore(restore), changes, owners }))
}

/// The changes of a record with secret values filled in again from the live object, where they are still the same.
fn recorded(key: &StateKey, changes: &[RecordedChange], live: &Value) -> Vec<Change> {
    changes
        .iter()
        .map(|recorded| {
            let mut change = recorded.change.clone();
            if recorded.masked {
                let now = change.path.get(live);
                let same = now.is_some_and(|now| Some(value_digest(key, now)) == recorded.after_digest);
                // Any value that is not the live one makes the change count as somebody else's.
                change.after = if same { now.cloned() } else { Some(Value::Null) };
            }
            change
        })
        .collect()
}

/// Whether every field of an apply has its earlier value.
pub fn is_before(key: &StateKey, effect: &Apply, live: &Value) -> bool {
    let changes = recorded(key, &effect.changes, live);
    let plan = diff::restore_patch(&effect.object.kind, live, &changes, false);
    plan.foreign.is_empty() && plan.operations.is_empty()
}

/// Sends a restore: values first, then ownership. Both are planned from what is live, so it can be repeated.
pub async fn restore(
    cluster: &dyn Cluster,
    clock: &dyn Clock,
    effect: &Restore,
    changes: &[Change],
    owners: &[Owner],
) -> Sent {
    let object = &effect.object;
    for attempt in 0..TRIES {
        execute::rest(clock, attempt).await;
        let live = match cluster.get(object).await {
            Ok(Some(live)) if uid(&live) == Some(&effect.uid) => live,
            Ok(_) => return Sent::Moved(Clean::new(format!("{object} was deleted or replaced meanwhile"))),
            Err(error) => return Sent::Unknown(Clean::new(format!("{object}: {error}"))),
        };
        let plan = diff::restore_patch(&object.kind, &live, changes, effect.overwrite);
        if !plan.foreign.is_empty() && !effect.overwrite {
            return Sent::Moved(Clean::new(format!("{object} was changed by someone else meanwhile")));
        }
        let restored = if plan.operations.is_empty() {
            live
        } else {
            match guarded(cluster, object, &live, plan.operations, &effect.manager).await {
                Ok(restored) => restored,
                Err(ClusterError::Stale(_) | ClusterError::Invalid(_)) => continue,
                // The next turn reads what became of it.
                Err(error) if error.outcome_unknown() => continue,
                Err(error) => return failed(object, &error),
            }
        };
        let entries = given_back(&restored, &effect.manager, owners);
        let operations =
            vec![json!({ "op": "replace", "path": "/metadata/managedFields", "value": entries })];
        match guarded(cluster, object, &restored, operations, &effect.manager).await {
            Ok(_) => return Sent::Done { uid: effect.uid.clone() },
            Err(ClusterError::Stale(_) | ClusterError::Invalid(_)) => {}
            Err(error) if error.outcome_unknown() => {}
            Err(error) => return failed(object, &error),
        }
    }
    Sent::Unknown(Clean::new(format!("{object} changes faster than it can be restored")))
}

fn failed(object: &ObjectRef, error: &ClusterError) -> Sent {
    Sent::Failed { reason: Clean::new(format!("{object}: {error}")), hint: error.hint().map(Clean::from) }
}

async fn guarded(
    cluster: &dyn Cluster,
    object: &ObjectRef,
    live: &Value,
    operations: Vec<Value>,
    manager: &str,
) -> ClusterResult<Value> {
    let mut all = vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": uid(live) }),
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": resource_version(live) }),
    ];
    all.extend(operations);
    cluster.patch(object, &Value::Array(all), manager, false).await
}

/// `managedFields` with our entries as they were before, and taken fields back with their owners.
fn given_back(live: &Value, manager: &str, owners: &[Owner]) -> Vec<Value> {
    let entries = fields::managers(live).unwrap_or_default();
    // The patch of the values was an Update of the same manager: fields that it touched have left our Apply entry.
    let ours = entries
        .iter()
        .filter(|entry| entry.manager == manager)
        .map(|entry| entry.fields.clone())
        .reduce(|all, more| all.union(&more));
    let mut kept: Vec<Value> = Vec::new();
    let mut seen = vec![false; owners.len()];
    for entry in entries {
        if entry.manager == manager {
            continue;
        }
        let position = owners.iter().position(|owner| {
            owner.manager == entry.manager
                && owner.operation == entry.operation.as_str()
                && owner.subresource == entry.subresource.clone().unwrap_or_default()
        });
        let mut raw = entry.raw.clone();
        if let Some(position) = position {
            if let Some(flag) = seen.get_mut(position) {
                *flag = true;
            }
            let earlier =
                owners.get(position).and_then(|owner| FieldSet::from_v1(owner.entry.get("fieldsV1")?).ok());
            if let (Some(earlier), Some(ours)) = (earlier, &ours) {
                let fields = entry.fields.union(&earlier.intersection(ours));
                if let Some(raw) = raw.as_object_mut() {
                    raw.insert("fieldsV1".to_owned(), fields.to_v1());
                }
            }
        }
        kept.push(raw);
    }
    // Entries that vanished because all their fields were taken, and our own from an earlier run, come back whole.
    for (owner, seen) in owners.iter().zip(seen) {
        if !seen {
            kept.push(owner.entry.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "firstlight:tracing:datasource-loki";

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "time": "2026-11-23T03:00:00Z", "fieldsV1": fields,
        })
    }

    fn object(entries: &[Value]) -> Value {
        json!({ "metadata": { "name": "x", "managedFields": entries } })
    }

    fn owner(entry: &Value) -> Owner {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Owner {
            manager: text("manager"),
            operation: text("operation"),
            subresource: String::new(),
            entry: entry.clone(),
        }
    }

    #[test]
    fn an_owner_that_lost_all_its_fields_comes_back_whole() {
        let terraform = entry("Terraform", "Apply", json!({ "f:data": { "f:a.yaml": {} } }));
        let ours = entry(OURS, "Apply", json!({ "f:data": { "f:a.yaml": {} } }));
        let back = given_back(&object(&[ours]), OURS, &[owner(&terraform)]);
        assert_eq!(back, [terraform]);
    }

    #[test]
    fn an_owner_that_kept_fields_gets_only_the_taken_ones_back() {
        let before = entry("Terraform", "Update", json!({ "f:data": { ".": {}, "f:a": {}, "f:b": {} } }));
        let kept = entry("Terraform", "Update", json!({ "f:data": { ".": {}, "f:b": {}, "f:new": {} } }));
        let ours = entry(OURS, "Apply", json!({ "f:data": { "f:a": {} } }));
        let back = given_back(&object(&[kept, ours]), OURS, &[owner(&before)]);
        let fields = json!({ "f:data": { ".": {}, "f:a": {}, "f:b": {}, "f:new": {} } });
        assert_eq!(back, [entry("Terraform", "Update", fields)]);
    }

    #[test]
    fn our_own_entry_of_an_earlier_run_comes_back() {
        let earlier = entry(OURS, "Apply", json!({ "f:data": { "f:a": {} } }));
        let now = entry(OURS, "Apply", json!({ "f:data": { "f:a": {}, "f:b": {} } }));
        let stray = entry(OURS, "Update", json!({ "f:data": { "f:b": {} } }));
        let other = entry("kubectl", "Update", json!({ "f:data": { "f:c": {} } }));
        let back = given_back(&object(&[now, stray, other.clone()]), OURS, &[owner(&earlier)]);
        assert_eq!(back, [other, earlier]);
    }

    #[test]
    fn housekeeping_and_our_own_steps_are_no_foreign_touch_and_people_are() {
        let live = object(&[
            entry("kube-controller-manager", "Update", json!({ "f:metadata": { "f:annotations": {} } })),
            entry("firstlight:tracing:env-tripit", "Apply", json!({ "f:data": { "f:a": {} } })),
            entry("kubectl-edit", "Update", json!({ "f:data": { "f:mine": {} } })),
        ]);
        let touched = touched(&live, OURS);
        assert_eq!(touched, [Clean::from("data.mine is owned by kubectl-edit")]);
    }
}
