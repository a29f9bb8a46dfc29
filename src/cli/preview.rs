//! `firstlight preview PLAN`

use super::approved::{Approved, Binding};
use super::ask::Answers;
use super::load;
use super::output::{Role, Style, data, paint, say};
use super::world::{self, Manner};
use super::{Failure, Global, Output, PlanArgs, exit, gate_text};
use crate::plan::{Plan, plan_hash};
use crate::proof::Verdict;
use crate::rollout::preview::Decision;
use crate::rollout::run::{self, StepView};
use crate::rollout::{self, Halt};
use crate::secret::Masker;
use crate::text::Clean;
use clap::Args;
use std::path::PathBuf;

/// Shows what a plan would change; writes nothing.
#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    plan: PlanArgs,
    /// Stops after this phase
    #[arg(long, value_name = "PHASE")]
    until: Option<String>,
    /// Saves what is shown as an approval for `run --approved FILE`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// A line for each object instead of its diff
    #[arg(long)]
    summary: bool,
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
    let manner = Manner { answers: Answers::Ask, style, output: global.output, verbose: global.verbose };
    let world = world::world(&connection, key, global, &manner, &plan.claim, "preview", &plan.name);
    let mut stop = world.stop.clone();
    let views = tokio::select! {
        biased;
        cause = rollout::asked(&mut stop) => {
            let halt = Halt::new(rollout::stopped(cause, "").outcome, "stopped; a preview writes nothing");
            return Err(halt.into());
        }
        views = run::preview_plan(&world, &plan, command.until.as_deref()) => views?,
    };
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
            text(&plan, &views, command.summary, style.out);
        }
        Output::Json => json(&views),
    }
    if let Some(path) = &command.save {
        let hash = plan_hash(&plan);
        let binding = Binding { plan: &plan.name, plan_hash: &hash, cluster: &identity };
        let saved = Clean::new(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let approved = Approved::of(&views, binding, world::who(), saved, &world.key)?;
        approved.write(path)?;
        let changes = match approved.changes() {
            1 => "1 change".to_owned(),
            n => format!("{n} changes"),
        };
        say(&format!("saved the approval of {changes} in {}", Clean::new(path.display().to_string())));
    }
    Ok(code(&views, command.exit_code))
}

fn text(plan: &Plan, views: &[StepView], summary: bool, colour: bool) {
    let mut masker = Masker::default();
    for phase in &plan.phases {
        let steps: Vec<&StepView> = views.iter().filter(|view| view.phase.as_str() == phase.name).collect();
        if steps.is_empty() {
            continue;
        }
        data(&paint(&format!("phase {}", phase.name), Role::Strong, colour));
        for view in steps {
            data(&format!("  step {}", view.step.name));
            let lines = if summary {
                gate_text::brief(&view.step, colour)
            } else {
                gate_text::step(&view.step, &mut masker, colour)
            };
            lines.iter().for_each(|line| data(line));
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
        exit::DONE if exit_code && previews().any(rollout::preview::Preview::changes) => exit::PENDING,
        code => code,
    }
}
