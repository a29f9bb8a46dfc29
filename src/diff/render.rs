//! Differences for people: like a YAML diff, with every secret masked, readable without colour.
//!
//! What is written here is made of the masked states only, so no secret can reach a line.

use super::embedded::{self, Happened};
use super::yaml_text::{self, YamlLine};
use super::{Change, changes, same, without_noise};
use crate::object::ObjectRef;
use crate::object::path::Path;
use crate::secret::Masker;
use crate::text::Clean;
use serde_json::Value;
use similar::{Algorithm, DiffOp};

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Context: the same before and after.
    Same,
    /// Only after.
    Added,
    /// Only before.
    Removed,
    /// Said about the lines that follow: a path, a length, what kind of difference it is.
    Note,
    /// The object and how much of it changes.
    Title,
}

/// One line of a rendered difference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// What it says.
    pub mark: Mark,
    /// The whole line: indentation, the sign `+` or `-`, and the text.
    pub text: Clean,
}

/// The longest line that is shown whole, in characters.
const WIDTH: usize = 240;
/// Lines of context around a change, and around a change within a text.
const CONTEXT: usize = 2;
const TEXT_CONTEXT: usize = 3;
/// Paths inside an embedded document that are named.
const INSIDE: usize = 20;
/// Texts with more differing lines than this on both sides are shown as replaced: no line of one is sought in the other.
const LONGEST: usize = 10_000;

/// Renders what changes on an object: `before` is `None` for a new one, `after` for one that goes.
pub fn render(
    object: &ObjectRef,
    before: Option<&Value>,
    after: Option<&Value>,
    masker: &mut Masker,
) -> Vec<Line> {
    let kind = object.kind.as_str();
    for state in [before, after].into_iter().flatten() {
        masker.learn(kind, state);
    }
    let mut page = Page { lines: Vec::new() };
    let mut masked =
        |state: Option<&Value>| state.map(|state| without_noise(&masker.mask_value(kind, state)));
    match (masked(before), masked(after)) {
        (None, None) => page.title(format!("= {object}: absent before and after")),
        (None, Some(after)) => page.whole(kind, &after, Mark::Added, format!("+ {object} (new)")),
        (Some(before), None) => page.whole(kind, &before, Mark::Removed, format!("- {object} (goes)")),
        (Some(one), Some(other)) => {
            let shown = changes(kind, Some(&one), Some(&other));
            let real = changes(kind, before, after);
            // Two ways to write one secret have one placeholder; that they differ is said, not shown.
            let hidden: Vec<&Change> = real
                .iter()
                .filter(|real| !shown.iter().any(|shown| touches(&shown.path, &real.path)))
                .collect();
            let count = shown.len() + hidden.len();
            match count {
                0 => page.title(format!("= {object}: no change")),
                1 => page.title(format!("~ {object}: 1 change")),
                _ => page.title(format!("~ {object}: {count} changes")),
            }
            let states = (yaml_text::lines(kind, &one), yaml_text::lines(kind, &other));
            for change in &shown {
                page.note(format!("  {}", masker.mask_text(&change.path.to_string())));
                let inside =
                    texts(before, after, &change.path).and_then(|(before, after)| Inside::of(before, after));
                page.change(change, &states, inside, masker, &shown);
            }
            for change in hidden {
                let path = masker.mask_text(&change.path.to_string());
                page.note(format!("  {path}"));
                page.note("    the same secret or text, written in another way".to_owned());
            }
        }
    }
    page.lines
}

/// The lines as text, with ANSI colours if asked for. Every line says by its sign what it is, without colour too.
pub fn to_text(lines: &[Line], colour: bool) -> String {
    let mut text = String::new();
    for line in lines {
        let code = match line.mark {
            _ if !colour => None,
            Mark::Title => Some("1"),
            Mark::Added => Some("34"),
            Mark::Removed => Some("33"),
            Mark::Note => Some("2"),
            Mark::Same => None,
        };
        match code {
            Some(code) => text.push_str(&format!("\u{1b}[{code}m{}\u{1b}[0m\n", line.text)),
            None => text.push_str(&format!("{}\n", line.text)),
        }
    }
    text
}

fn touches(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The texts on both sides of a path, unmasked: only to find out where they differ.
fn texts<'v>(before: Option<&'v Value>, after: Option<&'v Value>, path: &Path) -> Option<(&'v str, &'v str)> {
    Some((path.get(before?)?.as_str()?, path.get(after?)?.as_str()?))
}

/// What differs between two embedded documents, or which side is none.
enum Inside {
    Differences(Vec<(Path, Happened)>),
    OnlyOneReadable(&'static str),
}

impl Inside {
    fn of(before: &str, after: &str) -> Option<Self> {
        match (embedded::document(before), embedded::document(after)) {
            (Some(before), Some(after)) => Some(Self::Differences(embedded::differences(&before, &after))),
            (Some(_), None) if after.contains('\n') => Some(Self::OnlyOneReadable("after")),
            (None, Some(_)) if before.contains('\n') => Some(Self::OnlyOneReadable("before")),
            _ => None,
        }
    }
}

struct Page {
    lines: Vec<Line>,
}

impl Page {
    fn push(&mut self, mark: Mark, text: String) {
        self.lines.push(Line { mark, text: Clean::new(text) });
    }

    fn title(&mut self, text: String) {
        self.push(Mark::Title, text);
    }

    fn note(&mut self, text: String) {
        self.push(Mark::Note, text);
    }

    fn line(&mut self, mark: Mark, text: &str, focus: usize) {
        let sign = match mark {
            Mark::Added => '+',
            Mark::Removed => '-',
            Mark::Same | Mark::Note | Mark::Title => ' ',
        };
        // A tab would be shown as an escape; nothing is lost by blanks where both sides have it.
        let text = cut(text, focus);
        self.push(mark, format!("  {sign} {text}").trim_end().to_owned());
    }

    fn whole(&mut self, kind: &str, value: &Value, mark: Mark, title: String) {
        self.title(title);
        for line in yaml_text::lines(kind, value) {
            self.line(mark, &line.text, 0);
        }
    }

    fn change(
        &mut self,
        change: &Change,
        states: &(Vec<YamlLine>, Vec<YamlLine>),
        inside: Option<Inside>,
        masker: &mut Masker,
        all: &[Change],
    ) {
        let is_document = self.inside(inside, masker);
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        if is_document && let Some((one, other)) = reshaped(before, after) {
            self.note("    written on long lines; shown here as YAML".to_owned());
            self.compare(&one, &other, TEXT_CONTEXT, &[], &[]);
            return;
        }
        let text = [before, after]
            .into_iter()
            .flatten()
            .any(|value| value.as_str().is_some_and(|text| text.contains('\n')));
        let removed = lines_of(&states.0, &change.path);
        let added = lines_of(&states.1, &change.path);
        let (ahead, behind) = if text {
            (Vec::new(), Vec::new())
        } else {
            around(if change.before.is_some() { &states.0 } else { &states.1 }, &change.path, all)
        };
        self.compare(&removed, &added, if text { TEXT_CONTEXT } else { CONTEXT }, &ahead, &behind);
    }

    /// Says what changed inside an embedded document. True if both sides are documents.
    fn inside(&mut self, inside: Option<Inside>, masker: &mut Masker) -> bool {
        match inside {
            None => false,
            Some(Inside::OnlyOneReadable(side)) => {
                self.note(format!(
                    "    the text {side} cannot be read as YAML or JSON; compared line by line"
                ));
                false
            }
            Some(Inside::Differences(found)) => {
                if found.is_empty() {
                    self.note(
                        "    inside: the same document; only comments, order or form differ".to_owned(),
                    );
                }
                for (path, happened) in found.iter().take(INSIDE) {
                    let what = match happened {
                        Happened::Added => "added",
                        Happened::Removed => "removed",
                        Happened::Changed => "changed",
                    };
                    self.note(format!("    inside: {} {what}", masker.mask_text(&path.to_string())));
                }
                if found.len() > INSIDE {
                    self.note(format!("    inside: {} more", found.len() - INSIDE));
                }
                true
            }
        }
    }

    /// Two runs of lines against each other, with what stands before and behind them.
    fn compare(
        &mut self,
        removed: &[String],
        added: &[String],
        context: usize,
        ahead: &[String],
        behind: &[String],
    ) {
        let all = removed.iter().chain(added).chain(ahead).chain(behind);
        let margin = all.filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or(0);
        let bare = |line: &String| line.get(margin..).unwrap_or_default().to_owned();
        let (removed, added): (Vec<String>, Vec<String>) =
            (removed.iter().map(bare).collect(), added.iter().map(bare).collect());
        for line in ahead {
            self.line(Mark::Same, &bare(line), 0);
        }
        let mut shown_to = 0;
        for group in similar::group_diff_ops(operations(&removed, &added), context) {
            let begins = group.first().map_or(0, |operation| operation.old_range().start);
            if begins > shown_to {
                self.note(format!("    … {} the same", counted(begins - shown_to)));
            }
            for operation in &group {
                self.operation(operation, &removed, &added);
                shown_to = operation.old_range().end;
            }
        }
        if removed.len() > shown_to && !added.is_empty() {
            self.note(format!("    … {} the same", counted(removed.len() - shown_to)));
        }
        for line in behind {
            self.line(Mark::Same, &bare(line), 0);
        }
    }

    fn operation(&mut self, operation: &DiffOp, removed: &[String], added: &[String]) {
        let old = removed.get(operation.old_range()).unwrap_or_default();
        let new = added.get(operation.new_range()).unwrap_or_default();
        if matches!(operation, DiffOp::Equal { .. }) {
            for line in old {
                self.line(Mark::Same, line, 0);
            }
            return;
        }
        let focus: Vec<usize> = old.iter().zip(new).map(|(old, new)| common(old, new)).collect();
        for (mark, lines) in [(Mark::Removed, old), (Mark::Added, new)] {
            for (index, line) in lines.iter().enumerate() {
                self.line(mark, line, focus.get(index).copied().unwrap_or(0));
            }
        }
        let blanks = old.iter().zip(new).any(|(old, new)| old.trim_end() == new.trim_end());
        if blanks {
            self.note("    blanks at the end of a line differ".to_owned());
        }
    }
}

fn counted(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}

fn operations(removed: &[String], added: &[String]) -> Vec<DiffOp> {
    let front = removed.iter().zip(added).take_while(|(a, b)| a == b).count();
    if removed.len() - front > LONGEST && added.len() - front > LONGEST {
        let (old_len, new_len) = (removed.len() - front, added.len() - front);
        return vec![
            DiffOp::Equal { old_index: 0, new_index: 0, len: front },
            DiffOp::Replace { old_index: front, old_len, new_index: front, new_len },
        ];
    }
    similar::capture_diff_slices(Algorithm::Myers, removed, added)
}

/// Documents that are written on long lines, as YAML that can be compared line by line.
fn reshaped(before: Option<&Value>, after: Option<&Value>) -> Option<(Vec<String>, Vec<String>)> {
    let (before, after) = (before?.as_str()?, after?.as_str()?);
    let long =
        |text: &str| text.lines().any(|line| line.chars().count() > WIDTH) || !text.trim_end().contains('\n');
    if !long(before) && !long(after) {
        return None;
    }
    let (before, after) = (embedded::document(before)?, embedded::document(after)?);
    if same(&before, &after) {
        return None;
    }
    let lines = |value: &Value| yaml_text::lines("", value).into_iter().map(|line| line.text).collect();
    Some((lines(&before), lines(&after)))
}

fn lines_of(state: &[YamlLine], path: &Path) -> Vec<String> {
    state.iter().filter(|line| line.path.starts_with(path)).map(|line| line.text.clone()).collect()
}

/// The unchanged lines directly before and behind the lines of a path.
fn around(state: &[YamlLine], path: &Path, all: &[Change]) -> (Vec<String>, Vec<String>) {
    let Some(first) = state.iter().position(|line| line.path.starts_with(path)) else {
        return (Vec::new(), Vec::new());
    };
    let last = state.iter().rposition(|line| line.path.starts_with(path)).unwrap_or(first);
    let same = |line: &&YamlLine| !all.iter().any(|change| line.path.starts_with(&change.path));
    let ahead = state.get(first.saturating_sub(CONTEXT)..first).unwrap_or_default();
    let behind = state.get(last + 1..).unwrap_or_default();
    let mut ahead: Vec<String> = ahead.iter().rev().take_while(same).map(|line| line.text.clone()).collect();
    ahead.reverse();
    (ahead, behind.iter().take(CONTEXT).take_while(same).map(|line| line.text.clone()).collect())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Characters that two lines have in common at their beginning.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count()
}

/// A long line is shown around `focus`, with its length.
fn cut(text: &str, focus: usize) -> String {
    let length = text.chars().count();
    if length <= WIDTH {
        return text.to_owned();
    }
    let start = if focus > WIDTH * 3 / 4 { focus - WIDTH / 4 } else { 0 };
    let part: String = text.chars().skip(start).take(WIDTH).collect();
    let (before, after) = (if start > 0 { "…" } else { "" }, if start + WIDTH < length { "…" } else { "" });
    format!("{before}{part}{after} ({length} characters)")
}
