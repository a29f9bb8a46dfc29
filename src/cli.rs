//! The command line: parse, build the world, run a command, say how it ended.

pub mod approved;
pub mod ask;
pub mod exit;
pub mod gate_text;
pub mod history;
pub mod load;
pub mod output;
pub mod plan;
pub mod preview;
pub mod reader;
pub mod rehearse;
pub mod rollback;
pub mod run;
pub mod runs;
pub mod signal;
pub mod world;

use crate::rollout::Halt;
use crate::text::Clean;
use clap::{Args, Parser, Subcommand, ValueEnum};
use output::{Color, Role, Style, paint, say};
use std::path::PathBuf;

/// Rollouts you can prove: walks an operator through a phased rollout on Kubernetes, and back.
#[derive(Debug, Parser)]
#[command(name = "firstlight", version, arg_required_else_help = true, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The kubeconfig's context; `run` and `rollback` without a terminal need it
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig (default: $KUBECONFIG, then ~/.kube/config)
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The git repository whose secrets are judged (default: the one that encloses the working folder)
    #[arg(long, global = true, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// A folder with plans/ and assets/ that replaces the shipped ones
    #[arg(long, global = true, value_name = "DIR")]
    pub plans: Option<PathBuf>,
    /// How results are printed; json is JSON Lines of events
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
    /// Colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Allow contexts that do not verify the server's certificate
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// A line for every effect, and every diff
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plans: list, show, lint
    #[command(subcommand)]
    Plan(plan::Command),
    /// Shows what a plan would change, by the API server's dry run; writes nothing
    Preview(preview::Command),
    /// Runs a plan phase by phase, with a gate before each
    Run(run::Command),
    /// Runs a plan on an embedded, simulated cluster; no cluster is needed and none is touched
    Rehearse(rehearse::Command),
    /// Undoes a run, the latest effect first
    Rollback(rollback::Command),
    /// Lists the runs of this machine
    Runs,
    /// Shows one run: its effects and how each stands
    Show(runs::Show),
}

/// A plan and its inputs, as commands take them.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Name of a shipped plan, or path of a plan file
    pub plan: String,
    /// Sets an input
    #[arg(long = "set", value_name = "INPUT=VALUE")]
    pub set: Vec<String>,
    /// Namespace of the stack: the same as --set namespace=NAME
    #[arg(short = 'n', long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// Why a command ended otherwise than asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What to say: one sentence, or several problems of a file.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A usage error: nothing was done.
    pub fn usage(text: impl AsRef<str>) -> Self {
        Self { code: exit::USAGE, text: text.as_ref().to_owned(), hint: None }
    }

    /// A failure.
    pub fn failed(text: impl AsRef<str>) -> Self {
        Self { code: exit::FAILED, text: text.as_ref().to_owned(), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(hint.as_ref().to_owned());
        self
    }
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        Self {
            code: exit::of(halt.outcome),
            text: halt.summary.to_string(),
            hint: halt.hint.map(|hint| hint.to_string()),
        }
    }
}

impl From<crate::port::ClusterError> for Failure {
    fn from(error: crate::port::ClusterError) -> Self {
        Halt::from(error).into()
    }
}

/// Runs the command line and returns the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                // Help and version. A closed pipe is the reader's choice.
                let _ = error.print();
                return exit::DONE;
            }
            // What was typed, or pasted, is foreign text.
            say(Clean::lines(error.render().to_string().trim_end()).as_str());
            return exit::USAGE;
        }
    };
    let style = Style::new(cli.global.color);
    let result = match cli.command {
        // These need no runtime; starting none keeps them quick.
        Command::Plan(command) => plan::run(&command, &cli.global),
        Command::Runs => runs::list(&cli.global),
        Command::Show(command) => runs::show(&command, &cli.global),
        Command::Preview(command) => asynchronous(preview::run(&command, &cli.global, style)),
        Command::Run(command) => asynchronous(run::run(&command, &cli.global, style)),
        Command::Rehearse(command) => rehearse::run(&command, &cli.global, style),
        Command::Rollback(command) => asynchronous(rollback::run(&command, &cli.global, style)),
    };
    let result = match (result, output::lost()) {
        (Ok(_), Some(cause)) => Err(Failure::failed(format!("stdout could not be written: {cause}"))),
        (result, _) => result,
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            say(&format!("{} {}", paint("error:", Role::Bad, style.err), Clean::lines(&failure.text)));
            if let Some(hint) = &failure.hint {
                say(&format!("hint: {}", Clean::lines(hint)));
            }
            failure.code
        }
    }
}

fn asynchronous(future: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime could not be started: {error}")))?;
    let result = runtime.block_on(future);
    // A request that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    result
}
