//! One run's journal file, open for appending.

use super::{StoreError, shown};
use crate::adapter::boundary::boundary;
use crate::port::Store;
use crate::text::Clean;
use async_trait::async_trait;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An append-only file, locked for this process until it is dropped.
///
/// After any error, and after an append that was given up half way, every later append fails: what the file holds is
/// not known then, and a failed fsync must not be tried again (the kernel may have dropped the pages and would report
/// success; PostgreSQL's "fsyncgate", 2018).
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// `None` while an append runs and after one failed.
    file: Option<File>,
    /// A second handle of the same open file: it keeps the lock while `file` is with a worker thread, or lost.
    lock: File,
    failure: Option<Clean>,
}

impl FileStore {
    /// Locks an open file. The lock is advisory (flock) and ends with the process, however it ends.
    pub(super) fn lock(file: File, path: &Path, run: &str) -> Result<Self, StoreError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(Clean::new(run))),
            Err(TryLockError::Error(cause)) => return Err(StoreError::io(path, "lock", &cause)),
        }
        let lock = file.try_clone().map_err(|cause| StoreError::io(path, "lock", &cause))?;
        Ok(Self { path: path.to_owned(), file: Some(file), lock, failure: None })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that is in the file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.lock
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.lock.read_to_end(&mut bytes))
            .map_err(|cause| StoreError::io(&self.path, "read", &cause))?;
        Ok(bytes)
    }

    /// Cuts a torn tail off, durably: the file has `length` bytes afterwards.
    ///
    /// # Errors
    /// [`StoreError::Io`]; also when the file is shorter than that.
    pub fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        let cut = |file: &File| {
            if file.metadata()?.len() < length {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is shorter than that"));
            }
            file.set_len(length)?;
            file.sync_all()
        };
        cut(&self.lock).map_err(|cause| {
            let failure = StoreError::io(&self.path, "cut the torn tail off", &cause);
            self.file = None;
            self.failure = Some(Clean::new(failure.to_string()));
            failure
        })
    }

    fn fail(&mut self, cause: &str) -> Clean {
        let failure = Clean::new(format!("{}: could not write: {cause}", shown(&self.path)));
        self.failure = Some(failure.clone());
        failure
    }
}

#[async_trait]
impl Store for FileStore {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Clean> {
        let Some(mut file) = self.file.take() else {
            return Err(self.failure.clone().unwrap_or_else(|| {
                Clean::new(format!("{}: an earlier write was given up half way", shown(&self.path)))
            }));
        };
        boundary().await;
        let bytes = bytes.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            file.write_all(&bytes)?;
            file.sync_data()?;
            Ok::<_, io::Error>(file)
        })
        .await;
        match written {
            Ok(Ok(file)) => {
                boundary().await;
                self.file = Some(file);
                Ok(())
            }
            Ok(Err(cause)) => Err(self.fail(&cause.to_string())),
            Err(_) => Err(self.fail("the program is ending")),
        }
    }
}
