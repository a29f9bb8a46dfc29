//! Batches: effects that go together, their intents on disk before the first is sent, their outcomes in groups.

use super::book::Book;
use super::event::{Event, Outcome};
use super::execute::Sent;
use super::preview::CONCURRENCY;
use super::{Halt, World, asked_now, stopped};
use crate::effect::{Effect, EffectId};
use crate::text::Clean;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

/// One effect of a batch and what sends it.
pub struct Work<'w> {
    /// Its phase.
    pub phase: Clean,
    /// Its step.
    pub step: Clean,
    /// What the journal will hold.
    pub effect: Effect,
    /// Sends it; polled only after its intent is on disk.
    pub send: BoxFuture<'w, Sent>,
}

/// Sends a batch. All intents share one write and one fsync; outcomes are recorded in groups while others are still
/// under way, so that the disk does not hold up the network.
///
/// # Errors
/// The claim is in doubt, the journal cannot be written, or a stop at once was asked for. Effects in flight then stay
/// unknown, and are settled before anything else is done.
pub async fn batch(
    world: &World,
    book: &mut Book,
    works: Vec<Work<'_>>,
) -> Result<Vec<(EffectId, Sent)>, Halt> {
    if works.is_empty() {
        return Ok(Vec::new());
    }
    world.safe_point()?;
    world.claim.confirm().await?;
    let mut next = book.state.next_id();
    let mut intents = Vec::with_capacity(works.len());
    let mut sends = Vec::with_capacity(works.len());
    for work in works {
        let id = next;
        next = EffectId(id.0 + 1);
        let Work { phase, step, effect, send } = work;
        intents.push(Event::EffectIntended { id, phase, step, effect });
        sends.push(async move { (id, send.await) });
    }
    book.record(intents).await?;

    let mut in_flight = stream::iter(sends).buffer_unordered(CONCURRENCY);
    let mut stop = world.stop.clone();
    let mut results: Vec<(EffectId, Sent)> = Vec::new();
    let mut fresh: Vec<(EffectId, Sent)> = Vec::new();
    loop {
        let first = tokio::select! {
            biased;
            cause = asked_now(&mut stop) => {
                return Err(stopped(cause, "with effects in flight; the next run or rollback asks the cluster about them"));
            }
            result = in_flight.next() => result,
        };
        let Some(first) = first else { break };
        fresh.push(first);
        while !fresh.is_empty() {
            let events = fresh.iter().filter_map(|(id, sent)| outcome(*id, sent)).collect();
            results.append(&mut fresh);
            let record = book.record(events);
            tokio::pin!(record);
            loop {
                tokio::select! {
                    biased;
                    recorded = &mut record => { recorded?; break }
                    Some(result) = in_flight.next() => fresh.push(result),
                }
            }
        }
    }
    Ok(results)
}

/// The event of an outcome; none where it is not known.
fn outcome(id: EffectId, sent: &Sent) -> Option<Event> {
    match sent {
        Sent::Done { uid } => Some(Event::EffectDone { id, uid: uid.clone() }),
        Sent::Failed { reason, .. } | Sent::Moved(reason) => {
            Some(Event::EffectFailed { id, reason: reason.clone() })
        }
        Sent::Unknown(_) => None,
    }
}

/// The halt that the worst of these results calls for, if any. What moved is no failure: it is returned.
///
/// # Errors
/// An effect failed, or its outcome is unknown.
pub fn judge(results: &[(EffectId, Sent)]) -> Result<Vec<Clean>, Halt> {
    for (_, sent) in results {
        if let Sent::Unknown(reason) = sent {
            return Err(Halt::new(
                Outcome::Failed,
                format!("it is not known whether an effect happened: {reason}"),
            )
            .hint("run or roll back again: the cluster is asked first"));
        }
    }
    for (_, sent) in results {
        if let Sent::Failed { reason, hint } = sent {
            let halt = Halt::new(Outcome::Failed, reason);
            return Err(match hint {
                Some(hint) => halt.hint(hint),
                None => halt,
            });
        }
    }
    Ok(results
        .iter()
        .filter_map(|(_, sent)| match sent {
            Sent::Moved(what) => Some(what.clone()),
            _ => None,
        })
        .collect())
}
