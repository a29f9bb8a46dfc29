//! Edits of a text at positions that leave every other byte as it is.
//!
//! An edit is made by position and then proven: the new text is parsed, and must be the old tree plus exactly what was
//! to be added. A layout that the edit does not understand is therefore an error and never a wrong edit.

use super::{Document, Limits, Node, NodeKind, Problem, ScalarStyle, Source, parse};
use serde_json::Value;

mod write;

/// Adds one item at the end of the list at `key` of the mapping `target`, which is a node of `document`, which is one
/// of the documents of `text`. A list that is missing, empty or null is made.
///
/// The indentation and line ends in use are kept, and so is every other byte, but for the `[]` or `null` of an empty
/// list. Block lists get a block item, flow lists a flow item.
///
/// # Errors
/// The value is there and no list, the place is reached through an alias, or the new text would not be the old tree
/// plus the item. The problem has no snippet yet: see [`Problem::in_source`].
pub fn append_item(
    text: &str,
    document: &Document,
    target: &Node,
    key: &str,
    item: &Value,
) -> Result<String, Problem> {
    let refuse = |message: &str| Problem::new(target.span, message);
    let NodeKind::Mapping(entries) = &target.kind else {
        return Err(refuse(&format!("`{key}` cannot be added to {}", target.describe())));
    };
    let path =
        path_to(&document.root, target).ok_or_else(|| refuse("this value is not part of the document"))?;
    if path.through_alias {
        return Err(refuse(
            "this value stands behind an alias, so that a change of it would change other values too",
        )
        .hint("write the value out"));
    }
    let entry = entries.iter().find(|(name, _)| name.as_str() == Some(key));
    let edit = match entry {
        None if target.flow => new_flow_entry(text, target, entries, key, item),
        None => new_block_entry(text, document, target, entries, key, item),
        Some((_, value)) if value.alias => {
            return Err(Problem::new(
                value.span,
                format!("`{key}` is an alias, so that a change of it would change another value too"),
            ));
        }
        Some((name, value)) => match &value.kind {
            NodeKind::Sequence(items) if items.is_empty() || value.is_null() => {
                fill(text, document, target, name, value, item)
            }
            NodeKind::Sequence(items) if value.flow => flow_item(items, item),
            NodeKind::Sequence(_) => block_item(text, name, value, item),
            _ if value.is_null() => fill(text, document, target, name, value, item),
            _ => {
                let message = format!("`{key}` is {}, not a list", value.describe());
                return Err(Problem::new(value.span, message));
            }
        },
    };
    let edited = edit.and_then(|edit| edit.of(text)).ok_or_else(|| not_understood(target))?;
    prove(text, &edited, document, &path.steps, key, item).ok_or_else(|| not_understood(target))?;
    Ok(edited)
}

fn not_understood(target: &Node) -> Problem {
    Problem::new(target.span, "this layout of YAML cannot be edited safely").hint("make the change by hand")
}

/// Bytes to replace, and what with.
struct Edit {
    /// `(start, end, replacement)`, in ascending order, not overlapping.
    parts: Vec<(usize, usize, String)>,
}

impl Edit {
    fn insert(at: usize, new: String) -> Option<Self> {
        Some(Self { parts: vec![(at, at, new)] })
    }

    fn of(&self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len() + 256);
        let mut done = 0;
        for (start, end, new) in &self.parts {
            out.push_str(text.get(done..*start)?);
            out.push_str(new);
            done = *end;
        }
        out.push_str(text.get(done..)?);
        Some(out)
    }
}

struct NodePath {
    steps: Vec<usize>,
    through_alias: bool,
}

/// Positions of children (items, or values of entries) that lead from `root` to the very node `target`.
fn path_to(root: &Node, target: &Node) -> Option<NodePath> {
    if std::ptr::eq(root, target) {
        return Some(NodePath { steps: Vec::new(), through_alias: root.alias });
    }
    let found = |index: usize, child: &Node| {
        path_to(child, target).map(|mut path| {
            path.steps.push(index);
            path.through_alias |= root.alias;
            path
        })
    };
    match &root.kind {
        NodeKind::Scalar { .. } => None,
        NodeKind::Sequence(items) => items.iter().enumerate().find_map(|(index, item)| found(index, item)),
        NodeKind::Mapping(entries) => {
            entries.iter().enumerate().find_map(|(index, (_, value))| found(index, value))
        }
    }
}

// ---- where to put it ------------------------------------------------------------------------------------------------

/// `[a]` becomes `[a, item]`.
fn flow_item(items: &[Node], item: &Value) -> Option<Edit> {
    Edit::insert(items.last()?.span.end, format!(", {}", write::flow(item)))
}

fn new_flow_entry(
    text: &str,
    target: &Node,
    entries: &[(Node, Node)],
    key: &str,
    item: &Value,
) -> Option<Edit> {
    let new = format!("{}: [{}]", write::flow(&Value::String(key.to_owned())), write::flow(item));
    match entries.last() {
        Some((_, value)) => Edit::insert(value.span.end, format!(", {new}")),
        None => {
            let inside = target.span.start + 1;
            (text.get(target.span.start..inside) == Some("{")).then(|| Edit::insert(inside, new))?
        }
    }
}

fn new_block_entry(
    text: &str,
    document: &Document,
    target: &Node,
    entries: &[(Node, Node)],
    key: &str,
    item: &Value,
) -> Option<Edit> {
    let (last_key, last) = entries.last()?;
    let column = target.span.column.checked_sub(1)?;
    let dash = column + offset_in_use(text, document, target);
    let mut lines = vec![format!("{}{}:", " ".repeat(column), write::scalar(&Value::String(key.to_owned())))];
    lines.extend(write::item(item, dash));
    insert_lines(text, last.span.end.max(last_key.span.end), column, &lines)
}

fn block_item(text: &str, key: &Node, list: &Node, item: &Value) -> Option<Edit> {
    let lines = write::item(item, dash_column(text, key, list)?);
    insert_lines(text, list.span.end, key.span.column.checked_sub(1)?, &lines)
}

/// Makes a list of `key:`, `key: []`, `key: null`.
fn fill(
    text: &str,
    document: &Document,
    target: &Node,
    key: &Node,
    value: &Node,
    item: &Value,
) -> Option<Edit> {
    let absent = value.span.start == value.span.end;
    let between = text.get(key.span.end..value.span.start.max(key.span.end))?;
    let colon = between.find(':').map(|at| key.span.end + at + 1);
    let same_line = between.trim() == ":" && !between.contains(['\n', '\r']);
    let token = text.get(value.span.start..value.span.end)?;
    let one_token = token.trim_start_matches('[').trim_end_matches(']').trim_matches(' ').is_empty()
        || !matches!(value.kind, NodeKind::Sequence(_));
    if absent {
        let rest = text.get(key.span.end..)?;
        let Some(after) = rest.trim_start_matches([' ', '\t']).strip_prefix(':') else {
            // `{key}`: a key of a flow mapping without its colon.
            return target.flow.then(|| Edit::insert(key.span.end, format!(": [{}]", write::flow(item))))?;
        };
        let after_colon = text.len() - after.len();
        if target.flow {
            return Edit::insert(after_colon, format!(" [{}]", write::flow(item)));
        }
        let dash = key.span.column.checked_sub(1)? + offset_in_use(text, document, target);
        return insert_lines_behind(text, after_colon, &write::item(item, dash));
    }
    if target.flow || !same_line || !one_token {
        return match &value.kind {
            NodeKind::Sequence(_) => Edit::insert(value.span.start + 1, write::flow(item)),
            _ => Some(Edit {
                parts: vec![(value.span.start, value.span.end, format!("[{}]", write::flow(item)))],
            }),
        };
    }
    let dash = key.span.column.checked_sub(1)? + offset_in_use(text, document, target);
    let mut edit = insert_lines_behind(text, value.span.end, &write::item(item, dash))?;
    edit.parts.insert(0, (colon?, value.span.end, String::new()));
    Some(edit)
}

/// Inserts lines behind the line that ends the value at `end`, and behind the comments that follow it and are indented
/// deeper than `column`.
fn insert_lines(text: &str, end: usize, column: usize, lines: &[String]) -> Option<Edit> {
    let mut at = next_line(text, end)?;
    while let Some(line) = text.get(at..).and_then(|rest| rest.split_inclusive('\n').next()) {
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if indentation <= column || !line.trim_start_matches(' ').starts_with('#') {
            break;
        }
        at += line.len();
    }
    insert_at(text, at, lines)
}

/// Inserts lines behind the line of `end`.
fn insert_lines_behind(text: &str, end: usize, lines: &[String]) -> Option<Edit> {
    let at = text.get(end..)?.find('\n').map_or(text.len(), |found| end + found + 1);
    insert_at(text, at, lines)
}

fn insert_at(text: &str, at: usize, lines: &[String]) -> Option<Edit> {
    let before = text.get(..at)?;
    let line_end = if before.ends_with("\r\n") || (!before.ends_with('\n') && text.contains("\r\n")) {
        "\r\n"
    } else {
        "\n"
    };
    let new = lines.join(line_end);
    // A text without a line feed at its end stays one.
    if before.is_empty() || before.ends_with('\n') {
        Edit::insert(at, new + line_end)
    } else {
        Edit::insert(at, format!("{line_end}{new}"))
    }
}

/// The start of the first line that has nothing of what ends at `end`.
fn next_line(text: &str, end: usize) -> Option<usize> {
    if text.get(..end)?.ends_with('\n') {
        return Some(end);
    }
    Some(text.get(end..)?.find('\n').map_or(text.len(), |found| end + found + 1))
}

// ---- the indentation in use -----------------------------------------------------------------------------------------

/// Blanks before the dash of a block list that is the value of `key`.
fn dash_column(text: &str, key: &Node, list: &Node) -> Option<usize> {
    let first = list.items().next()?;
    let own = text.get(list.span.start..)?.starts_with('-') && list.span.start < first.span.start;
    // The parser places a list that is not indented deeper than its key at its first item.
    if own { list.span.column.checked_sub(1) } else { key.span.column.checked_sub(1) }
}

/// How much deeper than their key block lists stand, in this mapping or else in this document; 2 where none is.
fn offset_in_use(text: &str, document: &Document, target: &Node) -> usize {
    first_offset(text, target).or_else(|| first_offset(text, &document.root)).unwrap_or(2)
}

fn first_offset(text: &str, node: &Node) -> Option<usize> {
    if node.alias {
        return None;
    }
    let own = node.entries().find_map(|(key, value)| {
        let block = matches!(&value.kind, NodeKind::Sequence(items) if !items.is_empty())
            && !value.flow
            && !value.alias;
        if !block || node.flow {
            return None;
        }
        dash_column(text, key, value)?.checked_sub(key.span.column.checked_sub(1)?)
    });
    own.or_else(|| node.entries().find_map(|(_, value)| first_offset(text, value)))
        .or_else(|| node.items().find_map(|item| first_offset(text, item)))
}

// ---- the proof ------------------------------------------------------------------------------------------------------

/// Whether `edited` is `text` plus exactly the item.
fn prove(
    text: &str,
    edited: &str,
    document: &Document,
    steps: &[usize],
    key: &str,
    item: &Value,
) -> Option<()> {
    let read = |text: &str| parse(&Source::new("", text), &Limits::MANIFEST).ok();
    let (old, mut new) = (read(text)?, read(edited)?);
    if old.len() != new.len() || !old.get(document.index)?.root.same(&document.root) {
        return None;
    }
    let root = &mut new.get_mut(document.index)?.root;
    let mut target = root;
    for step in steps.iter().rev() {
        target = match &mut target.kind {
            NodeKind::Sequence(items) => items.get_mut(*step)?,
            NodeKind::Mapping(entries) => &mut entries.get_mut(*step)?.1,
            NodeKind::Scalar { .. } => return None,
        };
    }
    let NodeKind::Mapping(entries) = &mut target.kind else { return None };
    let before = at(&document.root, steps)?.get(key);
    let (_, list) = entries.iter_mut().find(|(name, _)| name.as_str() == Some(key))?;
    let NodeKind::Sequence(items) = &mut list.kind else { return None };
    let added = items.pop()?;
    if list.tag.as_deref() != before.and_then(|before| before.tag.as_deref())
        || (list.tag.is_some() && before.is_some_and(Node::is_null))
    {
        return None;
    }
    let rest_is_empty = items.is_empty();
    if added.to_json().ok()? != *item || !added.ambiguous_scalars().is_empty() {
        return None;
    }
    // Take the item away again: what is left must be the old tree.
    match before {
        None if rest_is_empty => {
            entries.pop().filter(|(name, _)| name.as_str() == Some(key))?;
        }
        Some(before) if before.is_null() && rest_is_empty => *list = before.clone(),
        _ => {}
    }
    old.iter().zip(&new).all(|(old, new)| old.root.same(&new.root)).then_some(())
}

fn at<'n>(root: &'n Node, steps: &[usize]) -> Option<&'n Node> {
    steps.iter().rev().try_fold(root, |node, step| match &node.kind {
        NodeKind::Sequence(items) => items.get(*step),
        NodeKind::Mapping(entries) => entries.get(*step).map(|(_, value)| value),
        NodeKind::Scalar { .. } => None,
    })
}

/// A scalar as the writer would read it back; used to choose a style.
fn plain_node(text: &str) -> Node {
    let kind = NodeKind::Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
    Node { span: super::Span::default(), tag: None, kind, flow: false, alias: false }
}

#[cfg(test)]
mod tests;
