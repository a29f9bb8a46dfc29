//! Rollouts on real servers: a control plane, Tempo, the Collector and Loki, built by `.ci/components`, all on loopback.

mod api;
mod approved;
mod audit;
mod badday;
mod claim;
mod cluster;
mod condition;
mod crash;
mod faults;
mod gate;
mod harness;
mod kubelet;
mod kwok;
mod network;
mod process;
mod proxy;
mod rollout;
mod sandbox;
mod schema;
mod seed;
mod snapshot;
mod ssa;
mod substitution;
mod terminal;
mod tripit;
mod world;
