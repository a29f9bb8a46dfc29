//! Differences for people.

use crate::object::ObjectRef;
use crate::secret::Masker;
use crate::text::Clean;
use serde_json::Value;

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
    /// Its text, indentation included, the mark's sign not.
    pub text: Clean,
}

/// Renders.
pub fn render(
    object: &ObjectRef,
    before: Option<&Value>,
    after: Option<&Value>,
    masker: &mut Masker,
) -> Vec<Line> {
    let before = before.map(|value| masker.mask_value(&object.kind, value));
    let after = after.map(|value| masker.mask_value(&object.kind, value));
    let found = super::changes(&object.kind, before.as_ref(), after.as_ref());
    let mut lines =
        vec![Line { mark: Mark::Title, text: Clean::new(format!("~ {object}: {} changes", found.len())) }];
    for change in found {
        lines.push(Line { mark: Mark::Note, text: Clean::new(change.path.to_string()) });
        if let Some(value) = change.before {
            lines.push(Line { mark: Mark::Removed, text: Clean::new(value.to_string()) });
        }
        if let Some(value) = change.after {
            lines.push(Line { mark: Mark::Added, text: Clean::new(value.to_string()) });
        }
    }
    lines
}

/// The lines as text.
pub fn to_text(lines: &[Line], _colour: bool) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}
