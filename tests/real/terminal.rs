//! The real binary on a pseudo-terminal, and somebody who reads and types.

use crate::condition::until;
use anyhow::{Context, Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::process::{Child, Command};

/// How long anything on the screen may take to appear, in seconds.
const PATIENCE: u64 = 60;

/// A program on a terminal. Dropping it kills the program.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// Ends when everything that was written has been read.
    reading: std::thread::JoinHandle<()>,
    /// How much of the screen has been read.
    read: usize,
}

impl Terminal {
    /// Starts a command with the terminal as its standard streams.
    pub fn start(mut command: Command) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let device = File::from(ioctl_tiocgptpeer(&master, flags)?);
        let child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::from(device.try_clone()?))
            .stdout(Stdio::from(device.try_clone()?))
            .stderr(Stdio::from(device))
            .spawn()?;
        // The command would keep the device open, and the end would never be seen.
        drop(command);
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone()?;
        let screen: Arc<Mutex<String>> = Arc::default();
        let shown = Arc::clone(&screen);
        // Ends with the last holder of the device.
        let reading = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                if let Ok(mut shown) = shown.lock() {
                    shown.push_str(&String::from_utf8_lossy(chunk.get(..count).unwrap_or_default()));
                }
            }
        });
        Ok(Self { child, keyboard, screen, reading, read: 0 })
    }

    /// Everything that was shown.
    pub fn screen(&self) -> String {
        self.screen.lock().map(|screen| screen.replace('\r', "")).unwrap_or_default()
    }

    /// Waits until a text appears after what was read before, and returns what came up to its end.
    pub async fn sees(&mut self, text: &str) -> Result<String> {
        let from = self.read;
        let (part, end) = until(&format!("{text:?} on the terminal"), PATIENCE, async || {
            let screen = self.screen();
            let rest = screen.get(from..).unwrap_or_default();
            let at = rest.find(text).with_context(|| screen.clone())?;
            Ok((rest.get(..at + text.len()).unwrap_or_default().to_owned(), from + at + text.len()))
        })
        .await?;
        self.read = end;
        Ok(part)
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) -> Result<()> {
        Ok(self.keyboard.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits for the end, and returns everything that was shown.
    pub async fn ends(mut self, code: i32) -> Result<String> {
        let end = tokio::time::timeout(std::time::Duration::from_secs(PATIENCE), self.child.wait()).await;
        let status = end.with_context(|| format!("it does not end: {}", self.screen()))??;
        // The last lines may still be on their way when the program has ended.
        until("the end of the terminal", PATIENCE, async || {
            ensure!(self.reading.is_finished(), "{}", self.screen());
            Ok(())
        })
        .await?;
        ensure!(status.code() == Some(code), "expected exit {code}, not {status}: {}", self.screen());
        Ok(self.screen())
    }
}
