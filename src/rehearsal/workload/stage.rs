//! The life of a pod as rules: in which state, on what condition, after how long, to which state.
//!
//! The rules are data (the idea is kwok's Stage, kubernetes-sigs/kwok pkg/apis/v1alpha1/stage_types.go); the first that
//! fits a pod is the one that holds.

use std::time::Duration;

/// Where in its life a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No node yet.
    New,
    /// A node, and no container yet.
    Scheduled,
    /// Its containers run.
    Running,
    /// Its image could not be pulled.
    PullFailed,
    /// It waits before the next pull.
    PullBackOff,
    /// Its container was killed by its memory limit.
    Killed,
    /// Its container waits before its next start.
    CrashBackOff,
    /// It was asked to end, and ended.
    Ended,
}

/// What must be so beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing.
    Always,
    /// This fault is on and the image contains this text.
    Fault(&'static str, &'static str),
    /// The fault is on, the image contains the text, and the memory limit is below so many MiB.
    Starved(&'static str, &'static str, i128),
    /// It is being deleted.
    Going,
    /// Its claims are bound.
    ClaimsBound,
    /// Its ConfigMaps and Secrets are there.
    Mountable,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Stage {
    /// From this state,
    pub(super) from: State,
    /// if this is so,
    pub(super) when: When,
    /// after this long,
    pub(super) after: Duration,
    /// to this state.
    pub(super) to: State,
}

const fn stage(from: State, when: When, milliseconds: u64, to: State) -> Stage {
    Stage { from, when, after: Duration::from_millis(milliseconds), to }
}

/// The rules, the most special first.
pub(super) const STAGES: &[Stage] = &[
    stage(State::New, When::Going, 0, State::Ended),
    stage(State::Scheduled, When::Going, 500, State::Ended),
    stage(State::Running, When::Going, 1_000, State::Ended),
    stage(State::PullFailed, When::Going, 500, State::Ended),
    stage(State::PullBackOff, When::Going, 500, State::Ended),
    stage(State::Killed, When::Going, 500, State::Ended),
    stage(State::CrashBackOff, When::Going, 500, State::Ended),
    stage(State::New, When::ClaimsBound, 100, State::Scheduled),
    stage(State::Scheduled, When::Fault("image-pull", "opentelemetry-collector"), 2_000, State::PullFailed),
    stage(State::Scheduled, When::Mountable, 2_000, State::Running),
    stage(State::PullFailed, When::Always, 2_000, State::PullBackOff),
    stage(State::PullBackOff, When::Always, 20_000, State::PullFailed),
    stage(State::Running, When::Fault("tempo-oom", "grafana/tempo"), 8_000, State::Killed),
    stage(State::Running, When::Starved("limit-range", "grafana/tempo", 256), 8_000, State::Killed),
    stage(State::Killed, When::Always, 1_000, State::CrashBackOff),
    stage(State::CrashBackOff, When::Always, 10_000, State::Running),
];
