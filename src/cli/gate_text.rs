//! What a gate, a preview and an undo look like as text.

use super::output::{Role, paint, paint_line};
use super::reader::{judgement_lines, verdict_role, verdict_word};
use crate::diff::render::{self, Line};
use crate::effect::{Class, Effect};
use crate::object::ObjectRef;
use crate::rollout::gate::GateStep;
use crate::rollout::preview::{Block, Decision, Preview};
use crate::rollout::undo::{Item, Undo};
use crate::secret::Masker;
use crate::text::Clean;

/// The lines of one step: its proofs, then each object's change.
pub fn step(step: &GateStep, masker: &mut Masker, colour: bool) -> Vec<String> {
    let mut lines = proofs(step, colour);
    for preview in &step.previews {
        lines.extend(object(preview, masker, colour));
    }
    lines.extend(unchanged(step, colour));
    lines
}

fn unchanged(step: &GateStep, colour: bool) -> Option<String> {
    let same = step.previews.iter().filter(|preview| matches!(preview.decision, Decision::Same)).count();
    let plural = if same == 1 { "object is" } else { "objects are" };
    (same > 0).then(|| paint(&format!("  {same} {plural} as the plan wants"), Role::Dim, colour))
}

fn proofs(step: &GateStep, colour: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (proof, judgement) in &step.proofs {
        let mut word = verdict_word(judgement.verdict);
        for line in judgement_lines(proof, judgement) {
            let word = std::mem::take(&mut word);
            lines.push(format!(
                "  {} {line}",
                paint(&format!("{word:<9}"), verdict_role(judgement.verdict), colour)
            ));
        }
    }
    lines
}

fn object(preview: &Preview, masker: &mut Masker, colour: bool) -> Vec<String> {
    let object = &preview.intent.object;
    match &preview.decision {
        Decision::Same => Vec::new(),
        Decision::Blocked(block) => blocked(block, colour),
        Decision::Later(why) => {
            let mut lines =
                indented(&render::render(object, None, Some(&preview.intent.body), masker), colour);
            lines.push(format!("    {}", paint(why.as_str(), Role::Dim, colour)));
            lines
        }
        Decision::Change(planned) => {
            let (before, after) = match &planned.effect {
                // Defaults that the server fills in are no decision of the plan.
                Effect::Create(_) => (None, Some(&preview.intent.body)),
                _ => (preview.live.as_ref(), preview.result.as_ref()),
            };
            let mut lines = indented(&render::render(object, before, after, masker), colour);
            for (path, owners) in &planned.taken {
                lines.push(format!("    takes {path} from {}", names(owners)));
            }
            match &planned.class {
                Class::Reversible => {}
                Class::LeavesResidue(what) => {
                    lines.push(format!("    {} {what}", paint("residue:", Role::Doubt, colour)));
                }
            }
            lines
        }
    }
}

fn blocked(block: &Block, colour: bool) -> Vec<String> {
    let reason = format!("  {} {}", paint("blocked  ", Role::Bad, colour), block.reason);
    let hint = block.hint.as_ref().map(|hint| format!("            hint: {hint}"));
    std::iter::once(reason).chain(hint).collect()
}

fn indented(lines: &[Line], colour: bool) -> Vec<String> {
    lines.iter().map(|line| format!("  {}", paint_line(line, colour))).collect()
}

/// The lines of one step with a line for each object instead of its diff.
pub fn brief(step: &GateStep, colour: bool) -> Vec<String> {
    let mut lines = proofs(step, colour);
    lines.extend(rows(step, colour));
    lines.extend(unchanged(step, colour));
    lines
}

/// What a gate would change, a line for each object, and the totals.
pub fn summary(steps: &[GateStep], colour: bool) -> Vec<String> {
    let mut lines: Vec<String> = steps.iter().flat_map(|step| rows(step, colour)).collect();
    lines.push(format!("  {}", totals(steps)));
    lines
}

fn rows(step: &GateStep, colour: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for preview in &step.previews {
        let object = &preview.intent.object;
        match &preview.decision {
            Decision::Same => {}
            Decision::Later(_) => {
                lines.push(row("create", Role::Good, object, "once its namespace exists", colour))
            }
            Decision::Blocked(block) => lines.extend(blocked(block, colour)),
            Decision::Change(planned) => {
                let (role, more) = match &planned.effect {
                    Effect::Create(_) => (Role::Good, String::new()),
                    _ => (Role::Doubt, count(planned.changes.len(), "field")),
                };
                lines.push(row(planned.effect.verb(), role, object, &more, colour));
                for (path, owners) in &planned.taken {
                    lines.push(format!("            takes {path} from {}", names(owners)));
                }
                if let Class::LeavesResidue(what) = &planned.class {
                    lines.push(format!("            {} {what}", paint("residue:", Role::Doubt, colour)));
                }
            }
        }
    }
    lines
}

fn row(word: &str, role: Role, object: &ObjectRef, more: &str, colour: bool) -> String {
    let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
    format!("  {} {object}{more}", paint(&format!("{word:<9}"), role, colour))
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn names(owners: &[String]) -> Clean {
    if owners.is_empty() { Clean::from("nobody") } else { Clean::new(owners.join(", ")) }
}

/// One line that says what a step's effects are and how they are undone.
pub fn totals(steps: &[GateStep]) -> String {
    let (mut creates, mut changes) = (0, 0);
    for preview in steps.iter().flat_map(|step| &step.previews) {
        match &preview.decision {
            Decision::Change(planned) if matches!(planned.effect, Effect::Create(_)) => creates += 1,
            Decision::Change(_) => changes += 1,
            Decision::Later(_) => creates += 1,
            Decision::Same | Decision::Blocked(_) => {}
        }
    }
    match (creates, changes) {
        (0, 0) => "nothing to change".to_owned(),
        (creates, 0) => format!("{creates} to create; undo deletes them"),
        (0, changes) => format!("{changes} to change; undo brings the earlier values back"),
        (creates, changes) => {
            format!("{creates} to create, {changes} to change; undo deletes and brings earlier values back")
        }
    }
}

/// The lines of a planned undo.
pub fn undo(items: &[Item], masker: &mut Masker, colour: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for item in items {
        match &item.undo {
            Undo::Skip { reason, .. } => {
                lines.push(format!("  {} {} {reason}", paint("keep     ", Role::Dim, colour), item.object));
            }
            Undo::Foreign { what } => {
                lines.push(format!("  {} {}", paint("foreign  ", Role::Doubt, colour), item.object));
                lines.extend(what.iter().take(5).map(|what| format!("            {what}")));
                if what.len() > 5 {
                    lines.push(format!("            and {} more", what.len() - 5));
                }
                let name = item.object.short();
                lines.push(format!(
                    "            hint: it is left as it is, unless named with --overwrite {name}"
                ));
            }
            Undo::Do(ready) => {
                let word = match &ready.effect {
                    Effect::Delete(_) => paint("delete   ", Role::Bad, colour),
                    Effect::Restore(_) => paint("restore  ", Role::Good, colour),
                    Effect::Create(_) | Effect::Apply(_) | Effect::ReplacePod(_) => {
                        paint("replace  ", Role::Doubt, colour)
                    }
                };
                lines.push(format!("  {word} {}", item.object));
                if let (Effect::Restore(_), Some(live)) = (&ready.effect, &item.live) {
                    let mut after = live.clone();
                    let back = crate::diff::Direction::Backward;
                    if let Err(what) = crate::diff::apply_changes(&mut after, &ready.changes, back) {
                        lines.push(format!("            {what}"));
                        continue;
                    }
                    let diff = render::render(&item.object, Some(live), Some(&after), masker);
                    lines.extend(
                        diff.iter().skip(1).map(|line| format!("          {}", paint_line(line, colour))),
                    );
                }
            }
        }
    }
    lines
}
