//! `firstlight plan list | show PLAN | lint FILE`

use super::load;
use super::output::data;
use super::{Failure, Global, Output, exit};
use crate::plan::{self, Bundle, Level, Note, Plan, Settings};
use crate::yaml::Problem;
use clap::Subcommand;

/// Plans: list, show, lint.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the plans
    List,
    /// Shows a plan: its inputs, phases and steps
    Show {
        /// Name of a shipped plan, or path of a plan file
        plan: String,
        /// Sets an input
        #[arg(long = "set", value_name = "INPUT=VALUE")]
        set: Vec<String>,
    },
    /// Checks a plan and its assets
    Lint {
        /// Path of a plan file, or name of a shipped plan
        plan: String,
        /// Sets an input
        #[arg(long = "set", value_name = "INPUT=VALUE")]
        set: Vec<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// The plan cannot be read, or lint found an error.
pub fn run(command: &Command, global: &Global) -> Result<u8, Failure> {
    match command {
        Command::List => {
            let bundle = load::bundle(global)?;
            match global.output {
                Output::Text => data(plan::list_text(&bundle).trim_end()),
                Output::Json => list_json(&bundle),
            }
            Ok(exit::DONE)
        }
        Command::Show { plan, set } => {
            let (source, bundle) = load::source(plan, global)?;
            let plan =
                plan::load(&source, bundle.assets(), &settings(set)?).map_err(|all| load::failure(&all))?;
            match global.output {
                Output::Text => data(plan::show_text(&plan).trim_end()),
                Output::Json => show_json(&plan),
            }
            Ok(exit::DONE)
        }
        Command::Lint { plan, set } => {
            let (source, bundle) = load::source(plan, global)?;
            let loaded = plan::load(&source, bundle.assets(), &settings(set)?);
            let notes = loaded.as_ref().map(|plan| plan::lint(plan, bundle.assets())).unwrap_or_default();
            let result = loaded.as_ref().map(|plan| (plan, notes.as_slice())).map_err(Vec::as_slice);
            match global.output {
                Output::Text => data(plan::lint_text(&source, result).trim_end()),
                Output::Json => lint_json(result),
            }
            let errors = loaded.is_err() || notes.iter().any(|note| note.level == Level::Error);
            Ok(if errors { exit::USAGE } else { exit::DONE })
        }
    }
}

/// A line for each plan.
fn list_json(bundle: &Bundle) {
    for name in bundle.names() {
        let Ok(source) = bundle.plan(name) else { continue };
        let line = match plan::load(source, bundle.assets(), &Settings::default().with_stand_ins()) {
            Ok(plan) => serde_json::json!({ "plan": name, "title": plan.title }),
            Err(problems) => serde_json::json!({ "plan": name, "problems": problems }),
        };
        data(&line.to_string());
    }
}

/// The plan in one line. Objects are named and not shown: inputs that are secret stand in them as they are sent.
fn show_json(plan: &Plan) {
    let step = |step: &plan::Step| {
        serde_json::json!({
            "step": step.name, "does": step.action.keyword(), "objects": step.action.objects(),
            "before": step.before, "after": step.after,
        })
    };
    let phases: Vec<serde_json::Value> = plan
        .phases
        .iter()
        .map(|phase| {
            let steps: Vec<serde_json::Value> = phase.steps.iter().map(step).collect();
            serde_json::json!({ "phase": phase.name, "title": phase.title, "steps": steps })
        })
        .collect();
    let line = serde_json::json!({
        "plan": plan.name, "title": plan.title, "claim": plan.claim, "inputs": load::shown_inputs(plan),
        "phases": phases,
    });
    data(&line.to_string());
}

/// A line for each problem.
fn lint_json(result: Result<(&Plan, &[Note]), &[Problem]>) {
    let found: Vec<(&str, &Problem)> = match result {
        Err(problems) => problems.iter().map(|problem| ("error", problem)).collect(),
        Ok((_, notes)) => {
            let level = |note: &Note| if note.level == Level::Error { "error" } else { "warning" };
            notes.iter().map(|note| (level(note), &note.problem)).collect()
        }
    };
    for (level, problem) in found {
        data(&serde_json::json!({ "level": level, "problem": problem }).to_string());
    }
}

/// Inputs for looking at a plan: one without a value gets a stand-in.
fn settings(set: &[String]) -> Result<Settings, Failure> {
    let settings =
        Settings::parse(set.iter().map(String::as_str)).map_err(|problems| load::failure(&problems))?;
    Ok(settings.with_stand_ins())
}
