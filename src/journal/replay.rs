//! Reading a journal back: every record in order, or the exact place where it cannot be trusted.

use super::record::{Body, Head, LineHash, Versioned, check};
use super::{JournalError, RunId, VERSION};
use crate::text::Clean;
use serde::de::DeserializeOwned;

/// A record that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<E> {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since the epoch.
    pub at: u64,
    /// What happened.
    pub event: E,
}

/// The end of a file that a write left unfinished. Its batch was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes are cut.
    pub bytes: u64,
    /// What is wrong with them: the rest of a sentence about the last line.
    pub cause: Clean,
}

/// What a journal says.
#[derive(Clone, Debug)]
pub struct Replay<E> {
    /// The run.
    pub run: RunId,
    /// Every whole record, at least one.
    pub records: Vec<Record<E>>,
    /// Bytes of the whole records: where the next one belongs. Cut the file to this length before a
    /// [`Writer`](super::Writer) goes on.
    pub good_len: u64,
    /// What follows them, if anything.
    pub torn: Option<Torn>,
    pub(super) last: LineHash,
}

impl<E> Replay<E> {
    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.records.last().map_or(1, |record| record.seq.saturating_add(1))
    }

    /// The hash of the last whole line, in hex: names this state of the journal.
    pub fn last_hash(&self) -> &str {
        self.last.as_str()
    }
}

/// Reads a journal.
///
/// # Errors
/// [`JournalError::NoHeader`] where not even one whole record is there, [`JournalError::Damaged`],
/// [`JournalError::Version`] or [`JournalError::UnknownEvent`] at the first line that is wrong.
pub fn replay<E: DeserializeOwned>(bytes: &[u8]) -> Result<Replay<E>, JournalError> {
    let mut records = Vec::new();
    let mut run: Option<RunId> = None;
    let mut last = LineHash::zero();
    let mut torn = None;
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let place = Place { line: records.len() as u64 + 1, offset: offset as u64 };
        let (line, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (rest.get(..at).unwrap_or_default(), Some(offset + at + 1)),
            None => (rest, None),
        };
        // A line without its line feed was not written to its end, even if the record itself is whole.
        let whole = check(line).and(end.ok_or("it does not end in a line feed"));
        let end = match whole {
            Ok(end) => end,
            Err(cause) => {
                if end.is_some_and(|end| end < bytes.len()) || holds_whole_record(line) {
                    return Err(place.damaged(cause));
                }
                torn = Some(Torn { bytes: rest.len() as u64, cause: Clean::new(cause) });
                break;
            }
        };
        let record = open(line, &place, records.len() as u64 + 1, &last, &mut run)?;
        records.push(record);
        last = LineHash::of(line);
        offset = end;
    }
    match run {
        Some(run) => Ok(Replay { run, records, good_len: offset as u64, torn, last }),
        None => Err(JournalError::NoHeader { torn: bytes.len() as u64 }),
    }
}

struct Place {
    line: u64,
    offset: u64,
}

impl Place {
    fn damaged(&self, cause: impl AsRef<str>) -> JournalError {
        JournalError::Damaged { line: self.line, offset: self.offset, cause: Clean::new(cause) }
    }
}

/// Opens a line whose checksum fits: from here on nothing is torn, only wrong.
fn open<E: DeserializeOwned>(
    line: &[u8],
    place: &Place,
    seq: u64,
    last: &LineHash,
    run: &mut Option<RunId>,
) -> Result<Record<E>, JournalError> {
    let not_a_record = |error: serde_json::Error| place.damaged(format!("it is not a record: {error}"));
    let Versioned { v } = serde_json::from_slice(line).map_err(not_a_record)?;
    if v != VERSION {
        return Err(JournalError::Version { line: place.line, offset: place.offset, version: v });
    }
    let head: Head = serde_json::from_slice(line).map_err(not_a_record)?;
    let id = RunId::parse(&head.run).map_err(|error| place.damaged(error.to_string()))?;
    match run {
        Some(run) if *run != id => return Err(place.damaged(format!("it belongs to run {id}, not to {run}"))),
        Some(_) => {}
        None => *run = Some(id),
    }
    if head.seq != seq {
        return Err(place.damaged(format!("it is record {}, where record {seq} belongs", head.seq)));
    }
    if head.prev != last.as_str() {
        return Err(place.damaged("it does not follow from the line before it"));
    }
    match serde_json::from_slice::<Body<E>>(line) {
        Ok(body) => Ok(Record { seq, at: head.at, event: body.event }),
        Err(error) => Err(JournalError::UnknownEvent {
            line: place.line,
            offset: place.offset,
            cause: Clean::new(error.to_string()),
        }),
    }
}

/// Whether a broken last line holds a whole record further on: then a line feed was lost in the middle of the journal,
/// which no unfinished write does. Only the last few places are tried; damage there is rare and lines are long.
fn holds_whole_record(line: &[u8]) -> bool {
    const START: &[u8] = b"{\"v\":";
    let starts = line.windows(START.len()).enumerate().skip(1).filter(|(_, window)| *window == START);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    starts.iter().rev().take(64).any(|at| line.get(*at..).is_some_and(|rest| check(rest).is_ok()))
}
