//! `firstlight rehearse [PLAN]`

use super::ask::{Answers, Headless};
use super::load;
use super::output::{Style, data, say};
use super::reader::{Json, Text, can_ask};
use super::run::recorded;
use super::{Failure, Global, Output, PlanArgs, exit};
use crate::adapter::claim::{Holder, LeaseClaim, Progress};
use crate::plan::Plan;
use crate::port::{Repository, RepositoryFact};
use crate::proof::git_crypt::Wanted;
use crate::rehearsal::clock::SimClock;
use crate::rehearsal::fault::{FAULTS, Fault};
use crate::rehearsal::images::Telemetry;
use crate::rehearsal::{Options, Rehearsal};
use crate::rollout::book::Log;
use crate::rollout::event::{Event, Reader, Sign};
use crate::rollout::{Halt, Stop, World, run};
use crate::secret::{Masker, StateKey};
use crate::text::Clean;
use async_trait::async_trait;
use clap::Args;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Runs a plan on an embedded, simulated cluster; no cluster is needed and none is touched.
#[derive(Debug, Args)]
pub struct Command {
    /// Name of a shipped plan, or path of a plan file
    #[arg(default_value = "tracing")]
    plan: String,
    /// Sets an input
    #[arg(long = "set", value_name = "INPUT=VALUE")]
    set: Vec<String>,
    /// Text instead of screens (the only form of this version)
    #[arg(long)]
    headless: bool,
    /// Approves every gate without asking
    #[arg(long)]
    yes: bool,
    /// What goes wrong; can be given several times
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Lists the faults and what each teaches
    #[arg(long)]
    faults: bool,
    /// Everything random follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
/// The rehearsal did not reach its end, which under a fault is what it is for.
pub fn run(command: &Command, global: &Global, style: Style) -> Result<u8, Failure> {
    if command.faults {
        for fault in FAULTS {
            data(&format!("{:<14} {}", fault.name, fault.what));
            data(&format!("{:<14} teaches: {}", "", fault.teaches));
        }
        return Ok(exit::DONE);
    }
    let faults = command.fault.iter().map(|name| named(name)).collect::<Result<Vec<_>, Failure>>()?;
    let args = PlanArgs { plan: command.plan.clone(), set: command.set.clone(), namespace: None };
    let plan = load::plan(&args, global)?;
    let asks = !command.yes;
    if asks && !can_ask() {
        return Err(Failure::usage("a gate needs an answer, and there is no terminal to ask on")
            .hint("use --yes to approve every gate of the rehearsal"));
    }
    let built = if asks {
        // Somebody reads and types: time must not run away meanwhile.
        tokio::runtime::Builder::new_current_thread().enable_time().build()
    } else {
        SimClock::runtime()
    };
    let runtime =
        built.map_err(|error| Failure::failed(format!("the runtime could not be started: {error}")))?;
    let result = runtime.block_on(rehearse(&plan, command, faults, asks, global, style));
    runtime.shutdown_background();
    result
}

fn named(name: &str) -> Result<&'static Fault, Failure> {
    Fault::named(name).ok_or_else(|| {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        Failure::usage(format!("there is no fault {}", Clean::new(name)))
            .hint(format!("known: {}", known.join(", ")))
    })
}

async fn rehearse(
    plan: &Plan,
    command: &Command,
    faults: Vec<&'static Fault>,
    asks: bool,
    global: &Global,
    style: Style,
) -> Result<u8, Failure> {
    let clock = if asks { SimClock::scaled(10.0) } else { SimClock::paused() };
    let mut options = Options::new(command.seed, clock);
    options.faults = faults;
    options.images = Box::new(|network, clock, seed| Arc::new(Telemetry::new(network, clock, seed)));
    let rehearsal = Rehearsal::new(options);
    say("REHEARSAL on an embedded cluster; no cluster is touched, and nothing is kept");
    let cluster = rehearsal.cluster();
    let identity = cluster.identity().await?;
    let reader: Arc<dyn Reader> = match global.output {
        Output::Text => Arc::new(Text::new(style, global.verbose)),
        Output::Json => Arc::new(Json),
    };
    let notes = reader.clone();
    let progress: Progress = Arc::new(move |text| notes.sign(&Sign::Note { text }));
    let me = Holder::this_process("rehearsal", &plan.name);
    // Held open: nothing asks a rehearsal to stop but the end of its process.
    let (_stop, stop) = watch::channel(Stop::No);
    // Nothing of a rehearsal outlives it, so its fingerprints need no secret.
    let key = Arc::new(StateKey::new([0; 32]));
    let world = World {
        claim: Arc::new(LeaseClaim::new(
            cluster.clone(),
            Arc::new(clock),
            rehearsal.entropy().as_ref(),
            plan.claim.clone(),
            me,
            progress,
        )),
        http: rehearsal.http(),
        clock: Arc::new(clock),
        repository: Arc::new(NoRepository),
        wanted: Wanted::Enclosing,
        operator: Arc::new(Headless {
            style,
            answers: if asks { Answers::Ask } else { Answers::Yes },
            can_ask: can_ask(),
            verbose: global.verbose,
            key: key.clone(),
            stop: stop.clone(),
            masker: Mutex::new(Masker::default()),
        }),
        reader,
        key,
        stop,
        cluster,
    };
    let claimed = world.claim.take().await.map_err(|error| Failure::from(Halt::from(error)))?;
    let log = Box::new(Memory::default());
    let result = recorded(&world, log, plan, &identity, &run::Options::default(), claimed).await;
    world.claim.release().await;
    result.map_err(|mut failure| {
        // A rehearsal leaves nothing that could be taken back or gone on with.
        failure.hint = failure.hint.filter(|hint| !hint.contains("`firstlight "));
        failure
    })?;
    Ok(exit::DONE)
}

/// The journal of a rehearsal: counted, not kept.
#[derive(Default)]
struct Memory {
    next: u64,
}

#[async_trait]
impl Log for Memory {
    async fn append(&mut self, _: u64, events: &[Event]) -> Result<u64, Clean> {
        let first = self.next + 1;
        self.next += events.len() as u64;
        Ok(first)
    }
}

/// A rehearsal reads no repository.
struct NoRepository;

#[async_trait]
impl Repository for NoRepository {
    async fn git_crypt(&self) -> Result<Option<RepositoryFact>, Clean> {
        Ok(None)
    }
}
