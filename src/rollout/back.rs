//! Going back: unknown effects are settled, then what stands is undone, the latest first.

use super::batch::{self, Work};
use super::book::Book;
use super::event::{Event, Outcome, Settlement};
use super::execute;
use super::gate::Answer;
use super::settle;
use super::state::Standing;
use super::undo::{self, Item, Ready, Scope, Undo};
use super::{Halt, World, stopped, wait};
use crate::effect::{Effect, ReplacePod, Restore};
use crate::object::status::{self, Readiness};
use crate::object::{ObjectRef, kind, uid};
use crate::port::{ClusterIdentity, Selection};
use crate::proof::Verdict;
use crate::text::Clean;
use futures::FutureExt;
use serde_json::Value;
use std::time::Duration;

/// How long an object may take to go, or a restored workload to be rolled out again.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks the cluster about every effect without an outcome, and records what it shows.
///
/// # Errors
/// The cluster could not be asked, or the journal cannot be written.
pub async fn settle_unknown(world: &World, book: &mut Book) -> Result<usize, Halt> {
    let unknown: Vec<_> = book.state.unknown().map(|(id, state)| (id, state.effect.clone())).collect();
    if unknown.is_empty() {
        return Ok(0);
    }
    world.claim.confirm().await?;
    let mut events = Vec::new();
    for (id, effect) in &unknown {
        let settlement = settle::settle(world.cluster.as_ref(), &world.key, effect).await?;
        events.push(Event::EffectSettled { id: *id, settlement });
    }
    book.record(events).await?;
    Ok(unknown.len())
}

/// Undoes what stands of a run, as far as `scope` says.
///
/// # Errors
/// It was declined, something failed, or something of someone else's is in the way; what is undone by then is recorded.
pub async fn roll_back(
    world: &World,
    book: &mut Book,
    identity: &ClusterIdentity,
    scope: &Scope,
    by: Clean,
) -> Result<Clean, Halt> {
    settle_unknown(world, book).await?;
    let items = undo::plan(world.cluster.as_ref(), &world.key, &book.state, scope).await?;
    let mixed: Vec<Clean> = book
        .state
        .effects
        .values()
        .filter_map(|state| match &state.standing {
            Standing::Foreign(what) if state.effect.undoes().is_none() => Some(what.clone()),
            _ => None,
        })
        .collect();
    // An undo that was cut short between an effect and what follows it: that is made up for.
    let cut_short = book
        .state
        .rollback
        .as_ref()
        .is_some_and(|ended| ended.as_ref().is_none_or(|(outcome, _)| *outcome != Outcome::Done));
    if items.is_empty() && mixed.is_empty() && !cut_short {
        return Ok(Clean::from("there is nothing to undo"));
    }
    let mut stop = world.stop.clone();
    let answer = tokio::select! {
        biased;
        cause = super::asked(&mut stop) => return Err(stopped(cause, "at the question; nothing was undone")),
        answer = world.operator.undo(identity, &items) => answer,
    };
    match answer {
        Answer::Approve(_) => {}
        Answer::Decline => {
            // A question that was cut short is no answer.
            world.safe_point()?;
            return Err(Halt::new(Outcome::NotApproved, "the rollback was declined; nothing was undone"));
        }
        Answer::CannotAsk(what) => return Err(Halt::new(Outcome::NotApproved, what)),
    }
    world.claim.confirm().await?;
    book.note(Event::RollbackStarted { by }).await?;
    let result = undo_all(world, book, &items, cut_short).await;
    let (outcome, summary) = match &result {
        Err(halt) => (halt.outcome, halt.summary.clone()),
        Ok(()) => summary(&items, &mixed),
    };
    book.note(Event::RollbackFinished { outcome, summary: summary.clone() }).await?;
    result?;
    if outcome == Outcome::Done {
        return Ok(summary);
    }
    Err(Halt {
        outcome,
        summary,
        hint: Some(Clean::from("look at the object, then name it with --overwrite KIND/NAME")),
    })
}

fn summary(items: &[Item], mixed: &[Clean]) -> (Outcome, Clean) {
    let foreign: Vec<&Item> = items.iter().filter(|item| matches!(item.undo, Undo::Foreign { .. })).collect();
    if let Some(first) = foreign.first() {
        let text = match foreign.len() {
            1 => format!("{} was changed by others and was left as it is", first.object),
            n => format!(
                "{} and {} more were changed by others and were left as they are",
                first.object,
                n - 1
            ),
        };
        return (Outcome::Failed, Clean::new(text));
    }
    if let Some(what) = mixed.first() {
        return (Outcome::Failed, Clean::new(format!("{what}; it was left as it is")));
    }
    let done = items.iter().filter(|item| matches!(item.undo, Undo::Do(_))).count();
    let kept = items.iter().filter(|item| matches!(item.undo, Undo::Skip { gone: false, .. })).count();
    let kept = if kept == 0 { String::new() } else { format!(", {kept} kept") };
    let plural = if done == 1 { "effect" } else { "effects" };
    (Outcome::Done, Clean::new(format!("{done} {plural} undone{kept}")))
}

async fn undo_all(world: &World, book: &mut Book, items: &[Item], cut_short: bool) -> Result<(), Halt> {
    if cut_short {
        let sent =
            book.state.effects.values().filter(|state| matches!(state.standing, Standing::Done { .. }));
        for effect in sent.map(|state| state.effect.clone()).collect::<Vec<_>>() {
            follow(world, book, &effect).await?;
        }
    }
    undo_items(world, book, items).await
}

async fn undo_items(world: &World, book: &mut Book, items: &[Item]) -> Result<(), Halt> {
    let skipped = items.iter().filter_map(|item| match &item.undo {
        Undo::Skip { reason, gone } => {
            Some(Event::UndoSkipped { id: item.id, reason: reason.clone(), gone: *gone })
        }
        _ => None,
    });
    let skipped = skipped.collect();
    book.record(skipped).await?;
    let todo: Vec<(&Item, &Ready)> = items
        .iter()
        .filter_map(|item| match &item.undo {
            Undo::Do(ready) => Some((item, ready.as_ref())),
            _ => None,
        })
        .collect();
    // What was created together goes together; the order is that of creation, backwards.
    for group in todo.chunk_by(|(a, _), (b, _)| {
        a.step == b.step && a.phase == b.phase && kind::order(&a.object.kind) == kind::order(&b.object.kind)
    }) {
        let works = group
            .iter()
            .map(|(item, ready)| Work {
                phase: item.phase.clone(),
                step: item.step.clone(),
                effect: ready.effect.clone(),
                send: execute::send_undo(world.cluster.as_ref(), world.clock.as_ref(), ready).boxed(),
            })
            .collect();
        let results = batch::batch(world, book, works).await?;
        if let Some(moved) = batch::judge(&results)?.first() {
            return Err(
                Halt::new(Outcome::NotApproved, moved).hint("roll back again to see how it stands now")
            );
        }
        for (_, ready) in group {
            follow(world, book, &ready.effect).await?;
        }
    }
    Ok(())
}

/// What follows an undo: what was deleted goes, what was restored is rolled out. Nothing of it is an effect of its own
/// but a pod that has to be replaced, so it can be repeated.
async fn follow(world: &World, book: &mut Book, effect: &Effect) -> Result<(), Halt> {
    match effect {
        Effect::Delete(delete) => wait::gone(world, &delete.object, &delete.uid, PATIENCE).await,
        Effect::Restore(restore) if status::has_rollout(&restore.object.kind) => {
            settle_down(world, book, restore).await
        }
        Effect::Create(_) | Effect::Apply(_) | Effect::Restore(_) | Effect::ReplacePod(_) => Ok(()),
    }
}

/// Waits until a restored workload is rolled out. A StatefulSet whose broken pod is in the way gets that pod replaced:
/// reverting the template is not enough (kubernetes#67250).
async fn settle_down(world: &World, book: &mut Book, restore: &Restore) -> Result<(), Halt> {
    let object = &restore.object;
    if object.kind == "StatefulSet" {
        replace_broken_pods(world, book, restore).await?;
    }
    let finding = wait::rolled_out(world, object, PATIENCE).await?;
    if finding.verdict != Verdict::Proven {
        // The object is as before; that it does not come up is worth saying and no reason to leave the rest undone.
        let text = Clean::new(format!("restored, but {}", finding.text));
        world.reader.sign(&super::event::Sign::Note { text });
    }
    Ok(())
}

async fn replace_broken_pods(world: &World, book: &mut Book, restore: &Restore) -> Result<(), Halt> {
    let object = &restore.object;
    // The controller must have seen the restored template before its revisions say anything.
    let mut live = None;
    for _ in 0..60 {
        live = world.cluster.get(object).await?;
        let generation =
            live.as_ref().and_then(|live| live.pointer("/metadata/generation")).and_then(Value::as_i64);
        let observed =
            live.as_ref().and_then(|live| live.pointer("/status/observedGeneration")).and_then(Value::as_i64);
        if observed >= generation {
            break;
        }
        wait::pause(world, Duration::from_millis(500), "while a restored workload was observed").await?;
    }
    let Some(live) = live else { return Ok(()) };
    let (Some(labels), Some(current)) =
        (status::pod_selector(&live), live.pointer("/status/updateRevision").and_then(Value::as_str))
    else {
        return Ok(());
    };
    let selection = Selection {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: object.namespace.clone(),
        labels,
        fields: String::new(),
    };
    let pods = world.cluster.list(&selection).await?;
    let broken = pods.iter().filter(|pod| {
        let revision = pod.pointer("/metadata/labels/controller-revision-hash").and_then(Value::as_str);
        let ready = status::readiness(&with_kind(pod), status::Surroundings::default());
        revision != Some(current) && !matches!(ready, Readiness::Ready(_))
    });
    let undoes = restore.undoes;
    let state = book.state.effects.get(&undoes).map(|state| (state.phase.clone(), state.step.clone()));
    let (phase, step) = state.unwrap_or_default();
    let effects: Vec<ReplacePod> = broken
        .filter_map(|pod| {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str)?;
            let pod_ref = ObjectRef::new("v1", "Pod", object.namespace.as_deref(), name);
            Some(ReplacePod { undoes, object: pod_ref, uid: uid(pod)?.to_owned() })
        })
        .collect();
    let ready: Vec<Ready> = effects
        .into_iter()
        .map(|effect| Ready { effect: Effect::ReplacePod(effect), changes: Vec::new(), owners: Vec::new() })
        .collect();
    let works = ready
        .iter()
        .map(|ready| Work {
            phase: phase.clone(),
            step: step.clone(),
            effect: ready.effect.clone(),
            send: execute::send_undo(world.cluster.as_ref(), world.clock.as_ref(), ready).boxed(),
        })
        .collect();
    let results = batch::batch(world, book, works).await?;
    batch::judge(&results).map(|_| ())
}

/// Items of a list carry no kind of their own.
fn with_kind(pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(pod) = pod.as_object_mut() {
        pod.entry("kind").or_insert_with(|| Value::from("Pod"));
        pod.entry("apiVersion").or_insert_with(|| Value::from("v1"));
    }
    pod
}

/// What a settlement says, as one sentence.
pub fn said(settlement: &Settlement) -> Clean {
    match settlement {
        Settlement::Done { .. } => Clean::from("it happened"),
        Settlement::NotDone => Clean::from("it did not happen"),
        Settlement::Foreign { what } => what.clone(),
    }
}
