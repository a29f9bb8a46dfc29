//! Spans, traces and the log lines that belong to them: ids, and the JSON of Tempo and Loki.
//!
//! Everything here is foreign: texts enter as [`Clean`], counts are limited, and a body that is not what the service
//! documents is an error, never an empty answer. (An empty answer is one too: Tempo's `/api/v2/traces` says 200 to any
//! id, so only spans prove anything.)

mod id;
mod loki;
mod query;
mod tempo;
mod wire;

pub use id::{IdError, SpanId, TraceId};
pub use loki::{LogLine, parse_loki, trace_id_in_log};
pub use query::{loki_query_path, quoted, search_path, trace_path};
pub use tempo::{Found, parse_search, parse_tempo_trace};

use crate::text::Clean;
use std::sync::Arc;

/// Attributes in the order of the message, values as text: strings as they are, lists and maps as JSON, bytes as base64.
pub type Attributes = Vec<(Clean, Clean)>;

/// A span's place in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// Not said.
    #[default]
    Unspecified,
    /// Work inside one application.
    Internal,
    /// The answering side of a request.
    Server,
    /// The asking side of a request.
    Client,
    /// Sends a message.
    Producer,
    /// Works on a message.
    Consumer,
}

/// What a span says of its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusCode {
    /// Nothing.
    #[default]
    Unset,
    /// Success, said on purpose.
    Ok,
    /// An error.
    Error,
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanEvent {
    /// When, in nanoseconds since the epoch; 0 if not said.
    pub at_ns: u64,
    /// Its name.
    pub name: Clean,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A pointer to another span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanLink {
    /// The other span's trace.
    pub trace: TraceId,
    /// The other span.
    pub span: SpanId,
    /// The link's attributes.
    pub attributes: Attributes,
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: Clean,
    /// `service.name` of its resource, empty if the resource has none.
    pub service: Clean,
    /// Its place in a request.
    pub kind: SpanKind,
    /// Start, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// End, in nanoseconds since the epoch.
    pub end_ns: u64,
    /// Its outcome.
    pub status: StatusCode,
    /// The message of its outcome, often empty.
    pub status_message: Clean,
    /// Its attributes.
    pub attributes: Attributes,
    /// What happened during it.
    pub events: Vec<SpanEvent>,
    /// Where it points to.
    pub links: Vec<SpanLink>,
    /// Attributes of its resource, shared among the spans of one resource.
    pub resource: Arc<Attributes>,
}

impl Span {
    /// How long it took, in nanoseconds; 0 where the end lies before the start.
    pub fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// The spans of one trace, as far as the service has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id; `None` where there is no span to say it.
    pub id: Option<TraceId>,
    /// The spans, by start and then by id.
    pub spans: Vec<Span>,
    /// How many spans were passed over: without a valid id or start, or beyond the limit.
    pub passed_over: usize,
    /// The service's own word that this is not all of it.
    pub partial: Option<Clean>,
}

impl Trace {
    /// The earliest span without a parent in this trace.
    pub fn root(&self) -> Option<&Span> {
        self.spans.iter().find(|span| span.parent.is_none())
    }

    /// The spans whose parent is not (yet) in this trace.
    pub fn orphans(&self) -> impl Iterator<Item = &Span> {
        let known: std::collections::BTreeSet<SpanId> = self.spans.iter().map(|span| span.id).collect();
        self.spans.iter().filter(move |span| span.parent.is_some_and(|parent| !known.contains(&parent)))
    }
}
