//! Past-tense facts of a run. TUI, text, JSON, journal and report are readers of this one stream.
//!
//! Durable events go to the journal before anyone else sees them. Volatile ones ([`Sign`]) go to readers only.

use crate::effect::{Effect, EffectId};
use crate::object::ObjectRef;
use crate::port::ClusterIdentity;
use crate::proof::Judgement;
use crate::secret::Fingerprint;
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A durable event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// First record of every journal: what runs, where, and by whom.
    RunStarted(RunHeader),
    /// The claim is held.
    ClaimTaken {
        /// The claim's names.
        names: Vec<Clean>,
    },
    /// A phase began.
    PhaseStarted {
        /// Its name.
        phase: Clean,
    },
    /// A proof was judged.
    ProofJudged {
        /// The phase.
        phase: Clean,
        /// The step.
        step: Clean,
        /// The proof's name.
        proof: Clean,
        /// Verdict and evidence.
        judgement: Judgement,
        /// Why an Unknown or Refuted was passed, if it was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        passed: Option<Clean>,
    },
    /// The operator approved exactly these diffs.
    GateApproved {
        /// The phase.
        phase: Clean,
        /// How.
        approval: Approval,
        /// Each object and the fingerprint of its approved diff.
        objects: Vec<(ObjectRef, Fingerprint)>,
    },
    /// The operator said no.
    GateDeclined {
        /// The phase.
        phase: Clean,
    },
    /// What was approved no longer holds for these objects.
    GateMoved {
        /// The phase.
        phase: Clean,
        /// The objects, each with what moved.
        objects: Vec<(ObjectRef, Clean)>,
    },
    /// A step began.
    StepStarted {
        /// The phase.
        phase: Clean,
        /// The step.
        step: Clean,
    },
    /// The effect is about to be sent; this record is on disk before that.
    EffectIntended {
        /// Its number.
        id: EffectId,
        /// The phase.
        phase: Clean,
        /// The step.
        step: Clean,
        /// What will be done, with everything that its undo needs.
        effect: Effect,
    },
    /// The effect happened.
    EffectDone {
        /// Its number.
        id: EffectId,
        /// uid of the object it left, empty after a delete.
        uid: String,
    },
    /// The effect certainly did not happen.
    EffectFailed {
        /// Its number.
        id: EffectId,
        /// Why.
        reason: Clean,
    },
    /// An effect without an outcome was settled by asking the cluster.
    EffectSettled {
        /// Its number.
        id: EffectId,
        /// What the cluster shows.
        settlement: Settlement,
    },
    /// A step is complete.
    StepFinished {
        /// The phase.
        phase: Clean,
        /// The step.
        step: Clean,
        /// How many objects it changed.
        changed: u32,
    },
    /// A phase is complete.
    PhaseFinished {
        /// Its name.
        phase: Clean,
    },
    /// The run ended.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// One sentence.
        summary: Clean,
    },
    /// An undo of the run began.
    RollbackStarted {
        /// Who.
        by: Clean,
    },
    /// An effect needs no undo, or keeps what it made.
    UndoSkipped {
        /// The effect.
        id: EffectId,
        /// Why.
        reason: Clean,
        /// Whether nothing of the effect is left: it counts as undone.
        gone: bool,
    },
    /// The undo ended.
    RollbackFinished {
        /// How.
        outcome: Outcome,
        /// One sentence.
        summary: Clean,
    },
}

/// What the first record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The plan's name.
    pub plan: Clean,
    /// The plan's title.
    pub title: Clean,
    /// Hash of plan, assets and inputs.
    pub plan_hash: String,
    /// Version of the program.
    pub program: Clean,
    /// The cluster.
    pub cluster: ClusterIdentity,
    /// `user@host`.
    pub by: Clean,
    /// The inputs; secret ones masked.
    pub inputs: BTreeMap<String, Clean>,
}

/// How a gate was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// An operator saw the diff and said yes.
    Seen,
    /// `--yes --approve-unseen`: nobody looked at the diff.
    Unseen,
    /// An approval that was saved from an earlier preview holds exactly these fingerprints.
    Saved,
    /// The phase changes nothing.
    Unneeded,
}

/// What the cluster shows of an effect whose outcome was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case")]
pub enum Settlement {
    /// It happened.
    Done {
        /// uid of the object, empty after a delete.
        uid: String,
    },
    /// It did not happen.
    NotDone,
    /// The object is not as intended and not as before: someone else had a hand in it.
    Foreign {
        /// What was seen.
        what: Clean,
    },
}

/// How a run or its undo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was asked for.
    Done,
    /// It failed.
    Failed,
    /// What was approved no longer holds, or a gate was declined.
    NotApproved,
    /// A proof was refuted.
    Refuted,
    /// A proof is unknown.
    Unknown,
    /// Someone else holds the claim.
    Held,
    /// The operator interrupted it.
    Interrupted,
    /// It was terminated.
    Terminated,
}

/// A durable event with its number and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Number within the journal.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The event.
    pub event: Event,
}

/// A volatile event: shown, never stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Sign {
    /// Something is read; `total` where it is known.
    Progress {
        /// What is done.
        what: Clean,
        /// How many.
        done: u32,
        /// Of how many.
        total: u32,
    },
    /// A wait goes on, and why.
    Waiting {
        /// What is waited for.
        what: Clean,
        /// The reason in one line.
        reason: Clean,
        /// For how long, in milliseconds.
        waited: u64,
    },
    /// Something that the operator should know.
    Note {
        /// One sentence.
        text: Clean,
    },
}

/// Reads the stream.
pub trait Reader: Send + Sync {
    /// A durable event; it is on disk already.
    fn event(&self, event: &Stamped);
    /// A volatile event.
    fn sign(&self, sign: &Sign);
}
