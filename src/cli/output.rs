//! Where text goes: data to stdout, everything else to stderr, colour only where a terminal shows it.

use crate::diff::render::{Line, Mark};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// Where the output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How output looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Colour on stdout.
    pub out: bool,
    /// Colour on stderr.
    pub err: bool,
}

impl Style {
    /// The style for this process.
    pub fn new(color: Color) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let auto = |terminal: bool| match color {
            Color::Auto => terminal && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        Self { out: auto(std::io::stdout().is_terminal()), err: auto(std::io::stderr().is_terminal()) }
    }
}

/// Roles of colour: blue for what is well or new, yellow for doubt, magenta for what is against, dim for the rest.
/// Words and signs carry the meaning; colour only repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The terminal's own.
    Plain,
    /// Titles.
    Strong,
    /// Proven, added, done.
    Good,
    /// Unknown, waiting.
    Doubt,
    /// Refuted, removed, failed.
    Bad,
    /// Less important.
    Dim,
}

/// Text in its colour.
pub fn paint(text: &str, role: Role, colour: bool) -> String {
    let code = match role {
        Role::Plain => return text.to_owned(),
        Role::Strong => "1",
        Role::Good => "34",
        Role::Doubt => "33",
        Role::Bad => "35",
        Role::Dim => "2",
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A line of a diff in its colour.
pub fn paint_line(line: &Line, colour: bool) -> String {
    let role = match line.mark {
        Mark::Title => Role::Strong,
        Mark::Added => Role::Good,
        Mark::Removed => Role::Bad,
        Mark::Note => Role::Dim,
        Mark::Same => Role::Plain,
    };
    paint(line.text.as_str(), role, colour)
}

/// Why stdout was not written whole, if it was not.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes one line to stdout. A closed pipe is the reader's choice; any other failure is kept for [`lost`].
pub fn data(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(cause) = writeln!(out, "{line}").and_then(|()| out.flush())
        && cause.kind() != ErrorKind::BrokenPipe
    {
        let _ = LOST.set(cause.to_string());
    }
}

/// Why a line that was given to [`data`] did not arrive, such as a full disk.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Writes one line to stderr.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
