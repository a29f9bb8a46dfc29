//! From a step to object intents, given the live objects that it edits.

use super::Intent;
use super::{datasource, env};
use crate::object::ObjectRef;
use crate::plan::{Action, Plan, Step};
use crate::port::Endpoint;
use crate::text::Clean;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Objects whose live state the compiler of a step needs: those that it edits rather than owns.
pub fn reads(step: &Step) -> Vec<ObjectRef> {
    match &step.action {
        Action::DatasourceField(_) | Action::Env { .. } => step.action.objects(),
        Action::Prove { .. } | Action::Apply { .. } | Action::Datasource { .. } | Action::Watch(_) => {
            Vec::new()
        }
    }
}

/// The intents of a step, given the live state of what [`reads`] names.
///
/// # Errors
/// One sentence: the live object is not what the step can work on.
pub fn intents(
    plan: &Plan,
    step: &Step,
    live: &BTreeMap<ObjectRef, Option<Value>>,
) -> Result<Vec<Intent>, Clean> {
    let intent = |object: &ObjectRef, body: Value, must_exist: bool| Intent {
        object: object.clone(),
        body,
        manager: plan.manager(step),
        must_exist,
        take: step.take.clone(),
    };
    let found = |object: &ObjectRef| live.get(object).and_then(Option::as_ref);
    Ok(match &step.action {
        Action::Prove { .. } | Action::Watch(_) => Vec::new(),
        Action::Apply { objects, .. } => {
            objects.iter().map(|asset| intent(&asset.reference, asset.object.clone(), false)).collect()
        }
        Action::Datasource { object, .. } => vec![intent(&object.reference, object.object.clone(), false)],
        // Without the object there is nothing to edit; the preview says that it is missing.
        Action::DatasourceField(edit) => vec![match found(&edit.configmap) {
            None => intent(&edit.configmap, bare(&edit.configmap), true),
            Some(live) => {
                let field = edit.field.to_json();
                let body =
                    datasource::with_field(&edit.configmap, live, &edit.key, &edit.datasource, &field)?;
                intent(&edit.configmap, body, true)
            }
        }],
        Action::Env { workload, container, set } => vec![match found(workload) {
            None => intent(workload, bare(workload), true),
            Some(live) => intent(workload, env::body(workload, container.as_deref(), set, live)?, true),
        }],
    })
}

/// Whether the objects of a step must be there before it.
pub fn must_exist(step: &Step) -> bool {
    matches!(step.action, Action::DatasourceField(_) | Action::Env { .. })
}

/// Namespaces in which a step reaches services by port-forward.
pub fn forwards(step: &Step) -> BTreeSet<String> {
    let mut endpoints: Vec<&Endpoint> = step.ready.iter().map(|target| &target.endpoint).collect();
    if let Action::Watch(watch) = &step.action {
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

/// The identifying part of an object.
pub fn bare(object: &ObjectRef) -> Value {
    let mut metadata = serde_json::Map::new();
    metadata.insert("name".to_owned(), Value::from(object.name.clone()));
    if let Some(namespace) = &object.namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
    }
    json!({ "apiVersion": object.api_version, "kind": object.kind, "metadata": metadata })
}
