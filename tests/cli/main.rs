//! The real binary on its command line, without a cluster: what it says, how it ends, and what it refuses.

mod connection;
mod help;
mod home;
mod hostile;
mod output;
mod plans;
mod readme;
mod state;
