//! The proofs on cases that are files: `tests/proofs/PROOF/CASE/`. `expected.yaml` has the verdict, and words of a finding
//! that carries it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a case that cannot be set up fails"
)]

#[path = "proofs/additivity.rs"]
mod additivity;
#[path = "proofs/case.rs"]
mod case;
#[path = "proofs/datasource.rs"]
mod datasource;
#[path = "proofs/git_crypt.rs"]
mod git_crypt;
#[path = "proofs/repository.rs"]
mod repository;
