//! What the cluster holds before the rollout: namespaces, storage, Loki with its Grafana datasource, the application.
//!
//! Terraform made all of it, so the fields belong to the manager `Terraform` (operation Update).

use crate::api::Api;
use anyhow::Result;
use serde_json::{Value, json};

/// Loki's configuration: a single binary on a volume of its own, reached on port 3100.
const LOKI: &str = "\
auth_enabled: false
server:
  http_listen_address: 0.0.0.0
  http_listen_port: 3100
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: 9096
  log_level: warn
common:
  instance_addr: 127.0.0.1
  path_prefix: /var/loki
  replication_factor: 1
  storage:
    filesystem:
      chunks_directory: /var/loki/chunks
      rules_directory: /var/loki/rules
  ring:
    kvstore:
      store: inmemory
ingester:
  lifecycler:
    # Ready at once: there is nobody to hand over from.
    min_ready_duration: 0s
schema_config:
  configs:
    - from: 2024-01-01
      store: tsdb
      object_store: filesystem
      schema: v13
      index:
        prefix: index_
        period: 24h
limits_config:
  retention_period: 720h
analytics:
  reporting_enabled: false
";

/// The Loki datasource as Grafana's sidecar finds it: without a uid, with a derived field of its own.
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

/// Creates everything, as Terraform.
pub async fn plant(terraform: &Api) -> Result<()> {
    for (collection, object) in objects() {
        terraform.create(collection, "Terraform", &object).await?;
    }
    Ok(())
}

fn objects() -> Vec<(&'static str, Value)> {
    let namespaces = "/api/v1/namespaces";
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut all = vec![(namespaces, namespace("monitoring")), (namespaces, namespace("tripit"))];
    all.push((
        "/apis/storage.k8s.io/v1/storageclasses",
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "proxmox-lvm"},
            "provisioner": "csi.proxmox.sinextra.dev", "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
        }),
    ));
    // No provisioner runs here: the volumes are there beforehand.
    for (name, size) in
        [("volume-1", "20Gi"), ("volume-2", "20Gi"), ("volume-3", "20Gi"), ("volume-4", "5Gi")]
    {
        all.push((
            "/api/v1/persistentvolumes",
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "proxmox-lvm",
                    "hostPath": {"path": format!("/var/lib/volumes/{name}")},
                },
            }),
        ));
    }
    all.extend(loki());
    all.push((
        "/api/v1/namespaces/monitoring/configmaps",
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "grafana-loki-datasource", "labels": {"grafana_datasource": "1"}},
            "data": {"loki-datasource.yaml": LOKI_DATASOURCE},
        }),
    ));
    all.push((
        "/apis/apps/v1/namespaces/tripit/deployments",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "tripit", "labels": {"app": "tripit"}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "tripit"}},
                "template": {
                    "metadata": {"labels": {"app": "tripit"}},
                    "spec": {"containers": [{
                        "name": "tripit", "image": "registry.example.com/tripit:1.4.2",
                        "env": [{"name": "PORT", "value": "8080"}, {"name": "DATABASE_HOST", "value": "db.tripit"}],
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    }]},
                },
            },
        }),
    ));
    all
}

fn loki() -> Vec<(&'static str, Value)> {
    let labels = json!({"app.kubernetes.io/name": "loki"});
    vec![
        (
            "/api/v1/namespaces/monitoring/configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loki"}, "data": {"loki.yaml": LOKI},
            }),
        ),
        (
            "/api/v1/namespaces/monitoring/services",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "loki", "labels": labels},
                "spec": {"selector": labels, "ports": [{"name": "http-metrics", "port": 3100, "targetPort": "http"}]},
            }),
        ),
        (
            "/apis/apps/v1/namespaces/monitoring/statefulsets",
            json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "loki", "labels": labels},
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
                                    {"name": "config", "mountPath": "/etc/loki"},
                                    {"name": "storage", "mountPath": "/var/loki"},
                                ],
                            }],
                            "volumes": [
                                {"name": "config", "configMap": {"name": "loki"}},
                                {"name": "storage", "emptyDir": {}},
                            ],
                        },
                    },
                },
            }),
        ),
    ]
}
