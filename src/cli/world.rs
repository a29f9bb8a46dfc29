//! Builds the world that the engine works in: the real ports, and who answers and reads.

use super::ask::Headless;
use super::output::Style;
use super::reader::{Json, Text, can_ask};
use super::{Failure, Global, Output, history, signal};
use crate::adapter::claim::{Holder, LeaseClaim, Progress};
use crate::adapter::clock::SystemClock;
use crate::adapter::entropy::SystemEntropy;
use crate::adapter::git::GitRepository;
use crate::adapter::http::TelemetryHttp;
use crate::adapter::kubeconfig::{self, Connection};
use crate::adapter::store::StateDir;
use crate::port::{ClusterIdentity, Entropy};
use crate::proof::git_crypt::Wanted;
use crate::rollout::World;
use crate::rollout::event::{Reader, Sign};
use crate::secret::{Masker, StateKey};
use crate::text::Clean;
use std::sync::{Arc, Mutex};

/// Opens the state directory and its key.
///
/// # Errors
/// It cannot be made, written or trusted.
pub fn state_dir() -> Result<(StateDir, StateKey), Failure> {
    let state = StateDir::open(None).map_err(|error| history::of_store(&error))?;
    let key = state.key().map_err(|error| history::of_store(&error))?;
    Ok((state, StateKey::new(key)))
}

/// Connects to the context, and asks which cluster that is.
///
/// # Errors
/// There is no such context, or the cluster does not answer.
pub async fn connect(
    global: &Global,
    context: Option<&str>,
) -> Result<(Connection, ClusterIdentity), Failure> {
    let connection = kubeconfig::connect(global.kubeconfig.clone(), context, global.insecure_skip_tls_verify)
        .await
        .map_err(|error| {
            let failure = if error.is_usage() {
                Failure::usage(error.to_string())
            } else {
                Failure::failed(error.to_string())
            };
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
    let identity = connection.cluster.identity().await?;
    Ok((connection, identity))
}

/// Who answers and how it looks.
pub struct Manner {
    /// `--yes`.
    pub yes: bool,
    /// How it looks.
    pub style: Style,
    /// `--output`.
    pub output: Output,
    /// A line for every effect.
    pub verbose: bool,
}

/// Puts the world together. `claim` names what is claimed, `run` and `plan` say for whom.
pub fn world(
    connection: &Connection,
    key: StateKey,
    global: &Global,
    manner: &Manner,
    claim: &[String],
    run: &str,
    plan: &str,
) -> World {
    let clock = Arc::new(SystemClock);
    let repository = global.repo.clone().unwrap_or_else(|| ".".into());
    let reader: Arc<dyn Reader> = match manner.output {
        Output::Text => Arc::new(Text::new(manner.style, manner.verbose)),
        Output::Json => Arc::new(Json),
    };
    let notes = reader.clone();
    let progress: Progress = Arc::new(move |text| notes.sign(&Sign::Note { text }));
    World {
        cluster: connection.cluster.clone(),
        http: Arc::new(TelemetryHttp::new(connection.cluster.clone(), connection.dial.clone())),
        claim: Arc::new(LeaseClaim::new(
            connection.cluster.clone(),
            clock.clone(),
            &SystemEntropy,
            claim.to_vec(),
            Holder::this_process(run, plan),
            progress,
        )),
        clock,
        repository: Arc::new(GitRepository::new(repository)),
        wanted: if global.repo.is_some() { Wanted::Asked } else { Wanted::Enclosing },
        operator: Arc::new(Headless {
            style: manner.style,
            yes: manner.yes,
            can_ask: can_ask(),
            masker: Mutex::new(Masker::default()),
        }),
        reader,
        key: Arc::new(key),
        stop: signal::listen(),
    }
}

/// `user@host`, for people.
pub fn who() -> Clean {
    let user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    Clean::new(format!("{user}@{}", host.trim()))
}

/// 16 random bytes.
pub fn random() -> [u8; 16] {
    SystemEntropy.bytes()
}
