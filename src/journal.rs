//! The append-only journal of durable events: JSON Lines with checksums and a chain of hashes.
//!
//! One record is one line, always with its members in this order:
//!
//! ```text
//! {"v":1,"seq":1,"run":"tracing-20261123-031500-ab12cd","prev":"<32 hex>","at":<unix ms>,"event":…,"crc":"<8 hex>"}
//! ```
//!
//! - `seq` counts from 1, so it is the line's number.
//! - `prev` is the first half of the SHA-256 of the previous line without its line feed; zeros for the first one.
//! - `crc` is the CRC-32 (IEEE) of the line's own bytes before `,"crc":`, in lower-case hex. It is always last, in
//!   every version of the format: so a record of a newer program is recognised as one and never taken for damage.
//!
//! A batch of records is one write and one fsync ([`Writer::append`]). A write that was cut short leaves a torn last
//! line; its batch was never acknowledged, so nothing was done on its strength, and [`replay()`] cuts it and says so.
//! Damage anywhere else is refused with its place and never repaired.

mod record;
mod replay;
mod run_id;
#[cfg(test)]
mod testing;
mod writer;

pub use replay::{Record, Replay, Torn, replay};
pub use run_id::{RunId, RunIdError};
pub use writer::Writer;

use crate::text::Clean;

/// The version of the record format that this program writes, and the only one that it reads.
pub const VERSION: u64 = 1;

/// The longest line in bytes, line feed not counted. An object of the API is at most 1.5 MiB (etcd's request limit),
/// an intent holds what it was and what it becomes, and JSON inside JSON grows by its escapes.
pub const LINE_LIMIT: usize = 16 << 20;

/// Why a journal could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// An earlier append failed or was abandoned half-way; whether its records are on disk is not known.
    #[error("the journal of run {run} takes no more records: {cause}")]
    Closed {
        /// The run.
        run: RunId,
        /// What happened first.
        cause: Clean,
    },
    /// The store refused; the writer is closed from now on.
    #[error("the journal of run {run} could not be written: {cause}")]
    Store {
        /// The run.
        run: RunId,
        /// The store's own words.
        cause: Clean,
    },
    /// An event has no JSON form, or one longer than [`LINE_LIMIT`]; the writer is closed from now on.
    #[error("record {seq} of run {run} could not be written: {cause}")]
    Event {
        /// The run.
        run: RunId,
        /// The record that it would have been.
        seq: u64,
        /// Why.
        cause: Clean,
    },
    /// The file holds no complete record: the program ended before the run's first record was on disk, so before
    /// anything was done.
    #[error("the journal holds no complete record ({torn} bytes)")]
    NoHeader {
        /// Bytes of a first line that is torn; 0 for an empty file.
        torn: u64,
    },
    /// A record is damaged, missing, repeated or of another run.
    #[error("the journal is damaged at line {line} (byte {offset}): {cause}")]
    Damaged {
        /// Line number, from 1.
        line: u64,
        /// Offset of the line's first byte.
        offset: u64,
        /// What is wrong with it.
        cause: Clean,
    },
    /// A whole record of a version that this program does not know.
    #[error(
        "line {line} of the journal (byte {offset}) has format version {version}; this program reads version {VERSION}"
    )]
    Version {
        /// Line number, from 1.
        line: u64,
        /// Offset of the line's first byte.
        offset: u64,
        /// The version that it states.
        version: u64,
    },
    /// A whole record of this version, with an event that this program does not know.
    #[error(
        "line {line} of the journal (byte {offset}) holds an event that this program does not know: {cause}"
    )]
    UnknownEvent {
        /// Line number, from 1.
        line: u64,
        /// Offset of the line's first byte.
        offset: u64,
        /// What could not be read.
        cause: Clean,
    },
}

impl JournalError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Closed { .. } | Self::Store { .. } => {
                "make room in the state directory and see that it can be written, then `firstlight resume`"
            }
            Self::Event { .. } => "this is a fault of firstlight; the run can be resumed or rolled back",
            Self::NoHeader { .. } => "nothing was done in this run; its file can be removed",
            Self::Damaged { .. } => {
                "nothing is repaired by guessing: restore the file from a backup, or compare the cluster by hand with `firstlight preview`"
            }
            Self::Version { .. } | Self::UnknownEvent { .. } => {
                "use the firstlight that wrote this journal, or a newer one"
            }
        }
    }
}
