//! Validation, with the words of the real API server (1.34), of what a rollout can meet.

use super::answer::{Cause, Refusal};
use super::quantity::nano;
use super::resource::Resource;
use super::value::{has, items, members, text};
use serde_json::Value;
use std::collections::BTreeSet;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const STATEFUL_SET: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Collects what is wrong.
#[derive(Default)]
struct Causes(Vec<Cause>);

impl Causes {
    fn add(&mut self, reason: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Cause { reason, message: message.into(), field: field.into() });
    }

    fn required(&mut self, field: impl Into<String>) {
        self.add("FieldValueRequired", field, "Required value");
    }

    fn invalid(&mut self, field: impl Into<String>, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.add("FieldValueDuplicate", field, format!("Duplicate value: {value}"));
    }

    fn refusal(self, resource: &Resource, object: &Value) -> Result<(), Refusal> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Refusal::invalid(resource, text(object, "/metadata/name"), self.0))
        }
    }
}

/// Whether a body fits its type: unknown fields, as strict decoding finds them.
///
/// # Errors
/// 400 with every unknown field.
pub fn decoded(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    let mut unknown = Vec::new();
    super::strict::unknown_fields(resource, object, &mut unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    Err(Refusal::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
        resource.version,
        all.join(", "),
        kind = resource.kind
    )))
}

/// Whether an object is one that may be stored.
///
/// # Errors
/// 422 with every cause.
pub fn object(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    let mut causes = Causes::default();
    name(resource, object, &mut causes);
    match resource.kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" => workload(object, &mut causes),
        "Pod" => {
            if let Some(spec) = object.get("spec") {
                pod_spec(spec, "spec", &BTreeSet::new(), &mut causes);
            }
        }
        "Service" => service(object, &mut causes),
        "ConfigMap" | "Secret" => {
            for (key, _) in members(object, "/data") {
                let sound = !key.is_empty()
                    && key.len() <= 253
                    && key.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'));
                if !sound {
                    let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                    causes.invalid(format!("data[{key}]"), &Value::from(key.as_str()), why);
                }
            }
        }
        "PersistentVolumeClaim" => {
            if items(object, "/spec/accessModes").is_empty() {
                causes.add(
                    "FieldValueRequired",
                    "spec.accessModes",
                    "Required value: at least 1 access mode is required",
                );
            }
            match object.pointer("/spec/resources/requests/storage").map(nano) {
                None => causes.required("spec.resources[storage]"),
                Some(amount) if amount.is_none_or(|amount| amount <= 0) => {
                    let value =
                        object.pointer("/spec/resources/requests/storage").cloned().unwrap_or_default();
                    causes.invalid("spec.resources[storage]", &value, "must be greater than zero");
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
    causes.refusal(resource, object)
}

fn name(resource: &Resource, object: &Value, causes: &mut Causes) {
    let name = text(object, "/metadata/name");
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if resource.group == "rbac.authorization.k8s.io" {
        return;
    }
    if matches!(resource.kind, "Namespace" | "Service") {
        if !label(name) || name.len() > 63 {
            causes.invalid("metadata.name", &Value::from(name), LABEL);
        }
    } else if !name.split('.').all(label) || name.len() > 253 {
        causes.invalid("metadata.name", &Value::from(name), SUBDOMAIN);
    }
}

fn workload(object: &Value, causes: &mut Causes) {
    let labels = object.pointer("/spec/template/metadata/labels");
    let selector = object.pointer("/spec/selector").filter(|selector| !selector.is_null());
    let empty = selector.is_some_and(|one| one.as_object().is_some_and(serde_json::Map::is_empty));
    match selector {
        None => causes.required("spec.selector"),
        Some(value) if empty => {
            causes.invalid("spec.selector", value, "empty selector is invalid for deployment")
        }
        Some(_) => {}
    }
    let matches = members(object, "/spec/selector/matchLabels")
        .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value));
    if selector.is_none() || !matches {
        let shown = labels.cloned().unwrap_or_default();
        causes.invalid(
            "spec.template.metadata.labels",
            &shown,
            "`selector` does not match template `labels`",
        );
    }
    let claims: BTreeSet<&str> = items(object, "/spec/volumeClaimTemplates")
        .iter()
        .map(|claim| text(claim, "/metadata/name"))
        .collect();
    if let Some(spec) = object.pointer("/spec/template/spec") {
        pod_spec(spec, "spec.template.spec", &claims, causes);
    }
}

fn pod_spec(spec: &Value, at: &str, claims: &BTreeSet<&str>, causes: &mut Causes) {
    let mut volumes = claims.clone();
    for (index, volume) in items(spec, "/volumes").iter().enumerate() {
        let name = text(volume, "/name");
        if name.is_empty() {
            causes.required(format!("{at}.volumes[{index}].name"));
        } else if !claims.contains(name) && !volumes.insert(name) {
            causes.duplicate(format!("{at}.volumes[{index}].name"), &Value::from(name));
        }
    }
    if items(spec, "/containers").is_empty() {
        causes.required(format!("{at}.containers"));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in items(spec, &format!("/{list}")).iter().enumerate() {
            self::container(container, &format!("{at}.{list}[{index}]"), &volumes, &mut names, causes);
        }
    }
}

fn container<'v>(
    container: &'v Value,
    at: &str,
    volumes: &BTreeSet<&str>,
    names: &mut BTreeSet<&'v str>,
    causes: &mut Causes,
) {
    let name = text(container, "/name");
    if name.is_empty() {
        causes.required(format!("{at}.name"));
    } else if !names.insert(name) {
        causes.duplicate(format!("{at}.name"), &Value::from(name));
    }
    if text(container, "/image").is_empty() {
        causes.required(format!("{at}.image"));
    }
    for (index, variable) in items(container, "/env").iter().enumerate() {
        if text(variable, "/name").is_empty() {
            causes.required(format!("{at}.env[{index}].name"));
        }
        if !text(variable, "/value").is_empty() && has(variable, "/valueFrom") {
            let why = "Invalid value: \"\": may not be specified when `value` is not empty";
            causes.add("FieldValueInvalid", format!("{at}.env[{index}].valueFrom"), why);
        }
    }
    let mut ports = BTreeSet::new();
    for (index, port) in items(container, "/ports").iter().enumerate() {
        let name = text(port, "/name");
        if !name.is_empty() && !ports.insert(name) {
            causes.duplicate(format!("{at}.ports[{index}].name"), &Value::from(name));
        }
        if !has(port, "/containerPort") {
            causes.required(format!("{at}.ports[{index}].containerPort"));
        }
    }
    let mut paths = BTreeSet::new();
    for (index, mount) in items(container, "/volumeMounts").iter().enumerate() {
        let name = text(mount, "/name");
        let path = text(mount, "/mountPath");
        if !volumes.contains(name) {
            let message = format!("Not found: {:?}", name);
            causes.add("FieldValueNotFound", format!("{at}.volumeMounts[{index}].name"), message);
        }
        if path.is_empty() {
            causes.required(format!("{at}.volumeMounts[{index}].mountPath"));
        } else if !paths.insert(path) {
            let message = format!("Invalid value: {path:?}: must be unique");
            causes.add("FieldValueInvalid", format!("{at}.volumeMounts[{index}].mountPath"), message);
        }
    }
    for (quantity, request) in members(container, "/resources/requests") {
        let limit = container.pointer(&format!("/resources/limits/{quantity}"));
        if let (Some(asked), Some(most)) = (nano(request), limit.and_then(nano))
            && asked > most
        {
            let why = format!(
                "must be less than or equal to {quantity} limit of {}",
                limit.and_then(Value::as_str).unwrap_or_default()
            );
            causes.invalid(format!("{at}.resources.requests"), request, &why);
        }
    }
}

fn service(object: &Value, causes: &mut Causes) {
    let ports = items(object, "/spec/ports");
    if ports.is_empty()
        && text(object, "/spec/clusterIP") != "None"
        && text(object, "/spec/type") != "ExternalName"
    {
        causes.required("spec.ports");
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let name = text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            causes.required(format!("spec.ports[{index}].name"));
        } else if !name.is_empty() && !names.insert(name) {
            causes.duplicate(format!("spec.ports[{index}].name"), &Value::from(name));
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65_535).contains(&number) {
            let value = Value::from(number);
            causes.invalid(
                format!("spec.ports[{index}].port"),
                &value,
                "must be between 1 and 65535, inclusive",
            );
        } else if !numbers.insert((number, text(port, "/protocol"))) {
            causes.duplicate(format!("spec.ports[{index}]"), port);
        }
    }
}

/// Whether an object may become another.
///
/// # Errors
/// 422: a field that may not change has changed.
pub fn change(
    resource: &Resource,
    live: &Value,
    new: &Value,
    subresource: Option<&str>,
) -> Result<(), Refusal> {
    if subresource == Some("status") {
        return Ok(());
    }
    let mut causes = Causes::default();
    let differs = |pointer: &str| live.pointer(pointer) != new.pointer(pointer);
    let without = |object: &Value, fields: &[&str]| {
        let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|name, _| !fields.contains(&name.as_str()));
        spec
    };
    match resource.kind {
        "Deployment" | "ReplicaSet" if differs("/spec/selector") => {
            let value = new.pointer("/spec/selector").cloned().unwrap_or_default();
            causes.invalid("spec.selector", &value, "field is immutable");
        }
        "StatefulSet" => {
            let free = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            if without(live, &free) != without(new, &free) {
                causes.add("FieldValueForbidden", "spec", format!("Forbidden: {STATEFUL_SET}"));
            }
        }
        "Service" if differs("/spec/clusterIP") && !text(live, "/spec/clusterIP").is_empty() => {
            let value = new.pointer("/spec/clusterIPs").cloned().unwrap_or_default();
            causes.invalid("spec.clusterIPs[0]", &value, "may not change once set");
        }
        "PersistentVolumeClaim" => {
            let bound = text(live, "/status/phase") == "Bound";
            let size = |object: &Value| object.pointer("/spec/resources/requests/storage").and_then(nano);
            let free: &[&str] = if bound { &["resources", "volumeName"] } else { &["volumeName"] };
            if without(live, free) != without(new, free) {
                let why = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
                causes.add("FieldValueForbidden", "spec", why);
            } else if size(new) < size(live) {
                let why = "Forbidden: field can not be less than status.capacity";
                causes.add("FieldValueForbidden", "spec.resources.requests.storage", why);
            }
        }
        "StorageClass" => {
            for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if live.get(field) != new.get(field) {
                    let why = format!("Forbidden: updates to {field} are forbidden.");
                    causes.add("FieldValueForbidden", field, why);
                }
            }
        }
        "Pod" if differs("/spec/containers") => pod_change(live, new, &mut causes),
        "ConfigMap" | "Secret" if live.get("immutable") == Some(&Value::Bool(true)) && differs("/data") => {
            causes.add(
                "FieldValueForbidden",
                "data",
                "Forbidden: field is immutable when `immutable` is set",
            );
        }
        _ => {}
    }
    causes.refusal(resource, new)
}

fn pod_change(live: &Value, new: &Value, causes: &mut Causes) {
    let without_images = |object: &Value| {
        let mut containers = object.pointer("/spec/containers").cloned().unwrap_or_default();
        for container in containers.as_array_mut().into_iter().flatten() {
            super::value::map(container).remove("image");
        }
        containers
    };
    if without_images(live) != without_images(new) {
        let why = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.add("FieldValueForbidden", "spec", why);
    }
}
