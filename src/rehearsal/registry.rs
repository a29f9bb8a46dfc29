//! What happens to an object between a request and the store: defaults, admission, ownership, strategy, validation.
//!
//! The order is that of the real server (apiserver pkg/endpoints/handlers/create.go, update.go, patch.go; pkg/registry
//! /rest/create.go, update.go, delete.go).

use super::answer::{Cause, Refusal};
use super::apply::{self, Manager};
use super::resource::Resource;
use super::schema::Schema;
use super::store::{Key, Store, version_of};
use super::value::{
    finalizers, has, items, map, member, metadata, number, set_finalizers, set_metadata, text,
};
use super::{admission, default, validate};
use crate::object::fields::Operation;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";

/// Who writes what, and how.
#[derive(Clone, Debug)]
pub struct Write {
    /// Resource.
    pub resource: &'static Resource,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Name of the object, empty for a create.
    pub name: String,
    /// Subresource: `status`.
    pub subresource: Option<String>,
    /// Field manager.
    pub manager: String,
    /// Whether nothing may be stored.
    pub dry: bool,
    /// Whether unknown fields are refused.
    pub strict: bool,
    /// Now, as the API writes it.
    pub time: String,
}

impl Write {
    /// A write by a controller of the rehearsal.
    pub fn controller(key: &Key, subresource: Option<&str>, manager: &str, time: &str) -> Self {
        Self {
            resource: key.resource,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            subresource: subresource.map(str::to_owned),
            manager: manager.to_owned(),
            dry: false,
            strict: false,
            time: time.to_owned(),
        }
    }

    /// The place of the object.
    pub fn key(&self) -> Key {
        Key::new(self.resource, &self.namespace, &self.name)
    }

    fn manager(&self, operation: Operation) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            subresource: self.subresource.clone(),
            api_version: self.resource.api_version(),
            time: self.time.clone(),
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as it is now, or would be.
    pub object: Arc<Value>,
    /// Whether it was created.
    pub created: bool,
}

/// How the managed fields of a new object come about.
enum Owners {
    /// From the difference to what was there.
    Compared,
    /// They are in the object already.
    Applied,
}

/// POST.
///
/// # Errors
/// As the real server refuses.
pub fn create(store: &mut Store, write: &Write, object: Value) -> Result<Written, Refusal> {
    create_with(store, write, object, &Owners::Compared)
}

fn create_with(
    store: &mut Store,
    write: &Write,
    mut object: Value,
    owners: &Owners,
) -> Result<Written, Refusal> {
    let resource = write.resource;
    accept(write, &mut object)?;
    let mut write = write.clone();
    name(store, &mut write, &mut object)?;
    default::fill(resource, &mut object);
    if matches!(owners, Owners::Compared) {
        object = apply::updated(
            Schema::embedded(),
            &resource.kind(),
            None,
            object,
            &write.manager(Operation::Update),
        );
    }
    admission::namespace(store, &write)?;
    admission::mutate(store, &write, &mut object)?;
    let fields = metadata(&mut object);
    for system in
        ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
    {
        fields.remove(system);
    }
    fields.insert("uid".to_owned(), Value::from(store.fresh_uid()));
    fields.insert("creationTimestamp".to_owned(), Value::from(write.time.as_str()));
    if resource.generation {
        fields.insert("generation".to_owned(), Value::from(1));
    }
    if resource.status {
        let status = first_status(resource, &object, &write.time);
        map(&mut object).insert("status".to_owned(), status);
    }
    prepare_create(store, &write, &mut object);
    validate::object(resource, &object)?;
    let key = write.key();
    if store.get(&key).is_some() {
        return Err(Refusal::already_exists(resource, &write.name));
    }
    admission::quota(store, &write, &object)?;
    let object = if write.dry { Arc::new(object) } else { store.put(key, object) };
    Ok(Written { object, created: true })
}

/// Checks what the body says of itself against the request, and adds what it may leave out.
fn accept(write: &Write, object: &mut Value) -> Result<(), Refusal> {
    let resource = write.resource;
    if !object.is_object() {
        return Err(Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind",
            resource.kind
        )));
    }
    let (version, kind) = (text(object, "/apiVersion").to_owned(), text(object, "/kind").to_owned());
    if (!kind.is_empty() && kind != resource.kind)
        || (!version.is_empty() && version != resource.api_version())
    {
        return Err(Refusal::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}",
            resource.kind
        )));
    }
    let fields = map(object);
    fields.insert("apiVersion".to_owned(), Value::from(resource.api_version()));
    fields.insert("kind".to_owned(), Value::from(resource.kind));
    if write.strict {
        validate::decoded(resource, object)?;
    }
    let given = text(object, "/metadata/namespace").to_owned();
    if !given.is_empty() && given != write.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if resource.namespaced {
        set_metadata(object, "namespace", write.namespace.as_str());
    }
    let given = text(object, "/metadata/name");
    if !write.name.is_empty() && !given.is_empty() && given != write.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            write.name
        )));
    }
    Ok(())
}

fn name(store: &mut Store, write: &mut Write, object: &mut Value) -> Result<(), Refusal> {
    let given = text(object, "/metadata/name").to_owned();
    let prefix = text(object, "/metadata/generateName").to_owned();
    let name = match (given.is_empty(), prefix.is_empty()) {
        (false, _) => given,
        (true, false) => format!("{prefix}{}", store.suffix()),
        (true, true) if !write.name.is_empty() => write.name.clone(),
        (true, true) => {
            let cause = Cause {
                reason: "FieldValueRequired",
                message: "Required value: name or generateName is required".to_owned(),
                field: "metadata.name".to_owned(),
            };
            return Err(Refusal::invalid(write.resource, "", vec![cause]));
        }
    };
    set_metadata(object, "name", name.as_str());
    write.name = name;
    Ok(())
}

fn first_status(resource: &Resource, object: &Value, time: &str) -> Value {
    match resource.kind {
        "Namespace" => json!({"phase": "Active"}),
        "Pod" => json!({"phase": "Pending", "qosClass": admission::quality(object)}),
        "PersistentVolumeClaim" => json!({"phase": "Pending"}),
        "PersistentVolume" => json!({"phase": "Pending", "lastPhaseTransitionTime": time}),
        "Service" | "Ingress" => json!({"loadBalancer": {}}),
        "StatefulSet" => json!({"replicas": 0, "availableReplicas": 0}),
        "ReplicaSet" => json!({"replicas": 0}),
        // A node says of itself what it is.
        "Node" => object.get("status").cloned().unwrap_or_else(|| json!({})),
        _ => json!({}),
    }
}

/// What the server sets by itself after ownership was noted: nobody owns it.
fn prepare_create(store: &Store, write: &Write, object: &mut Value) {
    match write.resource.kind {
        "Namespace" => {
            member(object, "spec").insert("finalizers".to_owned(), json!(["kubernetes"]));
        }
        "PersistentVolumeClaim" => add_finalizer(object, "kubernetes.io/pvc-protection"),
        "PersistentVolume" => add_finalizer(object, "kubernetes.io/pv-protection"),
        "Service" => cluster_ip(store, object),
        _ => {}
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let mut all = finalizers(object);
    if !all.iter().any(|one| one == finalizer) {
        all.push(finalizer.to_owned());
        set_finalizers(object, &all);
    }
}

fn cluster_ip(store: &Store, object: &mut Value) {
    if text(object, "/spec/type") == "ExternalName" {
        return;
    }
    let given = text(object, "/spec/clusterIP").to_owned();
    let address = if given.is_empty() {
        let taken: Vec<&str> = store.all().map(|(_, one)| text(one, "/spec/clusterIP")).collect();
        (1_u32..65_000)
            .map(|number| format!("10.96.{}.{}", number / 250, number % 250 + 4))
            .find(|address| !taken.contains(&address.as_str()))
            .unwrap_or_default()
    } else {
        given
    };
    let spec = member(object, "spec");
    spec.insert("clusterIPs".to_owned(), json!([address]));
    spec.insert("clusterIP".to_owned(), Value::from(address));
    super::value::default(spec, "ipFamilies", json!(["IPv4"]));
    super::value::default(spec, "ipFamilyPolicy", "SingleStack");
}

/// PUT, and every patch but apply: `new` is the whole object as the client wants it.
///
/// # Errors
/// As the real server refuses.
pub fn update(store: &mut Store, write: &Write, live: &Arc<Value>, new: Value) -> Result<Written, Refusal> {
    update_with(store, write, live, new, &Owners::Compared)
}

fn update_with(
    store: &mut Store,
    write: &Write,
    live: &Arc<Value>,
    mut new: Value,
    owners: &Owners,
) -> Result<Written, Refusal> {
    let resource = write.resource;
    accept(write, &mut new)?;
    set_metadata(&mut new, "name", write.name.as_str());
    let version = text(&new, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(live, "/metadata/resourceVersion") {
        return Err(Refusal::modified(resource, &write.name));
    }
    keep_system_fields(write, live, &mut new)?;
    default::fill(resource, &mut new);
    if matches!(owners, Owners::Compared) {
        let manager = write.manager(Operation::Update);
        new = apply::updated(Schema::embedded(), &resource.kind(), Some(live), new, &manager);
    }
    prepare_update(write, live, &mut new);
    if same(live, &new) {
        return Ok(Written { object: live.clone(), created: false });
    }
    validate::object(resource, &new)?;
    validate::change(resource, live, &new, write.subresource.as_deref())?;
    if resource.generation && changed_generation(resource, live, &new) {
        let next = number(live, "/metadata/generation").unwrap_or(0) + 1;
        set_metadata(&mut new, "generation", next);
    }
    if write.dry {
        return Ok(Written { object: Arc::new(new), created: false });
    }
    let key = write.key();
    // The last finalizer of a deleted object holds it; without one it is gone.
    if has(&new, "/metadata/deletionTimestamp")
        && finalizers(&new).is_empty()
        && number(&new, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
        && (resource.kind != "Namespace" || items(&new, "/spec/finalizers").is_empty())
    {
        store.put(key.clone(), new);
        let gone = store.remove(&key).unwrap_or_else(|| live.clone());
        return Ok(Written { object: gone, created: false });
    }
    Ok(Written { object: store.put(key, new), created: false })
}

/// Fields of the metadata that no client changes.
fn keep_system_fields(write: &Write, live: &Value, new: &mut Value) -> Result<(), Refusal> {
    let uid = text(new, "/metadata/uid");
    if !uid.is_empty() && uid != text(live, "/metadata/uid") {
        // Seen with 1.34: the cause comes twice.
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {uid:?}: field is immutable"),
            field: "metadata.uid".to_owned(),
        };
        let mut refusal = Refusal::invalid(write.resource, &write.name, vec![cause.clone()]);
        refusal.details.causes.push(cause);
        return Err(refusal);
    }
    let fields = metadata(new);
    for system in [
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match live.pointer(&format!("/metadata/{system}")) {
            Some(value) => fields.insert(system.to_owned(), value.clone()),
            None => fields.remove(system),
        };
    }
    Ok(())
}

/// What a request does not reach: status from outside `/status`, everything else from inside.
fn prepare_update(write: &Write, live: &Value, new: &mut Value) {
    if write.subresource.as_deref() == Some("status") {
        let status = new.get("status").cloned();
        let (managed, finalizers) =
            (new.pointer("/metadata/managedFields").cloned(), new.pointer("/metadata/annotations").cloned());
        *new = live.clone();
        replace(map(new), "status", status);
        replace(metadata(new), "managedFields", managed);
        replace(metadata(new), "annotations", finalizers);
        return;
    }
    if write.resource.status {
        replace(map(new), "status", live.get("status").cloned());
    }
    if write.resource.kind == "Service" && text(new, "/spec/type") != "ExternalName" {
        // What was allocated stays, unless the client names another.
        let spec = member(new, "spec");
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = live.pointer(&format!("/spec/{field}")) {
                super::value::default(spec, field, value.clone());
            }
        }
    }
}

fn replace(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}

/// Whether two objects differ at most in the times of their managed fields.
fn same(live: &Value, new: &Value) -> bool {
    let without_times = |object: &Value| {
        let mut entries = object.pointer("/metadata/managedFields").cloned().unwrap_or_default();
        for entry in entries.as_array_mut().into_iter().flatten() {
            map(entry).remove("time");
        }
        entries
    };
    let (Some(a), Some(b)) = (live.as_object(), new.as_object()) else { return live == new };
    let rest = |object: &Value| {
        let mut fields = object.pointer("/metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        fields.remove("managedFields");
        fields
    };
    a.len() == b.len()
        && a.iter().all(|(name, value)| name == "metadata" || b.get(name) == Some(value))
        && rest(live) == rest(new)
        && without_times(live) == without_times(new)
}

fn changed_generation(resource: &Resource, live: &Value, new: &Value) -> bool {
    // Deployments count changes of their annotations, too (pkg/registry/apps/deployment/strategy.go).
    live.get("spec") != new.get("spec")
        || (resource.kind == "Deployment"
            && live.pointer("/metadata/annotations") != new.pointer("/metadata/annotations"))
}

/// Server-side apply.
///
/// # Errors
/// As the real server refuses; conflicts with their causes.
pub fn apply(store: &mut Store, write: &Write, intent: &Value, force: bool) -> Result<Written, Refusal> {
    let resource = write.resource;
    if text(intent, "/kind").is_empty() || text(intent, "/apiVersion").is_empty() {
        let (version, kind) = (text(intent, "/apiVersion"), text(intent, "/kind"));
        return Err(Refusal::bad_request(format!("invalid object type: {version}/, Kind={kind}")));
    }
    let mut checked = intent.clone();
    accept(&Write { strict: false, ..write.clone() }, &mut checked)?;
    let live = store.get(&write.key()).cloned();
    if live.is_none() {
        let uid = text(intent, "/metadata/uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Refusal::conflict(resource, &write.name, why));
        }
        if write.subresource.is_some() {
            return Err(Refusal::not_found(resource, &write.name));
        }
    }
    let manager = write.manager(Operation::Apply);
    let applied =
        apply::apply(Schema::embedded(), &resource.kind(), live.as_deref(), intent, &manager, force)
            .map_err(|error| refused(&error))?;
    match live {
        None => create_with(store, write, applied.object, &Owners::Applied),
        Some(live) => {
            let mut object = applied.object;
            // The preconditions of the intent are checked where those of an update are.
            for field in ["uid", "resourceVersion"] {
                if let Some(value) = intent.pointer(&format!("/metadata/{field}")) {
                    set_metadata(&mut object, field, value.clone());
                }
            }
            update_with(store, &Write { strict: false, ..write.clone() }, &live, object, &Owners::Applied)
        }
    }
}

fn refused(error: &apply::ApplyError) -> Refusal {
    match error {
        apply::ApplyError::Conflicts(causes) => {
            let mut refusal = Refusal::new(409, "Conflict", error.to_string());
            refusal.details.causes = causes
                .iter()
                .map(|cause| Cause {
                    reason: "FieldManagerConflict",
                    message: cause.message.clone(),
                    field: cause.field.clone(),
                })
                .collect();
            refusal
        }
        apply::ApplyError::Invalid { message, .. } => Refusal::new(500, "", message.clone()),
        apply::ApplyError::BadRequest(message) => Refusal::bad_request(message.clone()),
    }
}

/// The options of a DELETE.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// Only this object.
    pub uid: Option<String>,
    /// Only this version.
    pub version: Option<String>,
    /// `Foreground`, `Background`, `Orphan`.
    pub propagation: Option<String>,
    /// Grace in seconds.
    pub grace: Option<i64>,
    /// Whether nothing may be stored.
    pub dry: bool,
}

/// What a DELETE left.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// Nothing; this is what it was.
    Gone(Arc<Value>),
    /// The object, waiting for its finalizers or its grace.
    Waiting(Arc<Value>),
}

/// DELETE.
///
/// # Errors
/// The object is not there, or not the one that is meant.
pub fn delete(store: &mut Store, key: &Key, deletion: &Deletion, time: &str) -> Result<Deleted, Refusal> {
    let live = store.get(key).cloned().ok_or_else(|| Refusal::not_found(key.resource, &key.name))?;
    for (wanted, pointer, what, tail) in [
        (&deletion.uid, "/metadata/uid", "UID", "deleted and then recreated"),
        (&deletion.version, "/metadata/resourceVersion", "ResourceVersion", "modified"),
    ] {
        let found = text(&live, pointer);
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let message = format!(
                "Operation cannot be fulfilled on {} {:?}: the {what} in the precondition ({wanted}) does not match the \
                 {what} in record ({found}). The object might have been {tail}",
                key.resource.qualified_kind(),
                key.name
            );
            let mut refusal = Refusal::new(409, "Conflict", message);
            refusal.details.name.clone_from(&key.name);
            refusal.details.group = key.resource.group.to_owned();
            refusal.details.kind = key.resource.kind.to_owned();
            return Err(refusal);
        }
    }
    if has(&live, "/metadata/deletionTimestamp") {
        return Ok(delete_again(store, key, &live, deletion));
    }
    let mut object = Value::clone(&live);
    let mut wanted = finalizers(&object);
    wanted.retain(|one| one != FOREGROUND && one != "orphan");
    match deletion.propagation.as_deref() {
        Some("Foreground") => wanted.push(FOREGROUND.to_owned()),
        Some("Orphan") => wanted.push("orphan".to_owned()),
        _ => {}
    }
    set_finalizers(&mut object, &wanted);
    let grace = grace(key.resource, &object, deletion);
    let holds = !wanted.is_empty() || grace > 0 || key.resource.kind == "Namespace";
    let shown = holds || key.resource.kind == "Pod";
    if shown {
        set_metadata(&mut object, "deletionTimestamp", later(time, grace));
        if key.resource.kind == "Namespace" {
            member(&mut object, "status").insert("phase".to_owned(), Value::from("Terminating"));
        } else {
            set_metadata(&mut object, "deletionGracePeriodSeconds", grace);
        }
        if key.resource.generation {
            let next = number(&live, "/metadata/generation").unwrap_or(0) + 1;
            set_metadata(&mut object, "generation", next);
        }
    }
    if deletion.dry {
        return Ok(if holds { Deleted::Waiting(Arc::new(object)) } else { Deleted::Gone(live) });
    }
    if holds {
        return Ok(Deleted::Waiting(store.put(key.clone(), object)));
    }
    if shown {
        // A pod without a node goes at once; it is shown as it went.
        store.put(key.clone(), object);
        let gone = store.remove(key).unwrap_or(live);
        return Ok(Deleted::Waiting(gone));
    }
    store.remove(key);
    Ok(Deleted::Gone(live))
}

/// A shorter grace is taken over; all else stays as it is.
fn delete_again(store: &mut Store, key: &Key, live: &Arc<Value>, deletion: &Deletion) -> Deleted {
    let left = number(live, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
    if key.resource.kind == "Pod"
        && deletion.grace == Some(0)
        && left > 0
        && finalizers(live).is_empty()
        && !deletion.dry
    {
        return Deleted::Waiting(store.remove(key).unwrap_or_else(|| live.clone()));
    }
    Deleted::Waiting(live.clone())
}

fn grace(resource: &Resource, object: &Value, deletion: &Deletion) -> i64 {
    if resource.kind != "Pod" {
        return 0;
    }
    let ended = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
    if text(object, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    deletion.grace.or_else(|| number(object, "/spec/terminationGracePeriodSeconds")).unwrap_or(30).max(0)
}

fn later(time: &str, seconds: i64) -> String {
    time.parse::<jiff::Timestamp>()
        .and_then(|time| time.checked_add(jiff::SignedDuration::from_secs(seconds)))
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_else(|_| time.to_owned())
}

/// The version of a list.
pub fn newest(store: &Store, objects: &[Arc<Value>]) -> u64 {
    objects.iter().map(|object| version_of(object)).max().unwrap_or(0).max(store.version())
}
