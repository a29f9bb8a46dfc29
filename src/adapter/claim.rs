//! The claim: one operator at a time, by Leases in the cluster.
//!
//! Every write is a compare-and-swap on the Lease's resourceVersion, so of two who want it one gets 409. No clocks are
//! compared to take a Lease over: who does not know its holder must see it unchanged for a whole lease duration by its
//! own clock (client-go tools/leaderelection, `observedTime`). A Lease is no fence: an effect that is on its way while
//! the claim is lost still arrives, which is why effects carry preconditions of their own.

mod holder;
mod record;

pub use holder::{Holder, Processes, SystemProcesses};

use crate::port::{Claim, ClaimError, Clock, Cluster, ClusterError, Entropy};
use crate::text::Clean;
use async_trait::async_trait;
use record::{Record, Written, lease, reference};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Field manager of all writes of Leases.
const MANAGER: &str = "firstlight:claim";

/// How long a Lease is good for after its last renewal.
const DURATION: Duration = Duration::from_secs(30);

/// A foreign Lease's own duration is respected up to this.
const LONGEST_DURATION: Duration = Duration::from_secs(600);

/// For so long after a renewal the claim is held without asking (design law 7).
const RENEW_PERIOD: Duration = Duration::from_secs(10);

/// How often it is renewed: often enough that a healthy claim never has to be asked for.
const RENEW_EVERY: Duration = Duration::from_secs(7);

/// How often an expired Lease is looked at while it is watched.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Races that are lost in a row before giving up; each means that somebody else got something done.
const RACES: u32 = 10;

/// Told what the claim is waiting for, for the operator; nothing durable.
pub type Progress = Arc<dyn Fn(Clean) + Send + Sync>;

/// Claims as Leases.
pub struct LeaseClaim {
    desk: Arc<Desk>,
    /// Claim names, sorted, each once: all who want several take them in the same order, so none waits for another in
    /// a circle.
    names: Vec<String>,
    held: Mutex<Vec<Held>>,
}

/// A Lease that is held and renewed; dropped, it is renewed no more and expires.
struct Held {
    lease: Arc<Lease>,
    renewal: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// What taking and renewing need.
struct Desk {
    cluster: Arc<dyn Cluster>,
    clock: Arc<dyn Clock>,
    processes: Arc<dyn Processes>,
    progress: Progress,
    me: Holder,
    nonce: String,
}

/// One Lease that was taken.
struct Lease {
    name: String,
    /// One request at a time.
    gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    record: Record,
    /// Boot time just before the last renewal that succeeded was sent.
    renewed: Duration,
    /// Set once it is known that it is ours no more.
    lost: Option<ClaimError>,
}

impl Lease {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseClaim {
    /// A claim to these names, not taken yet.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        names: Vec<String>,
        me: Holder,
        progress: Progress,
    ) -> Self {
        Self::with_processes(cluster, clock, entropy, names, me, progress, Arc::new(SystemProcesses))
    }

    /// The same with another view of the machine's processes.
    pub fn with_processes(
        cluster: Arc<dyn Cluster>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        names: Vec<String>,
        me: Holder,
        progress: Progress,
        processes: Arc<dyn Processes>,
    ) -> Self {
        let names: BTreeSet<String> = names.into_iter().collect();
        let nonce = entropy.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            desk: Arc::new(Desk { cluster, clock, processes, progress, me, nonce }),
            names: names.into_iter().collect(),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> Vec<Clean> {
        self.names.iter().map(Clean::new).collect()
    }
}

#[async_trait]
impl Claim for LeaseClaim {
    async fn take(&self) -> Result<Vec<Clean>, ClaimError> {
        if !self.held().is_empty() {
            self.confirm().await?;
            return Ok(self.shown());
        }
        let mut taken = Vec::with_capacity(self.names.len());
        for name in &self.names {
            match self.desk.take(name).await {
                Ok(lease) => {
                    // Renewed from now on: the next one may have to be watched for longer than this one lasts.
                    let lease = Arc::new(lease);
                    let renewal =
                        tokio::spawn(renewing(Arc::clone(&self.desk), Arc::clone(&lease))).abort_handle();
                    taken.push(Held { lease, renewal });
                }
                Err(error) => {
                    // All or none: what was taken is free again for those who need only that.
                    self.desk.give_back(taken).await;
                    return Err(error);
                }
            }
        }
        *self.held() = taken;
        // The first may have been lost while the last was waited for.
        if let Err(error) = self.confirm().await {
            self.release().await;
            return Err(error);
        }
        Ok(self.shown())
    }

    async fn confirm(&self) -> Result<(), ClaimError> {
        let leases: Vec<Arc<Lease>> = self.held().iter().map(|held| Arc::clone(&held.lease)).collect();
        if leases.len() != self.names.len() {
            let name = Clean::new(self.names.join(", "));
            return Err(ClaimError::CouldNotTell {
                name,
                cause: Clean::new("it was not taken, or was given back"),
            });
        }
        for lease in leases {
            self.desk.confirm(&lease).await?;
        }
        Ok(())
    }

    async fn release(&self) {
        let held = std::mem::take(&mut *self.held());
        self.desk.give_back(held).await;
    }
}

/// Renews until it is aborted, or until the Lease is known to be somebody else's.
async fn renewing(desk: Arc<Desk>, lease: Arc<Lease>) {
    while lease.state().lost.is_none() {
        desk.clock.sleep(RENEW_EVERY).await;
        // A failure is not told here: whoever is about to write asks `confirm`, which then asks the cluster.
        let _ = desk.renew(&lease).await;
    }
}

impl Desk {
    /// Takes one claim.
    async fn take(&self, name: &str) -> Result<Lease, ClaimError> {
        let mut lost_races = 0;
        let mut observed: Option<(Record, Duration)> = None;
        loop {
            let found = self.read(name).await?;
            // After the answer: the Lease may have been renewed while the question was under way.
            let now = self.clock.boot();
            let over = match &found {
                None => None,
                Some(record) if record.claim != name => {
                    let cause =
                        format!("the Lease {} is not a claim of firstlight's by that name", reference(name));
                    return Err(could_not_tell(name, cause));
                }
                // Ours: an earlier request of this very taking got through although its answer was lost.
                Some(record) if record.nonce == self.nonce && !record.identity.is_empty() => Some(record),
                Some(record) if record.identity.is_empty() => Some(record),
                Some(record) if self.processes.has_ended(&record.holder, &self.me) => {
                    (self.progress)(Clean::new(format!("{} has ended; taking {name} over", record.who())));
                    Some(record)
                }
                Some(record) => {
                    let duration = duration(record);
                    let since = match &observed {
                        Some((earlier, since)) if record.is_unchanged_since(earlier) => *since,
                        // It changed while it was watched: its holder lives.
                        Some(_) => return Err(held(name, record)),
                        None if self.seems_alive(record, duration) => return Err(held(name, record)),
                        None => now,
                    };
                    let watched = now.saturating_sub(since);
                    if watched < duration {
                        let left = duration.saturating_sub(watched);
                        let text = format!(
                            "{name} was last renewed long ago by {}; watching for {} s more whether it still is",
                            record.who(),
                            left.as_secs().max(1)
                        );
                        (self.progress)(Clean::new(text));
                        observed = Some((record.clone(), since));
                        self.clock.sleep(LOOK_EVERY.min(left)).await;
                        continue;
                    }
                    Some(record)
                }
            };
            let renewed = self.clock.boot();
            match self.write(name, over, true).await {
                Ok(record) => {
                    let state = State { record, renewed, lost: None };
                    return Ok(Lease {
                        name: name.to_owned(),
                        gate: tokio::sync::Mutex::default(),
                        state: Mutex::new(state),
                    });
                }
                // Somebody was faster, or the answer was lost: what the Lease says now decides.
                Err(
                    ClusterError::AlreadyExists(_)
                    | ClusterError::Stale(_)
                    | ClusterError::Unavailable { sent: true, .. },
                ) if lost_races < RACES => {
                    lost_races += 1;
                    observed = None;
                }
                // Deleted between the look and the write.
                Err(ClusterError::NotFound(_)) if over.is_some() && lost_races < RACES => lost_races += 1,
                Err(error) => return Err(could_not_tell(name, error.to_string())),
            }
        }
    }

    /// Whether a Lease looks as if its holder lived, by clocks that may disagree: then nobody waits. A renewal far in
    /// the future tells of a wrong clock and not of a live holder.
    fn seems_alive(&self, record: &Record, duration: Duration) -> bool {
        let Some(renewed) = record.renewed else { return false };
        let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.wall();
        renewed.saturating_add(duration) > now && renewed <= now.saturating_add(duration)
    }

    async fn read(&self, name: &str) -> Result<Option<Record>, ClaimError> {
        match self.cluster.get(&reference(name)).await {
            Ok(found) => Ok(found.as_ref().map(Record::read)),
            Err(error) => Err(could_not_tell(name, error.to_string())),
        }
    }

    /// Writes the Lease over a version of it, or creates it; `ours` says whether we hold it afterwards.
    async fn write(&self, name: &str, over: Option<&Record>, ours: bool) -> Result<Record, ClusterError> {
        let renewing = over.filter(|record| ours && record.nonce == self.nonce);
        let transitions = match (over, renewing) {
            (Some(_), Some(record)) => record.transitions,
            (Some(record), None) if ours => record.transitions.saturating_add(1),
            (Some(record), None) => record.transitions,
            (None, _) => 0,
        };
        let body = lease(&Written {
            claim: name,
            holder: ours.then_some((&self.me, self.nonce.as_str())),
            // As client-go does when it gives a Lease back: nobody has to wait for what nobody holds.
            duration: if ours { DURATION } else { Duration::from_secs(1) },
            now: self.clock.wall(),
            acquired: renewing.map(|record| record.acquired.as_str()),
            transitions,
            over,
        });
        let object = reference(name);
        let written = match over {
            Some(_) => self.cluster.replace(&object, &body, MANAGER).await?,
            None => self.cluster.create(&object, &body, MANAGER, false).await?,
        };
        Ok(Record::read(&written))
    }

    /// From memory within the renew period, otherwise by a renewal.
    async fn confirm(&self, lease: &Lease) -> Result<(), ClaimError> {
        let state = lease.state().clone();
        if let Some(lost) = state.lost {
            return Err(lost);
        }
        if self.clock.boot().saturating_sub(state.renewed) < RENEW_PERIOD {
            return Ok(());
        }
        self.renew(lease).await
    }

    /// One renewal: a write over the version that we know, which succeeds only if nobody else wrote since.
    async fn renew(&self, lease: &Lease) -> Result<(), ClaimError> {
        let _one_at_a_time = lease.gate.lock().await;
        let name = &lease.name;
        for _ in 0..RACES {
            let State { record, lost, .. } = lease.state().clone();
            if let Some(lost) = lost {
                return Err(lost);
            }
            let renewed = self.clock.boot();
            match self.write(name, Some(&record), true).await {
                Ok(record) => {
                    let mut state = lease.state();
                    state.record = record;
                    state.renewed = renewed;
                    return Ok(());
                }
                Err(
                    ClusterError::Stale(_)
                    | ClusterError::NotFound(_)
                    | ClusterError::Unavailable { sent: true, .. },
                ) => {}
                Err(error) => return Err(could_not_tell(name, error.to_string())),
            }
            // Another writer, or our own write whose answer was lost: the Lease says which.
            match self.read(name).await? {
                Some(found) if found.nonce == self.nonce && !found.identity.is_empty() => {
                    lease.state().record = found;
                }
                Some(found) if found.identity.is_empty() => {
                    return Err(lose(lease, "nobody: it was given back"));
                }
                Some(found) => return Err(lose(lease, found.who().as_str())),
                None => return Err(lose(lease, "nobody: its Lease was deleted")),
            }
        }
        Err(could_not_tell(name, "the Lease changes all the time".to_owned()))
    }

    /// Gives back in the reverse order of taking.
    async fn give_back(&self, mut held: Vec<Held>) {
        while let Some(held) = held.pop() {
            held.renewal.abort();
            self.release(&held.lease).await;
        }
    }

    /// Gives back what is still ours, as well as it goes: what cannot be given back expires.
    async fn release(&self, lease: &Lease) {
        let _one_at_a_time = lease.gate.lock().await;
        for _ in 0..RACES {
            let State { record, lost, .. } = lease.state().clone();
            if lost.is_some() {
                return;
            }
            match self.write(&lease.name, Some(&record), false).await {
                Err(ClusterError::Stale(_) | ClusterError::Unavailable { sent: true, .. }) => {}
                _ => return,
            }
            match self.read(&lease.name).await {
                Ok(Some(found)) if found.nonce == self.nonce && !found.identity.is_empty() => {
                    lease.state().record = found;
                }
                _ => return,
            }
        }
    }
}

/// A foreign duration is respected within bounds; one that is missing or absurd is ours.
fn duration(record: &Record) -> Duration {
    record.duration.map_or(DURATION, Duration::from_secs).clamp(DURATION, LONGEST_DURATION)
}

fn held(name: &str, record: &Record) -> ClaimError {
    ClaimError::Held { name: Clean::new(name), holder: record.who() }
}

fn could_not_tell(name: &str, cause: String) -> ClaimError {
    ClaimError::CouldNotTell { name: Clean::new(name), cause: Clean::new(cause) }
}

fn lose(lease: &Lease, holder: &str) -> ClaimError {
    let error = ClaimError::Held { name: Clean::new(&lease.name), holder: Clean::new(holder) };
    lease.state().lost = Some(error.clone());
    error
}

#[cfg(test)]
mod tests;
