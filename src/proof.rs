//! Proofs: pure judgements over facts. One file per proof.

use crate::text::Clean;
use serde::{Deserialize, Serialize};
use std::fmt;

pub mod access;
pub mod datasource;
pub mod first_light;
pub mod git_crypt;
pub mod ready;

/// What a proof concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The plan makes no such claim. Decided from the plan, never from a failed query.
    NotApplicable,
    /// Everything that was claimed was seen.
    Proven,
    /// Something that was claimed could not be seen.
    Unknown,
    /// Something contradicts the claim.
    Refuted,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotApplicable => "not applicable",
            Self::Proven => "proven",
            Self::Unknown => "unknown",
            Self::Refuted => "refuted",
        })
    }
}

/// One finding of a proof: a sentence, and the verdict that this finding alone would give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What this finding alone says.
    pub verdict: Verdict,
    /// What was seen, where: a lowercase sentence without a full stop.
    pub text: Clean,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<Clean>,
    /// Cannot be overridden without a person at a terminal: leaks, plaintext secrets, foreign ownership.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub grave: bool,
}

/// A verdict with the findings that carry it. The verdict is that of the worst finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The evidence, worst first.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// The judgement that these findings carry. No finding at all is Unknown: nothing was seen.
    pub fn of(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        let verdict = findings.first().map_or(Verdict::Unknown, |finding| finding.verdict);
        if findings.is_empty() {
            findings.push(Finding::unknown("nothing was observed"));
        }
        Self { verdict, findings }
    }

    /// Whether a finding against the claim may only be passed by a person at a terminal.
    pub fn is_grave(&self) -> bool {
        self.findings.iter().any(|finding| finding.grave && finding.verdict == Verdict::Refuted)
    }

    /// The sentence that carries the verdict.
    pub fn headline(&self) -> &str {
        self.findings.first().map_or("", |finding| finding.text.as_str())
    }
}

impl Finding {
    /// A finding that supports the claim.
    pub fn proven(text: impl AsRef<str>) -> Self {
        Self { verdict: Verdict::Proven, text: Clean::new(text), hint: None, grave: false }
    }

    /// A finding that something could not be told.
    pub fn unknown(text: impl AsRef<str>) -> Self {
        Self { verdict: Verdict::Unknown, text: Clean::new(text), hint: None, grave: false }
    }

    /// A finding that contradicts the claim.
    pub fn refuted(text: impl AsRef<str>) -> Self {
        Self { verdict: Verdict::Refuted, text: Clean::new(text), hint: None, grave: false }
    }

    /// A finding that the plan makes no such claim.
    pub fn not_applicable(text: impl AsRef<str>) -> Self {
        Self { verdict: Verdict::NotApplicable, text: Clean::new(text), hint: None, grave: false }
    }

    /// The same finding, not to be overridden without a person at a terminal.
    #[must_use]
    pub fn grave(mut self) -> Self {
        self.grave = true;
        self
    }

    /// The same finding with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(Clean::new(hint));
        self
    }
}
