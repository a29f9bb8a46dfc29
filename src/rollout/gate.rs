//! Gates: where the operator approves exactly the diff that was shown.

use super::event::Approval;
use super::preview::Preview;
use super::undo::Item;
use crate::port::ClusterIdentity;
use crate::proof::Judgement;
use crate::text::Clean;
use async_trait::async_trait;

/// What a gate shows.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The cluster that would change.
    pub cluster: ClusterIdentity,
    /// The phase.
    pub phase: Clean,
    /// Each step with what it would change.
    pub steps: Vec<GateStep>,
    /// Why the gate is shown again: what moved since it was approved.
    pub moved: Vec<Clean>,
}

/// One step at a gate.
#[derive(Clone, Debug)]
pub struct GateStep {
    /// Its name.
    pub name: Clean,
    /// Its objects.
    pub previews: Vec<Preview>,
    /// Its proofs so far.
    pub proofs: Vec<(Clean, Judgement)>,
}

impl Gate {
    /// How many objects would change.
    pub fn changes(&self) -> usize {
        self.steps.iter().flat_map(|step| &step.previews).filter(|preview| preview.changes()).count()
    }
}

impl Preview {
    /// Whether anything would be written.
    pub fn changes(&self) -> bool {
        use super::preview::Decision;
        matches!(self.decision, Decision::Change(_) | Decision::Later(_))
    }
}

/// What the operator answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, exactly this.
    Approve(Approval),
    /// No.
    Decline,
    /// The question cannot be asked here; the text says what is missing.
    CannotAsk(Clean),
}

/// Answers questions of the engine: a person at a terminal, or the command line's options.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Approves a phase or not.
    async fn gate(&self, gate: &Gate) -> Answer;
    /// Passes a proof that is unknown or refuted, with a reason; `None`: it is not passed.
    async fn pass(&self, place: &Clean, proof: &Clean, judgement: &Judgement) -> Option<Clean>;
    /// Approves an undo or not.
    async fn undo(&self, cluster: &ClusterIdentity, items: &[Item]) -> Answer;
}
