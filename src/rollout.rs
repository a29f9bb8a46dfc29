//! The engine: events, state, gates, execution, undo. It knows only ports.

pub mod back;
pub mod batch;
pub mod book;
pub mod event;
pub mod execute;
pub mod gate;
pub mod observe;
pub mod preview;
pub mod run;
pub mod settle;
pub mod state;
pub mod undo;
pub mod wait;

use crate::port::{Claim, ClaimError, Clock, Cluster, ClusterError, Http, Repository};
use crate::secret::StateKey;
use crate::text::Clean;
use event::{Outcome, Reader};
use gate::Operator;
use std::sync::Arc;
use tokio::sync::watch;

/// What the operator asked for by Ctrl-C or a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing; go on.
    #[default]
    No,
    /// Finish the effects in flight, then stop at the next safe point.
    Safe(Cause),
    /// Stop at once; effects in flight stay unknown and are settled later.
    Now(Cause),
}

/// Who asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The operator (SIGINT).
    Interrupted,
    /// The system (SIGTERM, SIGHUP).
    Terminated,
}

/// Everything that the engine may use.
#[derive(Clone)]
pub struct World {
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// Telemetry services.
    pub http: Arc<dyn Http>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The claim.
    pub claim: Arc<dyn Claim>,
    /// The git repository.
    pub repository: Arc<dyn Repository>,
    /// Whether the operator named that repository.
    pub wanted: crate::proof::git_crypt::Wanted,
    /// Answers gates.
    pub operator: Arc<dyn Operator>,
    /// Reads events.
    pub reader: Arc<dyn Reader>,
    /// Key of fingerprints.
    pub key: Arc<StateKey>,
    /// Requests to stop.
    pub stop: watch::Receiver<Stop>,
}

/// Why the engine stopped: an outcome, one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct Halt {
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence.
    pub summary: Clean,
    /// What to do about it.
    pub hint: Option<Clean>,
}

impl Halt {
    /// A halt from its sentence.
    pub fn new(outcome: Outcome, summary: impl AsRef<str>) -> Self {
        Self { outcome, summary: Clean::new(summary), hint: None }
    }

    /// The same halt with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(Clean::new(hint));
        self
    }
}

impl From<ClusterError> for Halt {
    fn from(error: ClusterError) -> Self {
        let hint = error.hint().map(Clean::from);
        Self { outcome: Outcome::Failed, summary: Clean::new(error.to_string()), hint }
    }
}

impl From<ClaimError> for Halt {
    fn from(error: ClaimError) -> Self {
        let summary = Clean::new(error.to_string());
        match error {
            ClaimError::Held { .. } => Self {
                outcome: Outcome::Held,
                summary,
                hint: Some(Clean::from("wait for them, or ask them to stop")),
            },
            ClaimError::CouldNotTell { .. } => Self { outcome: Outcome::Failed, summary, hint: None },
        }
    }
}

impl World {
    /// Halts when a stop was asked for: called at safe points, where no effect is in flight.
    pub fn safe_point(&self) -> Result<(), Halt> {
        match *self.stop.borrow() {
            Stop::No => Ok(()),
            Stop::Safe(cause) | Stop::Now(cause) => {
                Err(stopped(cause, "at a safe point; no effect is in flight"))
            }
        }
    }
}

/// The halt of a stop.
pub fn stopped(cause: Cause, where_: &str) -> Halt {
    match cause {
        Cause::Interrupted => Halt::new(Outcome::Interrupted, format!("interrupted {where_}")),
        Cause::Terminated => Halt::new(Outcome::Terminated, format!("terminated {where_}")),
    }
    .hint("`firstlight run` goes on from here; `firstlight rollback` goes back")
}

/// Returns when a stop is asked for, at once if it was already.
pub async fn asked(stop: &mut watch::Receiver<Stop>) -> Cause {
    loop {
        if let Stop::Safe(cause) | Stop::Now(cause) = *stop.borrow_and_update() {
            return cause;
        }
        if stop.changed().await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns when a stop at once is asked for.
pub async fn asked_now(stop: &mut watch::Receiver<Stop>) -> Cause {
    loop {
        if let Stop::Now(cause) = *stop.borrow_and_update() {
            return cause;
        }
        if stop.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
