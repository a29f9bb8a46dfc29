//! `firstlight preview PLAN`

use super::load;
use super::output::{Role, Style, data, paint};
use super::world::{self, Manner};
use super::{Failure, Global, Output, PlanArgs, exit, gate_text};
use crate::plan::Plan;
use crate::proof::Verdict;
use crate::rollout::preview::Decision;
use crate::rollout::run::{self, StepView};
use crate::secret::Masker;
use clap::Args;

/// Shows what a plan would change; writes nothing.
#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    plan: PlanArgs,
    /// Stops after this phase
    #[arg(long, value_name = "PHASE")]
    until: Option<String>,
    /// Exit with 3 when changes are pending
    #[arg(long)]
    exit_code: bool,
}

/// Runs the command.
///
/// # Errors
/// The cluster could not be asked.
pub async fn run(command: &Command, global: &Global, style: Style) -> Result<u8, Failure> {
    let plan = load::plan(&command.plan, global)?;
    load::check_phase(&plan, command.until.as_deref())?;
    let (_, key) = world::state_dir()?;
    let (connection, identity) = world::connect(global, global.context.as_deref()).await?;
    let manner = Manner { yes: false, style, output: global.output, verbose: global.verbose };
    let world = world::world(&connection, key, global, &manner, &plan.claim, "preview", &plan.name);
    let views = run::preview_plan(&world, &plan, command.until.as_deref()).await?;
    match global.output {
        Output::Text => {
            data(&format!(
                "{} {} on context {} ({}, {}); nothing is written",
                paint("preview", Role::Strong, style.out),
                plan.name,
                identity.context,
                identity.server,
                identity.version
            ));
            text(&plan, &views, style.out);
        }
        Output::Json => json(&views),
    }
    Ok(code(&views, command.exit_code))
}

fn text(plan: &Plan, views: &[StepView], colour: bool) {
    let mut masker = Masker::default();
    for phase in &plan.phases {
        let steps: Vec<&StepView> = views.iter().filter(|view| view.phase.as_str() == phase.name).collect();
        if steps.is_empty() {
            continue;
        }
        data(&paint(&format!("phase {}", phase.name), Role::Strong, colour));
        for view in steps {
            data(&format!("  step {}", view.step.name));
            for line in gate_text::step(&view.step, &mut masker, colour) {
                data(&line);
            }
            if !view.later.is_empty() {
                let names: Vec<&str> = view.later.iter().map(|proof| proof.as_str()).collect();
                let names = names.join(", ");
                data(&paint(&format!("  proofs after the step: {names}"), Role::Dim, colour));
            }
        }
    }
    let steps: Vec<_> = views.iter().map(|view| view.step.clone()).collect();
    data(&gate_text::totals(&steps));
}

/// One JSON object a line for each proof and each object; values are masked as in text, so only paths are given.
fn json(views: &[StepView]) {
    for view in views {
        let (phase, step) = (&view.phase, &view.step.name);
        for (proof, judgement) in &view.step.proofs {
            data(
                &serde_json::json!({ "phase": phase, "step": step, "proof": proof, "judgement": judgement })
                    .to_string(),
            );
        }
        for preview in &view.step.previews {
            let (what, paths, reason): (&str, Vec<String>, Option<String>) = match &preview.decision {
                Decision::Same => ("same", Vec::new(), None),
                Decision::Later(why) => ("create", Vec::new(), Some(why.to_string())),
                Decision::Blocked(block) => ("blocked", Vec::new(), Some(block.reason.to_string())),
                Decision::Change(planned) => {
                    let paths = planned.changes.iter().map(|change| change.path.to_string()).collect();
                    (planned.effect.verb(), paths, None)
                }
            };
            let object = &preview.intent.object;
            let fingerprint = preview.planned().map(|planned| &planned.fingerprint);
            let line = serde_json::json!({
                "phase": phase, "step": step, "object": object, "action": what, "paths": paths,
                "reason": reason, "fingerprint": fingerprint,
            });
            data(&line.to_string());
        }
    }
}

/// Blocked is 1; then the worst verdict; then whether changes are pending.
fn code(views: &[StepView], exit_code: bool) -> u8 {
    let previews = || views.iter().flat_map(|view| &view.step.previews);
    if previews().any(|preview| matches!(preview.decision, Decision::Blocked(_))) {
        return exit::FAILED;
    }
    let worst = views.iter().flat_map(|view| &view.step.proofs).map(|(_, judgement)| judgement.verdict).max();
    match exit::of_verdict(worst.unwrap_or(Verdict::Proven)) {
        exit::DONE if exit_code && previews().any(crate::rollout::preview::Preview::changes) => exit::PENDING,
        code => code,
    }
}
