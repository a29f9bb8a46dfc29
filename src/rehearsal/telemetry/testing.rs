//! What the tests of this room share: a clock that is set, a network of named services, requests.

use super::{Network, Request, Response, Service};
use crate::port::Clock;
use crate::text::Clean;
use async_trait::async_trait;
use hyper::body::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// 2026-11-22T22:15:00Z
pub(in crate::rehearsal) const EPOCH: u64 = 1_795_385_700_000;

pub(in crate::rehearsal) struct SetClock(AtomicU64);

impl SetClock {
    pub(in crate::rehearsal) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(EPOCH)))
    }

    pub(in crate::rehearsal) fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SetClock {
    fn wall(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn boot(&self) -> Duration {
        Duration::from_millis(self.wall() - EPOCH)
    }
    async fn sleep(&self, duration: Duration) {
        self.pass(u64::try_from(duration.as_millis()).unwrap());
    }
}

#[derive(Default)]
pub(in crate::rehearsal) struct Names(Mutex<BTreeMap<String, Arc<dyn Service>>>);

impl Names {
    pub(in crate::rehearsal) fn put(&self, host: &str, service: Arc<dyn Service>) {
        self.0.lock().unwrap().insert(host.to_owned(), service);
    }
}

impl Network for Names {
    fn reach(&self, host: &str, port: u16) -> Result<(Arc<dyn Service>, u16), Clean> {
        let services = self.0.lock().unwrap();
        let service = services.get(host).ok_or_else(|| Clean::new(format!("lookup {host}: no such host")))?;
        if !service.listens_outside(port) {
            return Err(Clean::new(format!("dial {host}:{port}: connection refused")));
        }
        Ok((Arc::clone(service), port))
    }
}

pub(in crate::rehearsal) fn get(uri: &str) -> Request {
    http::Request::get(uri).body(Bytes::new()).unwrap()
}

pub(in crate::rehearsal) fn post(uri: &str, body: &Value) -> Request {
    let request = http::Request::post(uri).header("content-type", "application/json");
    request.body(Bytes::from(body.to_string())).unwrap()
}

/// Status and text.
pub(in crate::rehearsal) fn said(response: &Response) -> (u16, String) {
    (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
}

/// The JSON of a good answer.
pub(in crate::rehearsal) fn read(response: &Response) -> Value {
    let (status, text) = said(response);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}
