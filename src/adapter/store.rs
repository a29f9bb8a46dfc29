//! The state directory: the key of the fingerprints, and one journal file per run.
//!
//! ```text
//! DIR/          0700, the operator's own
//! DIR/key       0600, 32 random bytes
//! DIR/lock      0600, empty; held while the key is made
//! DIR/runs/     0700
//! DIR/runs/RUN.jsonl  0600, append-only, locked by the process that writes it
//! ```
//! Everybody who can read these files can read object names and diffs, so a directory that others can enter is refused.

mod file;

pub use file::FileStore;

use crate::text::Clean;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the environment variable that names the state directory.
pub const VARIABLE: &str = "FIRSTLIGHT_STATE_DIR";

/// Bytes of the key.
const KEY_LENGTH: usize = 32;

/// Extension of a run's file.
const EXTENSION: &str = "jsonl";

/// Why the state directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Neither a path nor an environment variable says where it is.
    #[error(
        "there is no place for the state directory: neither {VARIABLE} nor XDG_STATE_HOME nor HOME is set"
    )]
    NoPlace,
    /// Others can read or enter it, or it belongs to somebody else.
    #[error("{path} {what}")]
    Exposed {
        /// The directory or file.
        path: Clean,
        /// What is wrong with it.
        what: Clean,
    },
    /// It is not what it should be: a file where a directory belongs, a key of a wrong length.
    #[error("{path} {what}")]
    Damaged {
        /// The directory or file.
        path: Clean,
        /// What is wrong with it.
        what: Clean,
    },
    /// A run's name that no file may have.
    #[error("{0:?} is not the name of a run")]
    NotARun(String),
    /// There is no journal of this run.
    #[error("there is no run {0}")]
    NoSuchRun(Clean),
    /// There is one already.
    #[error("run {0} exists already")]
    RunExists(Clean),
    /// Another process writes it.
    #[error("another firstlight has run {0} open")]
    Locked(Clean),
    /// The file system refused.
    #[error("{path}: could not {action}: {cause}")]
    Io {
        /// The directory or file.
        path: Clean,
        /// `create the directory`, `open`, …
        action: &'static str,
        /// The system's word for it.
        cause: Clean,
    },
}

impl StoreError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlace | Self::Io { .. } => {
                Some(format!("set {VARIABLE} to a directory of your own that can be written"))
            }
            Self::Exposed { path, .. } => {
                Some(format!("chmod -R go= {path}, or set {VARIABLE} to another directory"))
            }
            Self::Damaged { path, .. } => {
                Some(format!("move {path} away, or set {VARIABLE} to another directory"))
            }
            Self::Locked(_) => Some("wait for it, or end it".to_owned()),
            Self::NotARun(_) | Self::NoSuchRun(_) => Some("`firstlight runs` lists the runs".to_owned()),
            Self::RunExists(_) => None,
        }
    }

    fn io(path: &Path, action: &'static str, cause: &io::Error) -> Self {
        Self::Io { path: shown(path), action, cause: Clean::new(cause.to_string()) }
    }
}

fn shown(path: &Path) -> Clean {
    Clean::new(path.to_string_lossy())
}

/// The state directory of one operator on this machine.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the state directory, and creates it if it is not there.
    ///
    /// It is `path`, else `$FIRSTLIGHT_STATE_DIR`, else `$XDG_STATE_HOME/firstlight`, else
    /// `~/.local/state/firstlight` (XDG Base Directory Specification 0.8).
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be created, belongs to somebody else or is open to others.
    pub fn open(path: Option<PathBuf>) -> Result<Self, StoreError> {
        let path = match path {
            Some(path) => path,
            None => place(|name| std::env::var_os(name)).ok_or(StoreError::NoPlace)?,
        };
        private_directory(&path)?;
        private_directory(&path.join("runs"))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of the fingerprints, made at the first call.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or made, when others can read it, or when it is damaged.
    pub fn key(&self) -> Result<[u8; KEY_LENGTH], StoreError> {
        let path = self.path.join("key");
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        // Two processes that start at once must end up with the same key: one makes it, the other waits and reads.
        let lock_path = self.path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|cause| StoreError::io(&lock_path, "open", &cause))?;
        lock.lock().map_err(|cause| StoreError::io(&lock_path, "lock", &cause))?;
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        let mut key = [0; KEY_LENGTH];
        getrandom::fill(&mut key).map_err(|cause| StoreError::Io {
            path: shown(&path),
            action: "make the key",
            cause: Clean::new(cause.to_string()),
        })?;
        self.write_key(&path, &key).map_err(|cause| StoreError::io(&path, "write", &cause))?;
        Ok(key)
    }

    /// Complete or not at all: under another name first, so that a crash leaves no half key behind.
    fn write_key(&self, path: &Path, key: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join("key.new");
        // A leftover of a crash; the lock is ours.
        match fs::remove_file(&unfinished) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(key)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(&self.path)?.sync_all()
    }

    /// Creates the journal file of a new run and locks it.
    ///
    /// # Errors
    /// [`StoreError::RunExists`], or [`StoreError::Io`] for a full disk or a read-only directory.
    pub fn create_run(&self, run: &str) -> Result<FileStore, StoreError> {
        let path = self.run_path(run)?;
        let file =
            OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path).map_err(
                |cause| match cause.kind() {
                    io::ErrorKind::AlreadyExists => StoreError::RunExists(Clean::new(run)),
                    _ => StoreError::io(&path, "create", &cause),
                },
            )?;
        let store = FileStore::lock(file, &path, run)?;
        // The name must outlive a crash as well as the bytes.
        let runs = self.path.join("runs");
        File::open(&runs)
            .and_then(|directory| directory.sync_all())
            .map_err(|cause| StoreError::io(&runs, "make the new run durable", &cause))?;
        Ok(store)
    }

    /// Opens the journal file of an earlier run for appending, and locks it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRun`], [`StoreError::Locked`], or [`StoreError::Io`].
    pub fn open_run(&self, run: &str) -> Result<FileStore, StoreError> {
        let path = self.run_path(run)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|cause| missing_or(&path, run, "open", &cause))?;
        FileStore::lock(file, &path, run)
    }

    /// The bytes of a run's journal, which another process may be writing.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRun`] or [`StoreError::Io`].
    pub fn read_run(&self, run: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.run_path(run)?;
        fs::read(&path).map_err(|cause| missing_or(&path, run, "read", &cause))
    }

    /// Whether a process has the run open for writing.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRun`] or [`StoreError::Io`].
    pub fn is_open_elsewhere(&self, run: &str) -> Result<bool, StoreError> {
        match self.open_run(run) {
            Ok(_) => Ok(false),
            Err(StoreError::Locked(_)) => Ok(true),
            Err(cause) => Err(cause),
        }
    }

    /// The names of all runs, sorted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn list_runs(&self) -> Result<Vec<String>, StoreError> {
        let runs = self.path.join("runs");
        let fail = |cause: io::Error| StoreError::io(&runs, "list the runs", &cause);
        let mut names = Vec::new();
        for entry in fs::read_dir(&runs).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            if let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
                && is_run_name(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn run_path(&self, run: &str) -> Result<PathBuf, StoreError> {
        if !is_run_name(run) {
            return Err(StoreError::NotARun(Clean::new(run).as_str().to_owned()));
        }
        Ok(self.path.join("runs").join(format!("{run}.{EXTENSION}")))
    }
}

/// Letters, digits, `-`, `_` and `.`, not beginning with a dot or a dash: no path and no option can hide in it.
fn is_run_name(run: &str) -> bool {
    !run.is_empty()
        && run.len() <= 128
        && !run.starts_with(['.', '-'])
        && run.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn missing_or(path: &Path, run: &str, action: &'static str, cause: &io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::NotFound => StoreError::NoSuchRun(Clean::new(run)),
        _ => StoreError::io(path, action, cause),
    }
}

/// Where the state directory is, by the environment. Relative paths in XDG_STATE_HOME are ignored, as the
/// specification asks.
fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(VARIABLE)
        .or_else(|| {
            set("XDG_STATE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("firstlight"))
        })
        .or_else(|| {
            set("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".local/state/firstlight"))
        })
}

/// Creates a directory of mode 0700 if it is missing, and refuses one that others can enter.
fn private_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| StoreError::io(path, "create the directory", &cause))?;
    let metadata = fs::metadata(path).map_err(|cause| StoreError::io(path, "look at it", &cause))?;
    if !metadata.is_dir() {
        return Err(StoreError::Damaged { path: shown(path), what: Clean::new("is not a directory") });
    }
    refuse_exposed(path, &metadata)
}

fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let exposed = |what: String| StoreError::Exposed { path: shown(path), what: Clean::new(what) };
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(exposed(format!("belongs to user {}, not to user {ours}", metadata.uid())));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(exposed(format!("is open to others (mode {:04o})", metadata.mode() & 0o7777)));
    }
    Ok(())
}

/// The key, or `None` if there is no file.
fn read_key(path: &Path) -> Result<Option<[u8; KEY_LENGTH]>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(StoreError::io(path, "open", &cause)),
    };
    let metadata = file.metadata().map_err(|cause| StoreError::io(path, "look at it", &cause))?;
    refuse_exposed(path, &metadata)?;
    let mut bytes = Vec::with_capacity(KEY_LENGTH);
    // One byte more than it may have tells a longer file from a right one.
    let limit = u64::try_from(KEY_LENGTH).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|cause| StoreError::io(path, "read", &cause))?;
    <[u8; KEY_LENGTH]>::try_from(bytes.as_slice()).map(Some).map_err(|_| StoreError::Damaged {
        path: shown(path),
        what: Clean::new(format!("is not a key: it does not have {KEY_LENGTH} bytes")),
    })
}

#[cfg(test)]
mod tests;
