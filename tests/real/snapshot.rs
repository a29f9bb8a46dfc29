//! The cluster's objects in a form that can be compared before and after.

use crate::api::Api;
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeMap;

/// Collections that a rollout may touch. Claims are left out: keeping them is the operator's choice.
const COLLECTIONS: [&str; 10] = [
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/batch/v1/jobs",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/networking.k8s.io/v1/ingresses",
];

/// Namespaces that a rollout may touch.
const NAMESPACES: [&str; 3] = ["monitoring", "tripit", "default"];

/// Every object by `COLLECTION NAMESPACE/NAME`, without uid, resourceVersion, generation, times, managed fields, the
/// Deployment's revision and the status.
pub async fn take(api: &Api) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for collection in COLLECTIONS {
        for object in api.list(collection).await? {
            let text = |pointer: &str| {
                object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let namespace = text("/metadata/namespace");
            if NAMESPACES.contains(&namespace.as_str()) {
                let key = format!("{collection} {namespace}/{}", text("/metadata/name"));
                all.insert(key, normalised(object));
            }
        }
    }
    Ok(all)
}

/// The object without what changes by itself.
pub fn normalised(mut object: Value) -> Value {
    if let Some(top) = object.as_object_mut() {
        top.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for noise in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            metadata.remove(noise);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}
