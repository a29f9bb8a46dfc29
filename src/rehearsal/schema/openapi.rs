//! From the OpenAPI documents of an API server to the compact tables.
//!
//! What a field is for server-side apply follows from OpenAPI v3 as the API server itself reads it (kube-openapi
//! pkg/schemaconv): `x-kubernetes-list-type`, `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`, formats.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The documents that [`compact`] reads, as paths below `/openapi/v3/`.
pub const DOCUMENTS: [&str; 10] = [
    "api/v1",
    "apis/apps/v1",
    "apis/authorization.k8s.io/v1",
    "apis/autoscaling/v2",
    "apis/batch/v1",
    "apis/coordination.k8s.io/v1",
    "apis/networking.k8s.io/v1",
    "apis/policy/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/storage.k8s.io/v1",
];

/// The kinds whose closure the tables hold.
const KINDS: [&str; 31] = [
    "apps/v1 DaemonSet",
    "apps/v1 Deployment",
    "apps/v1 ReplicaSet",
    "apps/v1 StatefulSet",
    "authorization.k8s.io/v1 SelfSubjectAccessReview",
    "authorization.k8s.io/v1 SubjectAccessReview",
    "autoscaling/v2 HorizontalPodAutoscaler",
    "batch/v1 CronJob",
    "batch/v1 Job",
    "coordination.k8s.io/v1 Lease",
    "networking.k8s.io/v1 Ingress",
    "networking.k8s.io/v1 IngressClass",
    "networking.k8s.io/v1 NetworkPolicy",
    "policy/v1 PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1 ClusterRole",
    "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
    "rbac.authorization.k8s.io/v1 Role",
    "rbac.authorization.k8s.io/v1 RoleBinding",
    "storage.k8s.io/v1 StorageClass",
    "v1 ConfigMap",
    "v1 Event",
    "v1 LimitRange",
    "v1 Namespace",
    "v1 Node",
    "v1 PersistentVolume",
    "v1 PersistentVolumeClaim",
    "v1 Pod",
    "v1 ResourceQuota",
    "v1 Secret",
    "v1 Service",
    "v1 ServiceAccount",
];

/// The compact tables of these documents; `version` is what the server's `/version` calls `gitVersion`.
///
/// # Errors
/// A sentence that names the kind or type that is missing, or the schema that cannot be read.
pub fn compact(version: &str, documents: &[Value]) -> Result<Value, String> {
    let mut schemas: BTreeMap<&str, &Value> = BTreeMap::new();
    for document in documents {
        let all = document.pointer("/components/schemas").and_then(Value::as_object);
        for (name, schema) in all.ok_or("a document has no schemas")? {
            schemas.insert(name, schema);
        }
    }
    let mut kinds = Map::new();
    let mut open = Vec::new();
    for (name, schema) in &schemas {
        let served = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        for kind in served.into_iter().flatten().map(kind_text) {
            if KINDS.contains(&kind.as_str()) {
                kinds.insert(kind, json!(short(name)));
                open.push((*name).to_owned());
            }
        }
    }
    if let Some(missing) = KINDS.iter().find(|kind| !kinds.contains_key(**kind)) {
        return Err(format!("no document describes {missing}"));
    }
    let (mut types, mut seen) = (BTreeMap::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let schema = schemas.get(name.as_str()).ok_or_else(|| format!("type {name} is missing"))?;
            types.insert(short(&name).to_owned(), named(&name, schema, &mut open)?);
        }
    }
    Ok(json!({
        "source": format!("OpenAPI v3 of kube-apiserver {version}, types and server-side apply markers only"),
        "license": "Apache-2.0, Copyright The Kubernetes Authors",
        "kinds": kinds,
        "types": types,
    }))
}

/// The tables as the file holds them: one type a line, so that a new version can be read as a diff.
pub fn text(compact: &Value) -> String {
    let mut out = String::from("{\n");
    for field in ["source", "license", "kinds"] {
        out.push_str(&format!("{}: {},\n", json!(field), compact.get(field).unwrap_or(&Value::Null)));
    }
    out.push_str("\"types\": {\n");
    let types: BTreeMap<&String, &Value> =
        compact.get("types").and_then(Value::as_object).into_iter().flatten().collect();
    let lines: Vec<String> = types.iter().map(|(name, body)| format!("{}: {body}", json!(name))).collect();
    out.push_str(&lines.join(",\n"));
    out.push_str("\n}\n}\n");
    out
}

fn kind_text(served: &Value) -> String {
    let text = |name: &str| served.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("group");
    let slash = if group.is_empty() { "" } else { "/" };
    format!("{group}{slash}{} {}", text("version"), text("kind"))
}

/// The name without what is the same for all.
fn short(name: &str) -> &str {
    let prefixes = ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apimachinery.pkg."];
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

fn named(name: &str, schema: &Value, open: &mut Vec<String>) -> Result<Value, String> {
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => return Ok(json!("scalar")),
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => return Ok(json!("anyAtomic")),
        _ => {}
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return inline(schema, open).map_err(|why| format!("type {name}: {why}"));
    };
    let required: BTreeSet<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (mut fields, mut defaults) = (Map::new(), Map::new());
    for (field, property) in properties {
        let mut kind = inline(property, open).map_err(|why| format!("type {name}, field {field}: {why}"))?;
        if let Some(patch) = patch(property) {
            if !kind.is_object() {
                kind = json!({"ref": kind});
            }
            if let Some(kind) = kind.as_object_mut() {
                kind.insert("patch".to_owned(), patch);
            }
        }
        fields.insert(field.clone(), kind);
        if let Some(default) = property.get("default") {
            defaults.insert(field.clone(), default.clone());
        } else if required.contains(field.as_str()) {
            // Without omitempty, and a pointer, a list or a map: the API server writes null.
            defaults.insert(field.clone(), Value::Null);
        }
    }
    let mut body = Map::new();
    body.insert("fields".to_owned(), Value::Object(fields));
    if !defaults.is_empty() {
        body.insert("defaults".to_owned(), Value::Object(defaults));
    }
    if map_type(schema) == Some("atomic") {
        body.insert("atomic".to_owned(), Value::Bool(true));
    }
    Ok(Value::Object(body))
}

fn map_type(schema: &Value) -> Option<&str> {
    schema.get("x-kubernetes-map-type").and_then(Value::as_str)
}

fn patch(schema: &Value) -> Option<Value> {
    let strategy = schema.get("x-kubernetes-patch-strategy")?;
    let mut patch = json!({"strategy": strategy});
    if let (Some(patch), Some(key)) = (patch.as_object_mut(), schema.get("x-kubernetes-patch-merge-key")) {
        patch.insert("key".to_owned(), key.clone());
    }
    Some(patch)
}

fn inline(schema: &Value, open: &mut Vec<String>) -> Result<Value, String> {
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref")).and_then(Value::as_str);
    if let Some(name) = reference.and_then(|text| text.rsplit('/').next()) {
        if map_type(schema) == Some("atomic") {
            return Err(format!("{name} is made atomic where it is used, for which there is no word"));
        }
        open.push(name.to_owned());
        return Ok(json!(short(name)));
    }
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => Ok(json!("number")),
        Some("boolean") => Ok(json!("boolean")),
        Some("string") if format.is_empty() || format == "byte" => Ok(json!("string")),
        Some("string") => Ok(json!("scalar")),
        Some("array") => {
            let items = schema.get("items").ok_or("a list has no items")?;
            let of = inline(items, open)?;
            match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => Ok(json!({"set": of})),
                Some("map") => {
                    let keys = schema.get("x-kubernetes-list-map-keys").ok_or("a keyed list has no keys")?;
                    Ok(json!({"list": of, "keys": keys}))
                }
                Some("atomic") => Ok(json!({"list": of})),
                Some(other) => Err(format!("list type {other} is not known")),
                None => match patch(schema) {
                    // What is merged by a strategic merge patch is keyed for server-side apply too.
                    Some(patch) if patch["strategy"].as_str().is_some_and(|one| one.starts_with("merge")) => {
                        Ok(match patch.get("key") {
                            Some(key) => json!({"list": of, "keys": [key]}),
                            None => json!({"set": of}),
                        })
                    }
                    _ => Ok(json!({"list": of})),
                },
            }
        }
        Some("object") => match schema.get("additionalProperties") {
            Some(of @ Value::Object(_)) => {
                let of = inline(of, open)?;
                Ok(match map_type(schema) {
                    Some("atomic") => json!({"map": of, "atomic": true}),
                    _ => json!({"map": of}),
                })
            }
            _ => Ok(json!("any")),
        },
        // IntOrString has no type but a choice of two.
        None if format == "int-or-string" => Ok(json!("scalar")),
        None => Ok(json!("any")),
        Some(other) => Err(format!("type {other} is not known")),
    }
}
