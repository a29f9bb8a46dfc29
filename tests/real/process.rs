//! Child processes of the harness: each ends by the handle that started it, and its output is kept.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::process::{Child, Command};

/// The folder that holds the built component programs.
fn programs() -> Result<PathBuf> {
    let cache = match std::env::var_os("FIRSTLIGHT_COMPONENTS") {
        Some(folder) => PathBuf::from(folder),
        None => match std::env::var_os("XDG_CACHE_HOME") {
            Some(cache) => PathBuf::from(cache).join("firstlight/components"),
            None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?)
                .join(".cache/firstlight/components"),
        },
    };
    Ok(cache.join("bin"))
}

/// The path of a component's program. A missing one fails the test: nothing is skipped.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = programs()?.join(name);
    anyhow::ensure!(
        path.is_file(),
        "{name} is not built ({} is missing); run .ci/components",
        path.display()
    );
    Ok(path)
}

/// Has the kernel end a child when its parent is killed; on systems without it a killed test leaves its children.
const SETPRIV: &str = "/usr/bin/setpriv";

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with a minimal environment; its output goes to `NAME.log` in `folder`.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let child = command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it and waits until it is gone.
    pub async fn stop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill().await;
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The end of its output, headed by its name.
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(15);
        format!("--- {}\n{}\n", self.name, lines.get(from..).unwrap_or_default().join("\n"))
    }

    /// Whether it ended because somebody else took its port.
    pub fn lost_its_port(&self) -> bool {
        self.tail().contains("address already in use")
    }
}

/// A port of the loopback interface that was free just now, another one at each call. Somebody may take it before it is
/// used: callers try again. It lies below the range from which the kernel gives ports to outgoing connections
/// (`net.ipv4.ip_local_port_range` begins at 32768), or any connection of the tests could be that somebody.
pub fn free_port() -> Result<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Other processes of the tests begin elsewhere.
    let begin =
        || AtomicU16::new(u16::try_from(RandomState::new().build_hasher().finish() % PORTS).unwrap_or(0));
    for _ in 0..PORTS {
        let offset = u64::from(NEXT.get_or_init(begin).fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = 20_000 + u16::try_from(offset)?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of the loopback interface is free")
}

/// How many ports [`free_port`] tries.
const PORTS: u64 = 12_000;
