//! The transform processor, as far as the shipped plan uses it: `replace_pattern` on the name or status message of spans
//! and on the name of span events (opentelemetry-collector-contrib pkg/ottl/ottlfuncs/func_replace_pattern.go).
//! Any other statement is listed as unrehearsed and left out.

use super::super::otlp::Traces;
use super::super::pattern::{self, PatternError};
use super::super::{StartError, Unrehearsed};
use super::section::Section;
use crate::text::Clean;
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    SpanName,
    StatusMessage,
    EventName,
}

#[derive(Debug)]
struct Statement {
    target: Target,
    pattern: Arc<Regex>,
    replacement: String,
}

#[derive(Debug, Default)]
pub(super) struct Transform {
    statements: Vec<Statement>,
}

/// Why a statement is not played.
enum Fault {
    Left(&'static str),
    Fatal(String),
}

impl Transform {
    pub(super) fn read(config: &Section<'_>, unrehearsed: &mut Vec<Unrehearsed>) -> Result<Self, StartError> {
        config.keys(
            &["error_mode", "trace_statements"],
            Some(&["metric_statements", "log_statements", "profile_statements", "flatten_data"]),
            unrehearsed,
        )?;
        error_mode(config)?;
        let mut transform = Self::default();
        for (number, group) in config.items("trace_statements")?.iter().enumerate() {
            if let Value::String(statement) = group {
                transform.take(None, statement, &config.place, unrehearsed)?;
                continue;
            }
            let group = Section::new(format!("{}::trace_statements::{number}", config.place), Some(group))?;
            group.keys(&["context", "statements", "conditions", "error_mode"], Some(&[]), unrehearsed)?;
            error_mode(&group)?;
            if !group.texts("conditions")?.is_empty() {
                unrehearsed.push(Unrehearsed {
                    place: Clean::new(format!("{}::conditions", group.place)),
                    instead: Clean::new("its statements are left out"),
                });
                continue;
            }
            let context = group.text("context")?.filter(|context| !context.is_empty());
            for statement in group.texts("statements")? {
                transform.take(context, statement, &group.place, unrehearsed)?;
            }
        }
        Ok(transform)
    }

    fn take(
        &mut self,
        context: Option<&str>,
        text: &str,
        place: &str,
        unrehearsed: &mut Vec<Unrehearsed>,
    ) -> Result<(), StartError> {
        match statement(context, text) {
            Ok(statement) => self.statements.push(statement),
            Err(Fault::Fatal(why)) => {
                return Err(StartError::new(format!(
                    "Error: processors::transform: unable to parse OTTL statement {text:?}: {why}"
                )));
            }
            Err(Fault::Left(why)) => unrehearsed.push(Unrehearsed {
                place: Clean::new(format!("{place}: {text}")),
                instead: Clean::new(format!("the statement is left out: {why}")),
            }),
        }
        Ok(())
    }

    pub(super) fn apply(&self, traces: &mut Traces) {
        let spans = traces.resource_spans.iter_mut().flat_map(|part| &mut part.scope_spans);
        for span in spans.flat_map(|part| &mut part.spans) {
            for statement in &self.statements {
                match statement.target {
                    Target::SpanName => statement.apply(&mut span.name),
                    Target::StatusMessage => statement.apply(&mut span.status.message),
                    Target::EventName => {
                        span.events.iter_mut().for_each(|event| statement.apply(&mut event.name))
                    }
                }
            }
        }
    }
}

impl Statement {
    fn apply(&self, text: &mut String) {
        if text.is_empty() && !self.pattern.is_match("") {
            return;
        }
        // Both libraries write groups as `$1`, `${1}` and `${name}`, and a dollar as `$$`.
        if let Cow::Owned(changed) = self.pattern.replace_all(text, self.replacement.as_str()) {
            *text = changed;
        }
    }
}

fn error_mode(section: &Section<'_>) -> Result<(), StartError> {
    match section.text("error_mode")? {
        None | Some("ignore" | "silent" | "propagate") => Ok(()),
        Some(other) => {
            Err(StartError::new(format!("Error: '{}::error_mode' unknown error mode {other}", section.place)))
        }
    }
}

fn statement(context: Option<&str>, text: &str) -> Result<Statement, Fault> {
    let shape = || Fault::Left("only replace_pattern(PATH, \"REGEX\", \"REPLACEMENT\") is played");
    let rest = text.trim_start().strip_prefix("replace_pattern").ok_or_else(shape)?;
    let rest = rest.trim_start().strip_prefix('(').ok_or_else(shape)?;
    let (path, rest) = rest.split_once(',').ok_or_else(shape)?;
    let target = match (context, path.trim()) {
        (None | Some("span"), "span.name") | (Some("span"), "name") => Target::SpanName,
        (None | Some("span"), "span.status.message") | (Some("span"), "status.message") => {
            Target::StatusMessage
        }
        (None | Some("spanevent"), "spanevent.name") | (Some("spanevent"), "name") => Target::EventName,
        _ => return Err(Fault::Left("only span.name, span.status.message and spanevent.name are played")),
    };
    let (pattern, rest) = literal(rest)?.ok_or_else(shape)?;
    let rest = rest.trim_start().strip_prefix(',').ok_or_else(shape)?;
    let (replacement, rest) = literal(rest)?.ok_or_else(shape)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(shape)?.trim();
    if !rest.is_empty() {
        return Err(Fault::Left("conditions are not played"));
    }
    let pattern = pattern::compile(&pattern).map_err(|error| match error {
        PatternError::Invalid(_) => Fault::Fatal(format!(
            "couldn't create function: the regex pattern supplied to replace_pattern '{pattern:?}' is not a valid pattern: {error}"
        )),
        PatternError::Unrehearsed(_) => Fault::Left("its pattern cannot be played"),
    })?;
    Ok(Statement { target, pattern, replacement })
}

/// A string of OTTL and what follows it. OTTL unquotes as Go does (pkg/ottl/grammar.go, Go's `strconv.Unquote`).
fn literal(text: &str) -> Result<Option<(String, &str)>, Fault> {
    let Some(mut rest) = text.trim_start().strip_prefix('"') else { return Ok(None) };
    let bad = || Fault::Fatal("invalid quoted string: invalid syntax".to_owned());
    let mut out = Vec::new();
    loop {
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return Err(bad()) };
        rest = chars.as_str();
        match c {
            '"' => break,
            '\n' => return Err(bad()),
            '\\' => {
                let Some(escaped) = chars.next() else { return Err(bad()) };
                rest = chars.as_str();
                let simple = match escaped {
                    'a' => Some(7),
                    'b' => Some(8),
                    'f' => Some(12),
                    'n' => Some(b'\n'),
                    'r' => Some(b'\r'),
                    't' => Some(b'\t'),
                    'v' => Some(11),
                    '\\' => Some(b'\\'),
                    '"' => Some(b'"'),
                    _ => None,
                };
                if let Some(byte) = simple {
                    out.push(byte);
                    continue;
                }
                let (skip, digits, radix) = match escaped {
                    'x' => (0, 2, 16),
                    'u' => (0, 4, 16),
                    'U' => (0, 8, 16),
                    '0'..='7' => (1, 3, 8),
                    _ => return Err(bad()),
                };
                // An octal number begins with the character that was just read.
                let from = if skip == 1 { format!("{escaped}{rest}") } else { rest.to_owned() };
                let number = from
                    .get(..digits)
                    .and_then(|digits| u32::from_str_radix(digits, radix).ok())
                    .ok_or_else(bad)?;
                rest = rest.get(digits - skip..).ok_or_else(bad)?;
                if matches!(escaped, 'u' | 'U') {
                    let c = char::from_u32(number).ok_or_else(bad)?;
                    out.extend(c.encode_utf8(&mut [0; 4]).bytes());
                } else {
                    out.push(u8::try_from(number).map_err(|_| bad())?);
                }
            }
            c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Ok(Some((String::from_utf8(out).map_err(|_| bad())?, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_are_unquoted_as_go_does() {
        let read = |text: &str| match literal(text) {
            Ok(Some((out, rest))) => Some((out, rest.to_owned())),
            _ => None,
        };
        assert_eq!(read(r#" "a\\b\"c" , x"#), Some((r#"a\b"c"#.to_owned(), " , x".to_owned())));
        assert_eq!(read(r#""\u0041\x42\103\t""#), Some(("ABC\t".to_owned(), String::new())));
        for bad in
            [r#""a"#, r#""\q""#, r#""\x4""#, r#""\ud800""#, r#""\xff""#, r#""\400""#, r#""\u00é""#, r#""\"#]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_statement_is_read_or_refused(tail in r#"[a-z.,() "\\xu0-9é]{0,40}"#) {
            let _ = statement(Some("span"), &tail);
            let _ = statement(None, &format!("replace_pattern(span.name, \"{tail}"));
        }
    }
}
