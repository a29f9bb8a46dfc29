//! The append-only journal of durable events.
