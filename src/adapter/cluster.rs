//! The API server, over kube's client.
//!
//! Objects are `serde_json::Value`s and paths are built here, so one code serves every kind. Only the kinds that a plan
//! names are looked up: the common ones are known ([`crate::object::kind`]), any other costs one discovery request of
//! its group. There is no limit on requests on this side; the server has its own (API priority and fairness) and says
//! so with 429.

mod request;
mod send;
mod status;
mod watch;

use crate::adapter::boundary::boundary;
use crate::object::ObjectRef;
use crate::object::kind::{Kind, known};
use crate::port::{
    Access, Cluster, ClusterError, ClusterIdentity, ClusterResult, Entropy, Selection, WatchEvent,
};
use crate::text::Clean;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use hyper::body::Bytes;
use kube::Client;
use request::{APPLY, Ask, Effect, JSON, JSON_PATCH, invalid, object_path, selection_uri, with_query};
use send::{Failure, Patience};

pub(super) use send::root_cause;
use serde_json::{Value, json};
use status::Refusal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the first answer of all may take.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// The longest log that is read; what is longer loses its end.
const LOG_LIMIT: &str = "4194304";

/// One API server with one set of credentials.
#[derive(Clone)]
pub struct KubeCluster {
    connected: Arc<Connected>,
}

/// What requests and watches share.
struct Connected {
    client: Client,
    context: Clean,
    server: Clean,
    entropy: Arc<dyn Entropy>,
    patience: Patience,
    /// Kinds by apiVersion, as discovery told them.
    kinds: Mutex<BTreeMap<String, Vec<Kind>>>,
}

impl KubeCluster {
    /// A cluster behind a client. `context` and `server` are for the identity only.
    pub fn new(client: Client, context: Clean, server: Clean, entropy: Arc<dyn Entropy>) -> Self {
        Self::with_patience(client, context, server, entropy, Patience::default())
    }

    fn with_patience(
        client: Client,
        context: Clean,
        server: Clean,
        entropy: Arc<dyn Entropy>,
        patience: Patience,
    ) -> Self {
        let kinds = Mutex::new(BTreeMap::new());
        Self { connected: Arc::new(Connected { client, context, server, entropy, patience, kinds }) }
    }

    async fn write(
        &self,
        object: &ObjectRef,
        write: Write,
        body: &Value,
        query: &[(&str, &str)],
        dry: bool,
    ) -> ClusterResult<Value> {
        let connected = &self.connected;
        let kind = connected.kind(&object.api_version, &object.kind).await?;
        let path = match write.on {
            On::Object => object_path(&kind, object)?,
            On::Collection => {
                // The server takes the name of a POST from the body: it must be the one that is meant.
                if body.pointer("/metadata/name").and_then(Value::as_str) != Some(object.name.as_str()) {
                    return Err(invalid(format!(
                        "the object to create is not {object}: its name is another"
                    )));
                }
                object_path(&kind, object)?;
                request::collection_path(&kind, object.namespace.as_deref(), &object.to_string())?
            }
        };
        let mut query = query.to_vec();
        if dry {
            query.push(("dryRun", "All"));
        }
        let effect = if dry { Effect::None } else { Effect::Change };
        let ask = Ask::with_body(write.method, with_query(path, &query), write.content_type, body, effect);
        if !dry {
            boundary().await;
        }
        let answer = connected.send(&ask).await;
        if !dry {
            // Answered, and nobody has been told: what a crash here leaves is an effect without an outcome.
            boundary().await;
        }
        parsed(&answer.map_err(|failure| failure.error(effect))?, effect)
    }
}

/// How a write is sent.
struct Write {
    method: Method,
    content_type: &'static str,
    on: On,
}

enum On {
    Collection,
    Object,
}

impl Connected {
    async fn send(&self, ask: &Ask) -> Result<Bytes, Failure> {
        send::send(&self.client, self.entropy.as_ref(), self.patience, ask).await
    }

    async fn read(&self, uri: String) -> ClusterResult<Bytes> {
        self.send(&Ask::read(uri)).await.map_err(|failure| failure.error(Effect::None))
    }

    /// The kind of this name, from the table or by discovery of its group and version.
    async fn kind(&self, api_version: &str, kind: &str) -> ClusterResult<Kind> {
        if let Some(kind) = known(api_version, kind) {
            return Ok(kind);
        }
        let find = |kinds: &[Kind]| kinds.iter().find(|found| found.kind == kind).cloned();
        let cached = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(api_version)
            .and_then(|kinds| find(kinds));
        if let Some(kind) = cached {
            return Ok(kind);
        }
        // A miss is never remembered: the plan itself may have brought the definition in since.
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        request::segment(version, "version")?;
        let unserved = || {
            invalid(format!(
                "the API server does not serve {} of {}",
                Clean::new(kind),
                Clean::new(api_version)
            ))
        };
        let answer = match self.send(&Ask::read(request::group_version_path(group, version))).await {
            Ok(answer) => answer,
            Err(Failure::Refused(status, _)) if status.as_u16() == 404 => return Err(unserved()),
            Err(failure) => return Err(failure.error(Effect::None)),
        };
        let kinds = discovered(&parsed(&answer, Effect::None)?, group, version);
        let found = find(&kinds).ok_or_else(unserved);
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(api_version.to_owned(), kinds);
        found
    }

    /// All objects of a selection, and the resourceVersion of the list.
    async fn list(&self, selection: &Selection, patience: Patience) -> ClusterResult<(Vec<Value>, String)> {
        let kind = self.kind(&selection.api_version, &selection.kind).await?;
        let ask = Ask::read(selection_uri(&kind, selection, &[])?);
        let answer = send::send(&self.client, self.entropy.as_ref(), patience, &ask)
            .await
            .map_err(|failure| failure.error(Effect::None))?;
        let mut list = parsed(&answer, Effect::None)?;
        let version =
            list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Array(mut items)) = list.get_mut("items").map(Value::take) else {
            // `items` of an empty list is `[]`; a body without it is something else, and not an empty list.
            return Err(no_object("the answer of the API server is not a list", Effect::None));
        };
        for item in &mut items {
            // Items of a list carry neither; a reference needs both.
            if let Value::Object(fields) = item {
                fields.entry("apiVersion").or_insert_with(|| Value::from(selection.api_version.as_str()));
                fields.entry("kind").or_insert_with(|| Value::from(selection.kind.as_str()));
            }
        }
        Ok((items, version))
    }
}

/// An error of kube's client outside of [`KubeCluster`], of a request that changes nothing.
pub(super) fn connection_error(error: &kube::Error) -> ClusterError {
    match error {
        kube::Error::Api(status) => {
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = serde_json::to_value(status).map(|mut value| {
                if let Value::Object(fields) = &mut value {
                    fields.insert("kind".to_owned(), Value::from("Status"));
                }
                value.to_string().into_bytes()
            });
            Refusal::read(code, &body.unwrap_or_default()).error(code, false)
        }
        other => send::Lost::of(other, false).error,
    }
}

/// Kinds of an `APIResourceList`; subresources (`pods/log`) are none.
fn discovered(list: &Value, group: &str, version: &str) -> Vec<Kind> {
    let resources = list.get("resources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |resource: &Value, key: &str| resource.get(key).and_then(Value::as_str).map(str::to_owned);
    resources
        .iter()
        .filter_map(|resource| {
            Some(Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(resource, "kind")?,
                plural: text(resource, "name").filter(|name| !name.contains('/'))?,
                namespaced: resource.get("namespaced").and_then(Value::as_bool)?,
            })
        })
        .collect()
}

fn parsed(bytes: &Bytes, effect: Effect) -> ClusterResult<Value> {
    serde_json::from_slice(bytes).map_err(|_| no_object("the answer of the API server is not JSON", effect))
}

/// A success whose body cannot be used: what was asked for may have happened.
fn no_object(text: &str, effect: Effect) -> ClusterError {
    ClusterError::Unavailable { message: Clean::new(text), sent: effect == Effect::Change }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn identity(&self) -> ClusterResult<ClusterIdentity> {
        let connected = &self.connected;
        // The first question of all: an operator with a wrong address or without a line is told so soon.
        let patience = Patience { tries: 2, answer: FIRST_ANSWER, ..connected.patience };
        let ask = Ask::read("/version".to_owned());
        let version = send::send(&connected.client, connected.entropy.as_ref(), patience, &ask).await;
        let version = match version.map_err(|failure| failure.error(Effect::None)) {
            Ok(answer) => {
                let version = parsed(&answer, Effect::None)?;
                Clean::new(version.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown"))
            }
            // Only for people; the uid is what tells clusters apart.
            Err(ClusterError::Forbidden(_)) => Clean::new("unknown"),
            Err(error) => return Err(error),
        };
        let namespace = match connected.read("/api/v1/namespaces/kube-system".to_owned()).await {
            Ok(answer) => parsed(&answer, Effect::None)?,
            Err(ClusterError::Forbidden(message)) => {
                return Err(ClusterError::Forbidden(Clean::new(format!(
                    "the cluster cannot be told from others without `get` on the namespace kube-system: {message}"
                ))));
            }
            Err(error) => return Err(error),
        };
        let uid = crate::object::uid(&namespace)
            .ok_or_else(|| no_object("the namespace kube-system has no uid", Effect::None))?;
        Ok(ClusterIdentity {
            context: connected.context.clone(),
            uid: uid.to_owned(),
            version,
            server: connected.server.clone(),
        })
    }

    async fn get(&self, object: &ObjectRef) -> ClusterResult<Option<Value>> {
        let connected = &self.connected;
        let kind = connected.kind(&object.api_version, &object.kind).await?;
        match connected.send(&Ask::read(object_path(&kind, object)?)).await {
            Ok(answer) => parsed(&answer, Effect::None).map(Some),
            Err(Failure::Refused(status, refusal))
                if status.as_u16() == 404 && refusal.is_absence_of(&kind.plural, &object.name) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure.error(Effect::None)),
        }
    }

    async fn list(&self, selection: &Selection) -> ClusterResult<Vec<Value>> {
        let connected = &self.connected;
        connected.list(selection, connected.patience).await.map(|(items, _)| items)
    }

    async fn create(
        &self,
        object: &ObjectRef,
        body: &Value,
        manager: &str,
        dry: bool,
    ) -> ClusterResult<Value> {
        let query = [("fieldManager", manager), ("fieldValidation", "Strict")];
        let write = Write { method: Method::POST, content_type: JSON, on: On::Collection };
        self.write(object, write, body, &query, dry).await
    }

    async fn apply(
        &self,
        object: &ObjectRef,
        body: &Value,
        manager: &str,
        force: bool,
        dry: bool,
    ) -> ClusterResult<Value> {
        let force = if force { "true" } else { "false" };
        let query = [("fieldManager", manager), ("fieldValidation", "Strict"), ("force", force)];
        let write = Write { method: Method::PATCH, content_type: APPLY, on: On::Object };
        self.write(object, write, body, &query, dry).await
    }

    async fn patch(
        &self,
        object: &ObjectRef,
        operations: &Value,
        manager: &str,
        dry: bool,
    ) -> ClusterResult<Value> {
        let write = Write { method: Method::PATCH, content_type: JSON_PATCH, on: On::Object };
        self.write(object, write, operations, &[("fieldManager", manager)], dry).await
    }

    async fn replace(&self, object: &ObjectRef, body: &Value, manager: &str) -> ClusterResult<Value> {
        let write = Write { method: Method::PUT, content_type: JSON, on: On::Object };
        self.write(object, write, body, &[("fieldManager", manager)], false).await
    }

    async fn delete(
        &self,
        object: &ObjectRef,
        uid: &str,
        resource_version: Option<&str>,
    ) -> ClusterResult<()> {
        let mut preconditions = json!({ "uid": uid });
        if let (Some(version), Value::Object(fields)) = (resource_version, &mut preconditions) {
            fields.insert("resourceVersion".to_owned(), Value::from(version));
        }
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": preconditions,
        });
        let write = Write { method: Method::DELETE, content_type: JSON, on: On::Object };
        self.write(object, write, &options, &[], false).await.map(|_| ())
    }

    fn watch(&self, selection: &Selection) -> BoxStream<'static, WatchEvent> {
        watch::watch(Arc::clone(&self.connected), selection.clone()).boxed()
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: u32,
        previous: bool,
    ) -> ClusterResult<String> {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log",
            request::segment(namespace, "namespace")?,
            request::segment(pod, "name")?
        );
        let lines = lines.to_string();
        let mut query =
            vec![("container", container), ("tailLines", lines.as_str()), ("limitBytes", LOG_LIMIT)];
        if previous {
            query.push(("previous", "true"));
        }
        let answer = self.connected.read(with_query(path, &query)).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn may(&self, access: &Access) -> ClusterResult<bool> {
        let (resource, subresource) =
            access.resource.split_once('/').unwrap_or((access.resource.as_str(), ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": access.verb,
                "group": access.group,
                "resource": resource,
                "subresource": subresource,
                "namespace": access.namespace.as_deref().unwrap_or_default(),
                "name": access.name,
            } },
        });
        let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let ask = Ask::with_body(Method::POST, uri, JSON, &review, Effect::None);
        let answer = self.connected.send(&ask).await.map_err(|failure| failure.error(Effect::None))?;
        parsed(&answer, Effect::None)?
            .pointer("/status/allowed")
            .and_then(Value::as_bool)
            .ok_or_else(|| no_object("the access review came back without an answer", Effect::None))
    }
}

#[cfg(test)]
mod tests;
