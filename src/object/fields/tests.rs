//! Laws of field sets, and what an intent owns.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn set(paths: &[&str]) -> FieldSet {
    let mut set = FieldSet::default();
    for path in paths {
        set.insert(Path::parse(path).unwrap());
    }
    set
}

fn texts(paths: &[Path]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

#[test]
fn the_servers_form_is_read_and_written() {
    let v1 = json!({
        "f:data": {".": {}, "f:a.yaml": {}},
        "f:metadata": {"f:finalizers": {"v:\"x/y\"": {}}, "f:labels": {"f:app": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:args": {"i:0": {}}}
    });
    let set = FieldSet::from_v1(&v1).unwrap();
    assert_eq!(set.to_v1(), v1);
    assert_eq!(
        texts(&set.members()),
        [
            "data",
            "data['a.yaml']",
            "metadata.finalizers[=\"x/y\"]",
            "metadata.labels.app",
            "spec.args[0]",
            "spec.ports[port=80,protocol=TCP]",
            "spec.ports[port=80,protocol=TCP].port"
        ]
    );
    assert!(set.contains(&Path::parse("data").unwrap()));
    assert!(!set.contains(&Path::parse("metadata.labels").unwrap()));
    assert_eq!(set.leaves().len(), 5);
}

#[test]
fn wrong_elements_are_refused() {
    for element in ["name", "x:a", "k:{}", "k:[]", "k:{\"a\":1} x", "v:", "v:1 2", "i:x", "i:-1"] {
        let error = FieldSet::from_v1(&json!({element: {}})).unwrap_err();
        assert!(error.as_str().contains(element), "{error}");
    }
    assert!(FieldSet::from_v1(&json!([])).is_err());
    let deep = (0..200).fold(json!({}), |inner, _| json!({"f:a": inner}));
    assert!(FieldSet::from_v1(&deep).is_err());
}

#[test]
fn an_intent_owns_what_an_apply_of_it_would_own() {
    let intent = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "x", "namespace": "n", "labels": {"app": "x"}, "annotations": {}, "uid": "u"},
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "initContainers": [],
                "tolerations": [],
                "nodeSelector": {"a": "b"},
                "containers": [{
                    "name": "c", "args": ["a"],
                    "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                    "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "1"}}
                }]
            }}
        }
    });
    let container = "spec.template.spec.containers[name=c]";
    let mut expected: Vec<String> = [
        "",
        ".args",
        ".env[name=E]",
        ".env[name=E].name",
        ".env[name=E].valueFrom.secretKeyRef",
        ".name",
        ".ports[containerPort=80,protocol=TCP]",
        ".ports[containerPort=80,protocol=TCP].containerPort",
        ".resources.limits.cpu",
    ]
    .iter()
    .map(|rest| format!("{container}{rest}"))
    .collect();
    expected.extend(
        [
            "metadata.annotations",
            "metadata.labels.app",
            "spec.selector",
            "spec.template.spec.nodeSelector",
            "spec.template.spec.tolerations",
            "spec.template.spec.volumes[name=v]",
            "spec.template.spec.volumes[name=v].emptyDir",
            "spec.template.spec.volumes[name=v].name",
        ]
        .map(str::to_owned),
    );
    let mut found = texts(&FieldSet::of_intent("Deployment", &intent).members());
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn values_are_projected_and_presence_is_null() {
    let object = json!({"kind": "Pod", "spec": {
        "nodeSelector": {"a": "b"}, "containers": [{"name": "c", "args": ["x"], "securityContext": {"a": 1}}]}});
    let set = set(&[
        "spec.nodeSelector",
        "spec.containers[name=c]",
        "spec.containers[name=c].args",
        "spec.containers[name=d]",
        "spec.containers[name=c].securityContext",
    ]);
    let found: Vec<(String, Option<Value>)> =
        set.project(&object).into_iter().map(|(path, value)| (path.to_string(), value)).collect();
    assert_eq!(
        found,
        [
            ("spec.containers[name=c]".to_owned(), Some(Value::Null)),
            ("spec.containers[name=c].args".to_owned(), Some(json!(["x"]))),
            ("spec.containers[name=c].securityContext".to_owned(), Some(Value::Null)),
            ("spec.containers[name=d]".to_owned(), None),
            ("spec.nodeSelector".to_owned(), Some(json!({"a": "b"}))),
        ]
    );
}

#[test]
fn owners_are_those_of_the_path_of_what_is_below_and_of_atomic_values_above() {
    let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "fieldsV1": fields});
    let object = json!({"metadata": {"managedFields": [
        entry("a", "Apply", json!({"f:data": {"f:x": {}}})),
        entry("b", "Update", json!({"f:data": {".": {}, "f:y": {}}})),
        entry("c", "Update", json!({"f:spec": {"f:selector": {}}})),
        entry("broken", "Apply", json!({"nonsense": {}})),
    ]}});
    let owners = |path: &str| -> Vec<String> {
        owners_of(&object, &Path::parse(path).unwrap()).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(owners("data.x"), ["a", "broken"]);
    assert_eq!(owners("data"), ["a", "b", "broken"]);
    assert_eq!(owners("data.z"), ["broken"]);
    assert_eq!(owners("spec.selector.app"), ["c", "broken"]);
    assert!(managers(&object).unwrap_err().as_str().contains("`broken`"));
    assert_eq!(managers(&json!({})).unwrap(), []);
}

#[test]
fn an_apply_entry_is_that_of_the_object_itself() {
    let object = json!({"metadata": {"managedFields": [
        {"manager": "m", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": "m", "operation": "Update", "fieldsV1": {"f:a": {}}},
        {"manager": "m", "operation": "Apply", "apiVersion": "v1", "time": "t", "fieldsV1": {"f:b": {}}},
    ]}});
    let entry = apply_entry(&object, "m").unwrap();
    assert_eq!((entry.api_version.as_str(), entry.time.as_deref()), ("v1", Some("t")));
    assert!(entry.fields.contains(&Path::fields(["b"])));
    assert_eq!(apply_entry(&object, "n"), None);
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        "[ -~]{0,4}".prop_map(Segment::Field),
        (0..3usize).prop_map(Segment::Index),
        "[a-z\"\\\\ ]{0,3}".prop_map(|text| Segment::Item(Value::from(text).to_string())),
        prop::collection::btree_map(
            "[a-c\"]{1,2}",
            prop_oneof![any::<i8>().prop_map(Value::from), "[a\"]{0,2}".prop_map(Value::from)],
            1..3
        )
        .prop_map(Segment::key),
    ]
}

fn sets() -> impl Strategy<Value = FieldSet> {
    prop::collection::vec(prop::collection::vec(segment(), 1..4), 0..8).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(Path(path));
        }
        set
    })
}

proptest! {
    #[test]
    fn writing_and_reading_gives_the_same_set(set in sets()) {
        // `.` as a field name and `.` as membership are written differently (`f:.` and `.`).
        prop_assert_eq!(FieldSet::from_v1(&set.to_v1()).unwrap(), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in sets(), b in sets()) {
        use std::collections::BTreeSet;
        let members = |set: &FieldSet| set.members().into_iter().collect::<BTreeSet<Path>>();
        let (x, y) = (members(&a), members(&b));
        prop_assert_eq!(members(&a.union(&b)), x.union(&y).cloned().collect());
        prop_assert_eq!(members(&a.intersection(&b)), x.intersection(&y).cloned().collect());
        prop_assert_eq!(members(&a.difference(&b)), x.difference(&y).cloned().collect());
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(a.union(&b).difference(&b).difference(&a), FieldSet::default());
        for path in x {
            prop_assert!(a.contains(&path) && a.covers(&path));
        }
    }
}
