//! Exit codes: constants that scripts may rely on, listed in the README.

use crate::proof::Verdict;
use crate::rollout::event::Outcome;

/// Everything that was asked for is done.
pub const DONE: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// The command line, a plan or an input is wrong; nothing was done.
pub const USAGE: u8 = 2;
/// Changes are pending (`preview --exit-code`), a gate was declined, or what was approved no longer holds.
pub const PENDING: u8 = 3;
/// A proof was refuted.
pub const REFUTED: u8 = 4;
/// A proof is unknown.
pub const UNKNOWN: u8 = 5;
/// Someone else holds the claim.
pub const HELD: u8 = 7;
/// Interrupted (SIGINT).
pub const INTERRUPTED: u8 = 130;
/// Terminated (SIGTERM, SIGHUP).
pub const TERMINATED: u8 = 143;

/// The exit code of an outcome.
pub fn of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done => DONE,
        Outcome::Failed => FAILED,
        Outcome::NotApproved => PENDING,
        Outcome::Refuted => REFUTED,
        Outcome::Unknown => UNKNOWN,
        Outcome::Held => HELD,
        Outcome::Interrupted => INTERRUPTED,
        Outcome::Terminated => TERMINATED,
    }
}

/// The exit code of the worst verdict.
pub fn of_verdict(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NotApplicable | Verdict::Proven => DONE,
        Verdict::Unknown => UNKNOWN,
        Verdict::Refuted => REFUTED,
    }
}
