//! The kinds that firstlight knows without asking: plural, scope, and their place in the order of creation.

/// One kind of the API, as far as a rollout needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for core.
    pub group: String,
    /// API version without its group.
    pub version: String,
    /// Kind in the API's spelling.
    pub kind: String,
    /// Plural as it stands in URLs.
    pub plural: String,
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
}

/// `(group, version, kind, plural, namespaced, order)`, in the order of creation (Helm's InstallOrder, shortened:
/// helm/helm pkg/release/v1/util/kind_sorter.go).
const KINDS: &[(&str, &str, &str, &str, bool, u8)] = &[
    ("", "v1", "Namespace", "namespaces", false, 0),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true, 1),
    ("", "v1", "ResourceQuota", "resourcequotas", true, 1),
    ("", "v1", "LimitRange", "limitranges", true, 1),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true, 1),
    ("", "v1", "ServiceAccount", "serviceaccounts", true, 2),
    ("", "v1", "Secret", "secrets", true, 2),
    ("", "v1", "ConfigMap", "configmaps", true, 2),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", false, 3),
    ("", "v1", "PersistentVolume", "persistentvolumes", false, 3),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true, 4),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false, 4),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false, 5),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false, 5),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", true, 5),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true, 5),
    ("", "v1", "Service", "services", true, 6),
    ("apps", "v1", "DaemonSet", "daemonsets", true, 7),
    ("", "v1", "Pod", "pods", true, 7),
    ("apps", "v1", "ReplicaSet", "replicasets", true, 7),
    ("apps", "v1", "Deployment", "deployments", true, 7),
    ("apps", "v1", "StatefulSet", "statefulsets", true, 7),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true, 8),
    ("batch", "v1", "Job", "jobs", true, 8),
    ("batch", "v1", "CronJob", "cronjobs", true, 8),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", false, 9),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", true, 9),
    ("coordination.k8s.io", "v1", "Lease", "leases", true, 9),
    ("", "v1", "Event", "events", true, 9),
    ("", "v1", "Node", "nodes", false, 9),
];

/// The kind with this apiVersion and kind, if firstlight knows it.
pub fn known(api_version: &str, kind: &str) -> Option<Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KINDS.iter().find(|row| row.0 == group && row.1 == version && row.2 == kind).map(|row| Kind {
        group: row.0.to_owned(),
        version: row.1.to_owned(),
        kind: row.2.to_owned(),
        plural: row.3.to_owned(),
        namespaced: row.4,
    })
}

/// Place in the order of creation: objects of a lower number are created first and deleted last; unknown kinds come last.
pub fn order(kind: &str) -> u8 {
    KINDS.iter().find(|row| row.2 == kind).map_or(10, |row| row.5)
}

/// Kinds whose deletion destroys data or everything inside: undo keeps them unless they are named.
pub fn holds_data(kind: &str) -> bool {
    matches!(kind, "PersistentVolumeClaim" | "PersistentVolume" | "Namespace" | "CustomResourceDefinition")
}
