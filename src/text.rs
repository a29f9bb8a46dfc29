//! Foreign text, made safe once, where it enters.
//!
//! A string from a cluster, a file, a child process or a span can carry escape sequences that rewrite the operator's
//! terminal (kubectl's CVE-2021-25743). [`Clean`] is the only type that views and messages accept for such text, and
//! only this module makes one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest text that [`Clean::new`] keeps, in characters; what is longer ends in `…`.
pub const LIMIT: usize = 4096;

/// Text without control characters, bidirectional overrides or invisible characters, at most [`LIMIT`] characters.
///
/// Control characters are shown as escapes (`\x1b`, `\n` as `\n`), so nothing is lost and nothing acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Clean(String);

impl Clean {
    /// Makes foreign text safe for one line.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(sanitise(text.as_ref(), false, LIMIT))
    }

    /// Makes foreign text safe, keeping line feeds and turning tabs into blanks; up to a million characters.
    pub fn lines(text: impl AsRef<str>) -> Self {
        Self(sanitise(text.as_ref(), true, 1_000_000))
    }

    /// The safe text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Clean {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Clean {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Clean {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A journal can be edited by hand: what is read is as foreign as what came from a cluster.
        String::deserialize(deserializer).map(|text| Self(sanitise(&text, true, 1_000_000)))
    }
}

fn sanitise(text: &str, multiline: bool, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        match c {
            '\n' if multiline => out.push('\n'),
            '\t' if multiline => out.push_str("    "),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_invisible(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// C1 controls, bidirectional controls, zero-width and other format characters, line and paragraph separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(c as u32,
        0x80..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0xfeff | 0xfff9..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_shown_and_do_not_act() {
        assert_eq!(Clean::new("a\x1b]52;c;eA==\x07b\r\n").as_str(), "a\\x1b]52;c;eA==\\x07b\\r\\n");
        assert_eq!(Clean::new("\u{202e}abc\u{9b}2J").as_str(), "\\u{202e}abc\\u{9b}2J");
        assert_eq!(Clean::lines("a\n\tb").as_str(), "a\n    b");
    }

    proptest! {
        #[test]
        fn nothing_that_acts_survives(text in any::<String>()) {
            let line = Clean::new(&text);
            prop_assert!(!line.as_str().chars().any(|c| c.is_control() || is_invisible(c)));
            let lines = Clean::lines(&text);
            prop_assert!(!lines.as_str().chars().any(|c| (c.is_control() && c != '\n') || is_invisible(c)));
        }

        #[test]
        fn it_is_its_own_fixed_point(text in any::<String>()) {
            let once = Clean::new(&text);
            if text.chars().count() <= 1000 { prop_assert_eq!(&Clean::new(once.as_str()), &once); }
        }
    }
}
