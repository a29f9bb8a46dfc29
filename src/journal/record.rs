//! One line of the journal: how it is framed, sealed and opened.

use super::{LINE_LIMIT, RunId, VERSION};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The hash of a line, as the next line states it: half a SHA-256, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineHash(String);

impl LineHash {
    /// What the first record states.
    pub(super) fn zero() -> Self {
        Self("0".repeat(32))
    }

    /// The hash of a line without its line feed.
    pub(super) fn of(line: &[u8]) -> Self {
        let digest = Sha256::digest(line);
        Self(digest.iter().take(16).fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        }))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Serialize)]
struct Unsealed<'r, E> {
    v: u64,
    seq: u64,
    run: &'r RunId,
    prev: &'r str,
    at: u64,
    event: &'r E,
}

/// The line of one record, without its line feed.
pub(super) fn seal<E: Serialize>(
    run: &RunId,
    seq: u64,
    prev: &LineHash,
    at: u64,
    event: &E,
) -> Result<Vec<u8>, String> {
    let record = Unsealed { v: VERSION, seq, run, prev: prev.as_str(), at, event };
    let mut line = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
    line.pop();
    let crc = crc32fast::hash(&line);
    line.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}").as_bytes());
    if line.len() > LINE_LIMIT {
        return Err(format!("it has {} bytes, the limit is {LINE_LIMIT}", line.len()));
    }
    Ok(line)
}

/// `,"crc":"xxxxxxxx"}`.
const SEAL: usize = 18;

/// Whether a line carries the right checksum; the error is what is wrong with it.
pub(super) fn check(line: &[u8]) -> Result<(), &'static str> {
    if line.len() > LINE_LIMIT {
        return Err("it is longer than any record");
    }
    let (content, seal) = line
        .len()
        .checked_sub(SEAL)
        .and_then(|at| line.split_at_checked(at))
        .ok_or("it is too short for a record")?;
    if !seal.starts_with(b",\"crc\":\"") || !seal.ends_with(b"\"}") {
        return Err("it does not end in a checksum");
    }
    // The text is compared, not the number: an upper-case digit would be a change too.
    if seal == format!(",\"crc\":\"{:08x}\"}}", crc32fast::hash(content)).as_bytes() {
        Ok(())
    } else {
        Err("its checksum does not fit")
    }
}

/// What every version of a record states.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) v: u64,
}

/// What a record of this version states beside its event.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) run: String,
    pub(super) prev: String,
    pub(super) at: u64,
}

/// The event of a record.
#[derive(Deserialize)]
pub(super) struct Body<E> {
    pub(super) event: E,
}
