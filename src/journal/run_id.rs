//! The name of a run.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Names one run: `tracing-20261123-031500-ab12cd` is the plan, the start in UTC, and six random hex digits.
///
/// It is a file name and a label value: lower-case letters, digits and `-`, at most 63 characters. Runs sort by their
/// start, then by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// `-20261123-031500-ab12cd`.
const TAIL: usize = 23;
/// Of the plan's name; the limit of a label value is 63.
const PLAN_LIMIT: usize = 63 - TAIL;

/// A text that names no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the name of a run: a run is named like tracing-20261123-031500-ab12cd")]
pub struct RunIdError(crate::text::Clean);

impl RunId {
    /// The id of a run of `plan` that starts at `wall` (milliseconds since the epoch); `entropy` tells apart runs of
    /// one second. What a run id may not hold is replaced by `-` in the plan's name, and a long name is cut.
    pub fn new(plan: &str, wall: u64, entropy: [u8; 16]) -> Self {
        let mut name = String::new();
        for c in plan.chars() {
            match c.to_ascii_lowercase() {
                c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
                _ if name.is_empty() || name.ends_with('-') => {}
                _ => name.push('-'),
            }
            if name.len() == PLAN_LIMIT {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        let start = i64::try_from(wall)
            .ok()
            .and_then(|wall| jiff::Timestamp::from_millisecond(wall).ok())
            .unwrap_or(jiff::Timestamp::MAX)
            .strftime("%Y%m%d-%H%M%S");
        let [a, b, c, ..] = entropy;
        Self(format!("{}-{start}-{a:02x}{b:02x}{c:02x}", if name.is_empty() { "run" } else { name }))
    }

    /// Reads a run id.
    ///
    /// # Errors
    /// When the text is not in the form of [`RunId`].
    pub fn parse(text: &str) -> Result<Self, RunIdError> {
        let refuse = || RunIdError(crate::text::Clean::new(text.chars().take(80).collect::<String>()));
        let (name, tail) =
            text.len().checked_sub(TAIL).and_then(|at| text.split_at_checked(at)).ok_or_else(refuse)?;
        let name_holds = (1..=PLAN_LIMIT).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        let tail_holds = tail.bytes().enumerate().all(|(at, b)| match at {
            0 | 9 | 16 => b == b'-',
            1..=15 => b.is_ascii_digit(),
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        });
        if name_holds && tail_holds { Ok(Self(text.to_owned())) } else { Err(refuse()) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plan's name, as far as the id holds it.
    pub fn plan(&self) -> &str {
        self.0.len().checked_sub(TAIL).and_then(|at| self.0.get(..at)).unwrap_or_default()
    }

    /// The start in UTC: `20261123-031500`.
    pub fn start(&self) -> &str {
        self.0.len().checked_sub(TAIL).and_then(|at| self.0.get(at + 1..at + 16)).unwrap_or_default()
    }
}

impl Ord for RunId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.start().cmp(other.start()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for RunId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<Self, RunIdError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;
    fn try_from(text: String) -> Result<Self, RunIdError> {
        Self::parse(&text)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTROPY: [u8; 16] = [0xab, 0x12, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn it_names_plan_start_and_chance() {
        let id = RunId::new("tracing", 1_795_403_700_999, ENTROPY);
        assert_eq!(id.as_str(), "tracing-20261123-031500-ab12cd");
        assert_eq!((id.plan(), id.start()), ("tracing", "20261123-031500"));
        assert_eq!(RunId::new("../Ünsafe name--", 0, ENTROPY).as_str(), "nsafe-name-19700101-000000-ab12cd");
        assert_eq!(RunId::new("…", u64::MAX, ENTROPY).as_str(), "run-99991230-220000-ab12cd");
    }

    #[test]
    fn runs_sort_by_their_start() {
        let early = RunId::new("z", 1_000_000, ENTROPY);
        let late = RunId::new("a", 2_000_000, ENTROPY);
        assert!(early < late);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        for text in [
            "",
            "tracing",
            "-20261123-031500-ab12cd",
            "../x-20261123-031500-ab12cd",
            "tracing-20261123-031500-AB12CD",
            "tracing-20261123-031500-ab12c",
            "tracing-2026112x-031500-ab12cd",
            "tracing-20261123-031500-ab12cd\n",
            "ünicode-20261123-031500-ab12cd",
        ] {
            assert!(RunId::parse(text).is_err(), "{text}");
        }
        let error = RunId::parse("x\x1b[2J").unwrap_err().to_string();
        insta::assert_snapshot!(error, @r"x\x1b[2J is not the name of a run: a run is named like tracing-20261123-031500-ab12cd");
    }

    proptest! {
        #[test]
        fn what_is_made_is_read(plan in any::<String>(), wall in any::<u64>(), entropy in any::<[u8; 16]>()) {
            let id = RunId::new(&plan, wall, entropy);
            prop_assert_eq!(RunId::parse(id.as_str()).unwrap(), id.clone());
            prop_assert!(id.as_str().len() <= 63);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(id) = RunId::parse(&text) { prop_assert_eq!(id.as_str(), text); }
        }
    }
}
