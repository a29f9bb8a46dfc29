//! Fingerprints of what was approved: a keyed hash over the change, never a bare one.

use super::Change;
use crate::object::ObjectRef;
use crate::object::path::Path;
use crate::secret::{Fingerprint, StateKey};
use serde_json::{Value, json};

/// What an approval is bound to. Not in it: resourceVersion, generation, status, times.
#[derive(Clone, Copy, Debug)]
pub struct FingerprintParts<'p> {
    /// The object.
    pub object: &'p ObjectRef,
    /// Its uid; `None` where it did not exist.
    pub uid: Option<&'p str>,
    /// Our intent's before and after.
    pub changes: &'p [Change],
    /// Who owned the changed fields. The order means nothing.
    pub owners: &'p [(Path, Vec<String>)],
    /// Whether the object is to be created.
    pub create: bool,
}

/// The fingerprint of what was shown. Equal parts give equal fingerprints under one key, whatever the order of maps,
/// changes and owners.
pub fn fingerprint(key: &StateKey, parts: &FingerprintParts<'_>) -> Fingerprint {
    let mut changes: Vec<String> = parts
        .changes
        .iter()
        .map(|change| {
            // Present and absent are told apart by the list's length: a null is a value.
            let side = |value: &Option<Value>| value.iter().cloned().collect::<Vec<Value>>();
            canonical(&json!([segments(&change.path), side(&change.before), side(&change.after)]))
        })
        .collect();
    changes.sort();
    let mut owners: Vec<String> = parts
        .owners
        .iter()
        .map(|(path, managers)| {
            let mut managers = managers.clone();
            managers.sort();
            managers.dedup();
            canonical(&json!([segments(path), managers]))
        })
        .collect();
    owners.sort();
    owners.dedup();
    let object = parts.object;
    let whole = json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "namespace": object.namespace,
        "name": object.name,
        "uid": parts.uid,
        "create": parts.create,
        "changes": changes,
        "owners": owners,
    });
    key.keyed("approval-1", canonical(&whole).as_bytes())
}

fn segments(path: &Path) -> Value {
    serde_json::to_value(path).unwrap_or_else(|_| Value::String(path.to_string()))
}

/// JSON with sorted members and without blanks; whole numbers have no fraction.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|member| member.0);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Number(number) => match number.as_f64() {
            // Up to 2^53 every whole number is exact; there 1.0 is written as 1, because both are the same value.
            Some(float)
                if number.is_f64() && float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 =>
            {
                // Minus zero is zero.
                format!("{:.0}", if float == 0.0 { 0.0 } else { float })
            }
            _ => number.to_string(),
        },
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_json_is_sorted_and_tight() {
        let value: Value =
            serde_json::from_str(r#"{"b": [1.0, 2.5, -0.0], "a": {"d": null, "c": "x\ny"}}"#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":{"c":"x\ny","d":null},"b":[1,2.5,0]}"#);
    }

    fn of(
        key: &StateKey,
        uid: Option<&str>,
        changes: &[Change],
        owners: &[(Path, Vec<String>)],
    ) -> Fingerprint {
        let object = ObjectRef::new("v1", "ConfigMap", Some("ns"), "x");
        fingerprint(key, &FingerprintParts { object: &object, uid, changes, owners, create: uid.is_none() })
    }

    #[test]
    fn every_part_counts_and_order_does_not() {
        let key = StateKey::new([7; 32]);
        let path = |text: &str| Path::parse(text).unwrap();
        let change = |path: &Path, before: Value, after: Value| Change {
            path: path.clone(),
            before: Some(before),
            after: Some(after),
            index: None,
        };
        let (a, b) =
            (change(&path("data.a"), json!(1), json!(2)), change(&path("data.b"), json!("x"), json!("y")));
        let owners = vec![(path("data.a"), vec!["helm".to_owned(), "kubectl".to_owned()])];
        let turned = vec![(path("data.a"), vec!["kubectl".to_owned(), "helm".to_owned()])];
        let base = of(&key, Some("u"), &[a.clone(), b.clone()], &owners);
        assert_eq!(base, of(&key, Some("u"), &[b.clone(), a.clone()], &turned));
        assert_ne!(base, of(&key, Some("v"), &[a.clone(), b.clone()], &owners));
        assert_ne!(base, of(&key, None, &[a.clone(), b.clone()], &owners));
        assert_ne!(base, of(&key, Some("u"), std::slice::from_ref(&a), &owners));
        assert_ne!(base, of(&key, Some("u"), &[a.clone(), b.clone()], &[]));
        assert_ne!(base, of(&StateKey::new([8; 32]), Some("u"), &[a, b], &owners));
    }

    proptest! {
        #[test]
        fn a_changed_value_changes_it(one in "[a-z]{0,8}", other in "[a-z]{0,8}") {
            let key = StateKey::new([1; 32]);
            let change = |text: &str| Change { path: Path::fields(["data"]), before: None, after: Some(json!(text)), index: None };
            let (first, second) = (of(&key, Some("u"), &[change(&one)], &[]), of(&key, Some("u"), &[change(&other)], &[]));
            prop_assert_eq!(first == second, one == other);
        }
    }
}
