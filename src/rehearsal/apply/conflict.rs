//! Conflicts in the API server's words (apimachinery pkg/util/managedfields/internal/conflict.go).

use super::owners::Identity;
use crate::object::fields::FieldSet;
use crate::object::path::{Path, Segment};
use serde_json::Value;
use std::cmp::Ordering;

/// One field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its path as the API server writes it: `.spec.replicas`.
    pub field: String,
    /// `conflict with "name"`; for managers that update, `conflict with "name" using v1`.
    pub message: String,
}

/// The causes, manager by manager in their order, fields in the order of their paths.
///
/// The API server takes the managers in any order.
pub(super) fn causes(conflicts: &[(&Identity, FieldSet)]) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (identity, set) in conflicts {
        let message = format!("conflict with {}", identity.printed());
        let mut paths = Vec::new();
        in_order(set, &Path::default(), &mut paths);
        causes.extend(paths.iter().map(|path| Cause { field: path.server_form(), message: message.clone() }));
    }
    causes
}

/// The message of the Status.
pub(super) fn message(causes: &[Cause]) -> String {
    if let [only] = causes {
        return format!("Apply failed with 1 conflict: {}: {}", only.message, only.field);
    }
    let mut lines = Vec::new();
    let mut last = None;
    for cause in causes {
        if last != Some(&cause.message) {
            lines.push(format!("{}:", cause.message.replacen("conflict", "conflicts", 1)));
            last = Some(&cause.message);
        }
        lines.push(format!("- {}", cause.field));
    }
    format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
}

/// The paths as structured-merge-diff walks them: on each level first those that end there.
fn in_order(set: &FieldSet, at: &Path, paths: &mut Vec<Path>) {
    let mut entries: Vec<_> = set.entries().collect();
    entries.sort_by(|(a, ..), (b, ..)| compare(a, b));
    paths.extend(
        entries.iter().filter(|(_, member, _)| *member).map(|(segment, ..)| at.join((*segment).clone())),
    );
    for (segment, _, below) in entries {
        in_order(below, &at.join(segment.clone()), paths);
    }
}

fn compare(a: &Segment, b: &Segment) -> Ordering {
    match (a, b) {
        (Segment::Key(a), Segment::Key(b)) => a
            .iter()
            .zip(b)
            .map(|((a, one), (b, other))| a.cmp(b).then_with(|| scalars(one, other)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        (Segment::Item(a), Segment::Item(b)) => scalars(a, b),
        _ => a.cmp(b),
    }
}

/// Numbers by their value, all else by the text.
fn scalars(a: &str, b: &str) -> Ordering {
    let number = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|value| value.as_f64());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}
