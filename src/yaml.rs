//! YAML as a tree of nodes that know where they stand.
//!
//! The parser underneath is `granit-parser`, the one beneath serde-saphyr. On top of its events this room builds trees
//! with spans, within limits of size, depth and alias expansion, and reports every problem of a text at once, each with
//! its position. Values are resolved by the YAML 1.2 core schema; where the YAML 1.1 readers of the Kubernetes world
//! (Go's yaml.v2 and v3, sigs.k8s.io/yaml) may see another value, [`Node::ambiguous_scalars`] says so.

mod edit;
mod load;
mod nearest;
mod problem;
mod resolve;

pub use edit::append_item;
pub use load::{parse, parse_bytes};
pub use nearest::nearest;
pub use problem::{Problem, Snippet};
pub use resolve::Ambiguous;

use crate::text::Clean;
use serde::{Deserialize, Serialize};

/// A text and the name that problems in it are reported under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path or object that the text is from.
    pub name: Clean,
    /// The text as it is, byte for byte.
    pub text: String,
}

impl Source {
    /// A source from its parts.
    pub fn new(name: impl AsRef<str>, text: impl Into<String>) -> Self {
        Self { name: Clean::new(name), text: text.into() }
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte, in characters, from 1.
    pub column: usize,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Without quotes: the only style whose type the schema resolves.
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// One node of a document. Aliases are replaced by copies of what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands, without its tag and anchor. The root of a copy made for an alias has the span of the alias.
    pub span: Span,
    /// Its tag in full form (`tag:yaml.org,2002:str`, `!local`).
    pub tag: Option<String>,
    /// Its content.
    pub kind: NodeKind,
    /// Whether a sequence or mapping is written in flow style (`[…]`, `{…}`).
    pub flow: bool,
    /// Whether an alias (`*name`) stands here.
    pub alias: bool,
}

/// Content of a [`Node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Text, as unescaped and folded by the parser.
    Scalar {
        /// The text; empty for a value that is not there (`key:`).
        text: String,
        /// How it is written.
        style: ScalarStyle,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the text. Keys are scalars, and no key text stands twice.
    Mapping(Vec<(Node, Node)>),
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its root node.
    pub root: Node,
    /// Whether an alias stands in it.
    pub uses_aliases: bool,
    /// Whether an explicit tag stands in it.
    pub uses_tags: bool,
    /// Its position among the documents of its text, from 0.
    pub index: usize,
}

/// What a text may cost before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text in bytes.
    pub bytes: usize,
    /// Nesting of collections.
    pub depth: usize,
    /// Nodes in all documents together.
    pub nodes: usize,
    /// Nodes that anchors keep and aliases copy, in all documents together.
    pub alias_nodes: usize,
}

impl Limits {
    /// For plans: written by hand.
    pub const PLAN: Self = Self { bytes: 1 << 20, depth: 32, nodes: 20_000, alias_nodes: 20_000 };
    /// For manifests and what stands in them: an API server takes 3 MiB in a request (apiserver
    /// `MaxRequestBodyBytes`), so no object is larger.
    pub const MANIFEST: Self = Self { bytes: 4 << 20, depth: 100, nodes: 400_000, alias_nodes: 100_000 };
}

impl Node {
    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// A value that is not there, at a place where it could be.
    pub fn absent(span: Span) -> Self {
        let kind = NodeKind::Scalar { text: String::new(), style: ScalarStyle::Plain };
        Self { span, tag: None, kind, flow: false, alias: false }
    }

    /// The text of a scalar, in whatever style it is written.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Keys and values of a mapping; nothing for other nodes.
    pub fn entries(&self) -> impl Iterator<Item = (&Self, &Self)> {
        let entries = match &self.kind {
            NodeKind::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, value)| (key, value))
    }

    /// Items of a sequence; nothing for other nodes.
    pub fn items(&self) -> impl Iterator<Item = &Self> {
        let items = match &self.kind {
            NodeKind::Sequence(items) => items.as_slice(),
            _ => &[],
        };
        items.iter()
    }

    /// Whether this is a null by the core schema: nothing, `~`, `null`.
    pub fn is_null(&self) -> bool {
        resolve::is_null(self)
    }

    /// What this node is, in words: `a text`, `a number`, `a list`, …
    pub fn describe(&self) -> &'static str {
        resolve::describe(self)
    }

    /// Whether two nodes say the same in the same way, wherever they stand: styles and tags count, spans do not.
    pub fn same(&self, other: &Self) -> bool {
        self.tag == other.tag
            && match (&self.kind, &other.kind) {
                (NodeKind::Scalar { text: a, style: s }, NodeKind::Scalar { text: b, style: t }) => {
                    a == b && s == t
                }
                (NodeKind::Sequence(a), NodeKind::Sequence(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
                }
                (NodeKind::Mapping(a), NodeKind::Mapping(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|((k, v), (l, w))| k.same(l) && v.same(w))
                }
                _ => false,
            }
    }
}
