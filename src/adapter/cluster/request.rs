//! Requests as the API server wants them: paths, queries, bodies.

use crate::object::ObjectRef;
use crate::object::kind::Kind;
use crate::port::{ClusterError, ClusterResult, Selection};
use crate::text::Clean;
use http::Method;
use serde_json::Value;

/// What may be done again when it is not known how a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing: a read, a review, a dry run. It may be sent again after any failure.
    None,
    /// It changes something: it is sent again only when the server said that it did not take it, or when no byte of it
    /// can have left.
    Change,
}

/// One request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// HTTP method.
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) uri: String,
    /// Type of the body; there is no body without.
    pub(super) content_type: Option<&'static str>,
    /// The body.
    pub(super) body: Vec<u8>,
    /// Whether it changes anything.
    pub(super) effect: Effect,
}

/// JSON.
pub(super) const JSON: &str = "application/json";
/// Server-side apply; the API server takes JSON as the YAML that it is.
pub(super) const APPLY: &str = "application/apply-patch+yaml";
/// RFC 6902.
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

impl Ask {
    /// A GET.
    pub(super) fn read(uri: String) -> Self {
        Self { method: Method::GET, uri, content_type: None, body: Vec::new(), effect: Effect::None }
    }

    /// A request with a JSON body.
    pub(super) fn with_body(
        method: Method,
        uri: String,
        content_type: &'static str,
        body: &Value,
        effect: Effect,
    ) -> Self {
        Self { method, uri, content_type: Some(content_type), body: body.to_string().into_bytes(), effect }
    }
}

/// The path of one object of a kind.
///
/// # Errors
/// [`ClusterError::Invalid`] when the reference and the kind do not agree on a namespace, or when the name cannot be
/// part of a path (`ValidatePathSegmentName`, apimachinery pkg/api/validation/path/name.go).
pub(super) fn object_path(kind: &Kind, object: &ObjectRef) -> ClusterResult<String> {
    let collection = collection_path(kind, object.namespace.as_deref(), &object.to_string())?;
    if kind.namespaced && object.namespace.is_none() {
        return Err(invalid(format!("{object} names no namespace, and {} live in one", kind.plural)));
    }
    Ok(format!("{collection}/{}", segment(&object.name, "name")?))
}

/// The path of all objects of a kind, in one namespace if one is given. `subject` is for the error.
pub(super) fn collection_path(kind: &Kind, namespace: Option<&str>, subject: &str) -> ClusterResult<String> {
    let root = group_version_path(&kind.group, &kind.version);
    match namespace {
        None => Ok(format!("{root}/{}", kind.plural)),
        Some(namespace) if kind.namespaced => {
            Ok(format!("{root}/namespaces/{}/{}", segment(namespace, "namespace")?, kind.plural))
        }
        Some(_) => Err(invalid(format!("{subject} names a namespace, and {} live in none", kind.plural))),
    }
}

/// The path that a selection lists or watches, with its query.
pub(super) fn selection_uri(
    kind: &Kind,
    selection: &Selection,
    more: &[(&str, &str)],
) -> ClusterResult<String> {
    let path = collection_path(kind, selection.namespace.as_deref(), &kind.kind.to_lowercase())?;
    let mut query = Vec::with_capacity(more.len() + 2);
    if !selection.labels.is_empty() {
        query.push(("labelSelector", selection.labels.as_str()));
    }
    if !selection.fields.is_empty() {
        query.push(("fieldSelector", selection.fields.as_str()));
    }
    query.extend_from_slice(more);
    Ok(with_query(path, &query))
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn group_version_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{}", encoded(version))
    } else {
        format!("/apis/{}/{}", encoded(group), encoded(version))
    }
}

/// Adds a query.
pub(super) fn with_query(path: String, query: &[(&str, &str)]) -> String {
    query.iter().fold(path, |uri, (name, value)| {
        let separator = if uri.contains('?') { '&' } else { '?' };
        format!("{uri}{separator}{name}={}", encoded(value))
    })
}

/// One segment of a path.
pub(super) fn segment(name: &str, what: &str) -> ClusterResult<String> {
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '%']) {
        return Err(invalid(format!(
            "{:?} is not a {what} that the API server can take",
            Clean::new(name).as_str()
        )));
    }
    Ok(encoded(name))
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(super) fn invalid(text: impl AsRef<str>) -> ClusterError {
    ClusterError::Invalid(Clean::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind::known;

    fn path(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> String {
        let found = known(api_version, kind).unwrap();
        match object_path(&found, &ObjectRef::new(api_version, kind, namespace, name)) {
            Ok(path) => path,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_of_objects() {
        assert_eq!(path("v1", "ConfigMap", Some("a"), "b"), "/api/v1/namespaces/a/configmaps/b");
        assert_eq!(path("apps/v1", "Deployment", Some("a"), "b"), "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(path("v1", "Namespace", None, "a"), "/api/v1/namespaces/a");
        assert_eq!(
            path("rbac.authorization.k8s.io/v1", "ClusterRole", None, "system:a b"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%20b"
        );
    }

    #[test]
    fn references_that_reach_elsewhere_are_refused() {
        assert_eq!(
            path("v1", "ConfigMap", None, "b"),
            "refused: configmap/b names no namespace, and configmaps live in one"
        );
        assert_eq!(
            path("v1", "Namespace", Some("x"), "a"),
            "refused: namespace/a in x names a namespace, and namespaces live in none"
        );
        for name in ["", ".", "..", "../secrets/a", "a%2fb"] {
            let said = path("v1", "ConfigMap", Some("a"), name);
            assert!(said.starts_with("refused: "), "{said}");
            let said = path("v1", "ConfigMap", Some(name), "a");
            assert!(said.starts_with("refused: "), "{said}");
        }
    }

    #[test]
    fn selectors_are_encoded() {
        let selection = Selection {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some("a".into()),
            labels: "app=x,tier in (a, b)".into(),
            fields: "metadata.name=y".into(),
        };
        let uri = selection_uri(&known("v1", "Pod").unwrap(), &selection, &[("watch", "true")]).unwrap();
        assert_eq!(
            uri,
            "/api/v1/namespaces/a/pods?labelSelector=app%3Dx%2Ctier%20in%20%28a%2C%20b%29&fieldSelector=metadata.name%3Dy&watch=true"
        );
    }
}
