//! Readers of the event stream for a terminal and for programs.

use super::output::{Role, Style, data, paint, say};
use crate::proof::{Judgement, Verdict};
use crate::rollout::back::said;
use crate::rollout::event::{Approval, Event, Outcome, Reader, Sign, Stamped};
use crate::text::Clean;
use std::io::IsTerminal;
use std::sync::Mutex;

/// Events as lines of text on stderr.
pub struct Text {
    style: Style,
    last: Mutex<Last>,
    /// Whether every effect gets a line, or only every step.
    verbose: bool,
}

#[derive(Default)]
struct Last {
    waiting: Clean,
    at: u64,
    batch: u32,
}

/// How often an unchanged wait is said again, in milliseconds: never silent, never a flood.
const SAY_AGAIN: u64 = 10_000;

impl Text {
    /// A reader in this style.
    pub fn new(style: Style, verbose: bool) -> Self {
        Self { style, last: Mutex::new(Last::default()), verbose }
    }

    fn line(&self, word: &str, role: Role, text: &str) {
        say(&format!("  {} {text}", paint(&format!("{word:<9}"), role, self.style.err)));
    }
}

/// The sign and colour of a verdict.
pub fn verdict_role(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Proven => Role::Good,
        Verdict::NotApplicable => Role::Dim,
        Verdict::Unknown => Role::Doubt,
        Verdict::Refuted => Role::Bad,
    }
}

/// The word for a verdict, short enough for a column.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proven => "proven",
        Verdict::NotApplicable => "n/a",
        Verdict::Unknown => "unknown",
        Verdict::Refuted => "refuted",
    }
}

/// The lines of a judgement: the headline beside the proof's name, then the rest of the evidence.
pub fn judgement_lines(proof: &Clean, judgement: &Judgement) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, finding) in judgement.findings.iter().enumerate() {
        let name = if index == 0 { format!("{proof:<14} ") } else { format!("{:<14} ", "") };
        lines.push(format!("{name}{}", finding.text));
        if let Some(hint) = finding.hint.as_ref().filter(|_| finding.verdict > Verdict::Proven) {
            lines.push(format!("{:<14} hint: {hint}", ""));
        }
    }
    lines
}

impl Reader for Text {
    fn event(&self, stamped: &Stamped) {
        match &stamped.event {
            Event::RunStarted(header) => {
                say(&format!(
                    "{} {} on context {} ({}, {})",
                    paint("run", Role::Strong, self.style.err),
                    header.plan,
                    header.cluster.context,
                    header.cluster.server,
                    header.cluster.version
                ));
            }
            Event::ClaimTaken { names } => {
                let names: Vec<&str> = names.iter().map(Clean::as_str).collect();
                self.line("claimed", Role::Good, &names.join(", "));
            }
            Event::PhaseStarted { phase } => {
                say(&paint(&format!("phase {phase}"), Role::Strong, self.style.err))
            }
            Event::ProofJudged { proof, judgement, passed, .. } => {
                let mut word = verdict_word(judgement.verdict);
                for line in judgement_lines(proof, judgement) {
                    self.line(word, verdict_role(judgement.verdict), &line);
                    word = "";
                }
                if let Some(reason) = passed {
                    self.line("passed", Role::Doubt, &format!("{proof} with the reason: {reason}"));
                }
            }
            Event::GateApproved { approval: Approval::Unneeded, .. } => {
                self.line("same", Role::Dim, "nothing to change");
            }
            Event::GateApproved { approval, objects, .. } => {
                let how = match approval {
                    Approval::Seen | Approval::Unneeded => "approved",
                    Approval::Unseen => "approved unseen",
                    Approval::Saved => "approved as saved",
                };
                let plural = if objects.len() == 1 { "object" } else { "objects" };
                self.line("gate", Role::Good, &format!("{how}: {} {plural}", objects.len()));
            }
            Event::GateDeclined { .. } => self.line("gate", Role::Doubt, "declined"),
            Event::GateMoved { objects, .. } => {
                for (_, what) in objects {
                    self.line("moved", Role::Doubt, what.as_str());
                }
            }
            Event::StepStarted { .. } => {}
            Event::EffectIntended { id, effect, .. } => {
                if let Ok(mut last) = self.last.lock() {
                    last.batch += 1;
                }
                if self.verbose {
                    self.line("intent", Role::Dim, &format!("{id} {} {}", effect.verb(), effect.object()));
                }
            }
            Event::EffectDone { id, .. } => {
                if self.verbose {
                    self.line("done", Role::Dim, &id.to_string());
                }
            }
            Event::EffectFailed { reason, .. } => self.line("failed", Role::Bad, reason.as_str()),
            Event::EffectSettled { id, settlement } => {
                self.line("settled", Role::Doubt, &format!("effect {id}: {}", said(settlement)));
            }
            Event::StepFinished { step, changed, .. } => {
                let text = match changed {
                    0 => step.to_string(),
                    1 => format!("{step}: 1 object changed"),
                    n => format!("{step}: {n} objects changed"),
                };
                self.line("done", Role::Good, &text);
            }
            Event::PhaseFinished { .. } => {}
            Event::RollbackStarted { .. } => say(&paint("rollback", Role::Strong, self.style.err)),
            Event::UndoSkipped { reason, id, .. } => {
                self.line("skipped", Role::Dim, &format!("effect {id} {reason}"));
            }
            Event::RunFinished { outcome, summary } | Event::RollbackFinished { outcome, summary } => {
                // Every other ending is the command's error, said once at its end with what to do about it.
                if *outcome == Outcome::Done {
                    say(&format!("{}: {summary}", paint("done", Role::Good, self.style.err)));
                }
            }
        }
    }

    fn sign(&self, sign: &Sign) {
        match sign {
            Sign::Progress { what, done, total } => {
                self.line("reading", Role::Dim, &format!("{what}: {done} of {total}"))
            }
            Sign::Note { text } => self.line("note", Role::Doubt, text.as_str()),
            Sign::Waiting { what, reason, waited } => {
                let Ok(mut last) = self.last.lock() else { return };
                let text = Clean::new(format!("{what}: {reason}"));
                if last.waiting == text && waited.saturating_sub(last.at) < SAY_AGAIN {
                    return;
                }
                if last.waiting != text
                    && waited.saturating_sub(last.at) < 1000
                    && *waited > last.at
                    && last.at > 0
                {
                    // Reasons that change by the millisecond are no news.
                    return;
                }
                last.waiting = text.clone();
                last.at = *waited;
                self.line("waiting", Role::Dim, &format!("{text} ({} s)", waited / 1000));
            }
        }
    }
}

/// Events as JSON Lines on stdout.
pub struct Json;

impl Reader for Json {
    fn event(&self, event: &Stamped) {
        if let Ok(line) = serde_json::to_string(event) {
            data(&line);
        }
    }

    fn sign(&self, sign: &Sign) {
        if let Ok(line) = serde_json::to_string(&serde_json::json!({ "sign": sign })) {
            data(&line);
        }
    }
}

/// Whether a question can be asked: stdin and stderr are terminals.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
