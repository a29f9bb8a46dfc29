//! Watching: list, then follow, for ever.
//!
//! ```text
//!            410, lost                 ┌── end of stream: go on from the last version
//!        ┌──────────────┐              │
//!      List ──Listed──▶ Open ──200──▶ Read ── Present, Gone ──▶
//! ```
//! After a loss the next thing is always a list: only its `Listed` tells the reader that what it knows is fresh again.

use super::Connected;
use super::request::{Ask, selection_uri};
use super::send::{Failure, Lost, Patience, built, jittered, refused, root_cause};
use crate::object::ObjectRef;
use crate::object::kind::Kind;
use crate::port::{Selection, WatchEvent};
use crate::text::Clean;
use futures::Stream;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one watch request lasts. The server sends a bookmark shortly before it ends one, so going on costs nothing,
/// and a connection that died silently is noticed soon after.
const WATCH_SECONDS: u64 = 60;

/// Without any byte for so long, the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 10);

/// A stream that lasted so long was a good one, even if nothing happened.
const GOOD: Duration = Duration::from_secs(5);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest line; etcd's limit for one object is 1.5 MiB.
const LINE_LIMIT: usize = 32 * 1024 * 1024;

/// The events of a selection; the stream has no end.
pub(super) fn watch(
    cluster: Arc<Connected>,
    selection: Selection,
) -> impl Stream<Item = WatchEvent> + Send + 'static {
    let state = Watch {
        cluster,
        selection,
        queue: VecDeque::new(),
        phase: Phase::List,
        version: String::new(),
        known: BTreeSet::new(),
        failures: 0,
        lost: false,
    };
    futures::stream::unfold(state, |mut state| async move {
        loop {
            if let Some(event) = state.queue.pop_front() {
                return Some((event, state));
            }
            state.advance().await;
        }
    })
}

struct Watch {
    cluster: Arc<Connected>,
    selection: Selection,
    queue: VecDeque<WatchEvent>,
    phase: Phase,
    /// The resourceVersion to go on from.
    version: String,
    /// What the reader believes to be there.
    known: BTreeSet<ObjectRef>,
    /// Attempts in a row without anything good.
    failures: u32,
    /// Whether the reader has been told of a loss and not yet of its end.
    lost: bool,
}

enum Phase {
    List,
    Open,
    Read { body: Body, lines: Lines, since: Instant },
}

impl Watch {
    async fn advance(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::List) {
            Phase::List => self.list().await,
            Phase::Open => self.open().await,
            Phase::Read { body, lines, since } => self.read(body, lines, since).await,
        };
    }

    async fn list(&mut self) -> Phase {
        self.pause().await;
        // One attempt at a time: a loss is told at once, and this loop is the retry.
        let patience = Patience { tries: 1, ..self.cluster.patience };
        match self.cluster.list(&self.selection, patience).await {
            Ok((items, version)) => {
                let listed: BTreeSet<ObjectRef> = items.iter().filter_map(ObjectRef::of).collect();
                // Deleted while nobody watched: its end was never an event.
                let gone = self.known.difference(&listed).cloned().map(WatchEvent::Gone);
                self.queue.extend(gone);
                self.known = listed;
                self.queue.extend(items.into_iter().map(WatchEvent::Present));
                self.queue.push_back(WatchEvent::Listed);
                self.version = version;
                self.lost = false;
                Phase::Open
            }
            Err(error) => self.lose(error.to_string()),
        }
    }

    async fn open(&mut self) -> Phase {
        let kind = match self.cluster.kind(&self.selection.api_version, &self.selection.kind).await {
            Ok(kind) => kind,
            Err(error) => return self.lose(error.to_string()),
        };
        let request = match self.uri(&kind).and_then(|uri| built(&Ask::read(uri))) {
            Ok(request) => request,
            Err(error) => return self.lose(error.to_string()),
        };
        let answer =
            tokio::time::timeout(self.cluster.patience.answer, self.cluster.client.send(request)).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return self.lose(Lost::of(&error, false).error.to_string()),
            Err(_) => return self.lose("the API server did not answer".to_owned()),
        };
        if response.status().is_success() {
            return Phase::Read {
                body: response.into_body(),
                lines: Lines::default(),
                since: Instant::now(),
            };
        }
        match refused(response).await {
            Failure::Refused(status, _) if status.as_u16() == 410 => self.expired(),
            failure => self.lose(failure.error(super::request::Effect::None).to_string()),
        }
    }

    fn uri(&self, kind: &Kind) -> crate::port::ClusterResult<String> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self.version.as_str()),
            ("timeoutSeconds", seconds.as_str()),
        ];
        selection_uri(kind, &self.selection, &query)
    }

    async fn read(&mut self, mut body: Body, mut lines: Lines, since: Instant) -> Phase {
        let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return self.lose(format!("the watch broke off: {}", root_cause(&error)));
            }
            Ok(None) if !lines.is_empty() => {
                return self.lose("the watch broke off in the middle of an event".to_owned());
            }
            Ok(None) => {
                if since.elapsed() >= GOOD {
                    self.failures = 0;
                } else {
                    // A server or proxy that ends every watch at once must not be asked in a tight loop.
                    self.failures = self.failures.saturating_add(1);
                    self.pause().await;
                }
                return Phase::Open;
            }
            Err(_) => return self.lose("nothing was heard from the watch for too long".to_owned()),
        };
        let Ok(bytes) = frame.into_data() else {
            return Phase::Read { body, lines, since };
        };
        if lines.push(&bytes).is_err() {
            return self.lose("the watch sent a line without end".to_owned());
        }
        while let Some(line) = lines.next() {
            if let Some(phase) = self.line(&line) {
                return phase;
            }
        }
        Phase::Read { body, lines, since }
    }

    /// One event; a phase if the stream cannot be read on.
    fn line(&mut self, line: &[u8]) -> Option<Phase> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let Ok(mut event) = serde_json::from_slice::<Value>(line) else {
            return Some(self.lose("the watch sent something that is no event".to_owned()));
        };
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        match event.get("type").and_then(Value::as_str) {
            Some("ADDED" | "MODIFIED") => {
                self.good(&object);
                self.known.extend(ObjectRef::of(&object));
                self.queue.push_back(WatchEvent::Present(object));
            }
            Some("DELETED") => {
                self.good(&object);
                match ObjectRef::of(&object) {
                    Some(reference) => {
                        self.known.remove(&reference);
                        self.queue.push_back(WatchEvent::Gone(reference));
                    }
                    None => {
                        return Some(self.lose("the watch reported the end of an unnamed object".to_owned()));
                    }
                }
            }
            Some("BOOKMARK") => self.good(&object),
            Some("ERROR") if object.get("code").and_then(Value::as_u64) == Some(410) => {
                return Some(self.expired());
            }
            Some("ERROR") => {
                let message = object.get("message").and_then(Value::as_str).unwrap_or("no reason was given");
                return Some(self.lose(format!("the API server ended the watch: {message}")));
            }
            // An event type of the future: not ours to judge, and the version moves on with the next one.
            _ => {}
        }
        None
    }

    fn good(&mut self, object: &Value) {
        self.failures = 0;
        if let Some(version) = crate::object::resource_version(object) {
            version.clone_into(&mut self.version);
        }
    }

    /// The version is too old to go on from (410): a normal thing, and no loss; only a list can follow.
    fn expired(&mut self) -> Phase {
        self.failures = self.failures.saturating_add(1);
        Phase::List
    }

    fn lose(&mut self, cause: String) -> Phase {
        self.failures = self.failures.saturating_add(1);
        if !self.lost {
            self.lost = true;
            self.queue.push_back(WatchEvent::Lost(Clean::new(cause)));
        }
        Phase::List
    }

    async fn pause(&mut self) {
        // The first failure is answered at once: mostly it is one 410 or one connection that was cut.
        let Some(doublings) = self.failures.checked_sub(2) else { return };
        let wait = self.cluster.patience.first_wait.saturating_mul(2_u32.saturating_pow(doublings.min(16)));
        tokio::time::sleep(jittered(wait.min(LONGEST_PAUSE), self.cluster.entropy.as_ref())).await;
    }
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// How far the buffer has been searched.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ()> {
        if self.buffer.len().saturating_add(bytes.len()) > LINE_LIMIT {
            return Err(());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.get(self.searched..)?;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let length = self.searched + end + 1;
        let tail = self.buffer.split_off(length);
        let mut line = std::mem::replace(&mut self.buffer, tail);
        line.pop();
        self.searched = 0;
        Some(line)
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests;
