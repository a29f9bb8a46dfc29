//! The Collector's own metrics: those that a proof may read (opentelemetry-collector documentation.md of each part).

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What was counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By name and labels.
    counts: BTreeMap<(&'static str, String), usize>,
}

impl Counters {
    fn add(&mut self, name: &'static str, labels: String, spans: usize) {
        *self.counts.entry((name, labels)).or_default() += spans;
    }

    fn receiver(&mut self, transport: &str, accepted: usize, refused: usize) {
        let labels = format!("receiver=\"otlp\",transport=\"{transport}\"");
        self.add("otelcol_receiver_accepted_spans_total", labels.clone(), accepted);
        self.add("otelcol_receiver_refused_spans_total", labels, refused);
    }

    pub(super) fn accepted(&mut self, transport: &str, spans: usize) {
        self.receiver(transport, spans, 0);
    }

    pub(super) fn refused(&mut self, transport: &str, spans: usize) {
        self.receiver(transport, 0, spans);
        self.add("otelcol_processor_refused_spans_total", "processor=\"memory_limiter\"".to_owned(), spans);
    }

    fn exporter(&mut self, id: &str, sent: usize, failed: usize) {
        let labels = format!("exporter=\"{id}\"");
        self.add("otelcol_exporter_sent_spans_total", labels.clone(), sent);
        self.add("otelcol_exporter_send_failed_spans_total", labels, failed);
    }

    pub(super) fn sent(&mut self, id: &str, spans: usize) {
        self.exporter(id, spans, 0);
    }

    pub(super) fn send_failed(&mut self, id: &str, spans: usize) {
        self.exporter(id, 0, spans);
    }

    pub(super) fn enqueue_failed(&mut self, id: &str, spans: usize) {
        self.add("otelcol_exporter_enqueue_failed_spans_total", format!("exporter=\"{id}\""), spans);
    }

    /// The text that Prometheus reads. A counter appears with its first event.
    pub(super) fn text(&self, queues: &BTreeMap<&str, usize>, capacity: usize) -> String {
        let mut out = String::new();
        let mut last = "";
        for ((name, labels), count) in &self.counts {
            if *name != last {
                let _ = writeln!(out, "# TYPE {name} counter");
                last = name;
            }
            let _ = writeln!(out, "{name}{{{labels}}} {count}");
        }
        for (name, value) in
            [("otelcol_exporter_queue_capacity", None), ("otelcol_exporter_queue_size", Some(()))]
        {
            let _ = writeln!(out, "# TYPE {name} gauge");
            for (id, queued) in queues {
                let _ = writeln!(
                    out,
                    "{name}{{data_type=\"traces\",exporter=\"{id}\"}} {}",
                    value.map_or(capacity, |()| *queued)
                );
            }
        }
        out
    }
}
