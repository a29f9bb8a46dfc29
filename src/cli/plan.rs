//! `firstlight plan list | show PLAN | lint FILE`

use super::load;
use super::output::{Style, data};
use super::{Failure, Global, exit};
use crate::plan::{self, Level, Plan, Settings};
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
pub fn run(command: &Command, global: &Global, _style: Style) -> Result<u8, Failure> {
    match command {
        Command::List => {
            let bundle = load::bundle(global)?;
            let mut plans = Vec::new();
            for name in bundle.names() {
                plans.push(loaded(name, &[], global)?);
            }
            data(plan::list_text(&plans).trim_end());
            Ok(exit::DONE)
        }
        Command::Show { plan, set } => {
            data(plan::show_text(&loaded(plan, set, global)?).trim_end());
            Ok(exit::DONE)
        }
        Command::Lint { plan, set } => {
            let plan = loaded(plan, set, global)?;
            let notes = plan::lint(&plan);
            data(plan::lint_text(&plan, &notes).trim_end());
            let errors = notes.iter().any(|note| note.level == Level::Error);
            Ok(if errors { exit::USAGE } else { exit::DONE })
        }
    }
}

/// A plan for looking at: inputs without a value get a stand-in.
fn loaded(name: &str, set: &[String], global: &Global) -> Result<Plan, Failure> {
    let settings = Settings::parse(set.iter().map(String::as_str)).map_err(|problems| load::failure(&problems))?;
    let (source, bundle) = load::source(name, global)?;
    plan::load(&source, bundle.assets(), &settings.with_stand_ins()).map_err(|problems| load::failure(&problems))
}
