//! Kubernetes objects: references, kinds, paths, field ownership and rollout status.
//!
//! An object is a `serde_json::Value`; what its paths mean (which lists are keyed, which fields are noise) is said here.

pub mod fields;
pub mod kind;
pub mod path;
pub mod schema;
pub mod status;

use crate::text::Clean;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Names one object of a cluster: apiVersion, kind, namespace (absent for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `ConfigMap`, in the API's spelling.
    pub kind: String,
    /// The namespace, for namespaced kinds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl ObjectRef {
    /// A reference from its parts.
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// The reference of an object as the API returns it; `None` where apiVersion, kind or name is missing.
    pub fn of(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        Some(Self {
            api_version: object.get("apiVersion")?.as_str()?.to_owned(),
            kind: object.get("kind")?.as_str()?.to_owned(),
            namespace: metadata.get("namespace").and_then(Value::as_str).map(str::to_owned),
            name: metadata.get("name")?.as_str()?.to_owned(),
        })
    }

    /// The API group: empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The API version without its group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// `kind/name`, lower case kind, as kubectl writes it; safe for a terminal.
    pub fn short(&self) -> Clean {
        Clean::new(format!("{}/{}", self.kind.to_lowercase(), self.name))
    }
}

impl fmt::Display for ObjectRef {
    /// `configmap/name in namespace`, safe for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in {}", self.short(), Clean::new(namespace)),
            None => write!(f, "{}", self.short()),
        }
    }
}

/// `metadata.uid` of an object.
pub fn uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid").and_then(Value::as_str)
}

/// `metadata.resourceVersion` of an object.
pub fn resource_version(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
}
