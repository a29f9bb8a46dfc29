//! `firstlight rollback [RUN]`

use super::history::{self, PastRun};
use super::output::Style;
use super::reader::can_ask;
use super::world::{self, Manner};
use super::{Failure, Global, Output, exit};
use crate::adapter::store::StateDir;
use crate::port::ClusterIdentity;
use crate::rollout::book::Book;
use crate::rollout::event::Event;
use crate::rollout::undo::Scope;
use crate::rollout::{Halt, back, undo};
use crate::secret::Masker;
use crate::text::Clean;
use clap::Args;

/// Undoes a run, the latest effect first.
#[derive(Debug, Args)]
pub struct Command {
    /// The run (default: the latest one on this cluster that left something to undo)
    run: Option<String>,
    /// Shows what would be undone; writes nothing
    #[arg(long)]
    preview: bool,
    /// Undoes without asking
    #[arg(long)]
    yes: bool,
    /// Undoes this phase and later ones only
    #[arg(long, value_name = "PHASE")]
    to: Option<String>,
    /// Deletes objects that hold data too (volume claims, namespaces)
    #[arg(long)]
    delete_data: bool,
    /// Undoes this object although others changed it since
    #[arg(long, value_name = "KIND/NAME")]
    overwrite: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Not everything was undone; the failure says why and with which exit code.
pub async fn run(command: &Command, global: &Global, style: Style) -> Result<u8, Failure> {
    if !command.yes && !command.preview && !can_ask() {
        return Err(Failure::usage("a rollback needs an answer, and there is no terminal to ask on")
            .hint("look at it with --preview, then use --yes"));
    }
    if !can_ask() && global.context.is_none() {
        return Err(
            Failure::usage("a headless rollback needs an explicit context").hint("name one with --context")
        );
    }
    let (state, key) = world::state_dir()?;
    // A named run is read before any network, so that a wrong name is told at once.
    let named = command.run.as_deref().map(|id| history::read(&state, id)).transpose()?;
    let (connection, identity) = world::connect(global, global.context.as_deref()).await?;
    let past = match named {
        Some(past) => past,
        None => match latest(&state, &identity)? {
            Some(past) => past,
            None => {
                super::output::say("no run of this machine left anything to undo on this cluster");
                return Ok(exit::DONE);
            }
        },
    };
    let Some(header) = past.state.header.clone() else {
        return Err(Failure::failed(format!("run {} has no header", past.id.as_str())));
    };
    if header.cluster.uid != identity.uid {
        let text = format!("run {} was on another cluster ({})", past.id.as_str(), header.cluster.context);
        return Err(Failure::usage(text).hint("name the context of that cluster with --context"));
    }
    let to_phase = phase_of(command.to.as_deref(), &past)?;
    let scope = Scope { to_phase, delete_data: command.delete_data, overwrite: command.overwrite.clone() };
    let claim: Vec<String> = past
        .events
        .iter()
        .find_map(|stamped| match &stamped.event {
            Event::ClaimTaken { names } => Some(names.iter().map(Clean::to_string).collect()),
            _ => None,
        })
        .unwrap_or_default();
    let manner = Manner { yes: command.yes, style, output: global.output, verbose: global.verbose };
    let world =
        world::world(&connection, key, global, &manner, &claim, past.id.as_str(), header.plan.as_str());
    if command.preview {
        let items = undo::plan(world.cluster.as_ref(), &world.key, &past.state, &scope).await?;
        preview(&items, style, global.output, &past);
        return Ok(exit::DONE);
    }
    world.claim.take().await.map_err(|error| Failure::from(Halt::from(error)))?;
    let result = match history::reopen(&state, &past) {
        Err(failure) => Err(failure),
        Ok(log) => {
            let mut book = Book::new(Box::new(log), world.clock.clone(), world.reader.clone(), past.state);
            back::roll_back(&world, &mut book, &identity, &scope, world::who()).await.map_err(Failure::from)
        }
    };
    world.claim.release().await;
    let summary = result?;
    if summary.as_str().starts_with("there is nothing") {
        super::output::say(summary.as_str());
    }
    Ok(exit::DONE)
}

fn latest(state: &StateDir, identity: &ClusterIdentity) -> Result<Option<PastRun>, Failure> {
    for id in history::ids(state)? {
        let past = history::read(state, &id)?;
        let here = past.state.header.as_ref().is_some_and(|header| header.cluster.uid == identity.uid);
        let open = past.state.standing().next().is_some() || past.state.unknown().next().is_some();
        if here && open {
            return Ok(Some(past));
        }
    }
    Ok(None)
}

fn phase_of(asked: Option<&str>, past: &PastRun) -> Result<Option<Clean>, Failure> {
    let Some(asked) = asked else { return Ok(None) };
    let mut phases: Vec<&Clean> = Vec::new();
    for effect in past.state.effects.values() {
        if !phases.contains(&&effect.phase) {
            phases.push(&effect.phase);
        }
    }
    match phases.iter().find(|phase| phase.as_str() == asked) {
        Some(phase) => Ok(Some((*phase).clone())),
        None => {
            let names: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
            let text = format!("run {} changed nothing in a phase {}", past.id.as_str(), Clean::new(asked));
            Err(Failure::usage(text).hint(format!("it has effects in {}", names.join(", "))))
        }
    }
}

fn preview(items: &[undo::Item], style: Style, output: Output, past: &PastRun) {
    let unknown = past.state.unknown().count();
    if output == Output::Json {
        for item in items {
            let (what, reason) = match &item.undo {
                undo::Undo::Do(ready) => (ready.effect.verb(), Vec::new()),
                undo::Undo::Skip { reason, .. } => ("keep", vec![reason.clone()]),
                undo::Undo::Foreign { what } => ("foreign", what.clone()),
            };
            let line =
                serde_json::json!({ "id": item.id, "object": item.object, "undo": what, "reason": reason });
            super::output::data(&line.to_string());
        }
        return;
    }
    if unknown > 0 {
        super::output::data(&format!(
            "{unknown} effects have no outcome yet; a rollback asks the cluster about them first"
        ));
    }
    if items.is_empty() {
        super::output::data("there is nothing to undo");
    }
    for line in super::gate_text::undo(items, &mut Masker::default(), style.out) {
        super::output::data(&line);
    }
}
