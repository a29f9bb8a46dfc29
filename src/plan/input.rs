//! Inputs of a plan: their declaration, their values, and `${name}` in scalars.

use crate::text::Clean;
use crate::yaml::{Node, NodeKind, Problem, ScalarStyle, Source, Span, nearest};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One input of a plan with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its name, `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What it is for.
    #[serde(skip)]
    pub help: Option<Clean>,
    /// The value without `--set`, as the plan declares it; null where there is none.
    #[serde(skip)]
    pub default: Value,
    /// The value: a text, a number, a boolean; null for an optional input without one.
    pub value: Value,
    /// Where the value comes from.
    #[serde(skip)]
    pub origin: Origin,
    /// Whether something in the plan or its assets depends on it.
    #[serde(skip)]
    pub used: bool,
    /// Where it is declared.
    #[serde(skip)]
    pub span: Span,
}

/// Where the value of an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The plan's default.
    Default,
    /// `--set`.
    Set,
    /// Nowhere: it is optional.
    Absent,
    /// It must be set and was not; the value only stands in for it ([`Missing::StandIn`]).
    StandIn,
}

/// What happens when an input that must be set is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is a problem: for everything that runs or previews.
    #[default]
    Refuse,
    /// Its example stands in, or else its name: for listing, showing and lint.
    StandIn,
}

/// Values that the operator gives for inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Name to value, as given.
    pub values: BTreeMap<String, String>,
    /// What happens when a value is missing.
    pub missing: Missing,
}

impl Settings {
    /// Reads the arguments of `--set`, each `name=value`.
    ///
    /// # Errors
    /// Every argument that is not of that form or sets a name for the second time.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<Problem>> {
        let mut settings = Self::default();
        let mut problems = Vec::new();
        for argument in arguments {
            let problem = |message: String| argument_problem(argument, argument.len(), message);
            match argument.split_once('=') {
                None => problems.push(problem(format!("`{argument}` sets nothing")).hint("write name=value")),
                Some((name, value)) => {
                    if settings.values.insert(name.to_owned(), value.to_owned()).is_some() {
                        problems.push(problem(format!("input `{name}` is set twice")).hint("give it once"));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The same values, with examples for what is missing.
    #[must_use]
    pub fn with_stand_ins(mut self) -> Self {
        self.missing = Missing::StandIn;
        self
    }
}

/// A problem of an argument of `--set`.
fn argument_problem(argument: &str, width: usize, message: String) -> Problem {
    let span = Span { start: 0, end: width, line: 1, column: 1 };
    Problem::new(span, message).in_source(&Source::new("--set", argument))
}

/// Whether a name has the form of an input's name.
pub(super) fn is_input_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 60
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Why a text cannot be the value of an input, if it cannot: control and invisible characters, line breaks, length.
fn unusable(text: &str) -> Option<&'static str> {
    // What is not its own safe form has a character that acts or cannot be seen, or is longer than a line should be.
    (Clean::new(text).as_str() != text).then_some("a value is one line of at most 4096 visible characters")
}

/// What a plan says about one input.
pub(super) struct Declared {
    pub(super) default: Option<Value>,
    pub(super) optional: bool,
    pub(super) example: Option<Value>,
    pub(super) help: Option<Clean>,
    /// Where its name stands.
    pub(super) span: Span,
}

/// The value of one input: `--set`, or the default, or what [`Missing`] says.
pub(super) fn settle(
    name: &str,
    declared: &Declared,
    settings: &Settings,
    source: &Source,
    problems: &mut Vec<Problem>,
) -> (Value, Origin) {
    let Declared { default, example, span, .. } = declared;
    if let Some(text) = settings.values.get(name) {
        let argument = format!("{name}={text}");
        let model = default.as_ref().or(example.as_ref());
        if let Some(reason) = unusable(text) {
            problems.push(argument_problem(
                &argument,
                argument.len(),
                format!("the value of input `{name}` cannot be used: {reason}"),
            ));
            // What the value would spoil elsewhere is only the echo of this problem.
            return (model.cloned().unwrap_or_else(|| stand_in(name)), Origin::Set);
        }
        return match typed(text, model) {
            Ok(value) => (value, Origin::Set),
            Err(wanted) => {
                let message = format!("input `{name}` takes {wanted}, not `{text}`");
                problems.push(argument_problem(&argument, argument.len(), message));
                (model.cloned().unwrap_or_else(|| stand_in(name)), Origin::Set)
            }
        };
    }
    match default.clone() {
        Some(value) => {
            if let Some(reason) = value.as_str().and_then(unusable) {
                problems.push(
                    Problem::new(*span, format!("the default of input `{name}` cannot be used: {reason}"))
                        .in_source(source),
                );
            }
            (value, Origin::Default)
        }
        None if declared.optional => (Value::Null, Origin::Absent),
        None => {
            if settings.missing == Missing::Refuse {
                let problem = Problem::new(*span, format!("input `{name}` has no value"));
                problems.push(problem.hint(format!("give it with --set {name}=VALUE")).in_source(source));
            }
            (example.clone().unwrap_or_else(|| stand_in(name)), Origin::StandIn)
        }
    }
}

/// What stands in for a value that nothing gives.
fn stand_in(name: &str) -> Value {
    Value::String(name.replace('_', "-"))
}

/// A text as the type of `model`; otherwise the type in words.
fn typed(text: &str, model: Option<&Value>) -> Result<Value, &'static str> {
    match model {
        Some(Value::Bool(_)) => text.parse::<bool>().map(Value::from).map_err(|_| "true or false"),
        Some(Value::Number(number)) if number.is_f64() => text
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or("a number"),
        Some(Value::Number(_)) => text.parse::<i64>().map(Value::from).map_err(|_| "a whole number"),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Problems of `--set` for names that the plan does not have.
pub(super) fn unknown_settings(settings: &Settings, inputs: &[Input]) -> Vec<Problem> {
    let known = || inputs.iter().map(|input| input.name.as_str());
    settings
        .values
        .iter()
        .filter(|(name, _)| !known().any(|known| known == name.as_str()))
        .map(|(name, value)| {
            let problem =
                argument_problem(&format!("{name}={value}"), name.len(), format!("unknown input `{name}`"));
            if inputs.is_empty() {
                problem.hint("this plan has no inputs")
            } else {
                problem.known(name, known())
            }
        })
        .collect()
}

// ---- substitution ---------------------------------------------------------------------------------------------------

/// What a text is read as, beside its inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A plan: only firstlight reads it, so every `${…}` that is no input is a mistake.
    Plan,
    /// An asset: other programs read it and expand their own `${…}`.
    Asset,
}

/// Values to substitute, and which of them were.
#[derive(Default)]
pub(super) struct Values {
    values: BTreeMap<String, Value>,
    used: BTreeSet<String>,
}

/// A piece of a text.
enum Piece<'t> {
    Text(&'t str),
    /// `${name}` with a name of the form of an input's.
    Input(&'t str),
    /// Another `${…}`, with what is inside.
    Other(&'t str),
}

impl Values {
    pub(super) fn insert(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Whether the input was substituted somewhere.
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// Puts the values into every scalar of a tree.
    pub(super) fn substitute(
        &mut self,
        node: &mut Node,
        source: &Source,
        reader: Reader,
        problems: &mut Vec<Problem>,
    ) {
        match &mut node.kind {
            NodeKind::Sequence(items) => {
                items.iter_mut().for_each(|item| self.substitute(item, source, reader, problems));
            }
            NodeKind::Mapping(entries) => {
                for (key, value) in entries {
                    self.check_key(key, source, problems);
                    self.substitute(value, source, reader, problems);
                }
            }
            NodeKind::Scalar { text, style } => {
                let span = node.span;
                if let Some((new, new_style)) = self.scalar(text, *style, span, source, reader, problems) {
                    *text = new;
                    *style = new_style;
                }
            }
        }
    }

    fn check_key(&self, key: &Node, source: &Source, problems: &mut Vec<Problem>) {
        for piece in pieces(key.as_str().unwrap_or_default()) {
            if let Piece::Input(name) = piece {
                let message = format!("`${{{name}}}` stands in a key, where inputs are not substituted");
                problems.push(Problem::new(key.span, message).in_source(source));
            }
        }
    }

    /// The scalar with values put in, and its style, which keeps a text from being resolved again; `None`: unchanged.
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        span: Span,
        source: &Source,
        reader: Reader,
        problems: &mut Vec<Problem>,
    ) -> Option<(String, ScalarStyle)> {
        let pieces = pieces(text);
        let mut problem = |token: &str, message: String, hint: Option<String>| {
            let problem = Problem::new(locate(source, span, token), message);
            problems.push(
                match hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
                .in_source(source),
            );
        };
        if let [Piece::Input(name)] = pieces.as_slice()
            && let Some(value) = self.values.get(*name)
        {
            self.used.insert((*name).to_owned());
            return match value {
                Value::String(value) => Some((value.clone(), ScalarStyle::DoubleQuoted)),
                // Nothing stays nothing, also in quotes: the key counts as absent.
                Value::Null => Some((String::new(), ScalarStyle::Plain)),
                _ => {
                    let quoted = style != ScalarStyle::Plain;
                    Some((
                        value.to_string(),
                        if quoted { ScalarStyle::DoubleQuoted } else { ScalarStyle::Plain },
                    ))
                }
            };
        }
        let mut out = String::with_capacity(text.len());
        let mut changed = false;
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Input(name) => {
                    let token = format!("${{{name}}}");
                    match self.values.get(name) {
                        Some(value) => {
                            self.used.insert(name.to_owned());
                            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                            if value.is_null() {
                                problem(
                                    &token,
                                    format!("input `{name}` has no value, and stands in a text"),
                                    Some(format!("give it with --set {name}=VALUE")),
                                );
                            } else if !may_be_part(&shown) {
                                let message = format!(
                                    "the value of input `{name}` (`{shown}`) cannot be a part of a text"
                                );
                                let hint = "there a value has letters, digits and `._-/:@+=~`, and begins with a letter, a digit, `.` or `/`";
                                problem(&token, message, Some(hint.to_owned()));
                            }
                            out.push_str(&shown);
                            changed = true;
                        }
                        None => {
                            let hint = match nearest(name, self.values.keys().map(String::as_str)) {
                                Some(near) => format!("did you mean `${{{near}}}`?"),
                                None if reader == Reader::Asset => {
                                    format!(
                                        "declare it under `inputs:`; if another program expands it, write `${{{name}:-}}` or `$${{{name}}}` as that program allows"
                                    )
                                }
                                None => "declare it under `inputs:`".to_owned(),
                            };
                            problem(&token, format!("unknown input `{name}`"), Some(hint));
                            out.push_str(&token);
                        }
                    }
                }
                Piece::Other(inside) => {
                    let token = format!("${{{inside}}}");
                    let meant = inside.trim();
                    if meant != inside && self.values.contains_key(meant) {
                        problem(
                            &token,
                            format!("`{token}` is not substituted"),
                            Some(format!("write `${{{meant}}}`")),
                        );
                    } else if reader == Reader::Plan {
                        let hint = "an input is `${name}` in lower-case letters, digits and `_`; a literal `${` is written `$${`";
                        problem(&token, format!("`{token}` names no input"), Some(hint.to_owned()));
                    }
                    out.push_str(&token);
                }
            }
        }
        // The result is a text, whatever it looks like.
        let quoted = if style == ScalarStyle::Plain { ScalarStyle::DoubleQuoted } else { style };
        changed.then_some((out, quoted))
    }
}

/// Whether a value can stand inside a larger text without meaning anything to a reader of that text: nothing that
/// YAML, JSON, LogQL, a URL's structure or a shell takes for syntax.
fn may_be_part(value: &str) -> bool {
    let free = |c: char| c.is_ascii_alphanumeric() || "._-/:@+=~".contains(c);
    value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/')
        && value.chars().all(free)
        && !value.ends_with(':')
}

/// Cuts a text at every `${…}` whose `$` stands alone.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut literal = 0;
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find('$')) {
        let start = at + offset;
        let rest = text.get(start..).unwrap_or_default();
        let dollars = rest.len() - rest.trim_start_matches('$').len();
        at = start + dollars;
        let inside = text.get(at..).and_then(|rest| rest.strip_prefix('{'));
        let (1, Some(inside)) = (dollars, inside) else { continue };
        let Some(end) = inside.find(['}', '\n']) else { continue };
        if inside.get(end..).is_some_and(|rest| rest.starts_with('\n')) {
            continue;
        }
        let name = inside.get(..end).unwrap_or_default();
        found.push(Piece::Text(text.get(literal..start).unwrap_or_default()));
        found.push(if is_input_name(name) { Piece::Input(name) } else { Piece::Other(name) });
        at += end + 2;
        literal = at;
    }
    found.push(Piece::Text(text.get(literal..).unwrap_or_default()));
    found.retain(|piece| !matches!(piece, Piece::Text("")));
    found
}

/// The place of a token inside a scalar, where it can be found; else that of the scalar.
fn locate(source: &Source, span: Span, token: &str) -> Span {
    let raw = source.text.get(span.start..span.end).unwrap_or_default();
    let Some(offset) = raw.find(token) else { return span };
    let before = raw.get(..offset).unwrap_or_default();
    let start = span.start + offset;
    let lines = before.matches('\n').count();
    let column = match before.rfind('\n') {
        Some(newline) => before.get(newline + 1..).unwrap_or_default().chars().count() + 1,
        None => span.column + before.chars().count(),
    };
    Span { start, end: start + token.len(), line: span.line + lines, column }
}

#[cfg(test)]
mod tests;
