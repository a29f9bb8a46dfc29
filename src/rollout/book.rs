//! The book of a run: what is recorded is on disk first, then in the state, then with the readers.

use super::Halt;
use super::event::{Event, Outcome, Reader, Stamped};
use super::state::State;
use crate::port::Clock;
use crate::text::Clean;
use async_trait::async_trait;
use std::sync::Arc;

/// Appends durable events; the journal stands behind it.
#[async_trait]
pub trait Log: Send {
    /// Appends a batch with one write and one fsync, and returns the number of its first event.
    /// After an error nothing more may be recorded, and so nothing more may be done.
    async fn append(&mut self, at: u64, events: &[Event]) -> Result<u64, Clean>;
}

/// The book of one run.
pub struct Book {
    log: Box<dyn Log>,
    clock: Arc<dyn Clock>,
    reader: Arc<dyn Reader>,
    /// The state so far.
    pub state: State,
}

impl Book {
    /// A book that goes on from `state`.
    pub fn new(log: Box<dyn Log>, clock: Arc<dyn Clock>, reader: Arc<dyn Reader>, state: State) -> Self {
        Self { log, clock, reader, state }
    }

    /// Records a batch of events.
    ///
    /// # Errors
    /// The journal cannot be written; the run must stop.
    pub async fn record(&mut self, events: Vec<Event>) -> Result<(), Halt> {
        if events.is_empty() {
            return Ok(());
        }
        let at = self.clock.wall();
        let first = self.log.append(at, &events).await.map_err(|cause| {
            Halt::new(Outcome::Failed, format!("the journal cannot be written: {cause}"))
                .hint("nothing was sent after the last record; free the disk, then run again")
        })?;
        for (offset, event) in events.into_iter().enumerate() {
            let stamped = Stamped { seq: first + offset as u64, at, event };
            self.state.apply(&stamped);
            self.reader.event(&stamped);
        }
        Ok(())
    }

    /// Records one event.
    ///
    /// # Errors
    /// As [`Book::record`].
    pub async fn note(&mut self, event: Event) -> Result<(), Halt> {
        self.record(vec![event]).await
    }
}
