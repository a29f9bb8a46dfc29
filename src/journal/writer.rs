//! The writer: a batch is one write and one fsync, and the first failure is the last word.

use super::record::{LineHash, seal};
use super::{JournalError, Replay, RunId};
use crate::port::Store;
use crate::text::Clean;
use serde::Serialize;

/// Appends records of one run to a store.
///
/// After any failure, and after an [`append`](Self::append) whose future was dropped before it returned, it refuses
/// everything: what is on disk is then unknown, and only a [`replay`](super::replay()) can tell (a second fsync after a
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Event, Memory, run};
    use super::super::{LINE_LIMIT, replay};
    use super::*;
    use futures::FutureExt as _;

    fn note(text: &str) -> Event {
        Event::Note(text.to_owned())
    }

    #[tokio::test]
    async fn a_batch_is_one_append() {
        let memory = Memory::default();
        let mut writer = Writer::new(Box::new(memory.clone()), run());
        writer.append(1, &[note("a"), note("b"), note("c")]).await.unwrap();
        writer.append::<Event>(2, &[]).await.unwrap();
        writer.append(3, &[note("d")]).await.unwrap();
        assert_eq!(memory.appends(), 2);
        assert_eq!(writer.next_seq(), 5);
        assert_eq!(replay::<Event>(&memory.bytes()).unwrap().records.len(), 4);
    }

    #[tokio::test]
    async fn the_first_failure_is_the_last_word() {
        for nth in 0..4 {
            let memory = Memory::failing_at(nth);
            let mut writer = Writer::new(Box::new(memory.clone()), run());
            let mut acknowledged = 0;
            for index in 0..4 {
                match writer.append(index, &[note("x"), note("y")]).await {
                    Ok(()) => acknowledged += 2,
                    Err(JournalError::Store { cause, .. }) => {
                        assert_eq!((index, cause.as_str()), (nth, "no space left on device"));
                    }
                    Err(error) => {
                        assert!(index > nth && matches!(error, JournalError::Closed { .. }), "{error}");
                        assert_eq!(
                            error.to_string(),
                            format!(
                                "the journal of run {} takes no more records: no space left on device",
                                run()
                            )
                        );
                    }
                }
            }
            assert_eq!(memory.appends(), nth + 1);
            // The failed append left half of its bytes. What was acknowledged is there, and nothing unasked.
            match replay::<Event>(&memory.bytes()) {
                Ok(replay) => {
                    assert!((acknowledged..=acknowledged + 2).contains(&replay.records.len()));
                    assert!(replay.torn.is_some());
                }
                Err(error) => {
                    assert!(acknowledged == 0 && matches!(error, JournalError::NoHeader { .. }), "{error}")
                }
            }
        }
    }

    #[tokio::test]
    async fn an_abandoned_append_closes_the_writer() {
        let memory = Memory::hanging();
        let mut writer = Writer::new(Box::new(memory.clone()), run());
        assert!(writer.append(1, &[note("a")]).now_or_never().is_none());
        let error = writer.append(2, &[note("b")]).await.unwrap_err();
        insta::assert_snapshot!(error.to_string(),
            @"the journal of run tracing-20261123-031500-ab12cd takes no more records: an append was abandoned half-way");
        assert!(writer.closed().is_some());
    }

    #[tokio::test]
    async fn an_event_without_a_line_is_refused_before_anything_is_written() {
        let memory = Memory::default();
        let mut writer = Writer::new(Box::new(memory.clone()), run());
        let error = writer.append(1, &[note("a"), note(&"x".repeat(LINE_LIMIT))]).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("record 2 of run tracing-20261123-031500-ab12cd could not be written: it has")
        );
        assert_eq!(memory.appends(), 0);
        assert!(writer.append(1, &[note("a")]).await.is_err());
    }
}
