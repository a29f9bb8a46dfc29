//! The real binary on its command line, without a cluster: what it says, how it ends, and what it refuses.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot prepare its case has failed"
)]

mod connection;
mod help;
mod home;
mod hostile;
mod output;
mod plans;
mod readme;
mod rehearse;
mod state;
