//! Rollouts on real servers: a control plane, Tempo, the Collector and Loki, built by `.ci/components`, all on loopback.

mod api;
mod audit;
mod cluster;
mod condition;
mod harness;
mod kubelet;
mod kwok;
mod network;
mod process;
mod rollout;
mod schema;
mod seed;
mod snapshot;
mod ssa;
mod substitution;
mod tripit;
mod world;
