//! Server-side apply and the bookkeeping of field owners, as the API server does them.
//!
//! Pure functions on JSON values. What happens around them is the server's: decoding, defaulting, admission, the
//! strategy of a kind that keeps `status` out of writes to the object itself, and storing. The order at the API server:
//! patch or [`apply`], defaulting, admission, [`keep_times`], and no write where nothing changed.
//!
//! The algorithm is that of structured-merge-diff v6 and of apimachinery's managedfields, which these files name where
//! a rule comes from; a test runs random sequences on this and on a real kube-apiserver and compares.

mod compare;
mod conflict;
mod fieldset;
mod item;
mod merge;
mod owners;
#[cfg(test)]
mod tests;
mod validate;

use super::schema::{Schema, Shape, TypeId};
use crate::object::fields::{FieldSet, Operation};
use crate::object::kind::Kind;
use crate::object::path::Path;
pub use conflict::Cause;
use owners::{Holding, Identity, Owners};
use serde_json::{Map, Value};
use std::fmt;

/// Who writes, how, through what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The field manager's name; `unknown` is written where it is empty.
    pub name: String,
    /// Whether it applies or updates.
    pub operation: Operation,
    /// The subresource it writes through, such as `status`.
    pub subresource: Option<String>,
    /// The apiVersion of the request, such as `apps/v1`.
    pub api_version: String,
    /// Now, in RFC 3339 with seconds, as `managedFields` writes it.
    pub time: String,
}

/// What an apply made.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object with its new `managedFields`, settled ([`Schema::settle`]) and not defaulted.
    pub object: Value,
    /// Whether the object or its owners changed: where not, nothing is to be written.
    pub changed: bool,
}

/// Why an apply is refused; [`fmt::Display`] is the message of the API server's Status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own what would change: 409, reason Conflict, one cause of type FieldManagerConflict each.
    Conflicts(Vec<Cause>),
    /// The intent does not fit its type: 500 without a reason, as the API server has it.
    Invalid {
        /// Where, in the server's form; empty for the object itself.
        path: String,
        /// The whole message.
        message: String,
    },
    /// The request itself is wrong: 400, reason BadRequest.
    BadRequest(String),
}

impl ApplyError {
    /// The HTTP status code and the reason of the API server's Status (which has none for what does not fit its type).
    pub fn status(&self) -> (u16, Option<&'static str>) {
        match self {
            Self::Conflicts(_) => (409, Some("Conflict")),
            Self::Invalid { .. } => (500, None),
            Self::BadRequest(_) => (400, Some("BadRequest")),
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflicts(causes) => f.write_str(&conflict::message(causes)),
            Self::Invalid { message, .. } | Self::BadRequest(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ApplyError {}

/// Applies `intent` to the live object, or creates it where there is none.
///
/// Metadata that the server sets (name, uid, resourceVersion …) is taken from the intent where it says so, as the API
/// server does; whether it may is the caller's to check.
///
/// # Errors
/// Conflicts with other owners (never with `force`), or an intent that does not fit its type.
pub fn apply(
    schema: &Schema,
    kind: &Kind,
    live: Option<&Value>,
    intent: &Value,
    manager: &Manager,
    force: bool,
) -> Result<Applied, ApplyError> {
    let root = schema.root(kind);
    check(schema, kind, root, intent)?;
    let before = match live {
        Some(live) => schema.settle(kind, without_entries(live)),
        None => empty(schema, kind),
    };
    let mut owners = live.map(Owners::read).unwrap_or_else(|| Ok(Owners::default())).map_err(|why| {
        ApplyError::Invalid {
            path: ".metadata.managedFields".to_owned(),
            message: format!("failed to decode managed fields: {why}"),
        }
    })?;
    let work = Work { schema, root, kind, manager };
    if owners.0.is_empty() {
        work.update(&mut owners, &empty(schema, kind), &before, "before-first-apply");
    }
    let identity = owners::identity(manager, &manager.name, Operation::Apply);
    let merged = work.merge(&mut owners, &identity, &before, intent, force)?;
    let same = item::equal(&before, &merged);
    if !same && let Some(holding) = owners.0.get_mut(&identity) {
        // An apply that changes no value leaves the time as it was, even where it makes a new owner.
        holding.time = Some(manager.time.clone());
    }
    let mut object = if same { before } else { schema.settle(kind, merged) };
    owners.write(&mut object);
    if let Some(live) = live {
        keep_times(live, &mut object);
    }
    let changed = live.is_none_or(|live| !item::equal(&schema.settle(kind, live.clone()), &object));
    Ok(Applied { object, changed })
}

/// The object of a create, update or other patch with the `managedFields` that the API server gives it.
///
/// `new` is the object after the patch and after defaulting, `live` what is stored (`None` for a create). The result is
/// settled ([`Schema::settle`]). Entries in `new` are honoured unless the request goes through a subresource.
pub fn updated(schema: &Schema, kind: &Kind, live: Option<&Value>, new: Value, manager: &Manager) -> Value {
    let mut owners = Owners::of_request(live, &new, manager.subresource.is_some());
    let mut object = schema.settle(kind, without_entries(&new));
    let before = match live {
        Some(live) => schema.settle(kind, without_entries(live)),
        None => empty(schema, kind),
    };
    // An object whose owners nobody knows stays so until the first apply.
    if live.is_none() || !owners.0.is_empty() {
        Work { schema, root: schema.root(kind), kind, manager }.update(
            &mut owners,
            &before,
            &object,
            &manager.name,
        );
    }
    owners.write(&mut object);
    if let Some(live) = live {
        keep_times(live, &mut object);
    }
    object
}

/// Takes the times of the stored `managedFields` where nothing else of the object changed
/// (apiserver pkg/endpoints/handlers/fieldmanager/equality.go).
pub fn keep_times(live: &Value, new: &mut Value) {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        object
    };
    if item::equal(&timeless(live), &timeless(new))
        && let Some(entries) = live.pointer("/metadata/managedFields")
        && let Some(place) = new.pointer_mut("/metadata/managedFields")
    {
        *place = entries.clone();
    }
}

fn check(schema: &Schema, kind: &Kind, root: TypeId, intent: &Value) -> Result<(), ApplyError> {
    let text = |pointer: &str| intent.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let named = format!("{group}/{version}, Kind={}", text("/kind"));
    if (group, version, text("/kind")) != (&*kind.group, &*kind.version, &*kind.kind) {
        return Err(ApplyError::BadRequest(format!("invalid object type: {named}")));
    }
    if intent.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let wrong = validate::validate(schema, root, intent);
    let Some((path, _)) = wrong.first() else { return Ok(()) };
    let lines: Vec<String> = wrong
        .iter()
        .map(|(path, why)| if path.is_empty() { why.clone() } else { format!("{path}: {why}") })
        .collect();
    let lines = match lines.as_slice() {
        [only] => only.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let message = format!(
        "failed to create typed patch object ({}/{}; {named}): {lines}",
        text("/metadata/namespace"),
        text("/metadata/name"),
    );
    Err(ApplyError::Invalid { path: path.clone(), message })
}

/// What stands for an object that is not there: its type's zero value.
fn empty(schema: &Schema, kind: &Kind) -> Value {
    schema.settle(kind, Value::Object(Map::new()))
}

fn without_entries(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// What holds through one request.
struct Work<'r> {
    schema: &'r Schema,
    root: TypeId,
    kind: &'r Kind,
    manager: &'r Manager,
}

impl Work<'_> {
    /// The fields that a write through this resource or subresource resets, and that it therefore cannot own
    /// (`GetResetFields` of the strategies in kubernetes pkg/registry).
    fn reset(&self) -> FieldSet {
        let mut set = FieldSet::default();
        let has_status = match self.schema.shape(self.root, None) {
            Shape::Map(of) => of.declares("status"),
            _ => false,
        };
        match (self.manager.subresource.as_deref(), self.kind.kind.as_str()) {
            (None, _) => {
                if has_status {
                    set.insert(Path::fields(["status"]));
                }
            }
            (Some("status"), kind) => {
                set.insert(Path::fields(["spec"]));
                match kind {
                    "Pod" => {
                        set.insert(Path::fields(["metadata", "deletionTimestamp"]));
                        set.insert(Path::fields(["metadata", "ownerReferences"]));
                    }
                    "Deployment" => set.insert(Path::fields(["metadata", "labels"])),
                    _ => {}
                }
            }
            (Some(_), _) => {}
        }
        set
    }

    /// The entries as they count today: none of another API version, none inside what is atomic.
    fn reconcile(&self, owners: &mut Owners) {
        let ours = self.manager.api_version.as_str();
        owners.0.retain(|_, holding| holding.api_version == ours);
        for holding in owners.0.values_mut() {
            holding.set = fieldset::reconciled(self.schema, self.root, &holding.set);
        }
    }

    /// Takes from all but `own` what changed (merge/update.go).
    ///
    /// # Errors
    /// What others own of it, unless it is forced.
    fn take(
        &self,
        owners: &mut Owners,
        own: Option<&Identity>,
        before: &Value,
        after: &Value,
        force: bool,
    ) -> Result<compare::Comparison, ApplyError> {
        let mut found = compare::compare(self.schema, self.root, before, after);
        let reset = self.reset();
        for set in [&mut found.removed, &mut found.modified, &mut found.added] {
            *set = set.without(&reset);
        }
        let gained = found.gained();
        if !force {
            let causes: Vec<(&Identity, FieldSet)> = owners
                .0
                .iter()
                .filter(|(identity, _)| Some(*identity) != own)
                .map(|(identity, holding)| (identity, holding.set.intersection(&gained)))
                .collect();
            let causes = conflict::causes(&causes);
            if !causes.is_empty() {
                return Err(ApplyError::Conflicts(causes));
            }
        }
        for (identity, holding) in &mut owners.0 {
            if Some(identity) != own {
                holding.set = holding.set.difference(&gained).difference(&found.removed);
            }
        }
        owners.0.retain(|_, holding| !holding.set.is_empty());
        Ok(found)
    }

    /// The bookkeeping of anything but an apply.
    fn update(&self, owners: &mut Owners, before: &Value, after: &Value, name: &str) {
        self.reconcile(owners);
        // Forced, so that it cannot fail.
        let Ok(found) = self.take(owners, None, before, after, true) else { return };
        let own = owners::identity(self.manager, name, Operation::Update);
        let mut taken = Owners::default();
        let set = found.gained();
        taken
            .0
            .insert(own.clone(), Holding { set, api_version: self.manager.api_version.clone(), time: None });
        taken.strip(&own);
        if let Some(taken) = taken.0.remove(&own) {
            let holding = owners.0.entry(own).or_default();
            holding.set = holding.set.union(&taken.set);
            holding.api_version = taken.api_version;
            // Through scale, the API server writes no time (apimachinery pkg/util/managedfields/scalehandler.go).
            let timed = self.manager.subresource.as_deref() != Some("scale");
            holding.time = timed.then(|| self.manager.time.clone());
        }
        owners.cap();
    }

    /// The live object with the intent laid over it and with what this manager no longer applies taken away.
    fn merge(
        &self,
        owners: &mut Owners,
        own: &Identity,
        before: &Value,
        intent: &Value,
        force: bool,
    ) -> Result<Value, ApplyError> {
        self.reconcile(owners);
        let merged = merge::merge(self.schema, self.root, Some(before), Some(intent)).unwrap_or_default();
        let last = owners.0.get(own).map(|holding| (holding.set.clone(), holding.time.clone()));
        let (last, time) = last.unwrap_or_default();
        let set = fieldset::of_object(self.schema, self.root, intent).without(&self.reset());
        owners.0.insert(own.clone(), Holding { set, api_version: self.manager.api_version.clone(), time });
        let merged = self.prune(merged, owners, &last);
        self.take(owners, Some(own), before, &merged, force)?;
        owners.strip(own);
        Ok(merged)
    }

    /// Takes away what the manager applied last time and does not now, in three passes (merge/update.go `prune`): all
    /// of it; then back what anybody owns; then back what hangs below it and was never the manager's.
    fn prune(&self, merged: Value, owners: &Owners, last: &FieldSet) -> Value {
        if last.is_empty() {
            return merged;
        }
        let named = |set: &FieldSet| fieldset::with_named_fields(self.schema, Some(self.root), set);
        let paths = |object: &Value| named(&fieldset::of_object(self.schema, self.root, object));
        let remove = |set: &FieldSet| fieldset::removed(self.schema, self.root, &merged, set);
        let last = named(last);
        let all = paths(&merged);
        let owned = owners.0.values().fold(FieldSet::default(), |all, holding| all.union(&holding.set));
        let pruned = remove(&last);
        let pruned = remove(&all.difference(&paths(&pruned).union(&named(&owned))));
        remove(&all.difference(&paths(&pruned)).intersection(&last))
    }
}
