//! One provisioning document, read as far as this proof may rely on it.

use super::change::is_text;
use super::interpolation::interpolate;
use crate::proof::Finding;
use crate::text::Clean;
use crate::yaml::{Limits, Node, NodeKind, ScalarStyle, Source, parse};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Flow collections with doubtful layout are looked for in the old text up to this many times.
const FLOWS: usize = 200;

/// A document whose structure every reader of YAML sees alike, as far as is known.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// The root, a mapping.
    pub root: Node,
}

/// What stands in the place of a value that Grafana reads as text, number or boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, or an empty text, which Grafana does not tell apart here.
    Absent,
    /// This text, after interpolation.
    Text(String),
    /// What it is depends on what cannot be seen here; why, as a fragment.
    Open(String),
}

impl Seen {
    /// The value of a key, as Grafana reads fields of a data source: always as text first (values.go).
    pub fn of(node: Option<&Node>) -> Self {
        let Some(node) = node.filter(|node| !node.is_null()) else { return Self::Absent };
        let Some(text) = node.as_str() else { return Self::Open(format!("it is {}", node.describe())) };
        if let Some(ambiguous) = node.ambiguous_scalars().first() {
            return Self::Open(format!("`{}` is {}", ambiguous.text, ambiguous.reason));
        }
        let seen = interpolate(text);
        if let Some(reference) = seen.open.first() {
            return Self::Open(format!("it depends on `{}`", Clean::new(reference)));
        }
        if seen.text.is_empty() { Self::Absent } else { Self::Text(seen.text) }
    }

    /// The text, if it is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The organisation of a data source: 0 and nothing mean 1 (datasources/config_reader.go).
pub fn org(entry: &Node) -> Result<i64, String> {
    if !matches!(Seen::of(entry.get("orgName")), Seen::Absent) {
        return Err("its organisation is given by name".to_owned());
    }
    match Seen::of(entry.get("orgId")) {
        Seen::Absent => Ok(1),
        Seen::Text(text) => match text.parse::<i64>() {
            Ok(0) => Ok(1),
            Ok(org) => Ok(org),
            Err(_) => Err(format!("its orgId `{}` is no number", Clean::new(text))),
        },
        Seen::Open(why) => Err(format!("its orgId is not known: {why}")),
    }
}

/// A boolean as Go's `strconv.ParseBool` reads it; `None` where that is not known.
pub fn flag(node: Option<&Node>) -> Option<bool> {
    match Seen::of(node) {
        Seen::Absent => Some(false),
        Seen::Text(text) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        },
        Seen::Open(_) => None,
    }
}

/// The uid that Grafana gives a new data source without one (datasources/types.go, `safeUIDFromName`).
pub fn generated_uid(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
    format!("P{hex}")
}

impl Provisioning {
    /// Reads a document; `which` names it in sentences (`the new document`).
    ///
    /// # Errors
    /// What keeps this proof from relying on it, as findings that are Unknown.
    pub fn read(text: &str, which: &str) -> Result<Self, Vec<Finding>> {
        let source = Source::new(which, text);
        let mut documents = parse(&source, &Limits::MANIFEST).map_err(|problems| {
            problems
                .iter()
                .take(5)
                .map(|problem| Finding {
                    hint: problem.hint.clone(),
                    ..Finding::unknown(format!(
                        "{which} cannot be read: line {}, column {}: {}",
                        problem.span.line, problem.span.column, problem.message
                    ))
                })
                .collect::<Vec<_>>()
        })?;
        if documents.len() > 1 {
            let count = documents.len();
            let finding =
                Finding::unknown(format!("{which} has {count} YAML documents, and Grafana reads the first"));
            return Err(vec![finding.hint("make them files of their own")]);
        }
        let Some(document) = documents.pop() else {
            return Err(vec![Finding::unknown(format!("{which} is empty"))]);
        };
        let mut doubts = Vec::new();
        if document.uses_aliases {
            doubts.push(format!("{which} uses YAML aliases, which are not judged"));
        }
        if document.uses_tags {
            doubts.push(format!("{which} uses YAML tags, which are not judged"));
        }
        let root = document.root;
        if !matches!(root.kind, NodeKind::Mapping(_)) {
            doubts.push(format!("{which} is {}, not a mapping", root.describe()));
        }
        match root.get("apiVersion").map(Node::to_json) {
            Some(Ok(Value::Number(version))) if version.as_u64().is_some_and(|version| version > 0) => {}
            _ => doubts.push(format!(
                "{which} has no apiVersion of 1 or more, so Grafana reads it in an older form that is not judged"
            )),
        }
        for list in ["datasources", "deleteDatasources"] {
            match root.get(list) {
                Some(node) if !node.is_null() && !matches!(node.kind, NodeKind::Sequence(_)) => {
                    doubts.push(format!("`{list}` in {which} is {}, not a list", node.describe()));
                }
                _ => {}
            }
        }
        if doubts.is_empty() { Ok(Self { root }) } else { Err(doubts.iter().map(Finding::unknown).collect()) }
    }

    /// The data sources in their order.
    pub fn datasources(&self) -> impl Iterator<Item = &Node> {
        self.root.get("datasources").into_iter().flat_map(Node::items)
    }
}

/// Layouts that are new and that readers of YAML are known, or must be feared, to read differently.
pub fn exotic(old: &str, new: &str, root: &Node) -> Vec<String> {
    let mut found = Vec::new();
    // A line break for Go's readers, a character for YAML 1.2.
    if new.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        found.push("it has Unicode line breaks".to_owned());
    }
    if new.trim_start_matches('\u{feff}').contains('\u{feff}') {
        found.push("it has a byte order mark in its midst".to_owned());
    }
    let old_lines: HashSet<&str> = old.lines().collect();
    let tab = new.lines().position(|line| line.contains('\t') && !old_lines.contains(line));
    if let Some(line) = tab {
        found.push(format!("line {} has a tab", line + 1));
    }
    let mut flows = Vec::new();
    doubtful_flows(root, &mut flows);
    for (number, node) in flows.into_iter().enumerate() {
        let text = new.get(node.span.start..node.span.end).unwrap_or_default();
        if number >= FLOWS || text.is_empty() || !old.contains(text) {
            let line = node.span.line;
            found.push(format!(
                "the flow collection on line {line} has a colon or question mark without quotes"
            ));
            break;
        }
    }
    found
}

/// Flow collections with plain scalars like those of `{a:b}` and `[a?b]`, whose meaning changed between versions.
fn doubtful_flows<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
    if node.flow {
        if doubtful(node) {
            found.push(node);
        }
        return;
    }
    match &node.kind {
        NodeKind::Scalar { .. } => {}
        NodeKind::Sequence(items) => items.iter().for_each(|item| doubtful_flows(item, found)),
        NodeKind::Mapping(entries) => entries.iter().for_each(|(_, value)| doubtful_flows(value, found)),
    }
}

fn doubtful(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Scalar { text, style } => *style == ScalarStyle::Plain && text.contains([':', '?', '#']),
        NodeKind::Sequence(items) => items.iter().any(doubtful),
        NodeKind::Mapping(entries) => {
            entries.iter().any(|(key, value)| !is_text(key) || doubtful(key) || doubtful(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_generated_as_grafana_does() {
        assert_eq!(generated_uid("Loki"), "P8E80F9AEF21F6940");
        assert_eq!(generated_uid("Tempo"), "P214B5B846CF3925F");
    }

    #[test]
    fn tabs_and_flow_plains_are_doubted_only_where_they_are_new() {
        let text = "apiVersion: 1\ndatasources: [{name: a, url: http://x}]\n";
        let read = Provisioning::read(text, "the new document").unwrap();
        assert_eq!(exotic("", text, &read.root).len(), 1);
        assert!(exotic(text, text, &read.root).is_empty());
    }
}
