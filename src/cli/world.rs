//! Builds the world that the engine works in: the real ports, and who answers and reads.

use super::ask::{Answers, Headless};
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
use crate::rollout::event::{Reader, Sign};
use crate::rollout::{self, Halt, World};
use crate::secret::{Masker, StateKey};
use crate::text::Clean;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    let identity = connection.cluster.identity().await.map_err(|error| {
        let halt = Halt::from(error);
        let summary = format!("context {} ({}): {}", connection.context, connection.server, halt.summary);
        Failure::from(Halt { summary: Clean::new(summary), ..halt })
    })?;
    Ok((connection, identity))
}

/// Who answers and how it looks.
pub struct Manner {
    /// Who answers.
    pub answers: Answers,
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
    let key = Arc::new(key);
    let stop = signal::listen();
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
            answers: manner.answers.clone(),
            can_ask: can_ask(),
            verbose: manner.verbose,
            key: key.clone(),
            stop: stop.clone(),
            masker: Mutex::new(Masker::default()),
        }),
        reader,
        key,
        stop,
    }
}

/// How long what is under way may take to note where it stands, once a stop at once was asked for.
const GRACE: Duration = Duration::from_secs(1);

/// How long the claim's Leases may take to be given back; what cannot be given back expires.
const RELEASE: Duration = Duration::from_secs(5);

/// Takes the claim, unless a stop is asked for before.
///
/// # Errors
/// Somebody else holds it, or it cannot be told; or a stop was asked for.
pub async fn claimed(world: &World) -> Result<Vec<Clean>, Failure> {
    let mut stop = world.stop.clone();
    tokio::select! {
        biased;
        cause = rollout::asked(&mut stop) => {
            Err(rollout::stopped(cause, "while the claim was waited for; nothing was sent").into())
        }
        taken = world.claim.take() => taken.map_err(|error| Halt::from(error).into()),
    }
}

/// Works until the end or until a stop at once is asked for. Whatever is dropped half-way is in the journal as far as
/// it was begun, and is settled next time.
///
/// # Errors
/// Those of the work; or a stop was asked for.
pub async fn unless_at_once<T>(
    world: &World,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut stop = world.stop.clone();
    let at_once = async {
        let cause = rollout::asked_now(&mut stop).await;
        tokio::time::sleep(GRACE).await;
        cause
    };
    tokio::select! {
        biased;
        done = work => done,
        cause = at_once => Err(rollout::stopped(cause, "at once; what was under way is settled next time").into()),
    }
}

/// Gives the claim back, as well as it goes.
pub async fn release(world: &World) {
    let mut stop = world.stop.clone();
    tokio::select! {
        biased;
        () = world.claim.release() => {}
        () = tokio::time::sleep(RELEASE) => {}
        () = async { rollout::asked_now(&mut stop).await; tokio::time::sleep(GRACE).await } => {}
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
