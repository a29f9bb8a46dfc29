//! Secrets in text: by its structure where it has one, by its lines where it does not, and by form everywhere.

use super::place::Place;
use super::{lines, name, pattern, place};
use crate::yaml::{self, Limits, Node, NodeKind, ScalarStyle, Source};

pub(super) use lines::is_secret_flag;

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
    /// The secret itself: the same wherever and however it is written.
    pub secret: String,
}

/// Documents in strings in documents are read down to this depth; below, by their lines.
const DEPTH: usize = 5;

/// Every secret in a text, in order, none overlapping.
pub(super) fn scan(text: &str) -> Vec<Found> {
    scan_at(text, DEPTH)
}

fn scan_at(text: &str, depth: usize) -> Vec<Found> {
    let mut found = pattern::scan(text);
    match structured(text, depth) {
        Some(by_structure) => found.extend(by_structure),
        None => found.extend(lines::scan(text)),
    }
    if depth > 0 {
        found.extend(pattern::encoded(text, &|inner| !scan_at(inner, 0).is_empty()));
    }
    merge(text, found)
}

/// Puts what overlaps together, so that every byte that anyone found is in one of the results.
pub(super) fn merge(text: &str, mut found: Vec<Found>) -> Vec<Found> {
    found.retain(|one| one.start < one.end && text.get(one.start..one.end).is_some());
    found.sort_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut merged: Vec<Found> = Vec::new();
    for one in found {
        match merged.last_mut() {
            Some(last) if one.start < last.end => {
                if one.end > last.end {
                    last.end = one.end;
                    last.secret = text.get(last.start..last.end).unwrap_or_default().to_owned();
                }
            }
            _ => merged.push(one),
        }
    }
    merged
}

/// The documents of a text that is a map or list in YAML or JSON.
fn documents(text: &str) -> Option<Vec<yaml::Document>> {
    let first = text.trim_start().chars().next()?;
    if !text.contains('\n') && !matches!(first, '{' | '[') {
        return None;
    }
    let documents = yaml::parse(&Source::new("text", text), &Limits::MANIFEST).ok()?;
    let structured = |document: &yaml::Document| !matches!(document.root.kind, NodeKind::Scalar { .. });
    (!documents.is_empty() && documents.iter().all(structured)).then_some(documents)
}

fn structured(text: &str, depth: usize) -> Option<Vec<Found>> {
    if depth == 0 {
        return None;
    }
    let documents = documents(text)?;
    let mut reader = Reader { text, depth, found: Vec::new(), seen: Vec::new() };
    for document in &documents {
        reader.node(&document.root, Place::Open);
    }
    reader.rest();
    Some(reader.found)
}

struct Reader<'t> {
    text: &'t str,
    depth: usize,
    found: Vec<Found>,
    /// Spans of the scalars; what lies between them is punctuation and comments.
    seen: Vec<(usize, usize)>,
}

impl Reader<'_> {
    fn node(&mut self, node: &Node, place: Place) {
        match &node.kind {
            NodeKind::Mapping(entries) => {
                let telling = entries.iter().any(|(key, value)| {
                    key.as_str().is_some_and(place::names_entry)
                        && value.as_str().is_some_and(name::is_secret_key)
                });
                for (key, value) in entries {
                    self.node(key, Place::Open);
                    let container = !matches!(value.kind, NodeKind::Scalar { .. });
                    let name = key.as_str().unwrap_or_default();
                    self.node(value, place::member(name, place, telling, container, value.as_str()));
                }
            }
            NodeKind::Sequence(items) => {
                let mut after_flag = false;
                for item in items {
                    let text = item.as_str();
                    let value_of_flag = after_flag && !text.is_some_and(|text| text.starts_with('-'));
                    after_flag = text.is_some_and(is_secret_flag);
                    self.node(
                        item,
                        if value_of_flag && place == Place::Open { Place::Inside } else { place },
                    );
                }
            }
            NodeKind::Scalar { text, style } => self.scalar(node, text, *style, place),
        }
    }

    fn scalar(&mut self, node: &Node, text: &str, style: ScalarStyle, place: Place) {
        let (start, end) = (node.span.start, node.span.end);
        let Some(raw) = self.text.get(start..end) else { return };
        self.seen.push((start, end));
        if node.alias {
            // The value stands, and is judged, where the anchor is; here only its name is seen. A secret place may
            // still take its secret from an anchor at an open one.
            if place != Place::Open {
                self.learn_elsewhere(text);
            }
            return;
        }
        let plain = style == ScalarStyle::Plain;
        let no_secret =
            pattern::is_no_secret(text) || (plain && pattern::is_no_text(text)) || text.is_empty();
        if place != Place::Open && !no_secret {
            self.found.push(Found { start, end, secret: text.trim_end().to_owned() });
            return;
        }
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded => self.block(raw, start, text),
            _ => {
                let found = scan_at(raw, 0);
                self.found.extend(found.into_iter().map(|one| Found {
                    start: one.start + start,
                    end: one.end + start,
                    ..one
                }));
                if !raw.contains(text) {
                    self.escaped(raw, start, text);
                }
            }
        }
    }

    /// A block scalar is a text of its own with indentation added: each of its lines is found again in the source.
    fn block(&mut self, raw: &str, start: usize, text: &str) {
        let mut rows: Vec<(usize, usize)> = Vec::new();
        let mut at = start;
        let mut header = true;
        for line in raw.split('\n') {
            if !header {
                rows.push((at, line.len()));
            }
            header = false;
            at += line.len() + 1;
        }
        let inner = scan_at(text, self.depth - 1);
        if inner.is_empty() {
            return;
        }
        let mut place_in_source = Vec::new();
        for (row, line) in text.split('\n').enumerate() {
            let found = rows.get(row).and_then(|(at, length)| {
                let source = self.text.get(*at..at + length)?.trim_end_matches('\r');
                let line = line.trim_end_matches('\r');
                source.ends_with(line).then(|| at + source.len() - line.len())
            });
            place_in_source.push(found);
        }
        for one in inner {
            let map = |offset: usize| {
                let before = text.get(..offset)?;
                let row = before.matches('\n').count();
                let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
                Some((*place_in_source.get(row)?)? + column)
            };
            match (map(one.start), map(one.end)) {
                (Some(start), Some(end)) if start < end => {
                    self.found.push(Found { start, end, secret: one.secret })
                }
                // Folding has moved the lines: the whole scalar is masked.
                _ => self.found.push(Found { start, end: start + raw.len(), secret: text.to_owned() }),
            }
        }
    }

    /// A quoted scalar whose content is written with escapes: if there is a secret in its content, it is masked whole.
    fn escaped(&mut self, raw: &str, start: usize, text: &str) {
        if !scan_at(text, self.depth - 1).is_empty() {
            self.found.push(Found { start, end: start + raw.len(), secret: text.to_owned() });
        }
    }

    /// Masks every scalar of the text that is this secret.
    fn learn_elsewhere(&mut self, secret: &str) {
        if pattern::is_no_text(secret) || pattern::is_no_secret(secret) {
            return;
        }
        let places: Vec<usize> = self.text.match_indices(secret).map(|(at, _)| at).collect();
        for start in places {
            self.found.push(Found { start, end: start + secret.len(), secret: secret.to_owned() });
        }
    }

    /// Comments, and whatever else no scalar covers.
    fn rest(&mut self) {
        self.seen.sort_unstable();
        let mut at = 0;
        let mut gaps = Vec::new();
        for (start, end) in &self.seen {
            if *start > at {
                gaps.push((at, *start));
            }
            at = at.max(*end);
        }
        gaps.push((at, self.text.len()));
        for (from, to) in gaps {
            let Some(gap) = self.text.get(from..to).filter(|gap| gap.contains('#')) else { continue };
            let Some(comment) = gap.find('#') else { continue };
            let base = from + comment;
            let found = lines::scan(gap.get(comment..).unwrap_or_default());
            self.found.extend(found.into_iter().map(|one| Found {
                start: one.start + base,
                end: one.end + base,
                ..one
            }));
        }
    }
}
