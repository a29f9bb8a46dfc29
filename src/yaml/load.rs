//! From parser events to documents, within limits.

use super::{Document, Limits, Node, NodeKind, Problem, ScalarStyle, Source, Span};
use crate::text::Clean;
use granit_parser::{Event, Parser, StructureStyle, Tag};
use std::collections::BTreeMap;

/// No more problems than this are collected: what follows is mostly their echo.
const MOST_PROBLEMS: usize = 50;

/// Reads every document of a text.
///
/// # Errors
/// All problems of the text: syntax (one per document, the next document is read on), duplicate keys, keys that are not
/// scalars, merge keys, directives, unknown or cyclic aliases, and limits.
pub fn parse(source: &Source, limits: &Limits) -> Result<Vec<Document>, Vec<Problem>> {
    if source.text.len() > limits.bytes {
        return Err(vec![too_large(source.text.len(), limits).in_source(source)]);
    }
    if let Some(problem) = forbidden_character(&source.text) {
        return Err(vec![problem.in_source(source)]);
    }
    let mut loader = Loader::new(&source.text, *limits);
    loader.run();
    if loader.problems.is_empty() {
        Ok(loader.documents)
    } else {
        loader.problems.sort_by_key(|problem| problem.span.start);
        Err(loader.problems.into_iter().map(|problem| problem.in_source(source)).collect())
    }
}

/// Reads every document of a text that is given as bytes, and returns the text with them.
///
/// # Errors
/// As [`parse`]; also where the bytes are not UTF-8.
pub fn parse_bytes(
    name: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(Source, Vec<Document>), Vec<Problem>> {
    if bytes.len() > limits.bytes {
        return Err(vec![too_large(bytes.len(), limits).in_source(&Source::new(name, ""))]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let text = String::from_utf8_lossy(valid).into_owned();
            let span = end_of(&text);
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let hint = if utf16 { "this is UTF-16: save it as UTF-8" } else { "save it as UTF-8" };
            let problem = Problem::new(span, "these bytes are not UTF-8").hint(hint);
            return Err(vec![problem.in_source(&Source::new(name, text))]);
        }
    };
    let source = Source::new(name, text);
    let documents = parse(&source, limits)?;
    Ok((source, documents))
}

fn too_large(bytes: usize, limits: &Limits) -> Problem {
    let span = Span { start: 0, end: 0, line: 1, column: 1 };
    Problem::new(span, format!("the text has {bytes} bytes, and {} are read at most", limits.bytes))
}

/// The place behind the last character of a text.
fn end_of(text: &str) -> Span {
    let line_start = text.rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count();
    let column = text.get(line_start..).unwrap_or_default().chars().count() + 1;
    Span { start: text.len(), end: text.len(), line: lines + 1, column }
}

/// YAML allows printable characters only (YAML 1.2.2 section 5.1); the parser lets some others through.
fn forbidden_character(text: &str) -> Option<Problem> {
    let (at, c) = text.char_indices().find(|(_, c)| {
        matches!(*c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    })?;
    let span = Span { end: at + c.len_utf8(), ..end_of(text.get(..at)?) };
    let message = format!("the character U+{:04X} must not stand in YAML", c as u32);
    Some(Problem::new(span, message).hint("in a double-quoted text it can be written as an escape"))
}

/// A collection whose end has not come yet.
struct Frame {
    span: Span,
    tag: Option<String>,
    anchor: usize,
    flow: bool,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    /// Entries, the key that waits for its value, and where each key text was first seen.
    Mapping(Vec<(Node, Node)>, Option<Node>, BTreeMap<String, Span>),
}

/// A finished node that an alias may ask for.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

struct Loader<'t> {
    text: &'t str,
    limits: Limits,
    documents: Vec<Document>,
    problems: Vec<Problem>,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Anchored>,
    uses_aliases: bool,
    uses_tags: bool,
    nodes: usize,
    alias_nodes: usize,
    document_failed: bool,
    index: usize,
}

/// Nothing more is read.
struct Stop;

impl<'t> Loader<'t> {
    fn new(text: &'t str, limits: Limits) -> Self {
        Self {
            text,
            limits,
            documents: Vec::new(),
            problems: Vec::new(),
            stack: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            uses_aliases: false,
            uses_tags: false,
            nodes: 0,
            alias_nodes: 0,
            document_failed: false,
            index: 0,
        }
    }

    fn run(&mut self) {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_comments: false,
            // As libyaml and with it every Go reader has it: a block scalar that ends with the text, without a line
            // feed, has none (the specification's test suite differs, case L24T).
            block_scalar_eof_without_line_feed: true,
            flow_nesting_limit: self.limits.depth,
            block_nesting_limit: self.limits.depth,
        };
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        while let Some(next) = parser.next_event() {
            let stopped = match next {
                Ok((event, span)) => self.event(event, span).is_err(),
                Err(error) => {
                    self.problem(syntax_problem(&error, self.text));
                    self.reset();
                    self.index += 1;
                    self.problems.len() >= MOST_PROBLEMS
                        || !matches!(parser.proceed_next_document(), Ok(true))
                }
            };
            if stopped {
                return;
            }
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.document_failed = true;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn reset(&mut self) {
        self.stack.clear();
        self.root = None;
        self.anchors.clear();
        self.uses_aliases = false;
        self.uses_tags = false;
        self.document_failed = false;
    }

    fn event(&mut self, event: Event<'_>, at: granit_parser::Span) -> Result<(), Stop> {
        let span = self.span(at);
        match event {
            Event::DocumentStart(..) => self.reset(),
            Event::DocumentEnd => {
                let root = self.root.take();
                if let (Some(root), false) = (root, self.document_failed) {
                    let (uses_aliases, uses_tags) = (self.uses_aliases, self.uses_tags);
                    self.documents.push(Document { root, uses_aliases, uses_tags, index: self.index });
                }
                self.index += 1;
                self.reset();
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    granit_parser::ScalarStyle::Plain => ScalarStyle::Plain,
                    granit_parser::ScalarStyle::SingleQuoted => ScalarStyle::SingleQuoted,
                    granit_parser::ScalarStyle::DoubleQuoted => ScalarStyle::DoubleQuoted,
                    granit_parser::ScalarStyle::Literal => ScalarStyle::Literal,
                    granit_parser::ScalarStyle::Folded => ScalarStyle::Folded,
                };
                // The parser writes `~` for a value that is not there.
                let absent = style == ScalarStyle::Plain && span.start == span.end;
                let text = if absent { String::new() } else { text.into_owned() };
                let span = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    self.block_scalar(span, &text)
                } else {
                    span
                };
                let tag = self.tag(tag.as_deref());
                let node =
                    Node { span, tag, kind: NodeKind::Scalar { text, style }, flow: false, alias: false };
                self.count(span, 1)?;
                self.keep(anchor, &node)?;
                self.place(node)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.open(span, style, anchor, tag.as_deref(), Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(style, anchor, tag) => {
                let content = Content::Mapping(Vec::new(), None, BTreeMap::new());
                self.open(span, style, anchor, tag.as_deref(), content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => self.alias(id, span)?,
            // StreamStart and StreamEnd; comments, anchors and unresolved aliases are not asked for.
            _ => {}
        }
        Ok(())
    }

    fn span(&self, at: granit_parser::Span) -> Span {
        let start = at.start.byte_offset().unwrap_or_default().min(self.text.len());
        let end = at.end.byte_offset().unwrap_or_default().clamp(start, self.text.len());
        Span { start, end, line: at.start.line().max(1), column: at.start.col() + 1 }
    }

    /// The parser's span of a block scalar reaches to the next token; this one ends with the scalar's last line.
    fn block_scalar(&self, span: Span, text: &str) -> Span {
        let Some(raw) = self.text.get(span.start..span.end) else { return span };
        let mut end = span.start + raw.trim_end().len();
        for _ in 0..text.len() - text.trim_end_matches('\n').len() {
            let Some(rest) = self.text.get(end..span.end) else { break };
            let Some(at) = rest.find(['\n', '\r']) else { break };
            end += at + if rest.get(at..).is_some_and(|rest| rest.starts_with("\r\n")) { 2 } else { 1 };
        }
        Span { end, ..span }
    }

    fn tag(&mut self, tag: Option<&Tag>) -> Option<String> {
        let tag = tag?;
        self.uses_tags = true;
        Some(format!("{}{}", tag.handle(), tag.suffix()))
    }

    /// Counts nodes against the limit.
    fn count(&mut self, span: Span, nodes: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.nodes {
            self.problem(Problem::new(span, format!("more than {} values in one text", self.limits.nodes)));
            return Err(Stop);
        }
        Ok(())
    }

    /// Counts nodes that anchors keep and aliases copy.
    fn count_alias(&mut self, span: Span, nodes: usize) -> Result<(), Stop> {
        self.alias_nodes = self.alias_nodes.saturating_add(nodes);
        if self.alias_nodes > self.limits.alias_nodes {
            let message =
                format!("anchors and aliases stand for more than {} values", self.limits.alias_nodes);
            self.problem(Problem::new(span, message));
            return Err(Stop);
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor == 0 {
            return Ok(());
        }
        let (nodes, height) = measure(node);
        self.count_alias(node.span, nodes)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, height });
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        self.uses_aliases = true;
        let Some(anchored) = self.anchors.get(&id) else {
            // The parser has seen the anchor, so its node is still open: the alias stands inside of it.
            self.problem(Problem::new(span, "this alias stands inside the value that it names"));
            return self.place(Node::absent(span));
        };
        let (nodes, height) = (anchored.nodes, anchored.height);
        let node = Node { span, alias: true, ..anchored.node.clone() };
        if self.stack.len() + height > self.limits.depth {
            return self.too_deep(span);
        }
        self.count_alias(span, nodes)?;
        self.place(node)
    }

    fn too_deep(&mut self, span: Span) -> Result<(), Stop> {
        self.problem(Problem::new(span, format!("nested more than {} levels deep", self.limits.depth)));
        Err(Stop)
    }

    fn open(
        &mut self,
        span: Span,
        style: StructureStyle,
        anchor: usize,
        tag: Option<&Tag>,
        content: Content,
    ) -> Result<(), Stop> {
        self.count(span, 1)?;
        if self.stack.len() >= self.limits.depth {
            return self.too_deep(span);
        }
        let tag = self.tag(tag);
        self.stack.push(Frame { span, tag, anchor, flow: style == StructureStyle::Flow, content });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (kind, last) = match frame.content {
            Content::Sequence(items) => {
                let last = items.last().map(|item| item.span.end);
                (NodeKind::Sequence(items), last)
            }
            Content::Mapping(entries, _, _) => {
                let last = entries.last().map(|(key, value)| value.span.end.max(key.span.end));
                (NodeKind::Mapping(entries), last)
            }
        };
        // The end of a block collection is where the next token stands; its own end is that of its last value.
        let end = if frame.flow && end.end > end.start { end.end } else { last.unwrap_or(frame.span.end) };
        let span = Span { end: end.max(frame.span.start), ..frame.span };
        let node = Node { span, tag: frame.tag, kind, flow: frame.flow, alias: false };
        self.keep(frame.anchor, &node)?;
        self.place(node)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Stop> {
        let mut found = None;
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame { content: Content::Sequence(items), .. }) => items.push(node),
            Some(Frame { content: Content::Mapping(entries, waiting, seen), .. }) => match waiting.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    found = key_problem(&node, seen);
                    *waiting = Some(node);
                }
            },
        }
        if let Some(problem) = found {
            self.problem(problem);
        }
        Ok(())
    }
}

/// What is wrong with a key, if anything; notes where it was first seen.
fn key_problem(key: &Node, seen: &mut BTreeMap<String, Span>) -> Option<Problem> {
    let NodeKind::Scalar { text, .. } = &key.kind else {
        return Some(Problem::new(key.span, "a key must be a text, not a list or a mapping"));
    };
    // Go's yaml.v3 takes a quoted `<<` for a merge key too (yaml.v3 decode.go, isMerge).
    if text == "<<" && key.tag.is_none() || key.tag.as_deref() == Some("tag:yaml.org,2002:merge") {
        return Some(
            Problem::new(key.span, "merge keys (`<<`) are not supported").hint("write the keys out"),
        );
    }
    if let Some(first) = seen.get(text) {
        let shown: String = text.chars().take(80).collect();
        let message = format!(
            "key `{shown}` stands twice in one mapping, first at line {}, column {}",
            first.line, first.column
        );
        return Some(Problem::new(key.span, message).hint("keep one of them"));
    }
    seen.insert(text.clone(), key.span);
    None
}

/// Nodes and levels of a tree.
fn measure(node: &Node) -> (usize, usize) {
    let mut nodes = 1;
    let mut height = 0;
    let mut add = |child: &Node| {
        let (more, levels) = measure(child);
        nodes += more;
        height = height.max(levels);
    };
    match &node.kind {
        NodeKind::Scalar { .. } => return (1, 0),
        NodeKind::Sequence(items) => items.iter().for_each(&mut add),
        NodeKind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            add(key);
            add(value);
        }),
    }
    (nodes, height + 1)
}

/// The parser's error in our words where its own are unclear.
fn syntax_problem(error: &granit_parser::ScanError, text: &str) -> Problem {
    use granit_parser::ErrorKind;
    let mark = error.marker();
    let start = mark.byte_offset().unwrap_or_default().min(text.len());
    let width = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let span = Span { start, end: start + width, line: mark.line().max(1), column: mark.col() + 1 };
    let problem = |message: &str| Problem::new(span, message);
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => problem("nested too deeply"),
        ErrorKind::UnknownAnchor => problem("this alias names no anchor that stands before it"),
        ErrorKind::DirectiveDisallowed => {
            problem("directives (`%`) are not supported").hint("remove the line")
        }
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            Problem::new(span, error.info()).hint("indent with blanks, not with tabs")
        }
        ErrorKind::UnclosedFlowCollection { open } => problem(&format!("this `{open}` is never closed")),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            Problem::new(span, error.info()).hint("check the indentation of this line and the one before it")
        }
        _ => Problem::new(span, Clean::new(error.info())),
    }
}

#[cfg(test)]
mod tests;
