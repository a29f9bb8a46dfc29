//! The plan language: model, loading, inputs, substitution, lint.
