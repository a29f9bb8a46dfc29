//! The rehearsal: simulated servers that stand in for the cluster, on the same adapters and the same HTTP.

pub mod application;
pub mod apply;
pub mod schema;
pub mod telemetry;
