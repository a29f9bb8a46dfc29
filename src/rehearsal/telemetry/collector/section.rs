//! Reading parts of the Collector's configuration in its own words.

use super::super::{StartError, Unrehearsed};
use crate::text::Clean;
use serde_json::{Map, Value};

/// A mapping of the configuration, with its place and what was found in it that is not rehearsed.
pub(super) struct Section<'c> {
    /// `processors::redaction`
    pub(super) place: String,
    members: Option<&'c Map<String, Value>>,
}

impl<'c> Section<'c> {
    /// Nothing and null are an empty mapping.
    pub(super) fn new(place: impl Into<String>, value: Option<&'c Value>) -> Result<Self, StartError> {
        let place = place.into();
        let members = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(members)) => Some(members),
            Some(_) => return Err(StartError::new(format!("Error: '{place}' expected a map"))),
        };
        Ok(Self { place, members })
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&'c str, &'c Value)> + use<'c> {
        self.members.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'c Value> {
        self.members.and_then(|members| members.get(key)).filter(|value| !value.is_null())
    }

    pub(super) fn section(&self, key: &str) -> Result<Self, StartError> {
        Section::new(format!("{}::{key}", self.place), self.get(key))
    }

    /// Keys in `played` are read by the caller, keys in `known` are listed as unrehearsed, any other is refused as the
    /// real program does. Without `known` what is not played is listed only: the real program knows more keys there.
    pub(super) fn keys(
        &self,
        played: &[&str],
        known: Option<&[&str]>,
        unrehearsed: &mut Vec<Unrehearsed>,
    ) -> Result<(), StartError> {
        for (key, _) in self.members().filter(|(key, _)| !played.contains(key)) {
            if known.is_some_and(|known| !known.contains(&key)) {
                return Err(StartError::new(format!("Error: '{}' has invalid keys: {key}", self.place)));
            }
            unrehearsed.push(Unrehearsed {
                place: Clean::new(format!("{}::{key}", self.place)),
                instead: Clean::new("it has no effect"),
            });
        }
        Ok(())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'c str>, StartError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "string")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, StartError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key, "bool")),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<u64, StartError> {
        match self.get(key) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| self.wrong(key, "uint32")),
        }
    }

    /// Milliseconds.
    pub(super) fn duration(&self, key: &str) -> Result<Option<u64>, StartError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let nanoseconds = super::super::duration::parse(text);
        let nanoseconds = nanoseconds.ok_or_else(|| {
            StartError::new(format!("Error: '{}::{key}' time: invalid duration {text:?}", self.place))
        })?;
        Ok(Some(u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)))
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'c str>, StartError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().ok_or_else(|| self.wrong(key, "[]string"))).collect()
            }
            // The decoder makes a list of one text.
            Some(Value::String(text)) => Ok(vec![text]),
            Some(_) => Err(self.wrong(key, "[]string")),
        }
    }

    pub(super) fn items(&self, key: &str) -> Result<&'c [Value], StartError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(key, "slice")),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> StartError {
        StartError::new(format!(
            "Error: '{}::{key}' expected type '{expected}', got another type",
            self.place
        ))
    }
}
