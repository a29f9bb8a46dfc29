//! Requests that write objects, and their subresources.

use super::Server;
use super::route::{Query, Route, Target};
use crate::rehearsal::answer::{self, Body, Cause, Refusal};
use crate::rehearsal::patch;
use crate::rehearsal::registry::{self, Deleted, Deletion, Write, Written};
use crate::rehearsal::value::{number, text};
use crate::yaml::Limits;
use http::{Request, Response, header};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Reads a body: JSON, or what is YAML and JSON at once.
pub(super) fn body(bytes: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|cause| {
        Refusal::bad_request(format!("couldn't get version/kind; json parse error: {cause}"))
    })
}

/// Reads the body of an object, which may be YAML.
fn object_body(request: &Request<Bytes>) -> Result<Value, Refusal> {
    let kind = content_type(request);
    match kind {
        "" | "application/json" | "*/*" => body(request.body()),
        "application/yaml" | "application/apply-patch+yaml" => yaml(request.body()),
        _ => Err(Refusal::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

fn yaml(bytes: &Bytes) -> Result<Value, Refusal> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let unread = || Refusal::bad_request("error decoding YAML");
    let (_, documents) = crate::yaml::parse_bytes("body", bytes, &Limits::MANIFEST).map_err(|_| unread())?;
    documents.first().and_then(|document| document.root.to_json().ok()).ok_or_else(unread)
}

fn content_type(request: &Request<Bytes>) -> &str {
    let value =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn write(
    server: &Server,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
    options: &str,
) -> Result<Write, Refusal> {
    let dry = match query.get("dryRun") {
        "" => false,
        "All" => true,
        other => {
            let cause = Cause {
                reason: "FieldValueNotSupported",
                message: format!("Unsupported value: [{other:?}]: supported values: \"All\""),
                field: "dryRun".to_owned(),
            };
            return Err(of_options(options, cause));
        }
    };
    let manager = match query.get("fieldManager") {
        // What comes before the slash of `kubectl/v1.34.4 (linux/amd64)`.
        "" => {
            let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
            agent.unwrap_or("unknown").split('/').next().unwrap_or_default().to_owned()
        }
        named => named.to_owned(),
    };
    let (name, subresource) = match &route.target {
        Target::Collection => (String::new(), None),
        Target::Object { name, subresource } => (name.clone(), subresource.map(str::to_owned)),
    };
    if subresource.as_deref() == Some("status") && !route.resource.status {
        return Err(Refusal::no_such_path());
    }
    Ok(Write {
        resource: route.resource,
        namespace: route.namespace.unwrap_or_default().to_owned(),
        name,
        subresource,
        manager,
        dry,
        strict: query.get("fieldValidation") == "Strict",
        time: server.clock().timestamp(),
    })
}

fn of_options(kind: &str, cause: Cause) -> Refusal {
    let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
    let mut refusal = Refusal::new(422, "Invalid", message);
    refusal.details.group = "meta.k8s.io".to_owned();
    refusal.details.kind = kind.to_owned();
    refusal.details.causes = vec![cause];
    refusal
}

fn written(done: &Written) -> Response<Body> {
    answer::json(if done.created { 201 } else { 200 }, &done.object)
}

/// POST to a collection.
pub(super) fn create(
    server: &Server,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
) -> Result<Response<Body>, Refusal> {
    if route.resource.namespaced && route.namespace.is_none() {
        return Err(Refusal::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    let write = write(server, route, query, request, "CreateOptions")?;
    let object = object_body(request)?;
    registry::create(&mut server.store(), &write, object).map(|done| written(&done))
}

/// PUT.
pub(super) fn replace(
    server: &Server,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
) -> Result<Response<Body>, Refusal> {
    let write = write(server, route, query, request, "UpdateOptions")?;
    let object = object_body(request)?;
    let mut store = server.store();
    let live =
        store.get(&write.key()).cloned().ok_or_else(|| Refusal::not_found(write.resource, &write.name))?;
    if write.subresource.as_deref() == Some("scale") {
        return scaled(&mut store, &write, &live, &object);
    }
    let uid = text(&object, "/metadata/uid");
    if !uid.is_empty() && uid != text(&live, "/metadata/uid") {
        let group = if write.resource.group.is_empty() {
            String::new()
        } else {
            format!("{}/", write.resource.group)
        };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{}/{}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            write.resource.plural,
            write.namespace,
            write.name,
            text(&live, "/metadata/uid")
        );
        return Err(Refusal::conflict(write.resource, &write.name, why));
    }
    registry::update(&mut store, &write, &live, object).map(|done| written(&done))
}

/// PATCH.
pub(super) fn patch(
    server: &Server,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
) -> Result<Response<Body>, Refusal> {
    let write = write(server, route, query, request, "PatchOptions")?;
    let kind = content_type(request);
    let apply = kind == "application/apply-patch+yaml";
    if apply && !query.has("fieldManager") {
        let message = "Required value: is required for apply patch".to_owned();
        let cause = Cause { reason: "FieldValueRequired", message, field: "fieldManager".to_owned() };
        return Err(of_options("PatchOptions", cause));
    }
    if !apply && query.has("force") {
        let message = "Forbidden: may not be specified for non-apply patch".to_owned();
        let cause = Cause { reason: "FieldValueForbidden", message, field: "force".to_owned() };
        return Err(of_options("PatchOptions", cause));
    }
    if apply {
        let intent = yaml(request.body())?;
        return registry::apply(&mut server.store(), &write, &intent, query.flag("force"))
            .map(|done| written(&done));
    }
    let known = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    if !known.contains(&kind) {
        return Err(Refusal::new(415, "UnsupportedMediaType", "415: Unsupported Media Type"));
    }
    let change = body(request.body())?;
    let mut store = server.store();
    let live =
        store.get(&write.key()).cloned().ok_or_else(|| Refusal::not_found(write.resource, &write.name))?;
    let scale = write.subresource.as_deref() == Some("scale");
    let mut object = if scale { scale_of(&live) } else { Value::clone(&live) };
    match kind {
        "application/json-patch+json" => {
            let operations = change.as_array().ok_or_else(|| {
                Refusal::bad_request("error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp")
            })?;
            // The real server says no more than this (seen with 1.34).
            patch::json(&mut object, operations).map_err(|_| {
                Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request")
            })?;
        }
        "application/merge-patch+json" => patch::merge(&mut object, &change),
        _ => patch::strategic(write.resource, &mut object, &change).map_err(Refusal::bad_request)?,
    }
    if scale {
        return scaled(&mut store, &write, &live, &object);
    }
    registry::update(&mut store, &write, &live, object).map(|done| written(&done))
}

/// DELETE of one object.
pub(super) fn delete(
    server: &Server,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
) -> Result<Response<Body>, Refusal> {
    let write = write(server, route, query, request, "DeleteOptions")?;
    let deletion = deletion(query, request, write.dry)?;
    let key = write.key();
    match registry::delete(&mut server.store(), &key, &deletion, &write.time)? {
        Deleted::Waiting(object) => Ok(answer::json(200, &object)),
        Deleted::Gone(object) => {
            let mut details =
                json!({"name": key.name, "kind": key.resource.plural, "uid": text(&object, "/metadata/uid")});
            if !key.resource.group.is_empty() {
                crate::rehearsal::value::map(&mut details)
                    .insert("group".to_owned(), Value::from(key.resource.group));
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            Ok(answer::json(200, &status))
        }
    }
}

/// DELETE of a collection.
pub(super) fn delete_all(
    server: &Arc<Server>,
    route: &Route<'_>,
    query: &Query,
    request: &Request<Bytes>,
) -> Result<Response<Body>, Refusal> {
    let write = write(server, route, query, request, "DeleteOptions")?;
    let deletion = deletion(query, request, write.dry)?;
    let selector = crate::rehearsal::selector::Selector::parse(
        route.resource,
        query.get("labelSelector"),
        query.get("fieldSelector"),
    )?;
    let mut store = server.store();
    let keys: Vec<_> = store
        .list(route.resource, route.namespace)
        .filter(|(_, object)| selector.matches(object))
        .map(|(key, _)| key.clone())
        .collect();
    let mut items = Vec::new();
    for key in keys {
        let (Deleted::Gone(object) | Deleted::Waiting(object)) =
            registry::delete(&mut store, &key, &deletion, &write.time)?;
        items.push(Value::clone(&object));
    }
    let list = json!({
        "kind": format!("{}List", route.resource.kind), "apiVersion": route.resource.api_version(),
        "metadata": {"resourceVersion": store.version().to_string()}, "items": items,
    });
    Ok(answer::json(200, &list))
}

fn deletion(query: &Query, request: &Request<Bytes>, dry: bool) -> Result<Deletion, Refusal> {
    let options = if request.body().is_empty() { json!({}) } else { body(request.body())? };
    let owned = |pointer: &str| Some(text(&options, pointer).to_owned()).filter(|text| !text.is_empty());
    let asked = |name: &str| Some(query.get(name).to_owned()).filter(|text| !text.is_empty());
    let dry_in_body =
        options.get("dryRun").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == "All"));
    Ok(Deletion {
        uid: owned("/preconditions/uid"),
        version: owned("/preconditions/resourceVersion"),
        propagation: owned("/propagationPolicy").or_else(|| asked("propagationPolicy")),
        grace: number(&options, "/gracePeriodSeconds")
            .or_else(|| query.get("gracePeriodSeconds").parse().ok()),
        dry: dry || dry_in_body,
    })
}

/// GET of a subresource.
pub(super) fn get_subresource(
    server: &Server,
    route: &Route<'_>,
    name: &str,
    subresource: &str,
) -> Result<Response<Body>, Refusal> {
    let store = server.store();
    let live = store.get(&route.key(name)).ok_or_else(|| Refusal::not_found(route.resource, name))?;
    match subresource {
        "status" if route.resource.status => Ok(answer::json(200, live)),
        "scale" if route.resource.scale => Ok(answer::json(200, &scale_of(live))),
        _ => Err(Refusal::no_such_path()),
    }
}

fn scale_of(live: &Value) -> Value {
    let metadata = live.get("metadata").cloned().unwrap_or_default();
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: serde_json::Map<String, Value> = metadata
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| kept.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let selector = crate::object::status::pod_selector(live).unwrap_or_default();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(live, "/spec/replicas").unwrap_or(0)},
        "status": {"replicas": number(live, "/status/replicas").unwrap_or(0), "selector": selector},
    })
}

fn scaled(
    store: &mut crate::rehearsal::store::Store,
    write: &Write,
    live: &Arc<Value>,
    scale: &Value,
) -> Result<Response<Body>, Refusal> {
    if !write.resource.scale {
        return Err(Refusal::no_such_path());
    }
    let mut object = Value::clone(live);
    let replicas = number(scale, "/spec/replicas").unwrap_or(0);
    crate::rehearsal::value::member(&mut object, "spec").insert("replicas".to_owned(), Value::from(replicas));
    let version = text(scale, "/metadata/resourceVersion").to_owned();
    crate::rehearsal::value::set_metadata(&mut object, "resourceVersion", version);
    let done = registry::update(store, write, live, object)?;
    Ok(answer::json(200, &scale_of(&done.object)))
}
