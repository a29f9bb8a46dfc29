//! `firstlight run PLAN`

use super::approved::{Approved, Binding};
use super::ask::Answers;
use super::load;
use super::output::Style;
use super::reader::can_ask;
use super::world::{self, Manner};
use super::{Failure, Global, PlanArgs, exit, history};
use crate::adapter::store::StateDir;
use crate::journal::RunId;
use crate::plan::{Plan, ProofName, plan_hash};
use crate::port::ClusterIdentity;
use crate::rollout::book::{Book, Log};
use crate::rollout::event::{Event, Outcome, RunHeader, Sign};
use crate::rollout::run::{self, Options};
use crate::rollout::state::State;
use crate::rollout::{World, back};
use crate::text::Clean;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Runs a plan phase by phase, with a gate before each.
#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    plan: PlanArgs,
    /// Linear text instead of screens (the only form of this version)
    #[arg(long)]
    headless: bool,
    /// Approves every gate without asking; it needs --approve-unseen too
    #[arg(long)]
    yes: bool,
    /// Says that nobody looks at the diffs before they are applied; the record says so too
    #[arg(long, requires = "yes")]
    approve_unseen: bool,
    /// Approves exactly what `preview --save FILE` saved; anything else ends with 3
    #[arg(long, value_name = "FILE", conflicts_with = "yes")]
    approved: Option<PathBuf>,
    /// Goes on although this proof is unknown, for this reason
    #[arg(long, value_name = "PROOF=REASON")]
    accept_unknown: Vec<String>,
    /// Goes on although this proof is refuted, for this reason
    #[arg(long = "override", value_name = "PROOF=REASON")]
    override_refuted: Vec<String>,
    /// Stops after this phase
    #[arg(long, value_name = "PHASE")]
    until: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The run did not reach its end; the failure says why and with which exit code.
pub async fn run(command: &Command, global: &Global, style: Style) -> Result<u8, Failure> {
    let plan = load::plan(&command.plan, global)?;
    let options = Options {
        until: command.until.clone(),
        accept_unknown: reasons(&command.accept_unknown, "--accept-unknown")?,
        override_refuted: reasons(&command.override_refuted, "--override")?,
    };
    load::check_phase(&plan, options.until.as_deref())?;
    if command.yes && !command.approve_unseen {
        return Err(Failure::usage("--yes would approve diffs that nobody has seen")
            .hint("add --approve-unseen to say so, or leave --yes out and answer at each gate"));
    }
    if !command.yes && command.approved.is_none() && !can_ask() {
        return Err(Failure::usage("a gate needs an answer, and there is no terminal to ask on")
            .hint("save a preview with `preview --save FILE` and give it with --approved, or use --yes --approve-unseen"));
    }
    if (command.headless || !can_ask()) && global.context.is_none() {
        return Err(
            Failure::usage("a headless run needs an explicit context").hint("name one with --context")
        );
    }
    let (state, key) = world::state_dir()?;
    let approved = command.approved.as_deref().map(|path| Approved::read(path, &key)).transpose()?;
    let (connection, identity) = world::connect(global, global.context.as_deref()).await?;
    let wall = crate::port::Clock::wall(&crate::adapter::clock::SystemClock);
    let id = RunId::new(&plan.name, wall, world::random());
    let answers = match approved {
        Some(approved) => {
            let hash = plan_hash(&plan);
            let binding = Binding { plan: &plan.name, plan_hash: &hash, cluster: &identity };
            let phases: Vec<&str> =
                run::phases(&plan, options.until.as_deref()).map(|phase| phase.name.as_str()).collect();
            approved.check(binding, &phases, &key)?;
            Answers::Saved(Box::new(approved))
        }
        None if command.yes => Answers::Yes,
        None => Answers::Ask,
    };
    let manner = Manner { answers, style, output: global.output, verbose: global.verbose };
    let names = &plan.claim;
    let world = world::world(&connection, key, global, &manner, names, id.as_str(), &plan.name);
    let claimed = world::claimed(&world).await?;
    let result =
        world::unless_at_once(&world, claimed_run(&world, &state, &plan, &identity, &options, &id, claimed))
            .await;
    world::release(&world).await;
    result?;
    Ok(exit::DONE)
}

async fn claimed_run(
    world: &World,
    state: &StateDir,
    plan: &Plan,
    identity: &ClusterIdentity,
    options: &Options,
    id: &RunId,
    claimed: Vec<Clean>,
) -> Result<(), Failure> {
    settle_earlier(world, state, identity).await?;
    let store = state.create_run(id.as_str()).map_err(|error| history::of_store(&error))?;
    let log = history::JournalLog::begin(Box::new(store), id.clone());
    recorded(world, Box::new(log), plan, identity, options, claimed).await
}

/// Runs a plan under a claim that is held, with its first and last record around it.
///
/// # Errors
/// The run did not reach its end, or its log cannot be written.
pub async fn recorded(
    world: &World,
    log: Box<dyn Log>,
    plan: &Plan,
    identity: &ClusterIdentity,
    options: &Options,
    claimed: Vec<Clean>,
) -> Result<(), Failure> {
    let mut book = Book::new(log, world.clock.clone(), world.reader.clone(), State::default());
    let header = RunHeader {
        plan: Clean::new(&plan.name),
        title: plan.title.clone(),
        // Keyed, because inputs are part of it.
        plan_hash: world.key.keyed("plan", plan_hash(plan).as_bytes()).to_string(),
        program: Clean::from(env!("CARGO_PKG_VERSION")),
        cluster: identity.clone(),
        by: world::who(),
        inputs: load::shown_inputs(plan),
    };
    book.record(vec![Event::RunStarted(header), Event::ClaimTaken { names: claimed }]).await?;
    let result = run::run(world, &mut book, plan, identity, options).await;
    let (outcome, summary) = match &result {
        Ok(summary) => (Outcome::Done, summary.clone()),
        Err(halt) => (halt.outcome, halt.summary.clone()),
    };
    book.note(Event::RunFinished { outcome, summary }).await?;
    result.map(|_| ()).map_err(Failure::from)
}

/// Settles what earlier runs against this cluster left unknown, before anything new is done.
async fn settle_earlier(world: &World, state: &StateDir, identity: &ClusterIdentity) -> Result<(), Failure> {
    for id in history::ids(state)? {
        let past = match history::begun(state, &id) {
            Ok(Some(past)) => past,
            // It ended before it began.
            Ok(None) => continue,
            Err(failure) => {
                // A journal that cannot be read may hold an unknown effect: it is said, never passed over in silence.
                let text =
                    Clean::new(format!("run {id} cannot be read and was not settled: {}", failure.text));
                world.reader.sign(&Sign::Note { text });
                continue;
            }
        };
        let here = past.state.header.as_ref().is_some_and(|header| header.cluster.uid == identity.uid);
        if !here || past.state.unknown().next().is_none() {
            continue;
        }
        let Some((log, past)) = history::reopen(state, &past.id)? else {
            // Another process has it under way, under a claim of its own.
            continue;
        };
        if past.state.unknown().next().is_none() {
            continue;
        }
        let text = Clean::new(format!("run {id} was cut short; asking the cluster about its last effects"));
        world.reader.sign(&Sign::Note { text });
        let mut book = Book::new(Box::new(log), world.clock.clone(), world.reader.clone(), past.state);
        back::settle_unknown(world, &mut book).await?;
    }
    Ok(())
}

fn reasons(given: &[String], option: &str) -> Result<BTreeMap<String, Clean>, Failure> {
    let mut map = BTreeMap::new();
    for text in given {
        let known: Vec<&str> = ProofName::names().collect();
        match text.split_once('=') {
            Some((proof, reason)) if !reason.trim().is_empty() => {
                if !known.contains(&proof) {
                    let failure = Failure::usage(format!("there is no proof {}", Clean::new(proof)));
                    return Err(failure.hint(format!("the proofs are {}", known.join(", "))));
                }
                map.insert(proof.to_owned(), Clean::new(reason.trim()));
            }
            _ => {
                let text = format!("{option} takes PROOF=REASON, and `{}` has no reason", Clean::new(text));
                return Err(Failure::usage(text).hint("say why, for those who read the record"));
            }
        }
    }
    Ok(map)
}
