//! Step compilers: what a step means as object intents, waits and proofs.
