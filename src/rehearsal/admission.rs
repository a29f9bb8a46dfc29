//! Admission: what the API server adds to an object or refuses because of others.

use super::answer::{Cause, Refusal};
use super::quantity::{nano, written};
use super::registry::Write;
use super::resource::Resource;
use super::store::{Key, Store};
use super::value::{default, has, items, items_mut, map, member, members, metadata, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whether objects may be created in the namespace.
///
/// # Errors
/// 404 where it is not there, 403 where it is going.
pub fn namespace(store: &Store, write: &Write) -> Result<(), Refusal> {
    if !write.resource.namespaced {
        return Ok(());
    }
    let Some(namespaces) = Resource::of("", "v1", "namespaces") else { return Ok(()) };
    let Some(found) = store.get(&Key::new(namespaces, "", &write.namespace)) else {
        return Err(Refusal::not_found(namespaces, &write.namespace));
    };
    if !has(found, "/metadata/deletionTimestamp") {
        return Ok(());
    }
    let name = &write.namespace;
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut refusal = Refusal::forbidden(write.resource, &write.name, why);
    refusal.details.causes.push(Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(refusal)
}

/// What admission adds to a new object.
///
/// # Errors
/// A LimitRange does not allow it.
pub fn mutate(store: &Store, write: &Write, object: &mut Value) -> Result<(), Refusal> {
    match write.resource.kind {
        "Pod" => pod(store, write, object),
        "PersistentVolumeClaim" => {
            storage_class(store, object);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn storage_class(store: &Store, claim: &mut Value) {
    let Some(classes) = Resource::of("storage.k8s.io", "v1", "storageclasses") else { return };
    let standard = store
        .list(classes, None)
        .find(|(_, class)| {
            members(class, "/metadata/annotations")
                .any(|(name, value)| name == "storageclass.kubernetes.io/is-default-class" && value == "true")
        })
        .map(|(key, _)| key.name.clone());
    if let Some(name) = standard {
        default(member(claim, "spec"), "storageClassName", name);
    }
}

fn pod(store: &Store, write: &Write, pod: &mut Value) -> Result<(), Refusal> {
    let spec = member(pod, "spec");
    default(spec, "priority", 0);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    let tolerations = map(pod).get_mut("spec").map(map);
    if let Some(spec) = tolerations {
        let list = spec.entry("tolerations").or_insert_with(|| json!([]));
        for taint in ["not-ready", "unreachable"] {
            let key = format!("node.kubernetes.io/{taint}");
            let known = list.as_array().is_some_and(|all| all.iter().any(|one| text(one, "/key") == key));
            if let (false, Some(all)) = (known, list.as_array_mut()) {
                all.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
                }));
            }
        }
    }
    limit_ranges(store, write, pod)
}

/// LimitRanger (plugin/pkg/admission/limitranger/admission.go): defaults first, then bounds.
fn limit_ranges(store: &Store, write: &Write, pod: &mut Value) -> Result<(), Refusal> {
    let Some(resource) = Resource::of("", "v1", "limitranges") else { return Ok(()) };
    let ranges: Vec<Value> = store
        .list(resource, Some(&write.namespace))
        .flat_map(|(_, range)| items(range, "/spec/limits").iter().cloned())
        .filter(|limit| text(limit, "/type") == "Container")
        .collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let mut said = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in items_mut(member(pod, "spec"), list) {
            let name = text(container, "/name").to_owned();
            for (kind, from) in [("requests", "defaultRequest"), ("limits", "default")] {
                let singular = kind.trim_end_matches('s');
                for range in &ranges {
                    for (quantity, value) in members(range, &format!("/{from}")) {
                        let resources = member(container, "resources");
                        let place = map(resources.entry(kind).or_insert_with(|| json!({})));
                        if !place.contains_key(quantity) {
                            place.insert(quantity.clone(), value.clone());
                            said.push(format!("{quantity} {singular} for container {name}"));
                        }
                    }
                }
            }
        }
    }
    if !said.is_empty() {
        let annotations = map(metadata(pod).entry("annotations").or_insert_with(|| json!({})));
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        annotations.insert("kubernetes.io/limit-ranger".to_owned(), Value::from(text));
    }
    let mut wrong = Vec::new();
    for container in items(pod, "/spec/containers") {
        for range in &ranges {
            bounds(range, container, &mut wrong);
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(Refusal::forbidden(write.resource, &write.name, one)),
        all => Err(Refusal::forbidden(write.resource, &write.name, format!("[{}]", all.join(", ")))),
    }
}

fn bounds(range: &Value, container: &Value, wrong: &mut Vec<String>) {
    for (quantity, max) in members(range, "/max") {
        let limit = container.pointer(&format!("/resources/limits/{quantity}"));
        match (limit.and_then(nano), nano(max)) {
            (Some(limit_nano), Some(max_nano)) if limit_nano > max_nano => wrong.push(format!(
                "maximum {quantity} usage per Container is {}, but limit is {}",
                max.as_str().unwrap_or_default(),
                limit.and_then(Value::as_str).unwrap_or_default()
            )),
            (None, _) => wrong.push(format!(
                "maximum {quantity} usage per Container is {}.  No limit is specified",
                max.as_str().unwrap_or_default()
            )),
            _ => {}
        }
    }
    for (quantity, min) in members(range, "/min") {
        let request = container.pointer(&format!("/resources/requests/{quantity}"));
        match (request.and_then(nano), nano(min)) {
            (Some(request_nano), Some(min_nano)) if request_nano < min_nano => wrong.push(format!(
                "minimum {quantity} usage per Container is {}, but request is {}",
                min.as_str().unwrap_or_default(),
                request.and_then(Value::as_str).unwrap_or_default()
            )),
            (None, _) => wrong.push(format!(
                "minimum {quantity} usage per Container is {}.  No request is specified",
                min.as_str().unwrap_or_default()
            )),
            _ => {}
        }
    }
}

/// What a pod or a claim takes of a quota.
fn usage(object: &Value) -> BTreeMap<String, i128> {
    const ONE: i128 = 1_000_000_000;
    let mut used = BTreeMap::new();
    let mut add = |name: String, amount: i128| *used.entry(name).or_insert(0) += amount;
    match text(object, "/kind") {
        "Pod" if matches!(text(object, "/status/phase"), "Succeeded" | "Failed") => {}
        "Pod" => {
            add("pods".to_owned(), ONE);
            add("count/pods".to_owned(), ONE);
            for container in items(object, "/spec/containers") {
                for (kind, prefix) in [("requests", "requests."), ("limits", "limits.")] {
                    for (quantity, value) in members(container, &format!("/resources/{kind}")) {
                        let amount = nano(value).unwrap_or(0);
                        add(format!("{prefix}{quantity}"), amount);
                        if kind == "requests" {
                            add(quantity.clone(), amount);
                        }
                    }
                }
            }
        }
        "PersistentVolumeClaim" => {
            add("persistentvolumeclaims".to_owned(), ONE);
            let storage = object.pointer("/spec/resources/requests/storage").and_then(nano).unwrap_or(0);
            add("requests.storage".to_owned(), storage);
        }
        "ConfigMap" => add("configmaps".to_owned(), ONE),
        "Secret" => add("secrets".to_owned(), ONE),
        "Service" => add("services".to_owned(), ONE),
        _ => {}
    }
    used
}

/// ResourceQuota, against what is there now.
///
/// # Errors
/// 403: it would be exceeded, or the object does not say what it needs.
pub fn quota(store: &Store, write: &Write, object: &Value) -> Result<(), Refusal> {
    let Some(resource) = Resource::of("", "v1", "resourcequotas") else { return Ok(()) };
    let wanted = usage(object);
    if wanted.is_empty() {
        return Ok(());
    }
    for (key, quota) in store.list(resource, Some(&write.namespace)) {
        let mut missing = Vec::new();
        let (mut requested, mut taken, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (name, hard) in members(quota, "/spec/hard") {
            let counts_containers = matches!(
                name.as_str(),
                "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory"
            );
            let Some(more) = wanted.get(name) else {
                if counts_containers && write.resource.kind == "Pod" {
                    missing.push(name.clone());
                }
                continue;
            };
            let used: i128 = store
                .list(write.resource, Some(&write.namespace))
                .filter_map(|(_, other)| usage(other).get(name).copied())
                .sum();
            if nano(hard).is_some_and(|hard| used + more > hard) {
                requested.push(format!("{name}={}", written(*more, hard)));
                taken.push(format!("{name}={}", written(used, hard)));
                limited.push(format!("{name}={}", hard.as_str().unwrap_or_default()));
            }
        }
        if !missing.is_empty() {
            let names: Vec<&str> =
                items(object, "/spec/containers").iter().map(|container| text(container, "/name")).collect();
            let each: Vec<String> =
                missing.iter().map(|name| format!("{name} for: {}", names.join(","))).collect();
            let why = format!("failed quota: {}: must specify {}", key.name, each.join("; "));
            return Err(Refusal::forbidden(write.resource, &write.name, why));
        }
        if !requested.is_empty() {
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                key.name,
                requested.join(","),
                taken.join(","),
                limited.join(",")
            );
            return Err(Refusal::forbidden(write.resource, &write.name, why));
        }
    }
    Ok(())
}

/// The quality-of-service class of a pod (pkg/apis/core/v1/helper/qos/qos.go).
pub fn quality(pod: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    for container in items(pod, "/spec/initContainers").iter().chain(items(pod, "/spec/containers")) {
        for quantity in ["cpu", "memory"] {
            let request = container.pointer(&format!("/resources/requests/{quantity}")).and_then(nano);
            let limit = container.pointer(&format!("/resources/limits/{quantity}")).and_then(nano);
            any |= request.is_some_and(|it| it > 0) || limit.is_some_and(|it| it > 0);
            all &= limit.is_some_and(|it| it > 0) && request == limit;
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
