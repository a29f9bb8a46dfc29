//! The API server's audit log: who asked for what, and what of it could have written.

use serde_json::Value;
use std::collections::BTreeMap;

/// Every request of the people's users is logged, before it is carried out and after; the control plane's are not.
pub fn policy(silent: &[&str]) -> String {
    serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "rules": [
            {"level": "None", "users": silent},
            {"level": "Request", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "Metadata"},
        ],
    })
    .to_string()
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The user's name.
    pub user: String,
    /// `get`, `create`, `patch`, …
    pub verb: String,
    /// Plural with subresource (`pods/portforward`); empty for requests without a resource.
    pub resource: String,
    /// The object's namespace and name, as far as the request has them.
    pub object: String,
    /// Whether it asked for a dry run.
    pub dry: bool,
    /// Status code of the answer; 0 while there is none.
    pub code: u64,
}

impl Request {
    /// Whether it may stay open for long: a watch, a port-forward.
    pub fn lasts(&self) -> bool {
        self.verb == "watch" || self.resource == "pods/portforward"
    }

    /// Whether it may have written something: a mutating verb without a dry run, other than a review or a port-forward.
    pub fn writes(&self) -> bool {
        let mutating =
            ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str());
        let review = self.resource.ends_with("accessreviews") || self.resource.ends_with("rulesreviews");
        mutating && !self.dry && !review && self.resource != "pods/portforward"
    }
}

/// Reads the log; the two stages of a request become one entry, in the order in which the requests came.
pub fn read(log: &str) -> Vec<Request> {
    let mut order = Vec::new();
    let mut requests: BTreeMap<String, Request> = BTreeMap::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text("/auditID");
        let uri = text("/requestURI");
        let in_query =
            uri.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| pair == "dryRun=All"));
        let in_body =
            event.pointer("/requestObject/dryRun").is_some_and(|dry| dry == &serde_json::json!(["All"]));
        let (resource, subresource) = (text("/objectRef/resource"), text("/objectRef/subresource"));
        let request = Request {
            user: text("/user/username"),
            verb: text("/verb"),
            resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
            object: format!("{}/{}", text("/objectRef/namespace"), text("/objectRef/name")),
            dry: in_query || in_body,
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
        };
        if requests.insert(id.clone(), request).is_none() {
            order.push(id);
        }
    }
    order.iter().filter_map(|id| requests.remove(id)).collect()
}
