//! Who answers gates without a TUI: a person at a terminal, or the options of the command line.

use super::approved::Approved;
use super::gate_text;
use super::output::{Role, Style, paint, say};
use crate::port::ClusterIdentity;
use crate::proof::{Judgement, Verdict};
use crate::rollout::event::Approval;
use crate::rollout::gate::{Answer, Gate, GateStep, Operator};
use crate::rollout::preview::Preview;
use crate::rollout::undo::Item;
use crate::rollout::{Stop, asked};
use crate::secret::{Masker, StateKey};
use crate::text::Clean;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// Who answers.
#[derive(Clone, Debug)]
pub enum Answers {
    /// The operator, at a terminal.
    Ask,
    /// `--yes` (with `--approve-unseen` where that is needed): nobody is asked.
    Yes,
    /// `--approved FILE`: what was saved from a preview.
    Saved(Box<Approved>),
}

/// Answers by asking on the terminal, or as the options say.
pub struct Headless {
    /// How it looks.
    pub style: Style,
    /// Who answers.
    pub answers: Answers,
    /// Whether a question can be asked at all.
    pub can_ask: bool,
    /// Whether diffs are shown that were seen before.
    pub verbose: bool,
    /// Key of fingerprints.
    pub key: Arc<StateKey>,
    /// Requests to stop: they end a question too.
    pub stop: watch::Receiver<Stop>,
    /// Placeholders of secrets, the same through the whole run.
    pub masker: Mutex<Masker>,
}

impl Headless {
    fn show(&self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            say(&line);
        }
    }

    fn with_masker<T>(&self, show: impl FnOnce(&mut Masker) -> T) -> T {
        // A poisoned lock still holds placeholders that are in use.
        let mut masker = self.masker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        show(&mut masker)
    }

    /// The gate's diffs, whole.
    fn show_diffs(&self, gate: &Gate) {
        let colour = self.style.err;
        self.with_masker(|masker| {
            for step in gate.steps.iter().filter(|step| step.previews.iter().any(Preview::changes)) {
                say(&format!("  step {}", step.name));
                // Its proofs have been said when they were judged.
                let shown = GateStep { proofs: Vec::new(), ..step.clone() };
                self.show(gate_text::step(&shown, masker, colour));
            }
        });
    }

    /// Asks, and reads one line. `None`: there was none, or a stop was asked for meanwhile.
    async fn question(&self, question: &str) -> Option<String> {
        ask(question);
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = asked(&mut stop) => None,
            line = line() => line,
        }
    }
}

/// Reads one line from the terminal. The reading thread is left behind when nobody waits for it any more.
async fn line() -> Option<String> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::stdin().read_line(&mut text);
        let _ = send.send(read.ok().filter(|bytes| *bytes > 0).map(|_| text.trim().to_owned()));
    });
    receive.await.ok().flatten()
}

fn ask(question: &str) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{question} ");
    let _ = out.flush();
}

#[async_trait]
impl Operator for Headless {
    async fn gate(&self, gate: &Gate) -> Answer {
        let colour = self.style.err;
        // Seen before means: by whoever saved the approval.
        if self.verbose || !matches!(self.answers, Answers::Saved(_)) {
            self.show_diffs(gate);
        }
        if !gate.moved.is_empty() {
            say(&paint(
                "  the approved change no longer holds; this is what would change now",
                Role::Doubt,
                colour,
            ));
        }
        // The summary stands right above the question: the diffs may be longer than the screen.
        self.show(gate_text::summary(&gate.steps, colour));
        match &self.answers {
            Answers::Saved(approved) => {
                let differs = approved.differs(gate, &self.key);
                let Some(first) = differs.first() else { return Answer::Approve(Approval::Saved) };
                for what in &differs {
                    say(&format!("  {} {what}", paint("differs  ", Role::Doubt, colour)));
                }
                let more = if differs.len() > 1 {
                    format!(" (and {} more)", differs.len() - 1)
                } else {
                    String::new()
                };
                return Answer::CannotAsk(Clean::new(format!(
                    "phase {} is not as approved: {first}{more}",
                    gate.phase
                )));
            }
            // What moved was looked at by nobody, and `--yes` was said before it moved.
            Answers::Yes if gate.moved.is_empty() => return Answer::Approve(Approval::Unseen),
            Answers::Yes => {
                return Answer::CannotAsk(Clean::new(format!(
                    "what was approved in phase {} no longer holds: {}",
                    gate.phase,
                    gate.moved.first().map(Clean::as_str).unwrap_or_default()
                )));
            }
            Answers::Ask => {}
        }
        if !self.can_ask {
            return Answer::CannotAsk(Clean::from(
                "a gate needs an answer, and there is no terminal to ask on",
            ));
        }
        say(&format!("  on context {} ({})", gate.cluster.context, gate.cluster.server));
        let question = format!(
            "  approve phase {} exactly as shown? Type yes to go on, anything else to stop:",
            gate.phase
        );
        match self.question(&question).await.as_deref() {
            Some("yes") => Answer::Approve(Approval::Seen),
            _ => Answer::Decline,
        }
    }

    async fn pass(&self, place: &Clean, proof: &Clean, judgement: &Judgement) -> Option<Clean> {
        if !matches!(self.answers, Answers::Ask) || !self.can_ask {
            return None;
        }
        let verdict = judgement.verdict;
        for line in super::reader::judgement_lines(proof, judgement) {
            say(&format!("  {} {line}", super::reader::verdict_word(verdict)));
        }
        if verdict == Verdict::Refuted {
            let question = format!(
                "  {proof} is refuted in {place}; type its name to go on all the same, anything else to stop:"
            );
            if self.question(&question).await.as_deref() != Some(proof.as_str()) {
                return None;
            }
        }
        let question = format!("  why may {proof} be passed although it is {verdict}? (empty: stop)");
        self.question(&question).await.filter(|reason| !reason.is_empty()).map(Clean::new)
    }

    async fn undo(&self, cluster: &ClusterIdentity, items: &[Item]) -> Answer {
        self.with_masker(|masker| self.show(gate_text::undo(items, masker, self.style.err)));
        if matches!(self.answers, Answers::Yes) {
            return Answer::Approve(Approval::Seen);
        }
        if !self.can_ask {
            return Answer::CannotAsk(Clean::from(
                "a rollback needs an answer, and there is no terminal to ask on",
            ));
        }
        let question = format!(
            "  roll back on context {} ({})? Type yes to go on, anything else to stop:",
            cluster.context, cluster.server
        );
        match self.question(&question).await.as_deref() {
            Some("yes") => Answer::Approve(Approval::Seen),
            _ => Answer::Decline,
        }
    }
}
