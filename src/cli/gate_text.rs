//! What a gate, a preview and an undo look like as text.

use super::output::{Role, paint, paint_line};
use super::reader::{judgement_lines, verdict_role, verdict_word};
use crate::diff::render::{self, Line};
use crate::effect::{Class, Effect};
use crate::rollout::gate::GateStep;
use crate::rollout::preview::{Decision, Preview};
use crate::rollout::undo::{Item, Undo};
use crate::secret::Masker;

/// The lines of one step: its proofs, then each object's change.
pub fn step(step: &GateStep, masker: &mut Masker, colour: bool) -> Vec<String> {
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
    let same = step.previews.iter().filter(|preview| matches!(preview.decision, Decision::Same)).count();
    for preview in &step.previews {
        lines.extend(object(preview, masker, colour));
    }
    if same > 0 {
        let plural = if same == 1 { "object is" } else { "objects are" };
        lines.push(paint(&format!("  {same} {plural} as the plan wants"), Role::Dim, colour));
    }
    lines
}

fn object(preview: &Preview, masker: &mut Masker, colour: bool) -> Vec<String> {
    let object = &preview.intent.object;
    match &preview.decision {
        Decision::Same => Vec::new(),
        Decision::Blocked(block) => {
            let mut lines = vec![format!("  {} {}", paint("blocked  ", Role::Bad, colour), block.reason)];
            if let Some(hint) = &block.hint {
                lines.push(format!("            hint: {hint}"));
            }
            lines
        }
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
                let from = if owners.is_empty() { "nobody".to_owned() } else { owners.join(", ") };
                lines.push(format!("    takes {path} from {}", crate::text::Clean::new(from)));
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

fn indented(lines: &[Line], colour: bool) -> Vec<String> {
    lines.iter().map(|line| format!("  {}", paint_line(line, colour))).collect()
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
