//! The edges: the only rooms that know kube, git2, reqwest, hyper, files, and the real clock.

pub mod boundary;
pub mod claim;
pub mod clock;
pub mod cluster;
pub mod dial;
pub mod entropy;
pub mod http;
pub mod kubeconfig;
pub mod store;
