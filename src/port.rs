//! The ports: everything that pure rooms may ask of the world. Adapters and the rehearsal stand behind them.

use crate::object::ObjectRef;
use crate::text::Clean;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Which cluster a run talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// The context's name in the kubeconfig.
    pub context: Clean,
    /// uid of the namespace kube-system: what Kubernetes people use as the cluster's identity.
    pub uid: String,
    /// `gitVersion` of the API server.
    pub version: Clean,
    /// Its address.
    pub server: Clean,
}

/// One cause of a server-side-apply conflict, as the API server states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictCause {
    /// Path of the field in the server's form (`.data.a.yaml`).
    pub field: String,
    /// `conflict with "MANAGER" using v1`.
    pub message: Clean,
}

/// Why a request to the API server did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// 404. For a namespaced create: the namespace may be what is missing; the message says.
    #[error("not found: {0}")]
    NotFound(Clean),
    /// 409 with reason AlreadyExists.
    #[error("already exists: {0}")]
    AlreadyExists(Clean),
    /// 409 with FieldManagerConflict causes: others own the fields.
    #[error("{} in conflict with other owners", if .0.len() == 1 { "a field is" } else { "fields are" })]
    Owned(Vec<ConflictCause>),
    /// 409 otherwise: a stale resourceVersion, a uid that does not match.
    #[error("the object changed meanwhile: {0}")]
    Stale(Clean),
    /// 401.
    #[error("the credentials were not accepted: {0}")]
    Unauthorized(Clean),
    /// 403.
    #[error("forbidden: {0}")]
    Forbidden(Clean),
    /// 400, 415, 422 and other refusals of the request as such.
    #[error("refused: {0}")]
    Invalid(Clean),
    /// 429 or 5xx, or the connection was lost, after the adapter's own bounded retries.
    /// `sent` says whether the request may have taken effect.
    #[error("{message}")]
    Unavailable {
        /// What happened.
        message: Clean,
        /// Whether the request may have been carried out all the same.
        sent: bool,
    },
}

impl ClusterError {
    /// Whether the effect may have happened although no answer says so.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { sent: true, .. })
    }

    /// What the operator can do about it, where the error itself says so.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(_) => Some("renew the credentials of this context"),
            Self::Forbidden(_) => {
                Some("ask for the missing permission; `firstlight preview` lists what the plan needs")
            }
            Self::Unavailable { .. } => Some("check that the API server can be reached from here"),
            Self::Owned(_) => Some("see who owns the field; a plan may take a named field with `take:`"),
            _ => None,
        }
    }
}

/// A result of the API server.
pub type ClusterResult<T> = Result<T, ClusterError>;

/// What a watch reports. The adapter reconnects, relists after 410 and backs off by itself.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The object exists with this content (also once per object after each relist).
    Present(Value),
    /// The object is gone.
    Gone(ObjectRef),
    /// A relist is complete: what was not reported as present since the last one is gone.
    Listed,
    /// The connection was lost; the adapter tries again. What was known is stale from now on.
    Lost(Clean),
}

/// What to list or watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// Kind in the API's spelling.
    pub kind: String,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Label selector in the API's syntax, empty for all.
    pub labels: String,
    /// Field selector in the API's syntax, empty for all.
    pub fields: String,
}

impl Selection {
    /// Exactly one object.
    pub fn one(object: &ObjectRef) -> Self {
        Self {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            labels: String::new(),
            fields: format!("metadata.name={}", object.name),
        }
    }
}

/// One question of a SelfSubjectAccessReview.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Access {
    /// `get`, `patch`, `create`, …
    pub verb: String,
    /// API group, empty for core.
    pub group: String,
    /// Plural, with subresource: `pods`, `pods/portforward`.
    pub resource: String,
    /// The namespace; `None` for cluster scope.
    pub namespace: Option<String>,
    /// One object by name; empty for all.
    pub name: String,
}

/// The API server. Every method is one request (plus bounded retries of what is safe to repeat: reads, dry runs, and
/// requests that were answered 429 with Retry-After).
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Asks for version and the uid of kube-system.
    async fn identity(&self) -> ClusterResult<ClusterIdentity>;
    /// Reads one object; `None` is a 404 of the object.
    async fn get(&self, object: &ObjectRef) -> ClusterResult<Option<Value>>;
    /// Lists objects.
    async fn list(&self, selection: &Selection) -> ClusterResult<Vec<Value>>;
    /// POST with a field manager. 409 is [`ClusterError::AlreadyExists`].
    async fn create(
        &self,
        object: &ObjectRef,
        body: &Value,
        manager: &str,
        dry: bool,
    ) -> ClusterResult<Value>;
    /// Server-side apply. A uid and resourceVersion in the body are preconditions.
    async fn apply(
        &self,
        object: &ObjectRef,
        body: &Value,
        manager: &str,
        force: bool,
        dry: bool,
    ) -> ClusterResult<Value>;
    /// A JSON patch (RFC 6902). A failed `test` is [`ClusterError::Invalid`] or [`ClusterError::Stale`].
    async fn patch(
        &self,
        object: &ObjectRef,
        operations: &Value,
        manager: &str,
        dry: bool,
    ) -> ClusterResult<Value>;
    /// PUT; a resourceVersion in the body is a precondition.
    async fn replace(&self, object: &ObjectRef, body: &Value, manager: &str) -> ClusterResult<Value>;
    /// DELETE with foreground propagation and preconditions. 404 is [`ClusterError::NotFound`].
    async fn delete(
        &self,
        object: &ObjectRef,
        uid: &str,
        resource_version: Option<&str>,
    ) -> ClusterResult<()>;
    /// Watches; ends only when dropped.
    fn watch(&self, selection: &Selection) -> BoxStream<'static, WatchEvent>;
    /// The last `lines` lines of a container's log, of its previous instance if asked.
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: u32,
        previous: bool,
    ) -> ClusterResult<String>;
    /// Whether the caller may do this.
    async fn may(&self, access: &Access) -> ClusterResult<bool>;
}

/// A duplex byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a byte stream to a port of a pod.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Port-forward through the API server.
    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> ClusterResult<Box<dyn Stream>>;
}

/// Where a telemetry service is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Endpoint {
    /// At a URL that an input gives (`http://host:port`, a path prefix is kept).
    Url(String),
    /// At a port of a Service, by port-forward to one of its ready pods.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Port of the Service (not of the pod).
        port: u16,
    },
}

impl std::fmt::Display for Endpoint {
    /// `http://…` or `service:port in namespace`, safe for a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{}", Clean::new(url)),
            Self::Service { namespace, name, port } => {
                write!(f, "{}:{port} in {}", Clean::new(name), Clean::new(namespace))
            }
        }
    }
}

/// An answer over HTTP, its body at most 64 MiB.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Body bytes.
    pub body: Vec<u8>,
}

/// HTTP to telemetry services.
#[async_trait]
pub trait Http: Send + Sync {
    /// One request; `body` is `(content type, bytes)`. The error is a sentence: what could not be reached and why.
    async fn request(
        &self,
        endpoint: &Endpoint,
        method: &str,
        path_and_query: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<HttpAnswer, Clean>;
}

/// Time. Wall time is for people; boot time measures gaps, suspended time included.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn wall(&self) -> u64;
    /// Time since boot, running on while the machine sleeps.
    fn boot(&self) -> Duration;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// Randomness.
pub trait Entropy: Send + Sync {
    /// 16 random bytes.
    fn bytes(&self) -> [u8; 16];
}

/// The append-only log's file. An error means: stop, nothing more may be written.
#[async_trait]
pub trait Store: Send {
    /// Appends bytes and makes them durable before it returns.
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Clean>;
}

/// How the git-crypt state of a repository looks; see `proof/git_crypt.rs` for the judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFact {
    /// Top folder of the work tree.
    pub root: Clean,
    /// Whether this is a linked work tree.
    pub linked: bool,
    /// What could not be read; with anything in here the lists below may be incomplete.
    pub unread: Vec<Unread>,
    /// The key files in this work tree's git directory.
    pub keys: Vec<KeyFile>,
    /// Names of keys that only the main work tree of a linked one has.
    pub keys_elsewhere: Vec<Clean>,
    /// The git-crypt filters in the configuration.
    pub filters: Vec<FilterConfig>,
    /// Every regular file of the index or of HEAD that the attributes mark with a git-crypt filter, by path.
    pub marked: Vec<MarkedFile>,
}

/// A part of a repository that could not be read, or that this program does not read (split index, SHA-256, …).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// What, in words: `the index is split`.
    pub what: Clean,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<Clean>,
}

/// A file in the folder `git-crypt/keys` of a git directory. Its key is not read, only its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// Key name, `default` for the unnamed key.
    pub key: Clean,
    /// Whether it begins as a key file of git-crypt does; `None` if it could not be opened.
    pub sound: Option<bool>,
}

/// A `[filter "git-crypt"]` or `[filter "git-crypt-NAME"]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterConfig {
    /// Key name, `default` for the unnamed key.
    pub key: Clean,
    /// The command that decrypts on checkout.
    pub smudge: Option<Clean>,
    /// The command that encrypts on add.
    pub clean: Option<Clean>,
    /// Whether git refuses to go on where the command fails.
    pub required: bool,
}

/// One file that git-crypt is to encrypt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedFile {
    /// Path from the root.
    pub path: Clean,
    /// Key name, `default` for the unnamed key.
    pub key: Clean,
    /// The blob in the index; in a merge conflict the worst of its stages.
    pub index: BlobState,
    /// The blob in HEAD.
    pub head: BlobState,
    /// The file in the work tree; absent also where something else than a regular file stands in its place.
    pub worktree: BlobState,
}

/// What the first bytes of a blob or file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobState {
    /// It is not there.
    Absent,
    /// It has no bytes; git-crypt leaves empty files as they are.
    Empty,
    /// It begins with the git-crypt header.
    Ciphertext,
    /// It begins with something else.
    Plaintext,
    /// It is there and could not be read.
    Unreadable,
}

/// Reads the git repository.
#[async_trait]
pub trait Repository: Send + Sync {
    /// The enclosing repository's git-crypt state; `Ok(None)`: there is no repository here.
    async fn git_crypt(&self) -> Result<Option<RepositoryFact>, Clean>;
}

/// The claim: mutual exclusion among operators.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Takes every name, or says who holds one.
    async fn take(&self) -> Result<Vec<Clean>, ClaimError>;
    /// Confirms that all names are still held: from memory within the renew period, otherwise by reading the Leases.
    async fn confirm(&self) -> Result<(), ClaimError>;
    /// Gives back what is still ours.
    async fn release(&self);
}

/// Why a claim is not held.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClaimError {
    /// Someone else holds it.
    #[error("{name} is held by {holder}")]
    Held {
        /// The claim's name.
        name: Clean,
        /// Who, where, since when.
        holder: Clean,
    },
    /// It could not be told.
    #[error("the claim {name} could not be read: {cause}")]
    CouldNotTell {
        /// The claim's name.
        name: Clean,
        /// Why.
        cause: Clean,
    },
}
