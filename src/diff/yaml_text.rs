//! A small YAML writer for display.
