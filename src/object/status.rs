//! Rollout status of workloads and claims, with the reason in one line.
