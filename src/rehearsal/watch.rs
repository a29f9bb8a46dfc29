//! Watches: the history from a version on, as a body that goes on.

use super::answer::{Body, Refusal};
use super::api::Server;
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Change, Happened};
use super::value::map;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a watch lasts when the client does not say; the real server takes between 30 and 60 minutes.
const LONGEST: u64 = 1800;

/// How often a bookmark is sent to who asked for them (apiserver pkg/storage/cacher/cacher.go, about once a minute, and
/// shortly before the end).
const BOOKMARK: Duration = Duration::from_secs(60);

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Resource.
    pub resource: &'static Resource,
    /// Namespace, none for all.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// From which version on; empty or `0` begins with what is there.
    pub version: String,
    /// How long.
    pub seconds: Option<u64>,
}

/// The events of one watch.
struct Events {
    server: Arc<Server>,
    watch: Watch,
    position: u64,
    changed: watch::Receiver<u64>,
    queue: VecDeque<Value>,
    ends: Duration,
    bookmark: Duration,
    over: bool,
}

/// Answers a watch.
///
/// # Errors
/// 410: the version is too old, or of another life; 400: it is none.
pub fn stream(server: &Arc<Server>, watch: Watch) -> Result<Response<Body>, Refusal> {
    let mut queue = VecDeque::new();
    let store = server.store();
    let position = match watch.version.as_str() {
        "" | "0" => {
            for (_, object) in store.list(watch.resource, watch.namespace.as_deref()) {
                if watch.selector.matches(object) {
                    queue.push_back(event("ADDED", object));
                }
            }
            store.version()
        }
        version => {
            let version: u64 = version
                .parse()
                .map_err(|_| Refusal::bad_request(format!("invalid resource version {version:?}")))?;
            if store.since(version).is_none() {
                return Err(Refusal::expired(version, store.version()));
            }
            version
        }
    };
    drop(store);
    let now = server.clock().elapsed();
    let cut = server.faults().watch_lasts();
    let seconds = cut.unwrap_or_else(|| watch.seconds.unwrap_or(LONGEST).min(LONGEST));
    let events = Events {
        server: server.clone(),
        changed: server.versions(),
        watch,
        position,
        queue,
        ends: now + Duration::from_secs(seconds),
        bookmark: now + BOOKMARK.min(Duration::from_secs(seconds.saturating_sub(1).max(1))),
        over: false,
    };
    let stream = futures::stream::unfold(events, |mut events| async move {
        let mut line = events.next().await?.to_string();
        line.push('\n');
        Some((Ok(Frame::data(Bytes::from(line))), events))
    });
    let body: Body = UnsyncBoxBody::new(StreamBody::new(stream).boxed_unsync());
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            self.changed.borrow_and_update();
            self.read();
            if !self.queue.is_empty() || self.over {
                continue;
            }
            let clock = *self.server.clock();
            let bookmark = if self.watch.bookmarks { self.bookmark } else { Duration::MAX };
            tokio::select! {
                biased;
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = clock.sleep_until(self.ends.min(bookmark)) => {
                    let now = clock.elapsed();
                    if now >= bookmark {
                        self.bookmark = now + BOOKMARK;
                        return Some(self.bookmark());
                    }
                    if now >= self.ends {
                        return None;
                    }
                }
            }
        }
    }

    fn bookmark(&self) -> Value {
        let object = json!({
            "kind": self.watch.resource.kind, "apiVersion": self.watch.resource.api_version(),
            "metadata": {"resourceVersion": self.position.to_string()},
        });
        event("BOOKMARK", &object)
    }

    /// Takes in what happened since the last look.
    fn read(&mut self) {
        let store = self.server.store();
        let Some(changes) = store.since(self.position) else {
            let status = Refusal::expired(self.position, store.version()).status();
            self.queue.push_back(event("ERROR", &status));
            self.over = true;
            return;
        };
        for change in changes {
            let here = change.key.resource == self.watch.resource
                && self.watch.namespace.as_ref().is_none_or(|namespace| *namespace == change.key.namespace);
            if let Some(event) = here.then(|| seen(&self.watch.selector, change)).flatten() {
                self.queue.push_back(event);
            }
        }
        self.position = store.version();
    }
}

/// A change as a selector sees it: an object that comes into its view is added, one that leaves it is deleted.
fn seen(selector: &Selector, change: &Change) -> Option<Value> {
    let now = change.happened != Happened::Deleted && selector.matches(&change.object);
    let before = change.before.as_ref().is_some_and(|before| selector.matches(before));
    match (before, now) {
        (false, true) => Some(event("ADDED", &change.object)),
        (true, true) => Some(event("MODIFIED", &change.object)),
        (true, false) => {
            let mut last = change.before.as_deref().cloned().unwrap_or_default();
            let version = Value::from(change.version.to_string());
            map(map(&mut last).entry("metadata").or_insert(Value::Null))
                .insert("resourceVersion".to_owned(), version);
            let last = if change.happened == Happened::Deleted { Value::clone(&change.object) } else { last };
            Some(event("DELETED", &last))
        }
        (false, false) => None,
    }
}
