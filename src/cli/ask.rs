//! Who answers gates without a TUI: a person at a terminal, or the options of the command line.

use super::gate_text;
use super::output::{Role, Style, paint, say};
use crate::port::ClusterIdentity;
use crate::proof::{Judgement, Verdict};
use crate::rollout::event::Approval;
use crate::rollout::gate::{Answer, Gate, Operator};
use crate::rollout::undo::Item;
use crate::secret::Masker;
use crate::text::Clean;
use async_trait::async_trait;
use std::sync::Mutex;
use tokio::sync::oneshot;

/// Answers by asking on the terminal, or as `--yes` says.
pub struct Headless {
    /// How it looks.
    pub style: Style,
    /// `--yes` (with `--approve-unseen` where that is needed): nobody is asked.
    pub yes: bool,
    /// Whether a question can be asked at all.
    pub can_ask: bool,
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
        self.with_masker(|masker| {
            for step in &gate.steps {
                if step.previews.iter().any(crate::rollout::preview::Preview::changes) {
                    say(&format!("  step {}", step.name));
                    // Its proofs have been said when they were judged.
                    let shown = crate::rollout::gate::GateStep { proofs: Vec::new(), ..step.clone() };
                    self.show(gate_text::step(&shown, masker, colour));
                }
            }
        });
        if !gate.moved.is_empty() {
            say(&paint(
                "  the approved change no longer holds; this is what would change now",
                Role::Doubt,
                colour,
            ));
        }
        if self.yes {
            // What moved was looked at by nobody, and `--yes` was said before it moved.
            return if gate.moved.is_empty() {
                Answer::Approve(Approval::Unseen)
            } else {
                Answer::CannotAsk(Clean::new(format!(
                    "what was approved in phase {} no longer holds: {}",
                    gate.phase,
                    gate.moved.first().map(Clean::as_str).unwrap_or_default()
                )))
            };
        }
        if !self.can_ask {
            return Answer::CannotAsk(Clean::from(
                "a gate needs an answer, and there is no terminal to ask on",
            ));
        }
        say(&format!("  {}", gate_text::totals(&gate.steps)));
        ask(&format!(
            "  approve phase {} on context {} ({})? Type yes to go on, anything else to stop:",
            gate.phase, gate.cluster.context, gate.cluster.server
        ));
        match line().await.as_deref() {
            Some("yes") => Answer::Approve(Approval::Seen),
            _ => Answer::Decline,
        }
    }

    async fn pass(&self, place: &Clean, proof: &Clean, judgement: &Judgement) -> Option<Clean> {
        if self.yes || !self.can_ask {
            return None;
        }
        let verdict = judgement.verdict;
        for line in super::reader::judgement_lines(proof, judgement) {
            say(&format!("  {} {line}", super::reader::verdict_word(verdict)));
        }
        if verdict == Verdict::Refuted {
            ask(&format!(
                "  {proof} is refuted in {place}; type its name to go on all the same, anything else to stop:"
            ));
            if line().await.as_deref() != Some(proof.as_str()) {
                return None;
            }
        }
        ask(&format!("  why may {proof} be passed although it is {verdict}? (empty: stop)"));
        line().await.filter(|reason| !reason.is_empty()).map(Clean::new)
    }

    async fn undo(&self, cluster: &ClusterIdentity, items: &[Item]) -> Answer {
        self.with_masker(|masker| self.show(gate_text::undo(items, masker, self.style.err)));
        if self.yes {
            return Answer::Approve(Approval::Seen);
        }
        if !self.can_ask {
            return Answer::CannotAsk(Clean::from(
                "a rollback needs an answer, and there is no terminal to ask on",
            ));
        }
        ask(&format!(
            "  roll back on context {} ({})? Type yes to go on, anything else to stop:",
            cluster.context, cluster.server
        ));
        match line().await.as_deref() {
            Some("yes") => Answer::Approve(Approval::Seen),
            _ => Answer::Decline,
        }
    }
}
