//! The rehearsal: simulated servers that stand in for the cluster, on the same adapters and the same HTTP.

pub mod admission;
pub mod answer;
pub mod api;
pub mod application;
pub mod apply;
pub mod clock;
pub mod default;
pub mod dice;
pub mod fault;
pub mod images;
pub mod network;
pub mod patch;
pub mod program;
pub mod quantity;
pub mod registry;
pub mod resource;
pub mod schema;
pub mod seed;
pub mod selector;
pub mod serve;
pub mod store;
pub mod strict;
pub mod telemetry;
pub mod validate;
pub mod value;
pub mod watch;
pub mod workload;
pub mod world;

pub use world::{Options, Rehearsal};

#[cfg(test)]
mod tests;
