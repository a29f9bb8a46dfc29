//! Reading values out of nodes, with a problem for everything that is not as it should be.

use crate::object::path::Path;
use crate::yaml::{Node, NodeKind, Problem, Source, nearest};
use serde_json::Value;
use std::time::Duration;

/// The problems found so far in one text.
pub(super) struct Report<'s> {
    pub(super) source: &'s Source,
    pub(super) problems: Vec<Problem>,
}

/// A mapping whose keys are known.
pub(super) struct Fields<'n> {
    node: &'n Node,
    what: String,
    /// Keys that it should not have.
    unknown: Vec<&'n str>,
}

impl<'n> Fields<'n> {
    /// The value of a key; nothing (`key:`, an optional input without a value) counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(key).filter(|value| !value.is_null())
    }
}

impl Report<'_> {
    /// Adds a problem at a node; an empty hint is none.
    pub(super) fn problem(&mut self, node: &Node, message: impl AsRef<str>, hint: &str) {
        let problem = Problem::new(node.span, message);
        self.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    /// Adds a problem.
    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem.in_source(self.source));
    }

    /// A mapping with no other keys than `known`.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Fields<'n> {
        if !matches!(node.kind, NodeKind::Mapping(_)) {
            let message = format!("{what} is a mapping, and this is {}", node.describe());
            self.push(Problem::new(node.span, message).hint(format!("its keys: `{}`", known.join("`, `"))));
        }
        let mut unknown = Vec::new();
        for (key, _) in node.entries() {
            let name = key.as_str().unwrap_or_default();
            if !known.contains(&name) {
                unknown.push(name);
                let problem = Problem::new(key.span, format!("unknown key `{name}` in {what}"));
                self.push(problem.known(name, known.iter().copied()));
            }
        }
        Fields { node, what: what.to_owned(), unknown }
    }

    /// The value of a key that must be there.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        // A node that is no mapping has its problem already, and so has a key that was meant to be this one.
        let misspelt = fields.unknown.iter().any(|unknown| nearest(unknown, [key]).is_some());
        if found.is_none() && !misspelt && matches!(fields.node.kind, NodeKind::Mapping(_)) {
            let mut span = fields.node.span;
            span.end = span.end.min(self.line_end(span.start));
            self.push(Problem::new(span, format!("{} has no `{key}`", fields.what)));
        }
        found
    }

    fn line_end(&self, start: usize) -> usize {
        let rest = self.source.text.get(start..).unwrap_or_default();
        start + rest.find(['\n', '\r']).unwrap_or(rest.len())
    }

    /// The items of a list that must have some.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Vec<&'n Node> {
        match &node.kind {
            NodeKind::Sequence(items) => {
                if items.is_empty() {
                    self.problem(node, format!("{what} is empty"), "");
                }
                items.iter().collect()
            }
            _ => {
                self.problem(
                    node,
                    format!("{what} is a list, and this is {}", node.describe()),
                    "begin each item with `- `",
                );
                Vec::new()
            }
        }
    }

    /// A text, a number or a boolean.
    pub(super) fn scalar(&mut self, node: &Node, what: &str) -> Option<Value> {
        match node.to_json() {
            Ok(Value::Object(_) | Value::Array(_)) => {
                self.problem(node, format!("{what} is one value, and this is {}", node.describe()), "");
                None
            }
            Ok(Value::Null) => None,
            Ok(value) => Some(value),
            Err(problem) => {
                self.push(problem);
                None
            }
        }
    }

    /// A text.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match self.scalar(node, what)? {
            Value::String(text) => Some(text),
            _ => {
                let message = format!("{what} is a text, and this is {}", node.describe());
                self.problem(node, message, "put it in quotes");
                None
            }
        }
    }

    /// A text, or a number or boolean as it is written: what environment variables are.
    pub(super) fn text_as_written(&mut self, node: &Node, what: &str) -> Option<String> {
        match self.scalar(node, what) {
            Some(_) => node.as_str().map(str::to_owned),
            None if node.is_null() => {
                self.problem(node, format!("{what} has no value"), "an empty text is written `\"\"`");
                None
            }
            None => None,
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match self.scalar(node, what)? {
            Value::Bool(value) => Some(value),
            _ => {
                self.problem(node, format!("{what} is true or false, and this is {}", node.describe()), "");
                None
            }
        }
    }

    /// A port: a number, or a text of digits (an input that is put into a flow mapping stands in quotes).
    pub(super) fn port(&mut self, node: &Node) -> Option<u16> {
        let port = match self.scalar(node, "`port`")? {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if port.is_none_or(|port| port == 0) {
            self.problem(
                node,
                format!("`{}` is not a port", node.as_str().unwrap_or_default()),
                "a port is a number from 1 to 65535",
            );
            return None;
        }
        port
    }

    /// A name of a plan, phase or step: lower-case letters, digits, hyphens.
    pub(super) fn name(&mut self, node: &Node, what: &str, longest: usize) -> Option<String> {
        let name = self.text(node, what)?;
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let plain =
            name.starts_with(edge) && name.ends_with(edge) && name.chars().all(|c| edge(c) || c == '-');
        if !plain || name.len() > longest {
            let hint = format!("use lower-case letters, digits and hyphens, {longest} at most");
            self.problem(node, format!("`{name}` cannot be {what}"), &hint);
            return None;
        }
        Some(name)
    }

    /// A length of time: `30s`, `10m`, `1h30m`; at least a second, at most a day.
    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = node.as_str().unwrap_or_default();
        let duration = duration(text).filter(|duration| (1..=86_400).contains(&duration.as_secs()));
        if duration.is_none() {
            let shown =
                if node.as_str().is_some() { format!("`{text}`") } else { node.describe().to_owned() };
            let message = format!("{what} is a length of time, and {shown} is none");
            self.problem(node, message, "write `30s`, `10m` or `1h30m`, a day at most");
        }
        duration
    }

    /// A path of fields (`data['key']`).
    pub(super) fn path(&mut self, node: &Node) -> Option<Path> {
        let text = self.text(node, "a path")?;
        match Path::parse(&text) {
            Ok(path) => Some(path),
            Err(cause) => {
                self.problem(node, cause, "write it like `data['loki.yaml']` or `spec.replicas`");
                None
            }
        }
    }

    /// An address that begins with `http://` or `https://`.
    pub(super) fn url(&mut self, node: &Node) -> Option<String> {
        let url = self.text(node, "`url`")?;
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match host {
            Some(host) if host.contains('@') => {
                self.problem(node, "an address must not carry credentials", "");
                None
            }
            Some(host)
                if !host.is_empty()
                    && url.chars().all(|c| c.is_ascii_graphic())
                    && !url.contains(['?', '#']) =>
            {
                Some(url)
            }
            _ => {
                let message = format!("`{url}` is not an address");
                self.problem(node, message, "write it like `http://tempo.example:3200`, without query");
                None
            }
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.get(digits..)?.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("1h30m", 5400), ("1h0m5s", 3605)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "1m1h",
            "1m1m",
            "-1s",
            "1.5h",
            "10 m",
            "99999999999999999999h",
            "9999999999999999h",
            "1d",
            "1é",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
