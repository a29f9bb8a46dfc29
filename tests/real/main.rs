//! Rollouts on real servers: a control plane, Tempo, the Collector and Loki, built by `.ci/components`, all on loopback.

mod api;
mod audit;
mod cluster;
mod condition;
mod crash;
mod harness;
mod kubelet;
mod kwok;
mod network;
mod process;
mod rollout;
mod sandbox;
mod seed;
mod snapshot;
mod substitution;
mod telemetry;
mod tripit;
mod world;
