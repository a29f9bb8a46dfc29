//! The state of a run: a fold over its events, and nothing else.

use super::event::{Event, Outcome, RunHeader, Settlement, Stamped};
use crate::effect::{Effect, EffectId};
use crate::proof::Verdict;
use crate::text::Clean;
use std::collections::BTreeMap;

/// Where one effect stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Sent, or about to be; no outcome was recorded.
    Unknown,
    /// It happened.
    Done {
        /// uid of the object, empty after a delete.
        uid: String,
    },
    /// It did not happen.
    NotDone,
    /// Settled as neither: someone else had a hand in it.
    Foreign(Clean),
    /// It happened and is undone.
    Undone,
    /// It happened and stays, because the undo was told to keep it.
    Kept(Clean),
}

/// One effect and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectState {
    /// Its phase.
    pub phase: Clean,
    /// Its step.
    pub step: Clean,
    /// What it does.
    pub effect: Effect,
    /// Where it stands.
    pub standing: Standing,
}

/// The state of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The first record.
    pub header: Option<RunHeader>,
    /// Time of the first record, milliseconds since the epoch.
    pub started: u64,
    /// Time of the last record.
    pub last: u64,
    /// Every effect, by number.
    pub effects: BTreeMap<EffectId, EffectState>,
    /// Proofs that were passed although not proven: phase/step, proof, verdict, reason.
    pub passed: Vec<(Clean, Clean, Verdict, Clean)>,
    /// How many gates were approved unseen.
    pub unseen: u32,
    /// The phase that is under way, if any.
    pub phase: Option<Clean>,
    /// Phases that are complete.
    pub phases_done: Vec<Clean>,
    /// How the run ended, if it did.
    pub outcome: Option<(Outcome, Clean)>,
    /// How its undo ended, if there was one.
    pub rollback: Option<Option<(Outcome, Clean)>>,
}

impl State {
    /// The state after these events.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Stamped>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event);
        }
        state
    }

    /// One event more.
    pub fn apply(&mut self, stamped: &Stamped) {
        if self.started == 0 {
            self.started = stamped.at;
        }
        self.last = stamped.at;
        match &stamped.event {
            Event::RunStarted(header) => self.header = Some(header.clone()),
            Event::PhaseStarted { phase } => self.phase = Some(phase.clone()),
            Event::PhaseFinished { phase } => {
                self.phase = None;
                self.phases_done.push(phase.clone());
            }
            Event::ProofJudged { phase, step, proof, judgement, passed: Some(reason) } => {
                let place = Clean::new(format!("{phase}/{step}"));
                self.passed.push((place, proof.clone(), judgement.verdict, reason.clone()));
            }
            Event::GateApproved { approval: super::event::Approval::Unseen, .. } => self.unseen += 1,
            Event::EffectIntended { id, phase, step, effect } => {
                let (phase, step, effect) = (phase.clone(), step.clone(), effect.clone());
                self.effects.insert(*id, EffectState { phase, step, effect, standing: Standing::Unknown });
            }
            Event::EffectDone { id, uid } => self.happened(*id, uid),
            Event::EffectFailed { id, .. } => self.stand(*id, Standing::NotDone),
            Event::EffectSettled { id, settlement } => match settlement {
                Settlement::Done { uid } => self.happened(*id, uid),
                Settlement::NotDone => self.stand(*id, Standing::NotDone),
                Settlement::Foreign { what } => self.stand(*id, Standing::Foreign(what.clone())),
            },
            Event::UndoSkipped { id, gone: true, .. } => self.stand(*id, Standing::Undone),
            Event::UndoSkipped { id, reason, gone: false } => self.stand(*id, Standing::Kept(reason.clone())),
            Event::RunFinished { outcome, summary } => self.outcome = Some((*outcome, summary.clone())),
            Event::RollbackStarted { .. } => self.rollback = Some(None),
            Event::RollbackFinished { outcome, summary } => {
                self.rollback = Some(Some((*outcome, summary.clone())));
            }
            Event::ClaimTaken { .. }
            | Event::ProofJudged { passed: None, .. }
            | Event::GateApproved { .. }
            | Event::GateDeclined { .. }
            | Event::GateMoved { .. }
            | Event::StepStarted { .. }
            | Event::StepFinished { .. } => {}
        }
    }

    /// Effects that were intended and have no outcome.
    pub fn unknown(&self) -> impl Iterator<Item = (EffectId, &EffectState)> {
        self.effects.iter().filter(|(_, e)| e.standing == Standing::Unknown).map(|(id, e)| (*id, e))
    }

    /// Effects that stand in the cluster and are no undo themselves, the latest first.
    pub fn standing(&self) -> impl Iterator<Item = (EffectId, &EffectState)> {
        self.effects
            .iter()
            .rev()
            .filter(|(_, e)| e.effect.undoes().is_none())
            .filter(|(_, e)| matches!(e.standing, Standing::Done { .. } | Standing::Kept(_)))
            .map(|(id, e)| (*id, e))
    }

    /// The number that the next effect gets.
    pub fn next_id(&self) -> EffectId {
        EffectId(self.effects.keys().next_back().map_or(1, |id| id.0 + 1))
    }

    fn stand(&mut self, id: EffectId, standing: Standing) {
        if let Some(effect) = self.effects.get_mut(&id) {
            effect.standing = standing;
        }
    }

    fn happened(&mut self, id: EffectId, uid: &str) {
        let undoes = self.effects.get(&id).and_then(|e| match &e.effect {
            Effect::Restore(_) | Effect::Delete(_) => e.effect.undoes(),
            // A pod that is replaced helps an undo; it is not the undo.
            Effect::ReplacePod(_) | Effect::Create(_) | Effect::Apply(_) => None,
        });
        self.stand(id, Standing::Done { uid: uid.to_owned() });
        if let Some(undone) = undoes {
            self.stand(undone, Standing::Undone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Create, Delete};
    use crate::object::ObjectRef;
    use crate::secret::StateKey;
    use serde_json::json;

    fn config_map() -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", Some("monitoring"), "tempo")
    }

    fn create() -> Effect {
        Effect::Create(Create {
            object: config_map(),
            manager: "firstlight:tracing:apply-tempo".to_owned(),
            fields: json!({ "f:data": { "f:a": {} } }),
            digest: StateKey::new([0; 32]).keyed("fields", b"a"),
        })
    }

    fn delete(undoes: u32) -> Effect {
        Effect::Delete(Delete { undoes: EffectId(undoes), object: config_map(), uid: "u1".to_owned() })
    }

    fn intended(id: u32, effect: Effect) -> Event {
        let (phase, step) = (Clean::from("tempo"), Clean::from("apply-tempo"));
        Event::EffectIntended { id: EffectId(id), phase, step, effect }
    }

    fn done(id: u32) -> Event {
        Event::EffectDone { id: EffectId(id), uid: "u1".to_owned() }
    }

    fn state(events: Vec<Event>) -> State {
        let stamped: Vec<Stamped> = events
            .into_iter()
            .enumerate()
            .map(|(index, event)| Stamped { seq: index as u64 + 1, at: 1000 + index as u64, event })
            .collect();
        State::of(&stamped)
    }

    #[test]
    fn an_intent_without_an_outcome_is_unknown_and_stands_for_nothing() {
        let state = state(vec![intended(1, create())]);
        assert_eq!(state.unknown().count(), 1);
        assert_eq!(state.standing().count(), 0);
        assert_eq!(state.next_id(), EffectId(2));
    }

    #[test]
    fn what_is_done_stands_until_its_undo_is_done() {
        let events = vec![intended(1, create()), done(1), intended(2, delete(1))];
        assert_eq!(
            state(events.clone()).standing().count(),
            1,
            "an undo that is only intended undoes nothing"
        );
        let events = [events, vec![done(2)]].concat();
        let state = state(events);
        assert_eq!(state.standing().count(), 0);
        assert_eq!(state.effects[&EffectId(1)].standing, Standing::Undone);
    }

    #[test]
    fn a_settled_effect_is_what_the_cluster_shows() {
        let settled = |settlement| state(vec![intended(1, create()), settled_as(settlement)]);
        assert_eq!(settled(Settlement::Done { uid: "u1".to_owned() }).standing().count(), 1);
        assert_eq!(settled(Settlement::NotDone).standing().count(), 0);
        let foreign = settled(Settlement::Foreign { what: Clean::from("is another's") });
        assert_eq!((foreign.standing().count(), foreign.unknown().count()), (0, 0));
    }

    fn settled_as(settlement: Settlement) -> Event {
        Event::EffectSettled { id: EffectId(1), settlement }
    }

    #[test]
    fn what_an_undo_keeps_still_stands_and_what_is_gone_does_not() {
        let skipped = |gone| Event::UndoSkipped { id: EffectId(1), reason: Clean::from("holds data"), gone };
        assert_eq!(state(vec![intended(1, create()), done(1), skipped(false)]).standing().count(), 1);
        assert_eq!(state(vec![intended(1, create()), done(1), skipped(true)]).standing().count(), 0);
    }
}
