//! What the cluster holds before the rollout: namespaces, storage, Loki with its Grafana data source, the application.
//!
//! Terraform made all of it, so the fields belong to the manager `Terraform` (operation Update).

use super::fault::Faults;
use super::registry::{self, Write};
use super::resource::Resource;
use super::store::{Key, Store};
use super::value::text;
use serde_json::{Value, json};

/// The Loki data source as Grafana's sidecar finds it: without a uid, with a derived field of its own.
const LOKI_DATASOURCE: &str = "\
apiVersion: 1
datasources:
  - name: Loki
    type: loki
    access: proxy
    url: http://loki.monitoring.svc:3100
    isDefault: false
    jsonData:
      maxLines: 1000
      derivedFields:
        - name: request_id
          matcherRegex: 'request_id=(\\w+)'
          url: 'https://requests.example.com/$${__value.raw}'
";

/// Creates everything.
pub fn plant(store: &mut Store, faults: &Faults, time: &str) {
    for object in objects(faults) {
        let Some(resource) = Resource::of_kind(text(&object, "/apiVersion"), text(&object, "/kind")) else {
            continue;
        };
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let write = Write::controller(&Key::new(resource, &namespace, ""), None, "Terraform", time);
        let done = registry::create(store, &write, object);
        debug_assert!(done.is_ok(), "{done:?}");
    }
}

fn objects(faults: &Faults) -> Vec<Value> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut all: Vec<Value> =
        ["kube-system", "default", "monitoring", "tripit"].into_iter().map(namespace).collect();
    for name in ["default", "monitoring", "tripit"] {
        all.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}));
    }
    all.push(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
            }],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.11"}],
            "nodeInfo": {"kubeletVersion": super::api::VERSION},
        },
    }));
    all.push(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "proxmox-lvm"},
        "provisioner": "csi.proxmox.sinextra.dev", "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
    }));
    // Containers that say nothing get little; the limit is in the way of nobody who says what it needs.
    all.push(json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults", "namespace": "monitoring"},
        "spec": {"limits": [{
            "type": "Container", "default": {"memory": "128Mi"}, "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
        }]},
    }));
    if faults.on("limit-range") {
        all.push(json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "ceiling", "namespace": "monitoring"},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "512Mi"}}]},
        }));
    }
    if faults.on("quota") {
        // Loki has one pod, Tempo gets one, and the Collector finds no room.
        all.push(json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": "monitoring"},
            "spec": {"hard": {"pods": "2"}},
        }));
    }
    all.extend(loki());
    all.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "grafana-loki-datasource", "namespace": "monitoring", "labels": {"grafana_datasource": "1"},
        },
        "data": {"loki-datasource.yaml": LOKI_DATASOURCE},
    }));
    all.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "tripit", "namespace": "tripit", "labels": {"app": "tripit"}},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "tripit"}},
            "template": {
                "metadata": {"labels": {"app": "tripit"}},
                "spec": {"containers": [{
                    "name": "tripit", "image": "registry.example.com/tripit:1.4.2",
                    "env": [{"name": "PORT", "value": "8080"}, {"name": "DATABASE_HOST", "value": "db.tripit"}],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                }]},
            },
        },
    }));
    all
}

fn loki() -> Vec<Value> {
    let labels = json!({"app.kubernetes.io/name": "loki"});
    vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loki", "namespace": "monitoring"},
            "data": {"loki.yaml": "auth_enabled: false\nserver:\n  http_listen_port: 3100\n"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "loki", "namespace": "monitoring", "labels": labels},
            "spec": {"selector": labels, "ports": [{"name": "http-metrics", "port": 3100, "targetPort": "http"}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "loki", "namespace": "monitoring", "labels": labels},
            "spec": {
                "replicas": 1, "serviceName": "loki", "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [{
                            "name": "loki", "image": "docker.io/grafana/loki:3.7.8",
                            "args": ["-config.file=/etc/loki/loki.yaml"],
                            "ports": [{"name": "http", "containerPort": 3100}],
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                            "volumeMounts": [
                                {"name": "config", "mountPath": "/etc/loki"}, {"name": "storage", "mountPath": "/var/loki"},
                            ],
                        }],
                        "volumes": [
                            {"name": "config", "configMap": {"name": "loki"}}, {"name": "storage", "emptyDir": {}},
                        ],
                    },
                },
            },
        }),
    ]
}
