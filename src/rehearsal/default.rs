//! Defaults, as the real API server fills them in (1.34; `pkg/apis/*/v1/defaults.go`, compared with what it answers).

use super::quantity::canonical;
use super::resource::Resource;
use super::value::{default, items_mut, map, member};
use serde_json::{Map, Value, json};

/// Fills in the defaults of an object, and writes quantities in their canonical form.
pub fn fill(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Deployment" => deployment(object),
        "ReplicaSet" => {
            let spec = member(object, "spec");
            default(spec, "replicas", 1);
            template(spec);
        }
        "StatefulSet" => stateful_set(object),
        "Pod" => pod(object),
        "Service" => service(object),
        "PersistentVolumeClaim" => claim(object),
        "PersistentVolume" => {
            let spec = member(object, "spec");
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
            if let Some(path) = spec.get_mut("hostPath") {
                default(map(path), "type", "");
            }
            quantities(spec.get_mut("capacity"));
        }
        "StorageClass" => {
            let class = map(object);
            default(class, "reclaimPolicy", "Delete");
            default(class, "volumeBindingMode", "Immediate");
        }
        "Secret" => secret(object),
        "Namespace" => {
            let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
            let labels = map(member(object, "metadata").entry("labels").or_insert_with(|| json!({})));
            labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        }
        "LimitRange" => limit_range(object),
        "ResourceQuota" => quantities(member(object, "spec").get_mut("hard")),
        "NetworkPolicy" => {
            let spec = member(object, "spec");
            let mut types = vec!["Ingress"];
            if spec.get("egress").is_some_and(|egress| egress.as_array().is_some_and(|all| !all.is_empty())) {
                types.push("Egress");
            }
            default(spec, "policyTypes", types);
        }
        _ => {}
    }
}

fn deployment(object: &mut Value) {
    let spec = member(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    let strategy = map(spec.entry("strategy").or_insert(Value::Null));
    default(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        default(strategy, "rollingUpdate", json!({}));
        let rolling = map(strategy.entry("rollingUpdate").or_insert(Value::Null));
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    template(spec);
}

fn stateful_set(object: &mut Value) {
    let spec = member(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "updateStrategy", json!({}));
    let strategy = map(spec.entry("updateStrategy").or_insert(Value::Null));
    default(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        default(strategy, "rollingUpdate", json!({}));
        default(map(strategy.entry("rollingUpdate").or_insert(Value::Null)), "partition", 0);
    }
    default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    let retention = map(spec.entry("persistentVolumeClaimRetentionPolicy").or_insert(Value::Null));
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    template(spec);
    for claim in items_mut(spec, "volumeClaimTemplates") {
        let fields = map(claim);
        default(fields, "apiVersion", "v1");
        default(fields, "kind", "PersistentVolumeClaim");
        self::claim(claim);
        map(claim).insert("status".to_owned(), json!({"phase": "Pending"}));
    }
}

fn claim(object: &mut Value) {
    let spec = member(object, "spec");
    default(spec, "volumeMode", "Filesystem");
    if let Some(resources) = spec.get_mut("resources") {
        resources_of(resources);
    }
}

fn resources_of(resources: &mut Value) {
    quantities(resources.get_mut("requests"));
    quantities(resources.get_mut("limits"));
}

fn template(spec: &mut Map<String, Value>) {
    let template = spec.entry("template").or_insert_with(|| json!({}));
    member(template, "metadata");
    pod_spec(member(template, "spec"));
}

fn pod(object: &mut Value) {
    let spec = member(object, "spec");
    for container in ["initContainers", "containers"]
        .into_iter()
        .flat_map(|name| {
            // Two lists of one map: each is taken out while it is changed.
            spec.get(name)
                .and_then(Value::as_array)
                .map_or(0..0, |all| 0..all.len())
                .map(move |at| (name, at))
        })
        .collect::<Vec<_>>()
    {
        let (name, at) = container;
        let Some(container) = spec.get_mut(name).and_then(|all| all.get_mut(at)) else { continue };
        let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
        if let Some(limits) = limits.filter(|limits| !limits.is_empty()) {
            let requests = map(member(container, "resources").entry("requests").or_insert(Value::Null));
            for (resource, limit) in limits {
                default(requests, &resource, limit);
            }
        }
    }
    default(spec, "enableServiceLinks", true);
    pod_spec(spec);
}

fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    // The older name of the same field; either fills the other.
    match (spec.get("serviceAccountName").cloned(), spec.get("serviceAccount").cloned()) {
        (Some(name), _) if !name.is_null() => {
            spec.insert("serviceAccount".to_owned(), name);
        }
        (_, Some(name)) if !name.is_null() => {
            spec.insert("serviceAccountName".to_owned(), name);
        }
        _ => {}
    }
    for name in ["initContainers", "containers"] {
        for one in items_mut(spec, name) {
            container(one);
        }
    }
    for volume in items_mut(spec, "volumes") {
        let fields = map(volume);
        if fields.iter().all(|(name, source)| name == "name" || source.is_null()) {
            fields.insert("emptyDir".to_owned(), json!({}));
        }
        for (source, mode) in [("configMap", 420), ("secret", 420), ("projected", 420), ("downwardAPI", 420)]
        {
            if let Some(source) = fields.get_mut(source).filter(|source| source.is_object()) {
                default(map(source), "defaultMode", mode);
            }
        }
        if let Some(path) = fields.get_mut("hostPath").filter(|path| path.is_object()) {
            default(map(path), "type", "");
        }
    }
}

fn container(container: &mut Value) {
    let fields = map(container);
    let image = fields.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    default(fields, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    default(fields, "terminationMessagePath", "/dev/termination-log");
    default(fields, "terminationMessagePolicy", "File");
    default(fields, "resources", json!({}));
    if let Some(resources) = fields.get_mut("resources") {
        resources_of(resources);
    }
    for port in items_mut(fields, "ports") {
        default(map(port), "protocol", "TCP");
    }
    for variable in items_mut(fields, "env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            default(map(field), "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = fields.get_mut(probe).filter(|probe| probe.is_object()) else { continue };
        let probe = map(probe);
        default(probe, "timeoutSeconds", 1);
        default(probe, "periodSeconds", 10);
        default(probe, "successThreshold", 1);
        default(probe, "failureThreshold", 3);
        if let Some(get) = probe.get_mut("httpGet").filter(|get| get.is_object()) {
            default(map(get), "path", "/");
            default(map(get), "scheme", "HTTP");
        }
    }
}

fn service(object: &mut Value) {
    let spec = member(object, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    for port in items_mut(spec, "ports") {
        let fields = map(port);
        default(fields, "protocol", "TCP");
        let number = fields.get("port").cloned().unwrap_or_default();
        default(fields, "targetPort", number);
    }
}

fn secret(object: &mut Value) {
    let fields = map(object);
    default(fields, "type", "Opaque");
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return };
    let data = map(fields.entry("data").or_insert_with(|| json!({})));
    for (name, text) in plain {
        use base64::Engine as _;
        let text = text.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        data.insert(name, Value::from(encoded));
    }
}

fn limit_range(object: &mut Value) {
    for limit in items_mut(member(object, "spec"), "limits") {
        let fields = map(limit);
        for name in ["max", "min", "default", "defaultRequest"] {
            quantities(fields.get_mut(name));
        }
        if fields.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        // pkg/apis/core/v1/defaults.go, SetDefaults_LimitRangeItem.
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let Some(Value::Object(from)) = fields.get(from).cloned() else { continue };
            let to = map(fields.entry(to).or_insert_with(|| json!({})));
            for (resource, quantity) in from {
                default(to, &resource, quantity);
            }
        }
    }
}

fn quantities(map: Option<&mut Value>) {
    for value in map.and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
        if let Some(canonical) = canonical(value) {
            *value = Value::from(canonical);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_as_the_real_server_fills_it_in() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{
                "name": "a", "image": "x", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"memory": "1024Mi", "cpu": "0.5"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }],
            "volumes": [{"name": "e"}, {"name": "p", "persistentVolumeClaim": {"claimName": "x"}}],
        }});
        fill(Resource::of("", "v1", "pods").unwrap(), &mut pod);
        assert_eq!(
            pod["spec"],
            json!({
                "volumes": [{"name": "e", "emptyDir": {}}, {"name": "p", "persistentVolumeClaim": {"claimName": "x"}}],
                "containers": [{
                    "name": "a", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "imagePullPolicy": "Always",
                }],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
            })
        );
    }

    #[test]
    fn a_tag_decides_when_an_image_is_pulled() {
        for (image, policy) in [
            ("x", "Always"),
            ("registry:5000/x", "Always"),
            ("x:latest", "Always"),
            ("registry:5000/x:1", "IfNotPresent"),
            ("x@sha256:00", "IfNotPresent"),
        ] {
            let mut one = json!({"name": "a", "image": image});
            container(&mut one);
            assert_eq!(one["imagePullPolicy"], policy, "{image}");
        }
    }
}
