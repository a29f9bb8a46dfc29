//! The runs of this machine, as their journals tell them.

use super::Failure;
use crate::adapter::store::StateDir;
use crate::journal::{self, Replay, RunId, Writer};
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
/// It is not there, or its journal is damaged.
pub fn read(state: &StateDir, id: &str) -> Result<PastRun, Failure> {
    let id = RunId::parse(id).map_err(|error| Failure::usage(error.to_string()))?;
    let bytes = state.read_run(id.as_str()).map_err(|error| of_store(&error))?;
    let replay: Replay<Event> = journal::replay(&bytes)
        .map_err(|error| Failure::failed(format!("run {}: {error}", id.as_str())).hint(error.hint()))?;
    let events: Vec<Stamped> = replay
        .records
        .iter()
        .map(|record| Stamped { seq: record.seq, at: record.at, event: record.event.clone() })
        .collect();
    let folded = State::of(&events);
    Ok(PastRun { id, events, state: folded, replay })
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
pub fn of_store(error: &crate::adapter::store::StoreError) -> Failure {
    let failure = Failure::failed(error.to_string());
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

/// Opens the journal of a past run for going on: locked, its torn tail cut.
///
/// # Errors
/// Another process has it open, or it cannot be written.
pub fn reopen(state: &StateDir, run: &PastRun) -> Result<JournalLog, Failure> {
    let mut store = state.open_run(run.id.as_str()).map_err(|error| of_store(&error))?;
    if run.replay.torn.is_some() {
        store.truncate(run.replay.good_len).map_err(|error| of_store(&error))?;
    }
    Ok(JournalLog::resume(Box::new(store), &run.replay))
}
