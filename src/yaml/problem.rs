//! What is wrong with a text, where, and what to do about it.

use super::{Source, Span};
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The widest part of a line that a snippet shows, in characters.
const WIDTH: usize = 88;

/// One problem of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name of the text; empty as long as [`Problem::in_source`] has not been called.
    pub source: Clean,
    /// Where.
    pub span: Span,
    /// What: a lowercase fragment that names the thing.
    pub message: Clean,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<Clean>,
    /// The line in question.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snippet: Option<Box<Snippet>>,
}

/// The line of a problem, cut to a readable width, with the part in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// The line or a part of it.
    pub text: Clean,
    /// Characters of `text` before the part in question.
    pub offset: usize,
    /// Characters of the part in question, at least 1.
    pub width: usize,
}

impl Problem {
    /// A problem at a place of a text that [`Problem::in_source`] has yet to name.
    pub fn new(span: Span, message: impl AsRef<str>) -> Self {
        Self { source: Clean::default(), span, message: Clean::new(message), hint: None, snippet: None }
    }

    /// The same problem with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(Clean::new(hint));
        self
    }

    /// The same problem with `did you mean …?`, where a known word is near; else with the list of the known words.
    #[must_use]
    pub fn known<'c>(self, word: &str, known: impl IntoIterator<Item = &'c str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match super::nearest(word, known.iter().copied()) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => self,
            None => {
                let shown: Vec<String> = known.iter().take(24).map(|word| format!("`{word}`")).collect();
                let rest = if known.len() > shown.len() { ", …" } else { "" };
                self.hint(format!("known: {}{rest}", shown.join(", ")))
            }
        }
    }

    /// The same problem with the name of its text and the line in question.
    #[must_use]
    pub fn in_source(mut self, source: &Source) -> Self {
        self.source = source.name.clone();
        self.snippet = Snippet::of(&source.text, self.span).map(Box::new);
        self
    }

    /// The same problem without the line in question, which may hold what must not be shown.
    #[must_use]
    pub fn without_snippet(mut self) -> Self {
        self.snippet = None;
        self
    }

    /// `name:line:column: message`, the first line of what [`fmt::Display`] writes.
    pub fn headline(&self) -> String {
        let name = if self.source.as_str().is_empty() { String::new() } else { format!("{}:", self.source) };
        format!("{name}{}:{}: {}", self.span.line, self.span.column, self.message)
    }
}

impl Snippet {
    fn of(text: &str, span: Span) -> Option<Self> {
        let start = span.start.min(text.len());
        let before = text.get(..start)?;
        let line_start = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
        let after = text.get(start..)?;
        let line_end = after.find(['\n', '\r']).map_or(text.len(), |at| start + at);
        let line = text.get(line_start..line_end)?.trim_end();
        if line.trim_start_matches('\u{feff}').is_empty() {
            return None;
        }
        let marked_end = span.end.clamp(start, line_end);
        // Control characters become escapes, which are wider: each part is made safe on its own.
        let (lead, marked, tail) = (
            text.get(line_start..start)?,
            text.get(start..marked_end)?,
            text.get(marked_end..line_end)?.trim_end(),
        );
        let lead: String = safe(lead.trim_start_matches('\u{feff}'));
        let (marked, tail) = (safe(marked), safe(tail));
        let lead_length = lead.chars().count();
        let width = marked.chars().count().clamp(1, WIDTH / 2);
        let skip = (lead_length + width).saturating_sub(WIDTH);
        let mut shown: String =
            lead.chars().skip(skip).chain(marked.chars()).chain(tail.chars()).take(WIDTH).collect();
        if lead_length + marked.chars().count() + tail.chars().count() > skip + WIDTH {
            shown.push('…');
        }
        let mut offset = lead_length - skip.min(lead_length);
        if skip > 0 {
            shown.insert(0, '…');
            offset += 1;
        }
        Some(Self { text: Clean::new(shown), offset, width })
    }
}

/// One line made safe, tabs as one blank so that the caret stands right.
fn safe(text: &str) -> String {
    Clean::new(text.replace('\t', " ")).as_str().to_owned()
}

impl fmt::Display for Problem {
    /// Like rustc: the headline, the line in question with carets below the part, the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        let number = self.span.line.to_string();
        let margin = " ".repeat(number.len());
        if let Some(snippet) = &self.snippet {
            write!(f, "\n  {number} | {}", snippet.text)?;
            write!(f, "\n  {margin} | {}{}", " ".repeat(snippet.offset), "^".repeat(snippet.width))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    #[test]
    fn it_reads_like_a_compiler() {
        let source = Source::new("plans/x.yaml", "plan: x\nphases:\n  - phasse: one\n");
        let span = Span { start: 20, end: 26, line: 3, column: 5 };
        let problem =
            Problem::new(span, "unknown key `phasse`").known("phasse", ["phase", "steps"]).in_source(&source);
        assert_snapshot!(problem, @"
        plans/x.yaml:3:5: unknown key `phasse`
          3 |   - phasse: one
            |     ^^^^^^
          hint: did you mean `phase`?
        ");
    }

    #[test]
    fn long_and_hostile_lines_are_cut_and_made_safe() {
        let text = format!("{}\u{1b}]52;c\u{7}{}", "a".repeat(300), "b".repeat(300));
        let span = Span { start: 300, end: 301, line: 1, column: 301 };
        let problem = Problem::new(span, "no").in_source(&Source::new("x\u{1b}", text));
        let shown = problem.to_string();
        assert!(!shown.contains('\u{1b}') && shown.lines().all(|line| line.chars().count() < 100), "{shown}");
        assert!(shown.contains("…") && shown.contains("\\x1b"));
    }

    proptest! {
        #[test]
        fn any_place_of_any_text_can_be_shown(text in any::<String>(), start in 0usize..40, end in 0usize..40) {
            let problem = Problem::new(Span { start, end, line: 1, column: 1 }, "no").in_source(&Source::new("x", text));
            prop_assert!(!problem.to_string().is_empty());
        }
    }
}
