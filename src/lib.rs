//! firstlight: rollouts that an operator can prove.
//!
//! The house has pure rooms and edges. A pure room takes values and returns values; an edge talks to the world.
//! The one rule: no pure room imports an edge, and `tests/walls.rs` reads the imports to keep it so.
//!
//! Data flows one way: [`plan`] → [`step`] compilers → [`effect`]s → the one place that sends them
//! (`rollout::execute`) and the one inverse (`rollout::undo`) → events → readers ([`cli`]).

// Pure rooms.
pub mod diff;
pub mod effect;
pub mod object;
pub mod plan;
pub mod port;
pub mod proof;
pub mod rollout;
pub mod secret;
pub mod span;
pub mod step;
pub mod text;
pub mod yaml;

// Edges.
pub mod adapter;
pub mod cli;
pub mod journal;
pub mod rehearsal;
