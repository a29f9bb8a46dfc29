//! The redaction processor (opentelemetry-collector-contrib processor/redactionprocessor/processor.go, v0.145.0).
//!
//! It looks at the attributes of resources, scopes, spans and span events, and at nothing else. The real one walks its
//! blocked values in the random order of a Go map; here they are walked in the order of the configuration.

use super::super::otlp::{AnyValue, KeyValue, Traces};
use super::super::pattern::{self, PatternError};
use super::super::{StartError, Unrehearsed};
use super::section::Section;
use crate::text::Clean;
use regex::{NoExpand, Regex};
use std::sync::Arc;

/// What takes the place of a secret.
const MASK: &str = "****";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Summary {
    #[default]
    Silent,
    Info,
    Debug,
}

#[derive(Debug, Default)]
pub(super) struct Redaction {
    allow_all_keys: bool,
    allowed_keys: Vec<String>,
    ignored_keys: Vec<String>,
    ignored_key_patterns: Vec<Arc<Regex>>,
    blocked_key_patterns: Vec<Arc<Regex>>,
    blocked_values: Vec<Arc<Regex>>,
    allowed_values: Vec<Arc<Regex>>,
    redact_all_types: bool,
    summary: Summary,
}

impl Redaction {
    pub(super) fn read(config: &Section<'_>, unrehearsed: &mut Vec<Unrehearsed>) -> Result<Self, StartError> {
        let played = [
            "allow_all_keys",
            "allowed_keys",
            "ignored_keys",
            "ignored_key_patterns",
            "blocked_key_patterns",
            "blocked_values",
            "allowed_values",
            "redact_all_types",
            "summary",
        ];
        let known = ["hash_function", "hmac_key", "db_sanitizer", "url_sanitizer"];
        config.keys(&played, Some(&known), unrehearsed)?;
        let mut patterns = |key: &str, list: &str| -> Result<Vec<Arc<Regex>>, StartError> {
            let mut compiled = Vec::new();
            for text in config.texts(key)? {
                match pattern::compile(text) {
                    Ok(regex) => compiled.push(regex),
                    Err(error @ PatternError::Invalid(_)) => {
                        return Err(StartError::new(format!(
                            "Error: failed to build pipelines: error creating a redaction processor: failed to process {list} list: error compiling regex in list: {error}"
                        )));
                    }
                    Err(error) => unrehearsed.push(Unrehearsed {
                        place: Clean::new(format!("{}::{key}", config.place)),
                        instead: Clean::new(format!("nothing is found by it: {error}")),
                    }),
                }
            }
            Ok(compiled)
        };
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Ok(Self {
            ignored_key_patterns: patterns("ignored_key_patterns", "ignore keys")?,
            blocked_values: patterns("blocked_values", "block")?,
            blocked_key_patterns: patterns("blocked_key_patterns", "block keys")?,
            allowed_values: patterns("allowed_values", "allow")?,
            allow_all_keys: config.flag("allow_all_keys")?,
            allowed_keys: owned(config.texts("allowed_keys")?),
            ignored_keys: owned(config.texts("ignored_keys")?),
            redact_all_types: config.flag("redact_all_types")?,
            summary: match config.text("summary")? {
                Some("debug") => Summary::Debug,
                Some("info") => Summary::Info,
                _ => Summary::Silent,
            },
        })
    }

    pub(super) fn apply(&self, traces: &mut Traces) {
        for part in &mut traces.resource_spans {
            self.attributes(&mut part.resource.attributes);
            for part in &mut part.scope_spans {
                self.attributes(&mut part.scope.attributes);
                for span in &mut part.spans {
                    self.attributes(&mut span.attributes);
                    for event in &mut span.events {
                        self.attributes(&mut event.attributes);
                    }
                }
            }
        }
    }

    fn attributes(&self, attributes: &mut Vec<KeyValue>) {
        let matches = |patterns: &[Arc<Regex>], text: &str| patterns.iter().any(|regex| regex.is_match(text));
        let (mut redacted, mut masked, mut allowed, mut ignored) = (vec![], vec![], vec![], vec![]);
        attributes.retain_mut(|pair| {
            let key = &pair.key;
            if self.ignored_keys.contains(key) || matches(&self.ignored_key_patterns, key) {
                ignored.push(key.clone());
                return true;
            }
            if !self.allow_all_keys && !self.allowed_keys.contains(key) {
                redacted.push(key.clone());
                return false;
            }
            let text = match &pair.value {
                AnyValue::Text(text) => text.as_str().into(),
                value if self.redact_all_types => value.as_string(),
                _ => "".into(),
            };
            if matches(&self.allowed_values, &text) {
                allowed.push(key.clone());
                return true;
            }
            let seen = if matches(&self.blocked_key_patterns, key) {
                // `.*` does not match a line's end, so every line is masked on its own.
                Some(vec![MASK; text.split('\n').count()].join("\n"))
            } else {
                self.masked(&text)
            };
            if let Some(seen) = seen {
                masked.push(key.clone());
                pair.value = AnyValue::Text(seen);
            }
            true
        });
        self.summarise("redacted", redacted, attributes);
        self.summarise("masked", masked, attributes);
        self.summarise("allowed", allowed, attributes);
        self.summarise("ignored", ignored, attributes);
    }

    /// The text with its secrets masked, where it has any.
    fn masked(&self, text: &str) -> Option<String> {
        let mut seen: Option<String> = None;
        for regex in &self.blocked_values {
            if let std::borrow::Cow::Owned(changed) =
                regex.replace_all(seen.as_deref().unwrap_or(text), NoExpand(MASK))
            {
                seen = Some(changed);
            }
        }
        seen.filter(|seen| seen != text)
    }

    /// Adds what was done as attributes, as far as the configuration asks for it.
    fn summarise(&self, what: &str, mut keys: Vec<String>, attributes: &mut Vec<KeyValue>) {
        if keys.is_empty() || self.summary == Summary::Silent {
            return;
        }
        let mut count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let mut put = |key: String, with: &mut dyn FnMut(Option<&AnyValue>) -> AnyValue| match attributes
            .iter_mut()
            .find(|pair| pair.key == key)
        {
            Some(pair) => pair.value = with(Some(&pair.value)),
            None => attributes.push(KeyValue { key, value: with(None) }),
        };
        if self.summary == Summary::Debug && what != "ignored" {
            put(format!("redaction.{what}.keys"), &mut |earlier| {
                let earlier = earlier.and_then(AnyValue::as_text).filter(|text| !text.is_empty());
                keys.extend(earlier.into_iter().flat_map(|text| text.split(',')).map(str::to_owned));
                keys.sort_unstable();
                AnyValue::Text(keys.join(","))
            });
        }
        put(format!("redaction.{what}.count"), &mut |earlier| {
            if let Some(AnyValue::Int(earlier)) = earlier {
                count = count.saturating_add(*earlier);
            }
            AnyValue::Int(count)
        });
    }
}
