//! The proofs that a plan can ask for by name.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A proof by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofName {
    /// `access`
    Access,
    /// `git-crypt`
    GitCrypt,
    /// `datasource`
    Datasource,
    /// `rolled-out`
    RolledOut,
    /// `ready`
    Ready,
    /// `first-light`
    FirstLight,
}

/// Name and one line of documentation of each proof.
const PROOFS: &[(ProofName, &str, &str)] = &[
    (ProofName::Access, "access", "the cluster allows every request that the plan makes"),
    (
        ProofName::GitCrypt,
        "git-crypt",
        "the repository is unlocked, and what must be ciphertext is ciphertext",
    ),
    (ProofName::Datasource, "datasource", "the change of a Grafana data source adds and alters nothing else"),
    (ProofName::RolledOut, "rolled-out", "every workload of the step runs in its new form"),
    (ProofName::Ready, "ready", "every service under `ready:` answers that it is ready"),
    (
        ProofName::FirstLight,
        "first-light",
        "a span of the application is found in Tempo, and its log line in Loki",
    ),
];

impl ProofName {
    /// Every proof.
    pub fn all() -> impl Iterator<Item = Self> {
        PROOFS.iter().map(|row| row.0)
    }

    /// Every name, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROOFS.iter().map(|row| row.1)
    }

    /// The proof of this name.
    pub fn parse(name: &str) -> Option<Self> {
        PROOFS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Its name as plans and options write it.
    pub fn as_str(self) -> &'static str {
        PROOFS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// What it proves, in one line.
    pub fn doc(self) -> &'static str {
        PROOFS.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }
}

impl fmt::Display for ProofName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_has_its_row_and_one_name() {
        for proof in [
            ProofName::Access,
            ProofName::GitCrypt,
            ProofName::Datasource,
            ProofName::RolledOut,
            ProofName::Ready,
            ProofName::FirstLight,
        ] {
            assert_eq!(ProofName::parse(proof.as_str()), Some(proof));
            assert!(!proof.doc().is_empty());
            assert_eq!(serde_json::to_value(proof).unwrap(), proof.as_str());
        }
        assert_eq!(ProofName::all().count(), 6);
    }
}
