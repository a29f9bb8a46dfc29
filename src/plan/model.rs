//! What a plan is once it is read: typed, with its inputs put in and its manifests at hand.

use super::asset::AssetObject;
use super::input::Input;
use super::proofs::ProofName;
use crate::object::ObjectRef;
use crate::object::path::Path;
use crate::port::Endpoint;
use crate::text::Clean;
use crate::yaml::{Source, Span};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// A rollout: phases in order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Its name: lower-case letters, digits, hyphens.
    pub name: String,
    /// For people.
    pub title: Clean,
    /// What is claimed for the whole run; never empty.
    pub claim: Vec<String>,
    /// Inputs in the order of the plan, with their values.
    pub inputs: Vec<Input>,
    /// Phases in order; never empty.
    pub phases: Vec<Phase>,
    /// The text that it was read from.
    #[serde(skip)]
    pub source: Arc<Source>,
}

/// What one gate guards.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Its name, unique in the plan.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Clean>,
    /// Steps in order; never empty.
    pub steps: Vec<Step>,
    /// Where it stands in the plan's text.
    #[serde(skip)]
    pub span: Span,
}

/// One unit of work.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name, unique in the plan; part of the field manager.
    pub name: String,
    /// Names that it had before: what their field managers own is this step's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// Proofs that must hold before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<ProofName>,
    /// Proofs that must hold afterwards; they are waited for, up to `timeout`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ProofName>,
    /// Fields that are taken over from other owners, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub take: Vec<Path>,
    /// How long the proofs under `after` may take.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// What the proof `ready` asks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<ReadyTarget>,
    /// Where it stands in the plan's text.
    #[serde(skip)]
    pub span: Span,
}

/// What a step does.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// Only proves.
    Prove {
        /// The proofs, in order.
        proofs: Vec<ProofName>,
    },
    /// Applies every manifest of a folder.
    Apply {
        /// Name of the folder below `assets/`.
        folder: String,
        /// Its objects, in the order of creation (`object::kind::order`), then of files and documents.
        objects: Vec<AssetObject>,
    },
    /// Applies a ConfigMap that holds a Grafana data source of its own.
    Datasource {
        /// Name of the file below `assets/grafana/`, without extension.
        asset: String,
        /// The ConfigMap.
        object: Box<AssetObject>,
    },
    /// Adds a derived field to a data source in a ConfigMap that is there already.
    DatasourceField(FieldEdit),
    /// Sets environment variables of one container of a workload.
    Env {
        /// Deployment, StatefulSet or DaemonSet.
        workload: ObjectRef,
        /// The container; `None` where the workload has only one.
        container: Option<String>,
        /// Names and values, in the order of the plan.
        set: Vec<(String, String)>,
    },
    /// Watches until the application's spans and their log lines are found.
    Watch(Watch),
}

/// One derived field for one Loki data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldEdit {
    /// The ConfigMap that provisions the data source.
    pub configmap: ObjectRef,
    /// Key in its `data`.
    pub key: String,
    /// Name of the data source in that document.
    pub datasource: String,
    /// What is added.
    pub field: DerivedField,
}

/// An entry of `jsonData.derivedFields` (Grafana docs/sources/datasources/loki/configure).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DerivedField {
    /// Its name, unique among the fields of a data source.
    pub name: String,
    /// `regex` (also where it is absent) or `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matcher_type: Option<String>,
    /// Regular expression over the line or over label names.
    pub matcher_regex: String,
    /// The data source that an internal link leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource_uid: Option<String>,
    /// The query of an internal link, the address of an external one, as Grafana's provisioning reads it (`$$` for `$`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Words on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_display_label: Option<String>,
    /// Whether the link opens a new tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_blank: Option<bool>,
}

impl DerivedField {
    /// The entry as it stands in the provisioning document.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| Value::Object(Map::new()))
    }
}

/// One question of the proof `ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadyTarget {
    /// Whom to ask.
    pub endpoint: Endpoint,
    /// Path of the request, with a leading `/`; the answer must be 200.
    pub path: String,
}

/// What a watch step looks for, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// `service.name` of the application's spans.
    pub service: String,
    /// Tempo.
    pub tempo: Endpoint,
    /// Loki.
    pub loki: Endpoint,
    /// LogQL selector of the application's log lines.
    pub loki_query: String,
    /// When to give up.
    #[serde(serialize_with = "seconds")]
    pub deadline: Duration,
}

impl Plan {
    /// Every step with its phase, in order.
    pub fn steps(&self) -> impl Iterator<Item = (&Phase, &Step)> {
        self.phases.iter().flat_map(|phase| phase.steps.iter().map(move |step| (phase, step)))
    }

    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps().map(|(_, step)| step).find(|step| step.name == name)
    }

    /// The field manager of a step, stable across runs. At most 128 bytes, which is what the API server allows.
    pub fn manager(&self, step: &Step) -> String {
        manager(&self.name, &step.name)
    }

    /// Field managers that the step had under earlier names.
    pub fn earlier_managers(&self, step: &Step) -> Vec<String> {
        step.was.iter().map(|name| manager(&self.name, name)).collect()
    }
}

fn manager(plan: &str, step: &str) -> String {
    format!("firstlight:{plan}:{step}")
}

impl Action {
    /// The key that introduces it in a plan.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Prove { .. } => "prove",
            Self::Apply { .. } => "apply",
            Self::Datasource { .. } | Self::DatasourceField(_) => "datasource",
            Self::Env { .. } => "env",
            Self::Watch(_) => "watch",
        }
    }

    /// Whether it changes objects of the cluster.
    pub fn changes_objects(&self) -> bool {
        !matches!(self, Self::Prove { .. } | Self::Watch(_))
    }

    /// The objects that it changes.
    pub fn objects(&self) -> Vec<ObjectRef> {
        match self {
            Self::Prove { .. } | Self::Watch(_) => Vec::new(),
            Self::Apply { objects, .. } => objects.iter().map(|asset| asset.reference.clone()).collect(),
            Self::Datasource { object, .. } => vec![object.reference.clone()],
            Self::DatasourceField(edit) => vec![edit.configmap.clone()],
            Self::Env { workload, .. } => vec![workload.clone()],
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}
