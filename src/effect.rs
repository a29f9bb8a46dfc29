//! The closed enum of everything that changes the world.
//!
//! Preview, gate, journal, undo and report match on [`Effect`] exhaustively: reading this file tells all the harm that
//! the program can do. An effect is what the journal holds before anything is sent, so it carries no secret: bodies
//! stay in memory, values that count are kept as keyed fingerprints, and only fields that change have a pre-image.

use crate::diff::Change;
use crate::object::{ObjectRef, kind};
use crate::secret::Fingerprint;
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Number of an effect within its run, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EffectId(pub u32);

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One change to the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Effect {
    /// Creates an object that was approved as absent: POST, then our Update entry becomes an Apply entry.
    Create(Create),
    /// Server-side apply onto the approved state of an existing object.
    Apply(Apply),
    /// Undo of an apply: earlier values come back, ownership is given back.
    Restore(Restore),
    /// Undo of a create: the object is deleted by uid.
    Delete(Delete),
    /// Undo of a StatefulSet's broken revision needs this: the controller waits for ever on a pod that never gets
    /// ready (kubernetes#67250), so that pod is deleted and comes back from the restored template.
    ReplacePod(ReplacePod),
}

/// See [`Effect::Create`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// The object.
    pub object: ObjectRef,
    /// Field manager, `firstlight:PLAN:STEP`.
    pub manager: String,
    /// The fields that the intent owns, as fieldsV1.
    pub fields: Value,
    /// Keyed fingerprint of the values of these fields.
    pub digest: Fingerprint,
}

/// See [`Effect::Apply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// The object.
    pub object: ObjectRef,
    /// uid of the approved state.
    pub uid: String,
    /// resourceVersion of the approved state.
    pub resource_version: String,
    /// Field manager, `firstlight:PLAN:STEP`.
    pub manager: String,
    /// Whether conflicts are forced; only where the dry run's causes were exactly the fields that the step takes.
    pub force: bool,
    /// The fields that the intent owns afterwards, as fieldsV1.
    pub fields: Value,
    /// Keyed fingerprint of the values of these fields afterwards.
    pub digest: Fingerprint,
    /// The fields that change, with their values before and after.
    pub changes: Vec<RecordedChange>,
    /// Ownership before: our own earlier entry, and the entries of those from whom fields are taken.
    pub owners: Vec<Owner>,
}

/// A change as the journal keeps it: the value after is left out where it is secret, its keyed fingerprint never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedChange {
    /// Path, values and position of the change; `after` is `null` where [`RecordedChange::masked`] is set.
    #[serde(flatten)]
    pub change: Change,
    /// Keyed fingerprint of the value after, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_digest: Option<Fingerprint>,
    /// The value after is secret and was left out.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub masked: bool,
}

/// One entry of `metadata.managedFields` as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// The manager's name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource, empty for the object itself.
    pub subresource: String,
    /// The entry whole, as the API server gave it.
    pub entry: Value,
}

/// See [`Effect::Restore`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    /// The effect that is undone.
    pub undoes: EffectId,
    /// The object.
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
    /// Field manager whose fields are given up.
    pub manager: String,
    /// Whether values that someone else wrote meanwhile are overwritten; only if the operator said so.
    pub overwrite: bool,
}

/// See [`Effect::Delete`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delete {
    /// The effect that is undone.
    pub undoes: EffectId,
    /// The object.
    pub object: ObjectRef,
    /// Its uid: another object of the same name stays.
    pub uid: String,
}

/// See [`Effect::ReplacePod`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacePod {
    /// The effect whose undo needs this.
    pub undoes: EffectId,
    /// The pod.
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
}

/// What remains of an effect after its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", content = "what", rename_all = "kebab-case")]
pub enum Class {
    /// Nothing remains.
    Reversible,
    /// Something remains; the text says what and for how long.
    LeavesResidue(Clean),
}

impl Effect {
    /// The object that it changes.
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Create(effect) => &effect.object,
            Self::Apply(effect) => &effect.object,
            Self::Restore(effect) => &effect.object,
            Self::Delete(effect) => &effect.object,
            Self::ReplacePod(effect) => &effect.object,
        }
    }

    /// The effect that this one undoes, if it is an undo.
    pub fn undoes(&self) -> Option<EffectId> {
        match self {
            Self::Create(_) | Self::Apply(_) => None,
            Self::Restore(effect) => Some(effect.undoes),
            Self::Delete(effect) => Some(effect.undoes),
            Self::ReplacePod(effect) => Some(effect.undoes),
        }
    }

    /// What it does, as one verb for people.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Apply(_) => "change",
            Self::Restore(_) => "restore",
            Self::Delete(_) => "delete",
            Self::ReplacePod(_) => "replace",
        }
    }
}

/// What remains of creating or changing this object once it is undone.
///
/// A StatefulSet's volume claims are the API server's doing, not an effect of ours, and hold data: they stay.
/// A Grafana data source stays in Grafana's database after its ConfigMap is gone, unless a file with
/// `deleteDatasources` names it (Grafana docs/sources/administration/provisioning).
pub fn class(object: &ObjectRef, body: &Value, creates: bool) -> Class {
    if !creates {
        return Class::Reversible;
    }
    if kind::holds_data(&object.kind) {
        return Class::LeavesResidue(Clean::new(format!(
            "{} is kept by undo, unless it is named",
            object.short()
        )));
    }
    if object.kind == "StatefulSet" {
        let claims = body.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).map_or(0, Vec::len);
        if claims > 0 {
            let plural = if claims == 1 { "its volume claim is kept" } else { "its volume claims are kept" };
            return Class::LeavesResidue(Clean::new(format!(
                "{plural} by undo, unless data is to be deleted"
            )));
        }
    }
    let label = body.pointer("/metadata/labels/grafana_datasource");
    if object.kind == "ConfigMap" && label.is_some() {
        return Class::LeavesResidue(Clean::new(
            "Grafana keeps the data source in its database until it is deleted there",
        ));
    }
    Class::Reversible
}
