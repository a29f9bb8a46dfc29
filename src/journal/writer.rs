//! The writer: a batch is one write and one fsync, and the first failure is the last word.

use super::record::{LineHash, seal};
use super::{JournalError, Replay, RunId};
use crate::port::Store;
use crate::text::Clean;
use serde::Serialize;

/// Appends records of one run to a store.
///
/// After any failure, and after an [`append`](Self::append) whose future was dropped before it returned, it refuses
/// everything: what is on disk is then unknown, and only a [`replay`](super::replay) can tell (a second fsync after a
/// failed one may report success for pages that were lost).
pub struct Writer {
    store: Box<dyn Store>,
    run: RunId,
    next: u64,
    last: LineHash,
    closed: Option<Clean>,
}

impl Writer {
    /// A writer for a new run; the store must be empty. The first record should be the run's header.
    pub fn new(store: Box<dyn Store>, run: RunId) -> Self {
        Self { store, run, next: 1, last: LineHash::zero(), closed: None }
    }

    /// A writer that goes on after a replay. The store must end at [`Replay::good_len`]: a torn tail is cut off before.
    pub fn resume<E>(store: Box<dyn Store>, replay: &Replay<E>) -> Self {
        Self {
            store,
            run: replay.run.clone(),
            next: replay.next_seq(),
            last: replay.last.clone(),
            closed: None,
        }
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Why it takes no more records, if so.
    pub fn closed(&self) -> Option<&Clean> {
        self.closed.as_ref()
    }

    /// Appends one record per event, all of time `at` (milliseconds since the epoch), with one write and one fsync.
    /// When it returns `Ok`, all are on disk. No event, no write.
    ///
    /// # Errors
    /// [`JournalError::Store`] or [`JournalError::Event`] the first time, [`JournalError::Closed`] ever after.
    pub async fn append<E: Serialize>(&mut self, at: u64, events: &[E]) -> Result<(), JournalError> {
        if let Some(cause) = &self.closed {
            return Err(JournalError::Closed { run: self.run.clone(), cause: cause.clone() });
        }
        let mut batch = Vec::new();
        let (mut next, mut last) = (self.next, self.last.clone());
        for event in events {
            let line = seal(&self.run, next, &last, at, event).map_err(|cause| {
                let cause = Clean::new(cause);
                self.closed = Some(cause.clone());
                JournalError::Event { run: self.run.clone(), seq: next, cause }
            })?;
            last = LineHash::of(&line);
            next += 1;
            batch.extend_from_slice(&line);
            batch.push(b'\n');
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Said beforehand, for the caller may drop this future while the store is writing.
        self.closed = Some(Clean::new("an append was abandoned half-way"));
        if let Err(cause) = self.store.append(&batch).await {
            self.closed = Some(cause.clone());
            return Err(JournalError::Store { run: self.run.clone(), cause });
        }
        (self.next, self.last, self.closed) = (next, last, None);
        Ok(())
    }
}
