//! The edges: the only rooms that know kube, git2, reqwest, hyper, files, and the real clock.

pub mod git;
