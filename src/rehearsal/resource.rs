//! The kinds that the simulated API server serves.

use crate::object::kind::Kind;

/// One served resource.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// API group, empty for core.
    pub group: &'static str,
    /// Plural as it stands in URLs.
    pub plural: &'static str,
    /// API version without its group.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Names that kubectl takes for it.
    pub short: &'static [&'static str],
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
    /// Whether it has the subresource status.
    pub status: bool,
    /// Whether it has the subresource scale.
    pub scale: bool,
    /// Whether `metadata.generation` counts the changes of its specification.
    pub generation: bool,
}

const fn namespaced(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
) -> Resource {
    Resource {
        group,
        plural,
        version: "v1",
        kind,
        short,
        namespaced: true,
        status: false,
        scale: false,
        generation: false,
    }
}

impl Resource {
    const fn global(self) -> Self {
        Self { namespaced: false, ..self }
    }

    const fn status(self) -> Self {
        Self { status: true, ..self }
    }

    const fn workload(self) -> Self {
        Self { status: true, scale: true, generation: true, ..self }
    }

    const fn generation(self) -> Self {
        Self { generation: true, ..self }
    }
}

/// Every served resource.
pub static RESOURCES: &[Resource] = &[
    namespaced("", "namespaces", "Namespace", &["ns"]).global().status(),
    namespaced("", "nodes", "Node", &["no"]).global().status(),
    namespaced("", "persistentvolumes", "PersistentVolume", &["pv"]).global().status(),
    namespaced("", "configmaps", "ConfigMap", &["cm"]),
    namespaced("", "events", "Event", &["ev"]),
    namespaced("", "limitranges", "LimitRange", &["limits"]),
    namespaced("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"]).status(),
    namespaced("", "pods", "Pod", &["po"]).status().generation(),
    namespaced("", "resourcequotas", "ResourceQuota", &["quota"]).status(),
    namespaced("", "secrets", "Secret", &[]),
    namespaced("", "serviceaccounts", "ServiceAccount", &["sa"]),
    namespaced("", "services", "Service", &["svc"]).status(),
    namespaced("apps", "deployments", "Deployment", &["deploy"]).workload(),
    namespaced("apps", "replicasets", "ReplicaSet", &["rs"]).workload(),
    namespaced("apps", "statefulsets", "StatefulSet", &["sts"]).workload(),
    namespaced("coordination.k8s.io", "leases", "Lease", &[]),
    namespaced("networking.k8s.io", "ingresses", "Ingress", &["ing"]).status().generation(),
    namespaced("networking.k8s.io", "networkpolicies", "NetworkPolicy", &["netpol"]).generation(),
    namespaced("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", &[]).global(),
    namespaced("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", &[]).global(),
    namespaced("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", &[]),
    namespaced("rbac.authorization.k8s.io", "roles", "Role", &[]),
    namespaced("storage.k8s.io", "storageclasses", "StorageClass", &["sc"]).global(),
];

impl Resource {
    /// The resource of a URL.
    pub fn of(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| one.group == group && one.version == version && one.plural == plural)
    }

    /// The resource of a kind.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<&'static Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        RESOURCES.iter().find(|one| one.group == group && one.version == version && one.kind == kind)
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// As the API server names it in messages: `configmaps`, `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// As the API server names the kind in messages of invalid objects: `ConfigMap`, `Deployment.apps`.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// As the schema knows it.
    pub fn kind(&self) -> Kind {
        Kind {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            namespaced: self.namespaced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind::known;

    #[test]
    fn the_engine_and_the_server_agree_on_every_kind() {
        for resource in RESOURCES {
            assert_eq!(known(&resource.api_version(), resource.kind), Some(resource.kind()));
        }
    }
}
