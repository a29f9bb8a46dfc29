//! datasource: is a change of a Grafana data source additive?
//!
//! It claims of two provisioning documents (Grafana's `apiVersion: 1`) that every value of the old one is in the new
//! one, unchanged and at its place; that lists only grow at their end; that uid, name, type, url, access, isDefault and
//! orgId of each data source stay as they are; that nothing is deleted by `deleteDatasources` or `prune`; and that each
//! new derived field gives a link that opens something.
//!
//! Grafana looks data sources up by organisation and name and replaces a record as a whole, so what is missing in the new
//! document is missing in Grafana (grafana/grafana pkg/services/provisioning/datasources/datasources.go). What readers of
//! YAML may read differently is Unknown. Other new settings are told and not judged: whether dashboards look the same with
//! them is another proof.

use super::{Finding, Judgement, Verdict};
use change::{changes, values};
use document::{Provisioning, exotic};
use known::Catalogue;

mod change;
pub mod config_map;
mod derived_field;
mod document;
pub mod interpolation;
pub mod known;
mod rules;

pub use config_map::{judge_config_maps, judge_new_config_map};
pub use document::generated_uid;
pub use known::{Known, KnownDatasource};

/// Judges the change from one provisioning document to another, both as text. `None`: there is no old one, so every data
/// source of the new one is new.
pub fn judge(old: Option<&str>, new: &str, known: &Known) -> Judgement {
    Judgement::of(findings(old, new, known))
}

fn findings(old: Option<&str>, new: &str, known: &Known) -> Vec<Finding> {
    if old == Some(new) {
        return vec![Finding::proven("the document does not change")];
    }
    let Some(old) = old else {
        return match Provisioning::read(new, "the new document") {
            Ok(document) => {
                let catalogue = Catalogue::new(known, &document, |_| true);
                let mut findings = doubts("", new, &document);
                findings.extend(rules::judge_new(&document, &catalogue));
                if findings.is_empty() {
                    findings.push(Finding::proven("the new document has no data source"));
                }
                findings
            }
            Err(findings) => findings,
        };
    };
    let (before, after) =
        match (Provisioning::read(old, "the old document"), Provisioning::read(new, "the new document")) {
            (Ok(before), Ok(after)) => (before, after),
            (before, after) => {
                return [before.err(), after.err()].into_iter().flatten().flatten().collect();
            }
        };
    let mut findings = doubts(old, new, &after);
    let old_names: Vec<Option<&str>> =
        before.datasources().map(|entry| entry.get("name").and_then(|name| name.as_str())).collect();
    let catalogue = Catalogue::new(known, &after, |entry| {
        !old_names.contains(&entry.get("name").and_then(|name| name.as_str()))
    });
    let changes = changes(&before.root, &after.root);
    for change in &changes {
        findings.extend(rules::judge(change, &after, &catalogue));
    }
    if findings.iter().all(|finding| finding.verdict == Verdict::Proven) {
        let kept = values(&before.root);
        findings.push(if changes.is_empty() {
            Finding::proven(format!("only comments or layout change: all {kept} values are the same"))
        } else {
            Finding::proven(format!("all {kept} values of the old document are in the new one, unchanged"))
        });
    }
    findings
}

fn doubts(old: &str, new: &str, document: &Provisioning) -> Vec<Finding> {
    let because = |why: &String| {
        Finding::unknown(format!("the new document may be read differently by Grafana: {why}"))
            .hint("write it in the plainest form")
    };
    exotic(old, new, &document.root).iter().map(because).collect()
}
