//! `firstlight runs` and `firstlight show RUN`

use super::history::{self, PastRun};
use super::output::data;
use super::{Failure, Global, Output, exit};
use crate::adapter::store::StateDir;
use crate::rollout::event::Outcome;
use crate::rollout::state::Standing;
use clap::Args;

/// Shows one run.
#[derive(Debug, Args)]
pub struct Show {
    /// The run's id, as `firstlight runs` lists it
    run: String,
}

/// Lists the runs, the latest first.
///
/// # Errors
/// The state directory cannot be read.
pub fn list(global: &Global) -> Result<u8, Failure> {
    let state = StateDir::open(None).map_err(|error| history::of_store(&error))?;
    let ids = history::ids(&state)?;
    if ids.is_empty() && global.output == Output::Text {
        super::output::say("no runs yet");
        return Ok(exit::DONE);
    }
    let width = ids.iter().map(String::len).max().unwrap_or_default();
    for id in ids {
        match history::read(&state, &id) {
            Ok(past) => {
                let context =
                    past.state.header.as_ref().map(|h| h.cluster.context.to_string()).unwrap_or_default();
                let started = time(past.state.started);
                if global.output == Output::Json {
                    let line = serde_json::json!({
                        "run": id, "context": context, "started": started, "ended": ended(&past),
                        "standing": past.state.standing().count(), "unknown": past.state.unknown().count(),
                    });
                    data(&line.to_string());
                } else {
                    data(&format!("{id:<width$}  {started}  {context:<16}  {}", ended(&past)));
                }
            }
            Err(failure) => data(&format!("{id:<width$}  unreadable: {}", failure.text)),
        }
    }
    Ok(exit::DONE)
}

/// How a run stands, in a few words.
fn ended(past: &PastRun) -> String {
    let word = |outcome: Outcome| match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::NotApproved => "not approved",
        Outcome::Refuted => "refuted",
        Outcome::Unknown => "unknown",
        Outcome::Held => "held",
        Outcome::Interrupted => "interrupted",
        Outcome::Terminated => "terminated",
    };
    let unknown = past.state.unknown().count();
    let mut text = match &past.state.outcome {
        None => "cut short".to_owned(),
        Some((outcome, _)) => word(*outcome).to_owned(),
    };
    match &past.state.rollback {
        Some(Some((Outcome::Done, _))) if past.state.standing().next().is_none() => {
            text.push_str(", rolled back")
        }
        Some(Some((Outcome::Done, _))) => text.push_str(", rolled back in part"),
        Some(Some((outcome, _))) => text.push_str(&format!(", rollback {}", word(*outcome))),
        Some(None) => text.push_str(", rollback cut short"),
        None => {}
    }
    if unknown > 0 {
        text.push_str(&format!(", {unknown} effects to settle"));
    }
    text
}

fn time(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}

/// Shows one run.
///
/// # Errors
/// It is not there, or its journal is damaged.
pub fn show(command: &Show, global: &Global) -> Result<u8, Failure> {
    let state = StateDir::open(None).map_err(|error| history::of_store(&error))?;
    let past = history::read(&state, &command.run)?;
    if global.output == Output::Json {
        for event in &past.events {
            data(&serde_json::to_string(event).unwrap_or_default());
        }
        return Ok(exit::DONE);
    }
    let id = past.id.as_str();
    if let Some(header) = &past.state.header {
        data(&format!("run       {id}"));
        data(&format!("plan      {} ({})", header.plan, header.title));
        data(&format!(
            "cluster   {} ({}, {})",
            header.cluster.context, header.cluster.server, header.cluster.version
        ));
        data(&format!("by        {}", header.by));
        data(&format!("started   {}", time(past.state.started)));
        data(&format!("ended     {} ({})", time(past.state.last), ended(&past)));
        for (name, value) in &header.inputs {
            data(&format!("input     {name} = {value}"));
        }
    }
    if let Some(torn) = &past.replay.torn {
        data(&format!(
            "note      the last {} bytes of the journal were cut short and are left out",
            torn.bytes
        ));
    }
    if let Some((_, summary)) = &past.state.outcome {
        data(&format!("summary   {summary}"));
    }
    for (place, proof, verdict, reason) in &past.state.passed {
        data(&format!("passed    {proof} in {place} was {verdict}: {reason}"));
    }
    if past.state.unseen > 0 {
        data(&format!(
            "unseen    {} gates were approved by --yes; nobody looked at their diffs",
            past.state.unseen
        ));
    }
    data("effects");
    for (id, effect) in &past.state.effects {
        let standing = match &effect.standing {
            Standing::Unknown => "unknown".to_owned(),
            Standing::Done { .. } => "done".to_owned(),
            Standing::NotDone => "not done".to_owned(),
            Standing::Foreign(what) => format!("unsettled: {what}"),
            Standing::Undone => "undone".to_owned(),
            Standing::Kept(why) => format!("kept: {why}"),
        };
        let verb = effect.effect.verb();
        data(&format!(
            "  {:<5} {verb:<8} {:<56} {standing}",
            id.to_string(),
            effect.effect.object().to_string()
        ));
    }
    if past.state.effects.is_empty() {
        data("  none");
    }
    Ok(exit::DONE)
}
