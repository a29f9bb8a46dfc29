//! first-light: is a span of the application in Tempo, by id and by search, with its log line in Loki?

use super::{Finding, Judgement};
use crate::span::TraceId;
use crate::text::Clean;

/// What was found of one application so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// `service.name` of the application.
    pub service: Clean,
    /// A trace whose id stands in a log line of the application.
    pub logged: Option<TraceId>,
    /// A trace fetched by that id, and how many of its spans are the application's.
    pub by_id: Option<(TraceId, usize)>,
    /// A trace of the application that search found.
    pub by_search: Option<TraceId>,
    /// Why something could not be looked up, the latest first.
    pub troubles: Vec<Clean>,
}

impl Sighting {
    /// Whether everything was found.
    pub fn complete(&self) -> bool {
        self.logged.is_some() && self.by_id.is_some() && self.by_search.is_some()
    }
}

/// Judges a sighting; `over` says that nothing more is waited for.
pub fn judge(sighting: &Sighting) -> Judgement {
    let service = &sighting.service;
    let mut findings = Vec::new();
    let mut missing = |what: String| {
        let finding = Finding::unknown(what);
        findings.push(match sighting.troubles.first() {
            Some(trouble) => finding.hint(trouble),
            None => finding
                .hint("look whether the application gets requests, and whether its exporter reports errors"),
        });
    };
    if sighting.logged.is_none() {
        missing(format!("no log line of {service} with a trace id was found in Loki"));
    }
    if sighting.by_id.is_none() {
        missing(format!("no trace with a span of {service} was found in Tempo by id"));
    }
    if sighting.by_search.is_none() {
        missing(format!("no trace of {service} was found in Tempo by search"));
    }
    if let Some((trace, spans)) = &sighting.by_id {
        let plural = if *spans == 1 { "span" } else { "spans" };
        findings.push(Finding::proven(format!(
            "trace {trace} has {spans} {plural} of {service} in Tempo, read by id"
        )));
    }
    if let Some(trace) = &sighting.by_search {
        findings.push(Finding::proven(format!("trace {trace} of {service} was found by search")));
    }
    if let Some(trace) = &sighting.logged {
        findings.push(Finding::proven(format!("a log line of {service} in Loki carries trace id {trace}")));
    }
    Judgement::of(findings)
}
