//! datasource: cases.

use crate::case::{cases, file, mismatch, report, value};
use firstlight::proof::Judgement;
use firstlight::proof::datasource::{Known, KnownDatasource, config_map, judge};
use firstlight::text::Clean;
use std::path::Path;

fn known(case: &Path) -> Known {
    let Some(text) = file(case, "known.yaml") else { return Known::default() };
    let value = value("known.yaml", &text);
    let mut known = Known { datasources: Vec::new(), complete: value["complete"].as_bool().unwrap_or(false) };
    for entry in value["datasources"].as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().map(str::to_owned);
        known.datasources.push(KnownDatasource {
            org: Some(entry["org"].as_i64().unwrap_or(1)),
            name: text("name").unwrap(),
            uid: text("uid"),
            kind: text("type").unwrap_or_default(),
            is_default: Some(entry["default"].as_bool().unwrap_or(false)),
            origin: Clean::new(text("origin").unwrap_or_default()),
        });
    }
    for entry in value["documents"].as_array().into_iter().flatten() {
        let origin = Clean::new(entry["origin"].as_str().unwrap());
        known.add(entry["text"].as_str().unwrap(), &origin, entry["created"].as_bool().unwrap()).unwrap();
    }
    known
}

fn judged(case: &Path) -> Judgement {
    let (old, new) = (file(case, "old.yaml"), file(case, "new.yaml").expect("every case has new.yaml"));
    let known = known(case);
    if !new.starts_with("apiVersion: v1\nkind: ConfigMap\n") {
        return judge(old.as_deref(), &new, &known);
    }
    let old = old.map(|old| value("old.yaml", &old));
    let others = file(case, "others.yaml").map(|others| vec![value("others.yaml", &others)]);
    config_map::judge(&config_map::Case {
        old: old.as_ref(),
        new: &value("new.yaml", &new),
        others: others.as_deref(),
        known: &known,
        label: config_map::LABEL,
    })
}

#[test]
fn cases_are_judged_as_expected() {
    let cases = cases("datasource");
    let mismatches = cases.iter().filter_map(|case| mismatch(case, &judged(case))).collect();
    report(cases.len(), 60, mismatches);
}

#[test]
fn no_case_shows_a_secret() {
    for case in cases("datasource") {
        for finding in judged(&case).findings {
            for secret in ["me:word", "TENANT", "LOKI_PASSWORD"] {
                assert!(!finding.text.as_str().contains(secret), "{}: {}", case.display(), finding.text);
            }
        }
    }
}
