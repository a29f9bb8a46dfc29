//! LogQL, as far as it is played: a selector, line filters, `| json`, and filters of labels.
//!
//! `{app="x", ns=~"a|b"} |= "text" != "other" |~ "re" | json | field="value" | n>=5`. Anything else is refused with 400.

use super::super::pattern;
use super::super::tempo::quoted;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels with their values.
pub(super) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Matches(Arc<Regex>),
    MatchesNot(Arc<Regex>),
    /// Compares as numbers: the sign and the number.
    Number(&'static str, f64),
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equal(text) => value == text,
            Self::NotEqual(text) => value != text,
            Self::Matches(regex) => regex.is_match(value),
            Self::MatchesNot(regex) => !regex.is_match(value),
            Self::Number(sign, number) => value.parse::<f64>().is_ok_and(|value| match *sign {
                "=" | "==" => value == *number,
                "!=" => value != *number,
                "<" => value < *number,
                "<=" => value <= *number,
                ">" => value > *number,
                _ => value >= *number,
            }),
        }
    }
}

#[derive(Clone, Debug)]
enum Stage {
    Contains(String, bool),
    LineMatches(Arc<Regex>, bool),
    Json,
    Label(String, Test),
}

/// A selector with its pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    matchers: Vec<(String, Test)>,
    stages: Vec<Stage>,
}

const EMPTY_COMPATIBLE: &str = "parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// The body of Loki's answer.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("parse error : syntax error: unexpected $end".to_owned());
        }
        let mut reader = Reader { text, at: 0 };
        let query = reader.query().map_err(|why| {
            let column = text.get(..reader.at).map_or(0, |before| before.chars().count()) + 1;
            format!("parse error at line 1, col {column}: {why}")
        })?;
        if query.matchers.iter().all(|(_, test)| test.holds("")) {
            return Err(EMPTY_COMPATIBLE.to_owned());
        }
        Ok(query)
    }

    /// Whether a stream is selected.
    pub(super) fn selects(&self, stream: &Labels) -> bool {
        self.matchers.iter().all(|(name, test)| test.holds(stream.get(name).map_or("", String::as_str)))
    }

    /// Whether it is a selector and nothing more.
    pub(super) fn is_selector(&self) -> bool {
        self.stages.is_empty()
    }

    /// Runs a line through the pipeline; the labels gain what is parsed from it. False: it is filtered out.
    pub(super) fn keeps(&self, line: &str, labels: &mut Labels) -> bool {
        self.stages.iter().all(|stage| match stage {
            Stage::Contains(text, wanted) => line.contains(text.as_str()) == *wanted,
            Stage::LineMatches(regex, wanted) => regex.is_match(line) == *wanted,
            Stage::Json => {
                extract(line, labels);
                true
            }
            Stage::Label(name, test) => test.holds(labels.get(name).map_or("", String::as_str)),
        })
    }
}

/// Labels from a JSON line (grafana/loki pkg/logql/log/parser.go): nested names joined by `_`, lists left out.
fn extract(line: &str, labels: &mut Labels) {
    let Ok(Value::Object(members)) = serde_json::from_str(line) else {
        labels.insert("__error__".to_owned(), "JSONParserErr".to_owned());
        let details = "Value looks like object, but can't find closing '}' symbol";
        labels.insert("__error_details__".to_owned(), details.to_owned());
        return;
    };
    let mut waiting: Vec<(String, Value)> = members.into_iter().collect();
    let stream = labels.clone();
    while let Some((name, value)) = waiting.pop() {
        let text = match value {
            Value::Object(inner) => {
                waiting.extend(inner.into_iter().map(|(key, value)| (format!("{name}_{key}"), value)));
                continue;
            }
            Value::Array(_) | Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        let mut name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        if stream.contains_key(&name) {
            name.push_str("_extracted");
        }
        labels.insert(name, text);
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

    fn take(&mut self, sign: &str) -> bool {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn unexpected(&mut self, expecting: &str) -> String {
        self.take("");
        let what = match self.rest().chars().next() {
            None => "$end".to_owned(),
            Some(c) if c.is_ascii_alphabetic() => "IDENTIFIER".to_owned(),
            Some(c) => c.to_string(),
        };
        if expecting.is_empty() {
            format!("syntax error: unexpected {what}, or a form that is not rehearsed")
        } else {
            format!("syntax error: unexpected {what}, expecting {expecting}")
        }
    }

    fn query(&mut self) -> Result<Query, String> {
        let mut query = Query::default();
        if !self.take("{") {
            return Err(self.unexpected(""));
        }
        while !self.take("}") {
            if !query.matchers.is_empty() && !self.take(",") {
                return Err(self.unexpected("} or ,"));
            }
            let name = self.name()?;
            let test = self.test(false)?;
            query.matchers.push((name, test));
        }
        while !self.rest().trim().is_empty() {
            let stage = self.stage()?;
            query.stages.push(stage);
        }
        Ok(query)
    }

    fn stage(&mut self) -> Result<Stage, String> {
        for (sign, wanted) in [("|=", true), ("!=", false)] {
            if self.take(sign) {
                return Ok(Stage::Contains(self.text()?, wanted));
            }
        }
        for (sign, wanted) in [("|~", true), ("!~", false)] {
            if self.take(sign) {
                let text = self.text()?;
                let regex = pattern::compile(&text).map_err(|error| error.to_string())?;
                return Ok(Stage::LineMatches(regex, wanted));
            }
        }
        if !self.take("|") {
            return Err(self.unexpected(""));
        }
        let name = self.name()?;
        if name == "json" {
            return Ok(Stage::Json);
        }
        Ok(Stage::Label(name, self.test(true)?))
    }

    fn name(&mut self) -> Result<String, String> {
        self.take("");
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected("IDENTIFIER"));
        }
        self.at += end;
        Ok(name.to_owned())
    }

    fn test(&mut self, numbers: bool) -> Result<Test, String> {
        let signs = ["=~", "!~", "!=", "==", "<=", ">=", "=", "<", ">"];
        let Some(sign) = signs.into_iter().find(|sign| self.take(sign)) else {
            return Err(self.unexpected("= or != or =~ or !~"));
        };
        if numbers && !matches!(sign, "=~" | "!~") {
            self.take("");
            let rest = self.rest();
            let end =
                rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(rest.len());
            if let Some(number) = rest.get(..end).and_then(|digits| digits.parse().ok()) {
                self.at += end;
                return Ok(Test::Number(sign, number));
            }
        }
        let text = self.text()?;
        // Anchored at both ends, as in Prometheus.
        let regex = || pattern::compile(&format!("^(?s:{text})$")).map_err(|error| error.to_string());
        Ok(match sign {
            "=" => Test::Equal(text),
            "!=" => Test::NotEqual(text),
            "=~" => Test::Matches(regex()?),
            "!~" => Test::MatchesNot(regex()?),
            _ => return Err(self.unexpected("")),
        })
    }

    fn text(&mut self) -> Result<String, String> {
        self.take("");
        let rest = self.rest();
        if let Some((text, _)) = rest.strip_prefix('`').and_then(|inside| inside.split_once('`')) {
            self.at += text.len() + 2;
            return Ok(text.to_owned());
        }
        if rest.starts_with('"')
            && let Some((text, length)) = quoted(rest)
        {
            self.at += length;
            return Ok(text);
        }
        Err(self.unexpected("STRING"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_fields_become_labels() {
        let mut labels = Labels::from([("app".to_owned(), "x".to_owned())]);
        extract(r#"{"app":"y","a":{"b.c":1,"l":[1]},"t":true,"0":"z","n":null}"#, &mut labels);
        let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["_0=z", "a_b_c=1", "app=x", "app_extracted=y", "t=true"]);
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(text in r#"[{}a-z=<>!~&|"`0-9 ,\\é]{0,40}"#) {
            let _ = Query::read(&text);
            let _ = Query::read(&format!("{{app=\"x\"}} {text}"));
        }
    }
}
