//! The runs of this machine, as their journals tell them.

use super::Failure;
use crate::adapter::store::{StateDir, StoreError};
use crate::journal::{self, JournalError, Replay, RunId, Writer};
use crate::port::Store;
use crate::rollout::book::Log;
use crate::rollout::event::{Event, Stamped};
use crate::rollout::state::State;
use crate::text::Clean;
use async_trait::async_trait;

/// One run, read from its journal.
pub struct PastRun {
    /// Its id.
    pub id: RunId,
    /// Its events.
    pub events: Vec<Stamped>,
    /// The state that they fold to.
    pub state: State,
    /// What the journal's reader said.
    pub replay: Replay<Event>,
}

/// Reads one run.
///
/// # Errors
/// It is not there, it ended before it began, or its journal is damaged.
pub fn read(state: &StateDir, id: &str) -> Result<PastRun, Failure> {
    let id = RunId::parse(id)
        .map_err(|error| Failure::usage(error.to_string()).hint("`firstlight runs` lists the runs"))?;
    let bytes = state.read_run(id.as_str()).map_err(|error| of_store(&error))?;
    replayed(id, &bytes).map_err(|(id, error)| unreadable(&id, &error))
}

/// Reads one run; `None` where not even its header is on disk, so that nothing was done in it.
///
/// # Errors
/// It is not there, or its journal is damaged.
pub fn begun(state: &StateDir, id: &str) -> Result<Option<PastRun>, Failure> {
    let id = RunId::parse(id)
        .map_err(|error| Failure::usage(error.to_string()).hint("`firstlight runs` lists the runs"))?;
    let bytes = state.read_run(id.as_str()).map_err(|error| of_store(&error))?;
    match replayed(id, &bytes) {
        Ok(past) => Ok(Some(past)),
        Err((_, JournalError::NoHeader { .. })) => Ok(None),
        Err((id, error)) => Err(unreadable(&id, &error)),
    }
}

fn replayed(id: RunId, bytes: &[u8]) -> Result<PastRun, (RunId, JournalError)> {
    let replay: Replay<Event> = match journal::replay(bytes) {
        Ok(replay) => replay,
        Err(error) => return Err((id, error)),
    };
    let events: Vec<Stamped> = replay
        .records
        .iter()
        .map(|record| Stamped { seq: record.seq, at: record.at, event: record.event.clone() })
        .collect();
    let folded = State::of(&events);
    Ok(PastRun { id, events, state: folded, replay })
}

fn unreadable(id: &RunId, error: &JournalError) -> Failure {
    Failure::failed(format!("run {}: {error}", id.as_str())).hint(error.hint())
}

/// The ids of all runs, the latest first.
///
/// # Errors
/// The state directory cannot be read.
pub fn ids(state: &StateDir) -> Result<Vec<String>, Failure> {
    let mut ids: Vec<(String, String)> = state
        .list_runs()
        .map_err(|error| of_store(&error))?
        .into_iter()
        .filter_map(|id| RunId::parse(&id).ok().map(|run| (run.start().to_owned(), id)))
        .collect();
    ids.sort_by(|a, b| b.cmp(a));
    Ok(ids.into_iter().map(|(_, id)| id).collect())
}

/// A failure of the state directory.
pub fn of_store(error: &StoreError) -> Failure {
    let failure = match error {
        StoreError::NoSuchRun(_) | StoreError::NotARun(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The book's log on a journal.
pub struct JournalLog {
    writer: Writer,
}

impl JournalLog {
    /// A journal that begins.
    pub fn begin(store: Box<dyn Store>, run: RunId) -> Self {
        Self { writer: Writer::new(store, run) }
    }

    /// A journal that goes on.
    pub fn resume(store: Box<dyn Store>, replay: &Replay<Event>) -> Self {
        Self { writer: Writer::resume(store, replay) }
    }
}

#[async_trait]
impl Log for JournalLog {
    async fn append(&mut self, at: u64, events: &[Event]) -> Result<u64, Clean> {
        let first = self.writer.next_seq();
        self.writer.append(at, events).await.map_err(|error| Clean::new(error.to_string()))?;
        Ok(first)
    }
}

/// Opens the journal of a past run for going on: locked, read again under the lock, its torn tail cut.
/// `None` where another process has it open: that run is under way, and not cut short.
///
/// # Errors
/// It cannot be read or written.
pub fn reopen(state: &StateDir, id: &RunId) -> Result<Option<(JournalLog, PastRun)>, Failure> {
    let mut store = match state.open_run(id.as_str()) {
        Ok(store) => store,
        Err(StoreError::Locked(_)) => return Ok(None),
        Err(error) => return Err(of_store(&error)),
    };
    // What was read before the lock may be old: its last process could still write then.
    let bytes = store.bytes().map_err(|error| of_store(&error))?;
    let past = replayed(id.clone(), &bytes).map_err(|(id, error)| unreadable(&id, &error))?;
    if past.replay.torn.is_some() {
        store.truncate(past.replay.good_len).map_err(|error| of_store(&error))?;
    }
    Ok(Some((JournalLog::resume(Box::new(store), &past.replay), past)))
}
