//! The node's log agent: it takes the lines of pods to Loki.

use super::LogLine;
use crate::rehearsal::telemetry::{Network, http_url};
use crate::text::Clean;
use http::{Method, header};
use hyper::body::Bytes;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};

/// Lines that wait while Loki cannot be reached; then the oldest go.
const WAITING: usize = 10_000;

/// Takes the lines of one pod to Loki.
#[derive(Clone, Debug)]
pub struct LogAgent {
    url: String,
    labels: BTreeMap<String, String>,
    waiting: VecDeque<LogLine>,
    lost: usize,
}

impl LogAgent {
    /// An agent that writes to `url` (`http://loki.monitoring.svc:3100/loki/api/v1/push`), with these labels.
    pub fn new(url: impl Into<String>, labels: BTreeMap<String, String>) -> Self {
        Self { url: url.into(), labels, waiting: VecDeque::new(), lost: 0 }
    }

    /// Lines that were lost because Loki did not take them in time, or refused them.
    pub fn lost(&self) -> usize {
        self.lost
    }

    /// Sends these lines and what waited before them.
    ///
    /// # Errors
    /// Why nothing was sent; what can be sent later is kept.
    pub fn ship(&mut self, lines: Vec<LogLine>, network: &dyn Network) -> Result<(), Clean> {
        self.waiting.extend(lines);
        while self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (host, port, path) = http_url(&self.url)?;
        let (service, port) = network.reach(host, port)?;
        let values: Vec<_> =
            self.waiting.iter().map(|line| json!([line.at_ns.to_string(), line.text])).collect();
        let body = json!({ "streams": [{ "stream": self.labels, "values": values }] });
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .map_err(|error| Clean::new(error.to_string()))?;
        let answer = service.handle(port, &request);
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            self.waiting.clear();
            return Ok(());
        }
        if status < 500 && status != 429 {
            // Refused as they are: the same lines would be refused again.
            self.lost += self.waiting.len();
            self.waiting.clear();
        }
        let said = String::from_utf8_lossy(answer.body());
        Err(Clean::new(format!("POST {}: {} {}", self.url, answer.status(), said.trim())))
    }
}
