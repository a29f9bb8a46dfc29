//! TraceQL, as far as it is played: one span set of conditions joined by `&&`.
//!
//! `{}` · `{resource.service.name = "x" && name = "y" && duration > 20ms && status = error}`; fields are `resource.…`,
//! `span.…`, `.…`, `name`, `kind`, `status`, `duration` (also with `span:`). Anything else is refused with 400.

use super::super::otlp::{AnyValue, KeyValue, ResourceSpans, Span};
use super::super::{duration, pattern};
use regex::Regex;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Kind,
    Status,
    Duration,
    Resource(String),
    Span(String),
    /// Either of the two.
    Any(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
}

#[derive(Clone, Debug)]
enum Literal {
    Text(String),
    Number(f64),
    Nanoseconds(i64),
    /// `error`, `server`, `true`.
    Word(String),
    Pattern(Arc<Regex>),
}

#[derive(Clone, Debug)]
struct Condition {
    field: Field,
    operator: Operator,
    literal: Literal,
}

/// A query.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<Condition>);

const STATUS: [&str; 3] = ["unset", "ok", "error"];
const KIND: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// The body of Tempo's answer.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        reader.query().map_err(|why| {
            let column = text.get(..reader.at).map_or(0, |before| before.chars().count()) + 1;
            format!("invalid TraceQL query: parse error at line 1, col {column}: {why}")
        })
    }

    pub(super) fn matches(&self, part: &ResourceSpans, span: &Span) -> bool {
        self.0.iter().all(|condition| condition.holds(part, span))
    }

    /// The name, where a condition asks for it, and the attributes that conditions read: what a result shows of a span.
    pub(super) fn shown(&self, part: &ResourceSpans, span: &Span) -> (Option<String>, Vec<Value>) {
        let mut name = None;
        let mut attributes = Vec::new();
        for condition in &self.0 {
            let pair = |key: &str, value: Value| json!({ "key": key, "value": value });
            match &condition.field {
                Field::Name => name = Some(span.name.clone()),
                Field::Duration => {}
                Field::Status | Field::Kind => {
                    if let (Some(word), key) = condition.field.word(span) {
                        attributes.push(pair(key, json!({ "stringValue": word })));
                    }
                }
                Field::Resource(key) | Field::Span(key) | Field::Any(key) => {
                    if let Some(value) = condition.field.attributes(part, span).first() {
                        attributes.push(pair(key, value.to_json()));
                    }
                }
            }
        }
        (name, attributes)
    }
}

impl Field {
    fn attributes<'s>(&self, part: &'s ResourceSpans, span: &'s Span) -> Vec<&'s AnyValue> {
        let find =
            |all: &'s [KeyValue], key: &str| all.iter().find(|pair| pair.key == key).map(|pair| &pair.value);
        let (in_span, in_resource) = match self {
            Self::Span(key) => (find(&span.attributes, key), None),
            Self::Resource(key) => (None, find(&part.resource.attributes, key)),
            Self::Any(key) => (find(&span.attributes, key), find(&part.resource.attributes, key)),
            _ => (None, None),
        };
        in_span.into_iter().chain(in_resource).collect()
    }

    /// The word of an intrinsic field with its name.
    fn word(&self, span: &Span) -> (Option<&'static str>, &'static str) {
        let at = |words: &[&'static str], number: i32| {
            usize::try_from(number).ok().and_then(|n| words.get(n).copied())
        };
        match self {
            Self::Status => (at(&STATUS, span.status.code), "status"),
            Self::Kind => (at(&KIND, span.kind), "kind"),
            _ => (None, ""),
        }
    }
}

impl Condition {
    fn holds(&self, part: &ResourceSpans, span: &Span) -> bool {
        match &self.field {
            Field::Name => self.text(&span.name),
            Field::Kind | Field::Status => {
                let (word, _) = self.field.word(span);
                let Literal::Word(wanted) = &self.literal else { return false };
                match self.operator {
                    Operator::Equal => word == Some(wanted.as_str()),
                    Operator::NotEqual => word != Some(wanted.as_str()),
                    _ => false,
                }
            }
            Field::Duration => {
                let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
                let Literal::Nanoseconds(wanted) = &self.literal else { return false };
                self.order(i64::try_from(took).unwrap_or(i64::MAX).cmp(wanted))
            }
            field => field.attributes(part, span).into_iter().any(|value| self.value(value)),
        }
    }

    fn value(&self, value: &AnyValue) -> bool {
        match (value, &self.literal) {
            (AnyValue::Text(text), _) => self.text(text),
            (AnyValue::Int(number), Literal::Number(wanted)) => {
                // Attributes beyond 2^53 are not told apart.
                #[expect(clippy::cast_precision_loss, reason = "TraceQL compares numbers as floats as well")]
                let number = *number as f64;
                number.partial_cmp(wanted).is_some_and(|ordering| self.order(ordering))
            }
            (AnyValue::Double(number), Literal::Number(wanted)) => {
                number.partial_cmp(wanted).is_some_and(|ordering| self.order(ordering))
            }
            (AnyValue::Bool(value), Literal::Word(word)) => match self.operator {
                Operator::Equal => value.to_string() == *word,
                Operator::NotEqual => value.to_string() != *word,
                _ => false,
            },
            _ => false,
        }
    }

    fn text(&self, text: &str) -> bool {
        match (&self.literal, self.operator) {
            (Literal::Pattern(regex), Operator::Matches) => regex.is_match(text),
            (Literal::Pattern(regex), Operator::MatchesNot) => !regex.is_match(text),
            (Literal::Text(wanted), _) => self.order(text.cmp(wanted.as_str())),
            _ => false,
        }
    }

    fn order(&self, ordering: std::cmp::Ordering) -> bool {
        match self.operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            Operator::GreaterOrEqual => ordering.is_ge(),
            Operator::Matches | Operator::MatchesNot => false,
        }
    }
}

struct Reader<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Reader<'q> {
    fn rest(&self) -> &'q str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, sign: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn unexpected(&mut self) -> String {
        self.blanks();
        match self.rest().chars().next() {
            None => "syntax error: unexpected $end".to_owned(),
            Some(c) => format!("syntax error: unexpected {c:?}, or a form that is not rehearsed"),
        }
    }

    fn query(&mut self) -> Result<Query, String> {
        if !self.take("{") {
            return Err(self.unexpected());
        }
        let mut conditions = Vec::new();
        if !self.take("}") {
            loop {
                conditions.push(self.condition()?);
                if self.take("}") {
                    break;
                }
                if !self.take("&&") {
                    return Err(self.unexpected());
                }
            }
        }
        self.blanks();
        if self.rest().is_empty() { Ok(Query(conditions)) } else { Err(self.unexpected()) }
    }

    fn condition(&mut self) -> Result<Condition, String> {
        self.blanks();
        let start = self.at;
        let end = self
            .rest()
            .find(|c: char| c.is_whitespace() || "=!<>{}&|\"`()".contains(c))
            .unwrap_or(self.rest().len());
        let word = self.rest().get(..end).unwrap_or_default();
        let field = match word {
            "name" | "span:name" => Field::Name,
            "kind" | "span:kind" => Field::Kind,
            "status" | "span:status" => Field::Status,
            "duration" | "span:duration" => Field::Duration,
            _ => {
                let scoped =
                    |scope: &str| word.strip_prefix(scope).filter(|key| !key.is_empty()).map(str::to_owned);
                let field = scoped("resource.").map(Field::Resource);
                let field = field
                    .or_else(|| scoped("span.").map(Field::Span))
                    .or_else(|| scoped(".").map(Field::Any));
                match field {
                    Some(field) => field,
                    None if word.is_empty() => return Err(self.unexpected()),
                    None => {
                        return Err("syntax error: unexpected IDENTIFIER, or a field that is not rehearsed"
                            .to_owned());
                    }
                }
            }
        };
        self.at = start + end;
        self.blanks();
        let operators = [
            ("=~", Operator::Matches),
            ("!~", Operator::MatchesNot),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let Some((_, operator)) = operators.into_iter().find(|(sign, _)| self.take(sign)) else {
            return Err(self.unexpected());
        };
        let literal = self.literal()?;
        let literal = match (operator, literal) {
            (Operator::Matches | Operator::MatchesNot, Literal::Text(text)) => {
                // Anchored at both ends, as Tempo's pkg/regexp does.
                Literal::Pattern(
                    pattern::compile(&format!("^(?:{text})$")).map_err(|error| error.to_string())?,
                )
            }
            (_, literal) => literal,
        };
        let fits = match (&field, &literal) {
            (Field::Name, Literal::Text(_) | Literal::Pattern(_)) => true,
            (Field::Duration, Literal::Nanoseconds(_)) => true,
            (Field::Status, Literal::Word(word)) => STATUS.contains(&word.as_str()),
            (Field::Kind, Literal::Word(word)) => KIND.contains(&word.as_str()),
            (Field::Name | Field::Duration | Field::Status | Field::Kind, _) => false,
            (_, Literal::Word(word)) => matches!(word.as_str(), "true" | "false"),
            (_, Literal::Nanoseconds(_)) => false,
            _ => true,
        };
        if !fits {
            return Err(
                "binary operations must operate on the same type, or a form that is not rehearsed".to_owned()
            );
        }
        Ok(Condition { field, operator, literal })
    }

    fn literal(&mut self) -> Result<Literal, String> {
        self.blanks();
        let rest = self.rest();
        if let Some(inside) = rest.strip_prefix('`')
            && let Some((text, _)) = inside.split_once('`')
        {
            self.at += text.len() + 2;
            return Ok(Literal::Text(text.to_owned()));
        }
        if rest.starts_with('"') {
            let (text, length) = quoted(rest).ok_or_else(|| self.unexpected())?;
            self.at += length;
            return Ok(Literal::Text(text));
        }
        let end = rest.find(|c: char| c.is_whitespace() || "}&|)".contains(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let literal = if let Ok(number) = word.parse::<f64>() {
            Literal::Number(number)
        } else if let Some(nanoseconds) = duration::parse(word) {
            Literal::Nanoseconds(nanoseconds)
        } else if !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()) {
            Literal::Word(word.to_owned())
        } else {
            return Err(self.unexpected());
        };
        self.at += end;
        Ok(literal)
    }
}

/// A string in double quotes at the beginning of a text, and its length there. Escapes are those of Go that JSON has too.
pub(in super::super) fn quoted(text: &str) -> Option<(String, usize)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    let length = end.0 + 1;
    Some((serde_json::from_str(text.get(..length)?).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_that_are_played_are_read() {
        for good in [
            "{}",
            "{ }",
            r#"{resource.service.name="tripit"}"#,
            r#"{ resource.service.name = "a\"b" && duration > 20ms && status = error && kind != server }"#,
            r#"{name=~"GET.*" && .http.route = `/x` && span.i >= 42 && span.b = true}"#,
        ] {
            assert!(Query::read(good).is_ok(), "{good}");
        }
        let said: Vec<String> = [
            "",
            "{name=",
            "{nope}",
            r#"{name="a"} && {}"#,
            "{duration>5}",
            r#"{name="a}"#,
            "{name=~\"(\"}",
            "{status=bad}",
            "{name=\"a\" || name=\"b\"}",
        ]
        .iter()
        .map(|bad| Query::read(bad).unwrap_err())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
    invalid TraceQL query: parse error at line 1, col 1: syntax error: unexpected $end
    invalid TraceQL query: parse error at line 1, col 7: syntax error: unexpected $end
    invalid TraceQL query: parse error at line 1, col 2: syntax error: unexpected IDENTIFIER, or a field that is not rehearsed
    invalid TraceQL query: parse error at line 1, col 12: syntax error: unexpected '&', or a form that is not rehearsed
    invalid TraceQL query: parse error at line 1, col 12: binary operations must operate on the same type, or a form that is not rehearsed
    invalid TraceQL query: parse error at line 1, col 7: syntax error: unexpected '"', or a form that is not rehearsed
    invalid TraceQL query: parse error at line 1, col 11: error parsing regexp: unclosed group: `^(?:()$`
    invalid TraceQL query: parse error at line 1, col 12: binary operations must operate on the same type, or a form that is not rehearsed
    invalid TraceQL query: parse error at line 1, col 11: syntax error: unexpected '|', or a form that is not rehearsed
    "#);
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(text in r#"[{}a-z.=<>!~&|"`0-9 \\é:]{0,40}"#) {
            let _ = Query::read(&text);
            let _ = Query::read(&format!("{{name={text}}}"));
        }
    }
}
