//! The simulated API server: one request in, one answer out, over whatever carries them.

use super::answer::{Body, Refusal};
use super::clock::SimClock;
use super::network::Running;
use super::store::Store;
use http::{Request, Response};
use hyper::body::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The connection broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection reset by peer")]
pub struct Reset;

/// The API server.
pub struct Server {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
    clock: SimClock,
    running: Arc<Running>,
}

impl Server {
    /// A server over a store.
    pub fn new(store: Store, clock: SimClock) -> Arc<Self> {
        let (changed, _) = watch::channel(store.version());
        Arc::new(Self { store: Mutex::new(store), changed, clock, running: Arc::default() })
    }

    /// Answers a request. The body of a watch goes on until the client drops it or its time is over.
    ///
    /// # Errors
    /// A fault broke the connection, before or after the request was carried out.
    pub async fn handle(self: Arc<Self>, _request: Request<Bytes>) -> Result<Response<Body>, Reset> {
        Ok(Refusal::no_such_path().response())
    }

    /// The objects, for the controllers of the rehearsal and for tests. Nothing may be awaited while they are held.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// The programs in pods.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Tells watches and controllers that the store has changed.
    pub fn announce(&self) {
        let version = self.store().version();
        self.changed.send_replace(version);
    }

    /// The version of the newest change, now and later.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a pod of this name runs.
    pub fn pod_runs(&self, _namespace: &str, _pod: &str) -> bool {
        false
    }

    /// (namespace, pod, port) of a ready pod behind a host name.
    ///
    /// # Errors
    /// A sentence as Go programs say it.
    pub fn resolve(&self, _namespace: &str, host: &str, _port: u16) -> Result<(String, String, u16), String> {
        Err(format!("dial tcp: lookup {host}: no such host"))
    }
}
