//! What the engine runs: a plan with its steps compiled as far as that needs no cluster.

use super::env::Env;
use super::{Intent, datasource::DerivedField};
use crate::object::ObjectRef;
use crate::object::path::Path;
use crate::port::Endpoint;
use crate::text::Clean;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A plan, ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The plan's name.
    pub name: Clean,
    /// Its title.
    pub title: Clean,
    /// Hash of plan, assets and inputs.
    pub hash: String,
    /// Names of the claim, sorted.
    pub claim: Vec<String>,
    /// The inputs, for people.
    pub inputs: BTreeMap<String, Clean>,
    /// Its phases.
    pub phases: Vec<Phase>,
}

/// A phase, ready to run.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: Clean,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A step, ready to run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, unique in the plan.
    pub name: Clean,
    /// Field manager, `firstlight:PLAN:STEP`.
    pub manager: String,
    /// What it does.
    pub work: Work,
    /// Fields taken by name.
    pub take: Vec<Path>,
    /// Proofs judged before its phase's gate.
    pub before: Vec<String>,
    /// Proofs judged after it.
    pub after: Vec<String>,
    /// What `ready` asks.
    pub ready: Vec<Target>,
    /// How long its waits may take.
    pub timeout: Duration,
}

/// An HTTP endpoint that says whether a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// Path, `/ready`.
    pub path: String,
    /// For people: `tempo:3200/ready in monitoring`.
    pub what: Clean,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Judges proofs.
    Prove(Vec<String>),
    /// Applies whole objects.
    Apply(Vec<(ObjectRef, Value)>),
    /// Adds a derived field to a data source in an existing ConfigMap.
    DerivedField(DerivedField),
    /// Sets environment variables of an existing workload.
    Env(Env),
    /// Waits for the application's first span.
    Watch(Watch),
}

/// What `watch: spans` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// `service.name` of the application.
    pub service: String,
    /// Tempo.
    pub tempo: Endpoint,
    /// Loki.
    pub loki: Endpoint,
    /// LogQL selector of the application's lines.
    pub loki_query: String,
    /// How long to look.
    pub deadline: Duration,
}

impl Step {
    /// Objects whose live state the step's compiler needs.
    pub fn reads(&self) -> Vec<ObjectRef> {
        match &self.work {
            Work::DerivedField(edit) => vec![edit.object.clone()],
            Work::Env(env) => vec![env.workload.clone()],
            Work::Prove(_) | Work::Apply(_) | Work::Watch(_) => Vec::new(),
        }
    }

    /// The intents of the step, given the live state of what [`Step::reads`] names.
    ///
    /// # Errors
    /// One sentence: the live object is not what the step can work on.
    pub fn intents(&self, live: &BTreeMap<ObjectRef, Option<Value>>) -> Result<Vec<Intent>, Clean> {
        let found = |object: &ObjectRef| live.get(object).and_then(Option::as_ref);
        match &self.work {
            Work::Prove(_) | Work::Watch(_) => Ok(Vec::new()),
            Work::Apply(objects) => Ok(objects
                .iter()
                .map(|(object, body)| self.intent(object.clone(), body.clone(), false))
                .collect()),
            Work::DerivedField(edit) => match found(&edit.object) {
                // Without the object there is nothing to edit; the preview says that it is missing.
                None => Ok(vec![self.intent(edit.object.clone(), bare(&edit.object), true)]),
                Some(live) => Ok(vec![self.intent(edit.object.clone(), edit.body(live)?, true)]),
            },
            Work::Env(env) => match found(&env.workload) {
                None => Ok(vec![self.intent(env.workload.clone(), bare(&env.workload), true)]),
                Some(live) => Ok(vec![self.intent(env.workload.clone(), env.body(live)?, true)]),
            },
        }
    }

    fn intent(&self, object: ObjectRef, body: Value, must_exist: bool) -> Intent {
        Intent { object, body, manager: self.manager.clone(), must_exist, take: self.take.clone() }
    }

    /// Whether the step can change objects.
    pub fn writes(&self) -> bool {
        matches!(self.work, Work::Apply(_) | Work::DerivedField(_) | Work::Env(_))
    }

    /// The objects that the step names, without asking the cluster.
    pub fn objects(&self) -> Vec<ObjectRef> {
        match &self.work {
            Work::Apply(objects) => objects.iter().map(|(object, _)| object.clone()).collect(),
            _ => self.reads(),
        }
    }

    /// Namespaces in which services are reached by port-forward.
    pub fn forwards(&self) -> BTreeSet<String> {
        let mut endpoints: Vec<&Endpoint> = self.ready.iter().map(|target| &target.endpoint).collect();
        if let Work::Watch(watch) = &self.work {
            endpoints.push(&watch.tempo);
            endpoints.push(&watch.loki);
        }
        endpoints
            .into_iter()
            .filter_map(|endpoint| match endpoint {
                Endpoint::Service { namespace, .. } => Some(namespace.clone()),
                Endpoint::Url(_) => None,
            })
            .collect()
    }
}

/// The identifying part of an object.
pub fn bare(object: &ObjectRef) -> Value {
    let mut metadata = serde_json::Map::new();
    metadata.insert("name".to_owned(), Value::from(object.name.clone()));
    if let Some(namespace) = &object.namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
    }
    serde_json::json!({ "apiVersion": object.api_version, "kind": object.kind, "metadata": metadata })
}
