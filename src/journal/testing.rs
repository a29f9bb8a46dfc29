//! A store in memory, an event, and a journal written with them, for the tests of this room.

use super::{RunId, Writer};
use crate::port::Store;
use crate::text::Clean;
use async_trait::async_trait;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Note(String),
    Count { of: u64, value: f64 },
}

pub(super) fn run() -> RunId {
    RunId::parse("tracing-20261123-031500-ab12cd").unwrap()
}

/// A store whose copies share their bytes.
#[derive(Clone, Default)]
pub(super) struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    appends: Arc<Mutex<u64>>,
    fails_at: Option<u64>,
    hangs: bool,
}

impl Memory {
    pub(super) fn holding(bytes: &[u8]) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes.to_vec())), ..Self::default() }
    }

    /// Its `nth` append (from 0) writes a good half, up to the middle of a line, and fails; later ones would succeed.
    pub(super) fn failing_at(nth: u64) -> Self {
        Self { fails_at: Some(nth), ..Self::default() }
    }

    /// Its appends never return.
    pub(super) fn hanging() -> Self {
        Self { hangs: true, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(super) fn appends(&self) -> u64 {
        *self.appends.lock().unwrap()
    }
}

#[async_trait]
impl Store for Memory {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Clean> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let mut appends = self.appends.lock().unwrap();
        let fails = self.fails_at == Some(*appends);
        *appends += 1;
        let written = if fails { &bytes[..bytes.len() / 2 + 3] } else { bytes };
        self.bytes.lock().unwrap().extend_from_slice(written);
        if fails { Err(Clean::new("no space left on device")) } else { Ok(()) }
    }
}

/// The bytes of a journal with these batches, all of time 7.
pub(super) fn journal(batches: &[&[Event]]) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer = Writer::new(Box::new(memory.clone()), run());
    for batch in batches {
        writer.append(7, batch).now_or_never().unwrap().unwrap();
    }
    memory.bytes()
}
