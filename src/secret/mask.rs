//! Masking: numbered placeholders for secret values.

use super::known::Known;
use super::place::{self, Visitor};
use super::{pattern, text};
use crate::object::path::Path;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Replaces secrets by numbered placeholders (`‹secret #2›`). Equal values get equal numbers within one masker, however
/// they are encoded: a value in a Secret's data and the same in clear text are one secret.
///
/// It holds the secrets that it has seen in memory, to find them again in logs and messages. Nothing of it is ever
/// written: it cannot be serialised, and its debug form only counts.
#[derive(Default)]
pub struct Masker {
    numbers: BTreeMap<String, usize>,
    known: Known,
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

    /// Learns the secrets of an object, so that they are masked wherever else they turn up.
    pub fn learn(&mut self, kind: &str, object: &Value) {
        place::walk(kind, object, &mut Learner(self));
    }

    /// Learns one secret: an input, a credential.
    pub fn learn_secret(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.number(secret);
            self.known.learn(secret);
        }
    }

    /// The object with every secret masked. Its own secrets are learned first.
    #[must_use]
    pub fn mask_value(&mut self, kind: &str, object: &Value) -> Value {
        self.learn(kind, object);
        place::walk(kind, object, self)
    }

    /// The text with every secret masked: by form, by the names before values, and by known value.
    #[must_use]
    pub fn mask_text(&mut self, text: &str) -> String {
        let mut found = text::scan(text);
        for one in &found {
            self.known.learn(&one.secret);
        }
        found.extend(self.known.scan(text));
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        for one in text::merge(text, found) {
            masked.push_str(text.get(at..one.start).unwrap_or_default());
            masked.push_str(&self.placeholder(&one.secret));
            at = one.end;
        }
        masked.push_str(text.get(at..).unwrap_or_default());
        masked
    }

    fn number(&mut self, secret: &str) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(secret.to_owned()).or_insert(next)
    }

    fn placeholder(&mut self, secret: &str) -> String {
        format!("‹secret #{}›", self.number(secret))
    }
}

/// What a secret value is, however it is written down: base64 of text in a Secret's data is that text.
fn content(path: &Path, value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let in_data =
        path.0.first().is_some_and(|first| *first == crate::object::path::Segment::Field("data".to_owned()));
    if in_data && path.0.len() == 2 { pattern::decoded(&text).unwrap_or(text) } else { text }
}

impl Visitor for Masker {
    fn secret(&mut self, path: &Path, value: &Value) -> Value {
        Value::String(self.placeholder(&content(path, value)))
    }

    fn binary(&mut self, _: &Path, value: &str) -> Value {
        // Bytes are no text to read: what counts is whether they are the same ones.
        Value::String(format!("{} ({} characters of base64)", self.placeholder(value), value.len()))
    }

    fn text(&mut self, _: &Path, text: &str) -> String {
        self.mask_text(text)
    }
}

/// Learns and numbers, in the order of the walk.
struct Learner<'m>(&'m mut Masker);

impl Visitor for Learner<'_> {
    fn secret(&mut self, path: &Path, value: &Value) -> Value {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let content = content(path, value);
        self.0.learn_secret(&content);
        self.0.known.learn(content.trim_end());
        self.0.known.learn(&text);
        Value::Null
    }

    fn binary(&mut self, _: &Path, _: &str) -> Value {
        Value::Null
    }

    fn text(&mut self, _: &Path, text: &str) -> String {
        for one in text::scan(text) {
            self.0.learn_secret(&one.secret);
        }
        String::new()
    }
}
