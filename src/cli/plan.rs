//! `firstlight plan list | show PLAN | lint FILE`

use super::load;
use super::output::{Style, data};
use super::{Failure, Global, exit};
use crate::plan::{self, Level, Settings};
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
            data(plan::list_text(&load::bundle(global)?).trim_end());
            Ok(exit::DONE)
        }
        Command::Show { plan, set } => {
            let (source, bundle) = load::source(plan, global)?;
            let plan =
                plan::load(&source, bundle.assets(), &settings(set)?).map_err(|all| load::failure(&all))?;
            data(plan::show_text(&plan).trim_end());
            Ok(exit::DONE)
        }
        Command::Lint { plan, set } => {
            let (source, bundle) = load::source(plan, global)?;
            let loaded = plan::load(&source, bundle.assets(), &settings(set)?);
            let notes = loaded.as_ref().map(|plan| plan::lint(plan, bundle.assets())).unwrap_or_default();
            let result = loaded.as_ref().map(|plan| (plan, notes.as_slice())).map_err(Vec::as_slice);
            data(plan::lint_text(&source, result).trim_end());
            let errors = loaded.is_err() || notes.iter().any(|note| note.level == Level::Error);
            Ok(if errors { exit::USAGE } else { exit::DONE })
        }
    }
}

/// Inputs for looking at a plan: one without a value gets a stand-in.
fn settings(set: &[String]) -> Result<Settings, Failure> {
    let settings =
        Settings::parse(set.iter().map(String::as_str)).map_err(|problems| load::failure(&problems))?;
    Ok(settings.with_stand_ins())
}
