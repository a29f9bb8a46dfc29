//! The rehearsal: simulated servers that stand in for the cluster, on the same adapters and the same HTTP.

pub mod answer;
pub mod api;
pub mod apply;
pub mod clock;
pub mod dice;
pub mod fault;
pub mod network;
pub mod program;
pub mod resource;
pub mod schema;
pub mod store;
pub mod world;

pub use world::{Options, Rehearsal};
