//! The engine: events, state, gates, execution, undo. Knows only ports.
