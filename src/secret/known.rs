//! Secrets that are known by value, found again in any text and in every form in which they are written there.

use super::pattern;
use super::text::Found;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;
use std::collections::BTreeMap;

/// Words that stand in Secrets and everywhere else: masking them wherever they turn up would tell nothing and hide much.
const COMMON: &[&str] = &[
    "changeme",
    "database",
    "default",
    "disabled",
    "enabled",
    "grafana",
    "kubernetes",
    "localhost",
    "monitoring",
    "password",
    "postgres",
    "postgresql",
    "production",
    "required",
    "username",
];

/// Forms of known secrets, longest first within a search.
#[derive(Default)]
pub(super) struct Known {
    /// Form → secret.
    forms: BTreeMap<String, String>,
    /// Secrets as they are, for texts that are decoded first.
    plain: Vec<String>,
}

/// Whether a value is long and odd enough to be looked for in other text.
fn is_distinctive(text: &str) -> bool {
    let length = text.chars().count();
    let plain_word = text.chars().all(|c| c.is_ascii_lowercase());
    !COMMON.contains(&text) && (length >= 8 || (length >= 6 && !plain_word))
}

impl Known {
    /// Learns a secret.
    pub(super) fn learn(&mut self, secret: &str) {
        if !is_distinctive(secret) || self.plain.iter().any(|known| known == secret) {
            return;
        }
        self.plain.push(secret.to_owned());
        let json = escaped(secret);
        let forms = [
            secret.to_owned(),
            escaped(&json),
            json,
            secret.replace('\'', "''"),
            STANDARD.encode(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for form in forms {
            self.forms.entry(form).or_insert_with(|| secret.to_owned());
        }
        // Indented or wrapped, a text of several lines is found again by its lines.
        for line in secret.lines().map(str::trim) {
            if line.len() >= 16 && line.len() < secret.len() && !line.contains(char::is_whitespace) {
                self.forms.entry(line.to_owned()).or_insert_with(|| secret.to_owned());
            }
        }
    }

    /// Where known secrets stand in a text.
    pub(super) fn scan(&self, text: &str) -> Vec<Found> {
        if self.forms.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (form, secret) in &self.forms {
            for (start, _) in text.match_indices(form.as_str()) {
                found.push(Found { start, end: start + form.len(), secret: secret.clone() });
            }
        }
        found.extend(self.percent(text));
        found.extend(pattern::encoded(text, &|inner| {
            self.plain.iter().any(|secret| inner.contains(secret.as_str()))
        }));
        found
    }

    /// Secrets that are percent-encoded, wholly or in part.
    fn percent(&self, text: &str) -> Vec<Found> {
        if !text.contains(['%', '+']) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for plus_is_blank in [false, true] {
            let (bytes, places) = percent_decoded(text, plus_is_blank);
            for secret in &self.plain {
                let needle = secret.as_bytes();
                let hits = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle);
                for (at, _) in hits {
                    if let (Some(start), Some(end)) = (places.get(at), places.get(at + needle.len())) {
                        found.push(Found { start: *start, end: *end, secret: secret.clone() });
                    }
                }
            }
        }
        found
    }
}

/// The bytes of a text with percent escapes resolved, and for each (and the end) its offset in the text.
fn percent_decoded(text: &str, plus_is_blank: bool) -> (Vec<u8>, Vec<usize>) {
    let source = text.as_bytes();
    let (mut bytes, mut places) = (Vec::with_capacity(source.len()), Vec::with_capacity(source.len() + 1));
    let mut at = 0;
    while let Some(&byte) = source.get(at) {
        places.push(at);
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        match (byte, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                at += 3;
            }
            (b'+', _) if plus_is_blank => {
                bytes.push(b' ');
                at += 1;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    places.push(source.len());
    (bytes, places)
}

/// The inside of the JSON string.
fn escaped(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    json.get(1..json.len() - 1).unwrap_or_default().to_owned()
}
