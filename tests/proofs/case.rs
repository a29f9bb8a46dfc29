//! Reads case folders and compares judgements with what they expect.

use firstlight::proof::Judgement;
use firstlight::text::Clean;
use firstlight::yaml::{Limits, Source, parse};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The case folders of a proof, sorted.
pub fn cases(proof: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proofs").join(proof);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    cases
}

/// A file of a case, if it is there.
pub fn file(case: &Path, name: &str) -> Option<String> {
    match std::fs::read_to_string(case.join(name)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", case.join(name).display()),
    }
}

/// The values of a YAML text with one document.
pub fn value(name: &str, text: &str) -> Value {
    let documents = parse(&Source { name: Clean::new(name), text: text.to_owned() }, &Limits::MANIFEST);
    let documents = documents.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    assert_eq!(documents.len(), 1, "{name}");
    documents[0].root.to_json().unwrap()
}

/// `None`, or what is wrong with the judgement.
pub fn mismatch(case: &Path, judgement: &Judgement) -> Option<String> {
    let expected =
        value("expected.yaml", &file(case, "expected.yaml").expect("every case has expected.yaml"));
    let verdict = expected["verdict"].as_str().unwrap();
    let says = expected["says"].as_str().unwrap();
    let shown = serde_json::to_value(judgement.verdict).unwrap();
    let said = judgement.findings.iter().any(|finding| {
        finding.verdict == judgement.verdict
            && (finding.text.as_str().contains(says)
                || finding.hint.as_ref().is_some_and(|hint| hint.as_str().contains(says)))
    });
    if shown == verdict && said {
        return None;
    }
    let name = case.file_name().unwrap().to_string_lossy();
    let mut text = format!("{name}: expected {verdict}, saying `{says}`; got {}:\n", judgement.verdict);
    for finding in &judgement.findings {
        let hint = finding.hint.as_ref().map(|hint| format!(" [hint: {hint}]")).unwrap_or_default();
        text.push_str(&format!("    {}: {}{hint}\n", finding.verdict, finding.text));
    }
    Some(text)
}

/// Fails with every mismatch.
pub fn report(count: usize, at_least: usize, mismatches: Vec<String>) {
    assert!(count >= at_least, "only {count} cases");
    assert!(mismatches.is_empty(), "{} of {count} cases:\n{}", mismatches.len(), mismatches.join("\n"));
}
