//! A home of its own for the binary: nothing of the tester's surroundings is inherited.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A temporary home, and the environment that a run of the binary sees.
pub struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run of the binary left behind.
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Home {
    /// An empty home.
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), variables: Vec::new() }
    }

    /// The same home with an environment variable set, or set to something else.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below it and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A command of the binary. A shell limits its memory and CPU time first, so that a test ends where the program
    /// would not.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("ulimit -v 1048576; ulimit -t 20; exec \"$0\" \"$@\"")
            .arg(env!("CARGO_BIN_EXE_firstlight"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.said(&self.command(arguments).output().unwrap())
    }

    /// What an output says; the home's own path is written as `~`.
    pub fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("the output is UTF-8");
            text.replace(&self.path().display().to_string(), "~")
        };
        let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        Said { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// Everything, for a snapshot.
    pub fn all(&self) -> String {
        let part = |name: &str, text: &str| {
            if text.is_empty() { String::new() } else { format!("{name}\n{}\n", text.trim_end()) }
        };
        format!("{}{}exit {}", part("--- stdout", &self.out), part("--- stderr", &self.err), self.code)
    }

    /// Asserts that no byte of either stream acts on a terminal.
    #[track_caller]
    pub fn assert_harmless(&self) {
        for text in [&self.out, &self.err] {
            let acts = |c: &char| {
                (c.is_control() && *c != '\n')
                    || matches!(*c as u32, 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f)
            };
            assert_eq!(text.chars().find(acts), None, "{text:?}");
        }
    }
}
