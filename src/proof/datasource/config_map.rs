//! The same claim for the ConfigMap that carries provisioning documents to Grafana's sidecar.

use super::known::Known;
use crate::object::ObjectRef;
use crate::proof::{Finding, Judgement, Verdict};
use crate::text::Clean;
use serde_json::{Map, Value};

/// The label by which the sidecar of the Grafana chart finds ConfigMaps (`sidecar.datasources.label`).
pub const LABEL: &str = "grafana_datasource";

/// The annotation that tells the sidecar where to put the files.
const FOLDER: &str = "k8s-sidecar-target-directory";

/// What is judged: a ConfigMap before and after, and what else is known.
#[derive(Clone, Copy, Debug)]
pub struct Case<'c> {
    /// The live object; `None`: there is none, it will be created.
    pub old: Option<&'c Value>,
    /// The object as it will be.
    pub new: &'c Value,
    /// The other ConfigMaps that the sidecar reads; `None`: they were not asked for.
    pub others: Option<&'c [Value]>,
    /// The data sources outside this ConfigMap.
    pub known: &'c Known,
    /// The sidecar's label, usually [`LABEL`].
    pub label: &'c str,
}

/// Judges the change of a ConfigMap: every document in it, and that all else stays.
pub fn judge(case: &Case<'_>) -> Judgement {
    let Some(reference) = ObjectRef::of(case.new).filter(|reference| reference.kind == "ConfigMap") else {
        return Judgement::of(vec![Finding::unknown("the new object is no ConfigMap with a name")]);
    };
    let mut findings = Vec::new();
    match case.old {
        Some(old) => {
            if ObjectRef::of(old).is_none_or(|before| before != reference) {
                return Judgement::of(vec![Finding::unknown(format!("the old object is not {reference}"))]);
            }
            findings.extend(surroundings(old, case.new, case.label));
        }
        None => {
            if entries(case.new, "/metadata/labels").is_none_or(|labels| !labels.contains_key(case.label)) {
                findings.push(no_label(&reference, case.label));
            }
        }
    }
    let none = Map::new();
    let before = case.old.and_then(|old| entries(old, "/data")).unwrap_or(&none);
    let after = entries(case.new, "/data").unwrap_or(&none);
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        findings.push(Finding::refuted(format!("the key `{}` of {reference} is gone", Clean::new(key))));
    }
    let mut kept = 0;
    for (key, value) in after {
        let shown = Clean::new(key);
        let Some(text) = value.as_str() else {
            findings.push(Finding::unknown(format!("the key `{shown}` of {reference} is no text")));
            continue;
        };
        let old = before.get(key).and_then(Value::as_str);
        if !before.contains_key(key) {
            findings.extend(collisions(key, case, &reference, true));
        }
        if old == Some(text) {
            kept += 1;
            continue;
        }
        if before.contains_key(key) {
            findings.extend(collisions(key, case, &reference, false));
        }
        if !(key.ends_with(".yaml") || key.ends_with(".yml")) {
            findings.push(if old.is_some() {
                Finding::refuted(format!("the key `{shown}` of {reference} has another value"))
            } else {
                Finding::unknown(format!(
                    "the key `{shown}` of {reference} is new, and Grafana reads only .yaml and .yml"
                ))
            });
            continue;
        }
        findings.extend(super::findings(old, text, case.known));
    }
    if findings.iter().all(|finding| finding.verdict == Verdict::Proven) && (kept > 0 || findings.is_empty())
    {
        findings.push(Finding::proven(format!("all else in {reference} stays as it is")));
    }
    Judgement::of(findings)
}

fn entries<'v>(object: &'v Value, pointer: &str) -> Option<&'v Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

fn no_label(reference: &ObjectRef, label: &str) -> Finding {
    Finding::unknown(format!(
        "{reference} has no label `{}`, so it is not known that the sidecar reads it",
        Clean::new(label)
    ))
    .hint("label it as the other data sources are")
}

/// Labels, annotations and what is neither metadata nor data.
fn surroundings(old: &Value, new: &Value, label: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let none = Map::new();
    for (pointer, what) in [("/metadata/labels", "label"), ("/metadata/annotations", "annotation")] {
        let before = entries(old, pointer).unwrap_or(&none);
        let after = entries(new, pointer).unwrap_or(&none);
        for (name, value) in before {
            let shown = Clean::new(name);
            match after.get(name) {
                Some(other) if other == value => {}
                // kubectl keeps its own copy of the object there.
                _ if name == "kubectl.kubernetes.io/last-applied-configuration" => {}
                None if name == label => findings.push(Finding::refuted(format!(
                    "the label `{shown}` is gone: the sidecar takes the file away from Grafana"
                ))),
                None => findings.push(Finding::refuted(format!("the {what} `{shown}` is gone"))),
                Some(_) => findings.push(Finding::refuted(format!("the {what} `{shown}` has another value"))),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            let shown = Clean::new(name);
            findings.push(match name.as_str() {
                FOLDER => Finding::refuted(format!(
                    "the annotation `{shown}` is new: the sidecar puts the file elsewhere"
                )),
                name if name == label => Finding::unknown(format!(
                    "the label `{shown}` is new: what Grafana had before is not known"
                )),
                _ => Finding::proven(format!("the {what} `{shown}` is new")),
            });
        }
    }
    if entries(new, "/metadata/labels").is_none_or(|labels| !labels.contains_key(label))
        && entries(old, "/metadata/labels").is_none_or(|labels| !labels.contains_key(label))
        && let Some(reference) = ObjectRef::of(new)
    {
        findings.push(no_label(&reference, label));
    }
    if old.get("binaryData").filter(|data| !is_empty(data))
        != new.get("binaryData").filter(|data| !is_empty(data))
    {
        findings.push(Finding::refuted("binaryData has another value"));
    }
    if old.get("immutable").and_then(Value::as_bool).unwrap_or(false) && old.get("data") != new.get("data") {
        findings.push(Finding::refuted("the ConfigMap is immutable, so the API server refuses the change"));
    } else if old.get("immutable") != new.get("immutable") {
        findings.push(Finding::refuted("`immutable` has another value"));
    }
    findings
}

fn is_empty(data: &Value) -> bool {
    data.is_null() || data.as_object().is_some_and(Map::is_empty)
}

/// Other ConfigMaps with the same data key: the sidecar writes each key as a file into one folder, so they overwrite each
/// other unless `enableUniqueFilenames` is set (kiwigrid/k8s-sidecar README.md).
fn collisions(key: &str, case: &Case<'_>, reference: &ObjectRef, is_new: bool) -> Vec<Finding> {
    let shown = Clean::new(key);
    let Some(others) = case.others else {
        if !is_new {
            return Vec::new();
        }
        return vec![Finding::unknown(format!(
            "whether another ConfigMap has the key `{shown}` too is not known: equal keys overwrite each other"
        ))];
    };
    let other = others.iter().find(|other| {
        ObjectRef::of(other).as_ref() != Some(reference)
            && entries(other, "/metadata/labels").is_some_and(|labels| labels.contains_key(case.label))
            && ["/data", "/binaryData"]
                .iter()
                .any(|data| entries(other, data).is_some_and(|data| data.contains_key(key)))
    });
    let Some(other) = other.and_then(ObjectRef::of) else { return Vec::new() };
    let text =
        format!("{other} has the key `{shown}` too, and in Grafana's folder equal keys overwrite each other");
    let hint = "use a key of its own, unless the sidecar has enableUniqueFilenames";
    vec![if is_new { Finding::refuted(text).hint(hint) } else { Finding::unknown(text).hint(hint) }]
}
