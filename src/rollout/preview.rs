//! What a step would change, by the API server's own dry run; nothing is written.

use crate::diff::{self, Change, FingerprintParts};
use crate::effect::{self, Apply, Class, Create, Effect, Owner, RecordedChange};
use crate::object::fields::{self, FieldSet};
use crate::object::{ObjectRef, resource_version, uid};
use crate::port::{Cluster, ClusterError, ClusterResult, ConflictCause};
use crate::secret::{self, Fingerprint, StateKey};
use crate::step::Intent;
use crate::text::Clean;
use futures::stream::{self, StreamExt};
use serde_json::Value;

/// How many requests are under way at once.
pub const CONCURRENCY: usize = 48;

/// How often a read and dry run are repeated when the object moves in between.
const TRIES: usize = 5;

/// One object of a step: what is, what would be, and what follows from it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What the step wants.
    pub intent: Intent,
    /// The object as it is.
    pub live: Option<Value>,
    /// The object as the API server would leave it.
    pub result: Option<Value>,
    /// What follows.
    pub decision: Decision,
}

/// What follows from a preview.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The object is as the step wants it; nothing is written.
    Same,
    /// This effect would make it so.
    Change(Box<Planned>),
    /// It cannot be tried before an earlier object of this plan exists; the text says which.
    Later(Clean),
    /// The step cannot be carried out as it stands.
    Blocked(Block),
}

/// An effect, ready to be approved and sent.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What the journal will hold.
    pub effect: Effect,
    /// What is sent; never stored.
    pub body: Value,
    /// What the operator approves.
    pub fingerprint: Fingerprint,
    /// What changes, whole and unmasked; never stored.
    pub changes: Vec<Change>,
    /// What remains after the undo.
    pub class: Class,
    /// Fields taken by name, each with who owns it now.
    pub taken: Vec<(String, Vec<String>)>,
}

/// Why a step cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// One sentence.
    pub reason: Clean,
    /// What to do about it.
    pub hint: Option<Clean>,
}

impl Block {
    fn new(reason: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self { reason: Clean::new(reason), hint: Some(Clean::new(hint)) }
    }
}

impl Preview {
    /// The planned effect, if there is one.
    pub fn planned(&self) -> Option<&Planned> {
        match &self.decision {
            Decision::Change(planned) => Some(planned),
            _ => None,
        }
    }

    /// What an approval of this change is bound to; `None` where nothing would be written.
    ///
    /// What is tried only later is approved as the object that the plan creates: the fingerprint of a create holds
    /// nothing of the cluster, so it is the same before and after its namespace exists.
    pub fn fingerprint(&self, key: &StateKey) -> Option<Fingerprint> {
        match &self.decision {
            Decision::Change(planned) => Some(planned.fingerprint.clone()),
            Decision::Later(_) => {
                let changes = diff::changes(&self.intent.object.kind, None, Some(&self.intent.body));
                Some(print(key, &self.intent, None, &changes, &[], true))
            }
            Decision::Same | Decision::Blocked(_) => None,
        }
    }
}

/// Previews many intents at once, in their order. `later` names namespaces that this plan creates before they are needed.
///
/// # Errors
/// The first error that is not the fault of one object: no connection, no credentials.
pub async fn preview_all(
    cluster: &dyn Cluster,
    key: &StateKey,
    intents: Vec<Intent>,
    later: &[String],
) -> ClusterResult<Vec<Preview>> {
    let mut results = stream::iter(intents.into_iter().map(|intent| preview(cluster, key, intent, later)))
        .buffered(CONCURRENCY);
    let mut previews = Vec::new();
    while let Some(preview) = results.next().await {
        previews.push(preview?);
    }
    Ok(previews)
}

/// Previews one intent.
///
/// # Errors
/// What is not the fault of this object: no connection, no credentials.
pub async fn preview(
    cluster: &dyn Cluster,
    key: &StateKey,
    intent: Intent,
    later: &[String],
) -> ClusterResult<Preview> {
    let mut last = None;
    for _ in 0..TRIES {
        let live = cluster.get(&intent.object).await;
        let live = match live {
            Ok(live) => live,
            Err(error) => return blocked(intent, None, error),
        };
        let attempt = match live {
            Some(live) => existing(cluster, key, &intent, live).await,
            None => absent(cluster, key, &intent, later).await,
        };
        match attempt {
            Ok(preview) => return Ok(preview),
            // It moved between the read and the dry run: read again.
            Err((
                ClusterError::Stale(_) | ClusterError::NotFound(_) | ClusterError::AlreadyExists(_),
                live,
            )) => {
                last = live;
            }
            Err((error, live)) => return blocked(intent, live, error),
        }
    }
    let reason = format!("{} changes faster than it can be read", intent.object);
    let block = Block::new(reason, "see who writes to it, and try again when it rests");
    Ok(Preview { intent, live: last, result: None, decision: Decision::Blocked(block) })
}

type Attempt = Result<Preview, (ClusterError, Option<Value>)>;

async fn existing(cluster: &dyn Cluster, key: &StateKey, intent: &Intent, live: Value) -> Attempt {
    let (Some(uid), Some(version)) = (uid(&live), resource_version(&live)) else {
        let reason = format!("{} came back without uid or resourceVersion", intent.object);
        let block = Block::new(reason, "see what stands between you and the API server");
        return Ok(preview_of(intent, Some(live), None, Decision::Blocked(block)));
    };
    let (uid, version) = (uid.to_owned(), version.to_owned());
    let body = with_preconditions(&intent.body, &uid, &version);
    let mut force = false;
    let mut answer = cluster.apply(&intent.object, &body, &intent.manager, false, true).await;
    if let Err(ClusterError::Owned(causes)) = &answer {
        if let Some(block) = not_taken(intent, causes) {
            return Ok(preview_of(intent, Some(live), None, Decision::Blocked(block)));
        }
        force = true;
        answer = cluster.apply(&intent.object, &body, &intent.manager, true, true).await;
    }
    let result = match answer {
        Ok(result) => result,
        Err(error) => return Err((error, Some(live))),
    };
    let changes = diff::changes(&intent.object.kind, Some(&live), Some(&result));
    if changes.is_empty() {
        return Ok(preview_of(intent, Some(live), Some(result), Decision::Same));
    }
    if let Some(path) = secret::holds_secret(&intent.object.kind, &changes) {
        let reason =
            format!("{} would change a secret at {path}, and the journal holds no secrets", intent.object);
        let block = Block::new(reason, "change the secret by hand, then run again");
        return Ok(preview_of(intent, Some(live), Some(result), Decision::Blocked(block)));
    }
    let Some((set, raw)) = owned_set(intent, &result) else {
        return Ok(preview_of(intent, Some(live), Some(result), Decision::Blocked(no_entry(intent))));
    };
    let taken = if force { taken(intent, &live) } else { Vec::new() };
    let fingerprint = print(key, intent, Some(&uid), &changes, &taken, false);
    let effect = Effect::Apply(Apply {
        object: intent.object.clone(),
        uid,
        resource_version: version,
        manager: intent.manager.clone(),
        force,
        fields: raw,
        digest: digest(key, &set, &result),
        changes: changes.iter().map(|change| record(key, &intent.object.kind, change)).collect(),
        owners: owners(&live, intent, force),
    });
    let class = effect::class(&intent.object, &result, false);
    let planned = Planned { effect, body, fingerprint, changes, class, taken };
    Ok(preview_of(intent, Some(live), Some(result), Decision::Change(Box::new(planned))))
}

async fn absent(cluster: &dyn Cluster, key: &StateKey, intent: &Intent, later: &[String]) -> Attempt {
    if intent.must_exist {
        let reason = format!("{} does not exist, and this step only changes what is there", intent.object);
        let block =
            Block::new(reason, "check the names in the plan's inputs, or roll out the workload first");
        return Ok(preview_of(intent, None, None, Decision::Blocked(block)));
    }
    // A dry-run apply, not a dry-run create: its result carries the Apply entry that the real object is to have.
    let result = match cluster.apply(&intent.object, &intent.body, &intent.manager, false, true).await {
        Ok(result) => result,
        Err(ClusterError::NotFound(message)) => {
            let namespace = intent.object.namespace.clone().unwrap_or_default();
            if later.contains(&namespace) {
                let text = format!("namespace {namespace} is created by this plan; it is tried then");
                return Ok(preview_of(intent, None, None, Decision::Later(Clean::new(text))));
            }
            let reason = format!("{} cannot be created: {message}", intent.object);
            let block = Block::new(reason, "create the namespace first, or name another one");
            return Ok(preview_of(intent, None, None, Decision::Blocked(block)));
        }
        Err(error) => return Err((error, None)),
    };
    let Some((set, raw)) = owned_set(intent, &result) else {
        return Ok(preview_of(intent, None, Some(result), Decision::Blocked(no_entry(intent))));
    };
    // What is approved is the intent: defaults that the server fills in are shown, but generated values differ each time.
    let changes = diff::changes(&intent.object.kind, None, Some(&intent.body));
    let fingerprint = print(key, intent, None, &changes, &[], true);
    let effect = Effect::Create(Create {
        object: intent.object.clone(),
        manager: intent.manager.clone(),
        fields: raw,
        digest: digest(key, &set, &result),
    });
    let class = effect::class(&intent.object, &intent.body, true);
    let body = intent.body.clone();
    let planned = Planned { effect, body, fingerprint, changes, class, taken: Vec::new() };
    Ok(preview_of(intent, None, Some(result), Decision::Change(Box::new(planned))))
}

fn preview_of(intent: &Intent, live: Option<Value>, result: Option<Value>, decision: Decision) -> Preview {
    Preview { intent: intent.clone(), live, result, decision }
}

/// Errors that concern one object block that object; the others end the preview.
fn blocked(intent: Intent, live: Option<Value>, error: ClusterError) -> ClusterResult<Preview> {
    match &error {
        ClusterError::Unauthorized(_) | ClusterError::Unavailable { .. } => Err(error),
        _ => {
            let reason = Clean::new(format!("{}: {error}", intent.object));
            let block = Block { reason, hint: error.hint().map(Clean::from) };
            Ok(Preview { intent, live, result: None, decision: Decision::Blocked(block) })
        }
    }
}

fn no_entry(intent: &Intent) -> Block {
    let reason = format!("{}: the dry run shows no field of {}", intent.object, intent.manager);
    Block::new(reason, "the API server does not track fields; server-side apply cannot be undone there")
}

/// The block for conflicts that the plan does not take, `None` if it takes exactly those.
fn not_taken(intent: &Intent, causes: &[ConflictCause]) -> Option<Block> {
    let taken: Vec<String> = intent.take.iter().map(crate::object::path::Path::server_form).collect();
    let foreign: Vec<String> = causes
        .iter()
        .filter(|cause| !taken.contains(&cause.field))
        .map(|cause| format!("{} ({})", cause.field.trim_start_matches('.'), cause.message))
        .collect();
    if foreign.is_empty() && !causes.is_empty() {
        return None;
    }
    let reason = format!("{}: others own {}", intent.object, foreign.join(", "));
    let hint = "let their owner make the change, or take the field by name with `take:` in the plan";
    Some(Block::new(reason, hint))
}

fn taken(intent: &Intent, live: &Value) -> Vec<(String, Vec<String>)> {
    intent
        .take
        .iter()
        .map(|path| {
            let owners = fields::owners_of(live, path).into_iter().map(|(manager, _)| manager);
            (path.to_string(), owners.filter(|manager| *manager != intent.manager).collect())
        })
        .collect()
}

/// The entries of `managedFields` that this apply will change: our own, and those of whom fields are taken.
fn owners(live: &Value, intent: &Intent, force: bool) -> Vec<Owner> {
    let entries = fields::managers(live).unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| {
            let own = entry.manager == intent.manager;
            own || (force && intent.take.iter().any(|path| entry.fields.contains(path)))
        })
        .map(|entry| Owner {
            manager: entry.manager.clone(),
            operation: entry.operation.as_str().to_owned(),
            subresource: entry.subresource.clone().unwrap_or_default(),
            entry: entry.raw,
        })
        .collect()
}

/// Our Apply entry in a result: as a set, and as fieldsV1. An intent of a name alone owns nothing and has no entry.
fn owned_set(intent: &Intent, result: &Value) -> Option<(FieldSet, Value)> {
    let fields = match fields::apply_entry(result, &intent.manager) {
        Some(entry) => entry.fields,
        None if FieldSet::of_intent(&intent.object.kind, &intent.body).is_empty() => FieldSet::default(),
        None => return None,
    };
    let raw = fields.to_v1();
    Some((fields, raw))
}

/// The intent with the approved uid and resourceVersion as preconditions
/// (an apply with a resourceVersion alone re-creates an object that was deleted since).
pub fn with_preconditions(body: &Value, uid: &str, version: &str) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::String(uid.to_owned()));
        metadata.insert("resourceVersion".to_owned(), Value::String(version.to_owned()));
    }
    body
}

/// Keyed fingerprint of the values that an object has at the fields of a set.
pub fn digest(key: &StateKey, set: &FieldSet, object: &Value) -> Fingerprint {
    let values: Vec<(String, Option<Value>)> =
        set.project(object).into_iter().map(|(path, value)| (path.server_form(), value)).collect();
    key.keyed("fields", &canonical(&values))
}

/// Keyed fingerprint of one value.
pub fn value_digest(key: &StateKey, value: &Value) -> Fingerprint {
    key.keyed("value", &canonical(value))
}

fn canonical(value: &impl serde::Serialize) -> Vec<u8> {
    // serde_json keeps maps sorted, so the same value always gives the same bytes; these types always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

fn record(key: &StateKey, kind: &str, change: &Change) -> RecordedChange {
    let after_digest = change.after.as_ref().map(|value| value_digest(key, value));
    let mirrored = Change { before: change.after.clone(), ..change.clone() };
    let masked = secret::holds_secret(kind, std::slice::from_ref(&mirrored)).is_some();
    let mut change = change.clone();
    if masked {
        change.after = None;
    }
    RecordedChange { change, after_digest, masked }
}

fn print(
    key: &StateKey,
    intent: &Intent,
    uid: Option<&str>,
    changes: &[Change],
    taken: &[(String, Vec<String>)],
    create: bool,
) -> Fingerprint {
    let owners: Vec<(crate::object::path::Path, Vec<String>)> =
        intent.take.iter().zip(taken).map(|(path, (_, managers))| (path.clone(), managers.clone())).collect();
    diff::fingerprint(
        key,
        &FingerprintParts { object: &intent.object, uid, changes, owners: &owners, create },
    )
}

/// Objects in the order in which they are created: waves of one kind order each.
pub fn waves<T>(items: Vec<T>, object: impl Fn(&T) -> &ObjectRef) -> Vec<Vec<T>> {
    let mut waves: std::collections::BTreeMap<u8, Vec<T>> = std::collections::BTreeMap::new();
    for item in items {
        waves.entry(crate::object::kind::order(&object(&item).kind)).or_default().push(item);
    }
    waves.into_values().collect()
}
