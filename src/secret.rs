//! What a secret is, how it is masked, and keyed fingerprints.
