//! Structural differences between two states of an object, for people and for fingerprints.
