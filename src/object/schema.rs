//! Which lists are associative and which maps are atomic, by position.
//!
//! The tables are those of Kubernetes 1.34 (client-go `applyconfigurations/internal/internal.go` at v0.34.4), for the
//! kinds of [`super::kind`]. A field's name alone says nothing: `ports` is keyed by containerPort in a container and by
//! port in a Service, `imagePullSecrets` is keyed in a pod and atomic in a ServiceAccount. A kind that is not in the
//! tables has only its metadata described; everything else in it is as the API server deduces it without a schema:
//! maps are granular, lists are atomic.

use super::path::{Path, Segment};

/// What a list is for server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Items are maps, told apart by these fields; each item can have its own owner.
    Map(&'static [&'static str]),
    /// Items are scalars, each of which can have its own owner; their order means nothing.
    Set,
    /// The list is one value with one owner.
    Atomic,
}

use ListKind::{Map, Set};

/// Keyed lists inside a PodSpec.
const POD_LISTS: &[(&str, ListKind)] = &[
    ("containers", Map(&["name"])),
    ("initContainers", Map(&["name"])),
    ("ephemeralContainers", Map(&["name"])),
    ("volumes", Map(&["name"])),
    ("imagePullSecrets", Map(&["name"])),
    ("resourceClaims", Map(&["name"])),
    ("schedulingGates", Map(&["name"])),
    ("hostAliases", Map(&["ip"])),
    ("topologySpreadConstraints", Map(&["topologyKey", "whenUnsatisfiable"])),
    ("resources.claims", Map(&["name"])),
    ("volumes.ephemeral.volumeClaimTemplate.metadata.finalizers", Set),
    ("volumes.ephemeral.volumeClaimTemplate.metadata.ownerReferences", Map(&["uid"])),
];

/// Keyed lists inside a container of any sort.
const CONTAINER_LISTS: &[(&str, ListKind)] = &[
    ("env", Map(&["name"])),
    ("ports", Map(&["containerPort", "protocol"])),
    ("volumeMounts", Map(&["mountPath"])),
    ("volumeDevices", Map(&["devicePath"])),
    ("resources.claims", Map(&["name"])),
];

/// Keyed lists of ObjectMeta.
const METADATA_LISTS: &[(&str, ListKind)] = &[("finalizers", Set), ("ownerReferences", Map(&["uid"]))];

/// Keyed lists of one kind, outside metadata and pod templates.
const KIND_LISTS: &[(&str, &str, ListKind)] = &[
    ("Service", "spec.ports", Map(&["port", "protocol"])),
    ("ServiceAccount", "secrets", Map(&["name"])),
    ("Node", "spec.podCIDRs", Set),
    ("Node", "status.addresses", Map(&["type"])),
    ("Pod", "status.podIPs", Map(&["ip"])),
    ("Pod", "status.resourceClaimStatuses", Map(&["name"])),
    ("Job", "status.uncountedTerminatedPods.failed", Set),
    ("Job", "status.uncountedTerminatedPods.succeeded", Set),
];

/// Kinds whose `status.conditions` is keyed by type. A Job's is atomic.
const CONDITIONS: &[&str] = &[
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Pod",
    "PersistentVolumeClaim",
    "Service",
    "Namespace",
    "Node",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
];

/// Atomic maps inside a PodSpec.
const POD_MAPS: &[&str] = &[
    "nodeSelector",
    "imagePullSecrets",
    "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
    "topologySpreadConstraints.labelSelector",
    "volumes.cephfs.secretRef",
    "volumes.cinder.secretRef",
    "volumes.csi.nodePublishSecretRef",
    "volumes.ephemeral.volumeClaimTemplate.metadata.ownerReferences",
    "volumes.ephemeral.volumeClaimTemplate.spec.dataSource",
    "volumes.ephemeral.volumeClaimTemplate.spec.selector",
    "volumes.flexVolume.secretRef",
    "volumes.iscsi.secretRef",
    "volumes.rbd.secretRef",
    "volumes.scaleIO.secretRef",
    "volumes.storageos.secretRef",
];

/// Atomic maps inside a container.
const CONTAINER_MAPS: &[&str] = &[
    "env.valueFrom.configMapKeyRef",
    "env.valueFrom.fieldRef",
    "env.valueFrom.fileKeyRef",
    "env.valueFrom.resourceFieldRef",
    "env.valueFrom.secretKeyRef",
];

/// Atomic maps of one kind, outside metadata and pod templates.
const KIND_MAPS: &[(&str, &str)] = &[
    ("Deployment", "spec.selector"),
    ("StatefulSet", "spec.selector"),
    ("DaemonSet", "spec.selector"),
    ("ReplicaSet", "spec.selector"),
    ("Job", "spec.selector"),
    ("CronJob", "spec.jobTemplate.spec.selector"),
    ("Service", "spec.selector"),
    ("ServiceAccount", "secrets"),
    ("ResourceQuota", "spec.scopeSelector"),
    ("PersistentVolumeClaim", "spec.dataSource"),
    ("PersistentVolumeClaim", "spec.selector"),
    ("PersistentVolume", "spec.cephfs.secretRef"),
    ("PersistentVolume", "spec.cinder.secretRef"),
    ("PersistentVolume", "spec.csi.controllerExpandSecretRef"),
    ("PersistentVolume", "spec.csi.controllerPublishSecretRef"),
    ("PersistentVolume", "spec.csi.nodeExpandSecretRef"),
    ("PersistentVolume", "spec.csi.nodePublishSecretRef"),
    ("PersistentVolume", "spec.csi.nodeStageSecretRef"),
    ("PersistentVolume", "spec.flexVolume.secretRef"),
    ("PersistentVolume", "spec.iscsi.secretRef"),
    ("PersistentVolume", "spec.nodeAffinity.required"),
    ("PersistentVolume", "spec.rbd.secretRef"),
    ("PersistentVolume", "spec.scaleIO.secretRef"),
    ("PersistentVolume", "spec.storageos.secretRef"),
    ("Event", "involvedObject"),
    ("Event", "related"),
    ("NetworkPolicy", "spec.podSelector"),
    ("PodDisruptionBudget", "spec.selector"),
    ("ClusterRoleBinding", "roleRef"),
    ("RoleBinding", "roleRef"),
    ("Ingress", "spec.defaultBackend.resource"),
    ("Ingress", "spec.defaultBackend.service.port"),
];

/// Where the pod template of a kind stands: its metadata and spec are below this path.
fn template(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "Pod" => Some(&[]),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => Some(&["spec", "template"]),
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// What the list at `path` of an object of this kind is. A position that is no list of the schema is atomic.
pub fn list_keys(kind: &str, path: &Path) -> ListKind {
    let fields = fields(path);
    let found = match place(kind, &fields) {
        Place::Metadata(rest) => lookup(METADATA_LISTS, rest),
        Place::PodSpec(rest) => lookup(POD_LISTS, rest),
        Place::Container(rest) => lookup(CONTAINER_LISTS, rest),
        Place::Other => {
            KIND_LISTS.iter().find(|row| row.0 == kind && is(row.1, &fields)).map(|row| row.2).or_else(|| {
                (fields == ["status", "conditions"] && CONDITIONS.contains(&kind)).then_some(Map(&["type"]))
            })
        }
    };
    found.unwrap_or(ListKind::Atomic)
}

/// Whether the map at `path` is one value with one owner. Items of a list are named by the list's path and their key.
pub fn is_atomic_map(kind: &str, path: &Path) -> bool {
    let fields = fields(path);
    match place(kind, &fields) {
        Place::Metadata(rest) => rest == ["ownerReferences"],
        Place::PodSpec(rest) => POD_MAPS.iter().any(|row| is(row, rest)),
        Place::Container(rest) => CONTAINER_MAPS.iter().any(|row| is(row, rest)),
        Place::Other => KIND_MAPS.iter().any(|row| row.0 == kind && is(row.1, &fields)),
    }
}

/// The value that the API server fills into a missing key field of a list item before it compares
/// (structured-merge-diff merge/default_keys_test.go).
pub fn default_key(field: &str) -> Option<&'static str> {
    (field == "protocol").then_some("TCP")
}

enum Place<'f, 'p> {
    Metadata(&'f [&'p str]),
    PodSpec(&'f [&'p str]),
    Container(&'f [&'p str]),
    Other,
}

fn place<'f, 'p>(kind: &str, fields: &'f [&'p str]) -> Place<'f, 'p> {
    if let [first, rest @ ..] = fields
        && *first == "metadata"
    {
        return Place::Metadata(rest);
    }
    if kind == "CronJob"
        && let Some([first, rest @ ..]) = fields.strip_prefix(&["spec", "jobTemplate"])
        && *first == "metadata"
    {
        return Place::Metadata(rest);
    }
    let Some(inside) = template(kind).and_then(|prefix| fields.strip_prefix(prefix)) else {
        return Place::Other;
    };
    match inside {
        ["metadata", rest @ ..] => Place::Metadata(rest),
        ["spec", "containers" | "initContainers" | "ephemeralContainers", rest @ ..] if !rest.is_empty() => {
            Place::Container(rest)
        }
        ["spec", rest @ ..] => Place::PodSpec(rest),
        _ => Place::Other,
    }
}

/// The field names of a path; items of lists add none, because which positions are lists is fixed.
fn fields(path: &Path) -> Vec<&str> {
    path.0
        .iter()
        .filter_map(|segment| match segment {
            Segment::Field(name) => Some(name.as_str()),
            Segment::Index(_) | Segment::Key(_) | Segment::Item(_) => None,
        })
        .collect()
}

fn is(pattern: &str, fields: &[&str]) -> bool {
    pattern.split('.').eq(fields.iter().copied())
}

fn lookup(table: &[(&str, ListKind)], fields: &[&str]) -> Option<ListKind> {
    table.iter().find(|row| is(row.0, fields)).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, path: &str) -> ListKind {
        list_keys(kind, &Path::parse(path).unwrap())
    }

    #[test]
    fn the_position_decides_and_not_the_name() {
        assert_eq!(of("Deployment", "spec.template.spec.containers"), Map(&["name"]));
        assert_eq!(
            of("CronJob", "spec.jobTemplate.spec.template.spec.containers[name=a].ports"),
            Map(&["containerPort", "protocol"])
        );
        assert_eq!(of("Pod", "spec.initContainers[name=a].env"), Map(&["name"]));
        assert_eq!(of("Pod", "spec.containers[name=a].resources.claims"), Map(&["name"]));
        assert_eq!(of("Service", "spec.ports"), Map(&["port", "protocol"]));
        assert_eq!(of("ServiceAccount", "secrets"), Map(&["name"]));
        assert_eq!(of("ServiceAccount", "imagePullSecrets"), ListKind::Atomic);
        assert_eq!(of("Pod", "spec.imagePullSecrets"), Map(&["name"]));
        assert_eq!(of("Widget", "metadata.finalizers"), Set);
        assert_eq!(of("Widget", "spec.containers"), ListKind::Atomic);
        assert_eq!(of("StatefulSet", "spec.volumeClaimTemplates"), ListKind::Atomic);
        assert_eq!(of("StatefulSet", "spec.volumeClaimTemplates[0].metadata.finalizers"), ListKind::Atomic);
        assert_eq!(of("Pod", "spec.tolerations"), ListKind::Atomic);
        assert_eq!(of("Pod", "spec.containers[name=a].args"), ListKind::Atomic);
        assert_eq!(of("Job", "status.conditions"), ListKind::Atomic);
        assert_eq!(of("Deployment", "status.conditions"), Map(&["type"]));
        assert_eq!(of("ConfigMap", "metadata.ownerReferences"), Map(&["uid"]));
    }

    #[test]
    fn atomic_maps_are_known_by_position_too() {
        let atomic = |kind: &str, path: &str| is_atomic_map(kind, &Path::parse(path).unwrap());
        assert!(atomic("Service", "spec.selector"));
        assert!(atomic("Deployment", "spec.selector"));
        assert!(atomic(
            "Deployment",
            "spec.template.spec.containers[name=a].env[name=X].valueFrom.secretKeyRef"
        ));
        assert!(atomic("Pod", "spec.imagePullSecrets[name=a]"));
        assert!(atomic("Pod", "spec.nodeSelector"));
        assert!(!atomic("Deployment", "spec.template.spec.containers[name=a].resources.limits"));
        assert!(!atomic("Widget", "spec.selector"));
    }
}
