//! The proofs on cases that are files: `tests/proofs/PROOF/CASE/`. `expected.yaml` has the verdict, and words of a finding
//! that carries it.

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
