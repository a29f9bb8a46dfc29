//! What is wrong or doubtful about a plan that reads well.

use super::asset::{AssetObject, Assets};
use super::input::Origin;
use super::model::{Action, Plan, Step};
use super::proofs::ProofName;
use crate::object::{ObjectRef, kind, status};
use crate::port::Endpoint;
use crate::yaml::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How bad a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The plan is not run.
    Error,
    /// The plan runs; this may not be what was meant.
    Warning,
}

/// One finding of [`lint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How bad it is.
    pub level: Level,
    /// What and where.
    pub problem: Problem,
}

/// Stands for whatever container a workload has.
const ANY: &str = "*";

/// Judges a plan as a whole, errors first.
///
/// Errors: two steps that own one field of one object (each would take it from the other), lists in which a key
/// stands twice, ports that a service of the plan does not have. Warnings: missing waits, kinds whose scope is not known, manifests that no step takes, `take:` of what
/// the step does not set, inputs without effect.
pub fn lint(plan: &Plan, assets: &Assets) -> Vec<Note> {
    let mut lint = Lint { plan, notes: Vec::new() };
    lint.shared_fields();
    for (_, step) in plan.steps() {
        lint.waits(step);
        lint.take(step);
        lint.ports(step);
        match &step.action {
            Action::Apply { folder, objects } => {
                objects.iter().for_each(|asset| lint.object(asset));
                for path in assets.below(folder) {
                    let message = format!(
                        "assets/{path} is not applied: only manifests directly in assets/{folder} are"
                    );
                    lint.warn(
                        Problem::new(step.span, message)
                            .hint("move it, or apply its folder in a step of its own"),
                    );
                }
            }
            Action::Datasource { object, .. } => lint.object(object),
            Action::Prove { .. } | Action::DatasourceField(_) | Action::Env { .. } | Action::Watch(_) => {}
        }
    }
    lint.inputs();
    lint.name();
    lint.notes.sort_by_key(|note| note.level);
    lint.notes
}

struct Lint<'p> {
    plan: &'p Plan,
    notes: Vec<Note>,
}

impl Lint<'_> {
    fn add(&mut self, level: Level, problem: Problem) {
        let problem =
            if problem.source.as_str().is_empty() { problem.in_source(&self.plan.source) } else { problem };
        self.notes.push(Note { level, problem });
    }

    fn warn(&mut self, problem: Problem) {
        self.add(Level::Warning, problem);
    }

    fn shared_fields(&mut self) {
        let owned: Vec<(&Step, Vec<(ObjectRef, Value)>)> =
            self.plan.steps().map(|(_, step)| (step, intents(step))).collect();
        let mut found = Vec::new();
        for (index, (step, intents)) in owned.iter().enumerate() {
            for (earlier, others) in owned.iter().take(index) {
                for (object, intent) in intents {
                    let same = others.iter().filter(|(other, _)| other == object);
                    if let Some(path) = same.filter_map(|(_, other)| overlap(intent, other, "")).next() {
                        let message = format!(
                            "steps `{}` and `{}` both own {path} of {object}",
                            earlier.name, step.name
                        );
                        found.push(Problem::new(step.span, message).hint("let one step set the field"));
                    }
                }
            }
        }
        found.into_iter().for_each(|problem| self.add(Level::Error, problem));
    }

    fn waits(&mut self, step: &Step) {
        let workloads: Vec<ObjectRef> = step
            .action
            .objects()
            .into_iter()
            .filter(|object| status::has_rollout(&object.kind) && object.kind != "PersistentVolumeClaim")
            .collect();
        if let (Some(first), false) = (workloads.first(), step.after.contains(&ProofName::RolledOut)) {
            let message = format!("step `{}` changes {first} and does not wait for it", step.name);
            self.warn(Problem::new(step.span, message).hint("add `after: [ rolled-out ]`"));
        }
        if matches!(step.action, Action::Watch(_)) && !step.after.contains(&ProofName::FirstLight) {
            let message = format!("step `{}` watches and proves nothing", step.name);
            self.warn(Problem::new(step.span, message).hint("add `after: [ first-light ]`"));
        }
        if matches!(step.action, Action::DatasourceField(_)) && !step.before.contains(&ProofName::Datasource)
        {
            let message =
                format!("step `{}` edits a data source and does not prove that it only adds", step.name);
            self.warn(Problem::new(step.span, message).hint("add `before: [ datasource ]`"));
        }
    }

    fn take(&mut self, step: &Step) {
        let intents = intents(step);
        for path in &step.take {
            if !intents.iter().any(|(_, intent)| path.get(intent).is_some()) {
                let message = format!("step `{}` takes {path}, which it does not set", step.name);
                self.warn(
                    Problem::new(step.span, message).hint("a field is taken only where the step sets it"),
                );
            }
        }
    }

    /// A port that a service of this plan does not have can never answer.
    fn ports(&mut self, step: &Step) {
        let mut endpoints: Vec<&Endpoint> = step.ready.iter().map(|target| &target.endpoint).collect();
        if let Action::Watch(watch) = &step.action {
            endpoints.extend([&watch.tempo, &watch.loki]);
        }
        for endpoint in endpoints {
            let Endpoint::Service { namespace, name, port } = endpoint else { continue };
            let service = ObjectRef::new("v1", "Service", Some(namespace), name);
            let ports: Vec<u64> = self
                .plan
                .steps()
                .flat_map(|(_, step)| intents(step))
                .filter(|(object, _)| *object == service)
                .filter_map(|(_, intent)| intent.pointer("/spec/ports")?.as_array().cloned())
                .flatten()
                .filter_map(|entry| entry.get("port")?.as_u64())
                .collect();
            if !ports.is_empty() && !ports.contains(&u64::from(*port)) {
                let message =
                    format!("step `{}` asks port {port} of {service}, which has no such port", step.name);
                let known: Vec<String> = ports.iter().map(u64::to_string).collect();
                self.add(
                    Level::Error,
                    Problem::new(step.span, message).hint(format!("its ports: {}", known.join(", "))),
                );
            }
        }
    }

    fn object(&mut self, asset: &AssetObject) {
        let object = &asset.reference;
        if kind::known(&object.api_version, &object.kind).is_none() {
            let message =
                format!("{} {} is not a kind that firstlight knows", object.api_version, object.kind);
            let hint =
                "whether it lives in a namespace is asked of the cluster; it is applied after all others";
            self.warn(Problem::new(asset.span, message).hint(hint).in_source(&asset.source));
        }
        let mut lists = Vec::new();
        twice(&asset.object, "", &mut lists);
        for (path, name) in lists {
            let message = format!("{path} of {object} has two entries with the name `{name}`");
            let problem = Problem::new(asset.span, message)
                .hint("keep one of them: the API server tells them apart by name");
            self.add(Level::Error, problem.in_source(&asset.source));
        }
    }

    fn inputs(&mut self) {
        for input in self.plan.inputs.iter().filter(|input| !input.used) {
            let message = format!("input `{}` has no effect", input.name);
            self.warn(Problem::new(input.span, message).hint("remove it, or use it"));
        }
        for input in self.plan.inputs.iter().filter(|input| input.origin == Origin::StandIn) {
            if input.value == json!(input.name.replace('_', "-")) {
                let message = format!("input `{}` has neither a default nor an example", input.name);
                self.warn(
                    Problem::new(input.span, message)
                        .hint("give an `example:`, with which the plan can be shown and checked"),
                );
            }
        }
    }

    /// A plan is asked for by its file name, and owns fields by its own.
    fn name(&mut self) {
        let file = self.plan.source.name.as_str();
        let stem = file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(stem, _)| stem);
        if let Some(stem) = stem.filter(|stem| *stem != self.plan.name) {
            let message = format!("the plan `{}` stands in a file of another name, `{stem}`", self.plan.name);
            let span = crate::yaml::Span { line: 1, column: 1, ..Default::default() };
            self.warn(Problem::new(span, message).hint("give both one name"));
        }
    }
}

/// The objects of a step as far as it sets them. What only the cluster knows is left open.
fn intents(step: &Step) -> Vec<(ObjectRef, Value)> {
    match &step.action {
        Action::Prove { .. } | Action::Watch(_) => Vec::new(),
        Action::Apply { objects, .. } => {
            objects.iter().map(|asset| (asset.reference.clone(), asset.object.clone())).collect()
        }
        Action::Datasource { object, .. } => vec![(object.reference.clone(), object.object.clone())],
        Action::DatasourceField(edit) => {
            vec![(edit.configmap.clone(), json!({ "data": { edit.key.as_str(): "" } }))]
        }
        Action::Env { workload, container, set } => {
            let env: Vec<Value> =
                set.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            let container = container.as_deref().unwrap_or(ANY);
            let containers = json!([{ "name": container, "env": env }]);
            vec![(
                workload.clone(),
                json!({ "spec": { "template": { "spec": { "containers": containers } } } }),
            )]
        }
    }
}

/// The first field that two intents on one object both set. Lists of named items are told apart by name, other lists
/// are one field each.
fn overlap(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, value)| {
            let other = b.get(key)?;
            let identity = matches!(
                (path, key.as_str()),
                ("", "apiVersion" | "kind") | (".metadata", "name" | "namespace")
            );
            if identity { None } else { overlap(value, other, &format!("{path}.{key}")) }
        }),
        (Value::Array(a), Value::Array(b)) => match (names(a), names(b)) {
            (Some(left), Some(right)) => left.iter().zip(a).find_map(|(name, item)| {
                let same =
                    right.iter().zip(b).filter(|(other, _)| name == *other || *name == ANY || **other == ANY);
                same.filter_map(|(_, other)| {
                    let without_name = |value: &Value| {
                        let mut value = value.clone();
                        if let Some(map) = value.as_object_mut() {
                            map.remove("name");
                        }
                        value
                    };
                    overlap(&without_name(item), &without_name(other), &format!("{path}[name={name}]"))
                })
                .next()
            }),
            _ => Some(path.to_owned()),
        },
        _ => Some(path.to_owned()),
    }
}

fn names(items: &[Value]) -> Option<Vec<&str>> {
    items.iter().map(|item| item.get("name")?.as_str()).collect()
}

/// Lists of containers and of environment variables in which one name stands twice.
fn twice(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                twice(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(items) => {
            let list = path.rsplit('.').next().unwrap_or_default();
            if matches!(list, "containers" | "initContainers" | "env" | "volumes")
                && path.starts_with(".spec.")
            {
                let mut seen = BTreeSet::new();
                for name in items.iter().filter_map(|item| item.get("name")?.as_str()) {
                    if !seen.insert(name) {
                        found.push((path.to_owned(), name.to_owned()));
                    }
                }
            }
            for (index, item) in items.iter().enumerate() {
                let shown = item
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or_else(|| index.to_string(), |name| format!("name={name}"));
                twice(item, &format!("{path}[{shown}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
