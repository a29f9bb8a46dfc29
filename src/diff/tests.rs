//! Laws of changes and of the way back.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

/// Applies RFC 6902 operations as an API server does: in order, and all or none.
fn patched(object: &Value, operations: &[Value]) -> Result<Value, String> {
    let mut object = object.clone();
    for operation in operations {
        let (op, path) = (operation["op"].as_str().unwrap(), operation["path"].as_str().unwrap());
        if op == "test" {
            let found = object.pointer(path).ok_or_else(|| format!("test: {path} is missing"))?;
            if !same(found, &operation["value"]) {
                return Err(format!("test: {path} is {found}"));
            }
            continue;
        }
        let (parent, last) = path.rsplit_once('/').unwrap();
        let last = last.replace("~1", "/").replace("~0", "~");
        let parent =
            object.pointer_mut(parent).ok_or_else(|| format!("{op}: the parent of {path} is missing"))?;
        match (parent, op) {
            (Value::Object(map), "add") => drop(map.insert(last, operation["value"].clone())),
            (Value::Object(map), "replace" | "remove") => {
                map.remove(&last).ok_or_else(|| format!("{op}: {path} is missing"))?;
                if op == "replace" {
                    map.insert(last, operation["value"].clone());
                }
            }
            (Value::Array(list), "add") => list.insert(last.parse().unwrap(), operation["value"].clone()),
            (Value::Array(list), "replace") => {
                list[last.parse::<usize>().unwrap()] = operation["value"].clone()
            }
            (Value::Array(list), "remove") => drop(list.remove(last.parse().unwrap())),
            (_, op) => return Err(format!("{op}: {path}")),
        }
    }
    Ok(object)
}

fn map(names: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(names, value, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn env() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[A-D]", "[a-c]", 0..4).prop_shuffled_items()
}

trait Shuffled {
    fn prop_shuffled_items(self) -> BoxedStrategy<Value>;
}

impl<S: Strategy<Value = BTreeMap<String, String>> + 'static> Shuffled for S {
    fn prop_shuffled_items(self) -> BoxedStrategy<Value> {
        self.prop_map(|map| {
            map.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
        })
        .prop_shuffle()
        .prop_map(Value::from)
        .boxed()
    }
}

fn container() -> impl Strategy<Value = Value> {
    (
        "[a-c]",
        prop::option::of(env()),
        prop::option::of(map("[a-c]", any::<bool>().prop_map(Value::from))),
        prop::option::of(prop::collection::vec("[a-b]", 0..3)),
        prop::collection::btree_set(1..4u16, 0..3),
    )
        .prop_map(|(image, env, resources, args, ports)| {
            let ports: Vec<Value> = ports
                .into_iter()
                .map(|port| {
                    if port == 2 {
                        json!({"containerPort": port, "protocol": "UDP"})
                    } else {
                        json!({"containerPort": port})
                    }
                })
                .collect();
            let mut container = json!({"image": image, "ports": ports});
            for (name, value) in [("env", env), ("resources", resources), ("args", args.map(Value::from))] {
                if let Some(value) = value {
                    container[name] = value;
                }
            }
            container
        })
}

fn deployment() -> impl Strategy<Value = Value> {
    let containers = prop::collection::btree_map("[a-c]", container(), 0..3).prop_map(|map| {
        let items = map.into_iter().map(|(name, mut container)| {
            container["name"] = Value::from(name);
            container
        });
        items.collect::<Vec<_>>()
    });
    (
        prop::option::of(map("[a-c]", "[a-c]".prop_map(Value::from))),
        prop::option::of(prop::collection::btree_set("[a-c]", 0..3)),
        0..3u8,
        containers.prop_shuffle(),
    )
        .prop_map(|(labels, finalizers, replicas, containers)| {
            let mut object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}
            });
            if let Some(labels) = labels {
                object["metadata"]["labels"] = labels;
            }
            if let Some(finalizers) = finalizers {
                object["metadata"]["finalizers"] = json!(finalizers);
            }
            object
        })
}

fn same_state(one: &Value, other: &Value) -> bool {
    changes("Deployment", Some(one), Some(other)).is_empty()
}

/// Whether everything from before is back and everything of ours is gone; what others added beside it may stay.
fn is_back(now: Option<&Value>, before: Option<&Value>, ours: Option<&Value>) -> bool {
    let container = |value: Option<&Value>| value.is_none_or(|value| value.is_object() || value.is_array());
    if now.is_none() || !(container(now) && container(before) && container(ours)) {
        return match (now, before) {
            (Some(now), Some(before)) => same(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
    }
    let members = |value: Option<&Value>| -> BTreeMap<String, Value> {
        match value {
            Some(Value::Object(map)) => map.clone().into_iter().collect(),
            Some(Value::Array(list)) => list
                .iter()
                .map(|item| {
                    (item.get("name").or(item.get("containerPort")).unwrap_or(item).to_string(), item.clone())
                })
                .collect(),
            _ => BTreeMap::new(),
        }
    };
    let (now, before, ours) = (members(now), members(before), members(ours));
    let names: BTreeSet<&String> = before.keys().chain(ours.keys()).collect();
    names.into_iter().all(|name| {
        is_back(now.get(name), before.get(name), ours.get(name)) || before.get(name) == ours.get(name)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changes_lead_there_and_exactly_back(before in deployment(), after in deployment()) {
        let found = changes("Deployment", Some(&before), Some(&after));
        let mut object = before.clone();
        apply_changes(&mut object, &found, Direction::Forward).unwrap();
        prop_assert!(same_state(&object, &after), "{object}");
        apply_changes(&mut object, &found, Direction::Backward).unwrap();
        prop_assert_eq!(object, before);
    }

    #[test]
    fn changes_survive_the_journal(before in deployment(), after in deployment()) {
        let found = changes("Deployment", Some(&before), Some(&after));
        let read: Vec<Change> = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        prop_assert_eq!(found, read);
    }

    #[test]
    fn restoring_what_nobody_touched_gives_the_state_before(before in deployment(), after in deployment()) {
        let found = changes("Deployment", Some(&before), Some(&after));
        let plan = restore_patch("Deployment", &after, &found, false);
        prop_assert!(plan.foreign.is_empty());
        prop_assert!(plan.already.is_empty());
        let restored = patched(&after, &plan.operations).unwrap();
        prop_assert!(same_state(&restored, &before), "{restored}");
        // A second time there is nothing to do.
        let again = restore_patch("Deployment", &restored, &found, false);
        prop_assert!(again.operations.is_empty() && again.foreign.is_empty());
    }

    #[test]
    fn what_others_changed_stays_or_is_told(before in deployment(), after in deployment(), live in deployment()) {
        let found = changes("Deployment", Some(&before), Some(&after));
        let plan = restore_patch("Deployment", &live, &found, false);
        let restored = patched(&live, &plan.operations).unwrap();
        // Whatever the patch changed was ours, and went back to what it was before.
        for change in changes("Deployment", Some(&live), Some(&restored)) {
            let ours = found.iter().any(|ours| change.path.starts_with(&ours.path) || ours.path.starts_with(&change.path));
            prop_assert!(ours, "{} is not ours", change.path);
        }
        for change in &found {
            let told = plan.foreign.iter().any(|drift| drift.path.starts_with(&change.path));
            let now = change.path.get(&restored);
            prop_assert!(told || is_back(now, change.before.as_ref(), change.after.as_ref()), "{} is neither back nor told", change.path);
        }
        let forced = restore_patch("Deployment", &live, &found, true);
        patched(&live, &forced.operations).unwrap();
    }

    #[test]
    fn additions_of_others_are_kept(before in deployment(), after in deployment(), pick in any::<Index>()) {
        let found = changes("Deployment", Some(&before), Some(&after));
        let mut live = after.clone();
        live["metadata"]["labels"]["theirs"] = json!("kept");
        let containers = live["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers.insert(pick.index(containers.len() + 1), json!({"name": "theirs", "image": "kept"}));
        let plan = restore_patch("Deployment", &live, &found, false);
        prop_assert!(plan.foreign.is_empty(), "{:?}", plan.foreign);
        let restored = patched(&live, &plan.operations).unwrap();
        let mut expected = before.clone();
        expected["metadata"]["labels"]["theirs"] = json!("kept");
        expected["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "theirs", "image": "kept"}));
        prop_assert!(same_state(&restored, &expected), "{restored}");
    }

    #[test]
    fn nothing_panics(before in any::<Index>(), one in wild(), other in wild(), third in wild()) {
        let kind = ["Deployment", "ConfigMap", "Pod", "Service", "Widget"][before.index(5)];
        let found = changes(kind, Some(&one), Some(&other));
        for overwrite in [false, true] {
            let plan = restore_patch(kind, &third, &found, overwrite);
            patched(&third, &plan.operations).unwrap();
        }
        let mut third = third;
        let _ = apply_changes(&mut third, &found, Direction::Backward);
    }
}

/// Objects with the right names in the wrong places.
fn wild() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "env",
        "name",
        "ports",
        "finalizers",
        "labels",
        "data",
        "a",
    ]);
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..4).prop_map(|map| Value::Object(
                map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

fn paths(kind: &str, before: &Value, after: &Value) -> Vec<String> {
    changes(kind, Some(before), Some(after)).iter().map(|change| change.path.to_string()).collect()
}

#[test]
fn keyed_items_are_matched_by_their_keys_and_atomic_lists_whole() {
    let pod = |containers: Value| json!({"spec": {"containers": containers, "tolerations": [{"key": "a"}]}});
    let one = pod(json!([{"name": "a", "args": ["x"]}, {"name": "b", "ports": [{"containerPort": 1}]}]));
    let other = pod(
        json!([{"name": "b", "ports": [{"containerPort": 1, "protocol": "TCP"}]}, {"name": "a", "args": ["x", "y"]}]),
    );
    assert_eq!(
        paths("Pod", &one, &other),
        [
            "spec.containers[name=a].args",
            "spec.containers[name=b].ports[containerPort=1,protocol=TCP].protocol"
        ]
    );
    assert_eq!(paths("Widget", &one, &other), ["spec.containers"]);
    let doubled = pod(json!([{"name": "a"}, {"name": "a"}]));
    assert_eq!(paths("Pod", &one, &doubled), ["spec.containers"]);
}

#[test]
fn what_the_server_keeps_for_itself_is_no_change() {
    let before = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "1", "managedFields": []}, "status": {"a": 1}});
    let after = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "2", "generation": 2,
        "annotations": {"deployment.kubernetes.io/revision": "2"}}});
    assert_eq!(changes("Deployment", Some(&before), Some(&after)), []);
    let annotated = json!({"metadata": {"name": "x", "annotations": {"deployment.kubernetes.io/revision": "3", "a": "b"}}});
    assert_eq!(paths("Deployment", &after, &annotated), ["metadata.annotations.a"]);
    assert_eq!(paths("Deployment", &before, &annotated), ["metadata.annotations"]);
    // Undo takes our annotation and leaves the server's.
    let found = changes("Deployment", Some(&before), Some(&annotated));
    let plan = restore_patch("Deployment", &annotated, &found, false);
    let restored = patched(&annotated, &plan.operations).unwrap();
    assert_eq!(restored["metadata"]["annotations"], json!({"deployment.kubernetes.io/revision": "3"}));
}

#[test]
fn a_list_that_we_brought_along_goes_again() {
    let pod = |container: Value| json!({"spec": {"containers": [container]}});
    let before = pod(json!({"name": "a"}));
    let after = pod(json!({"name": "a", "env": [{"name": "X", "value": "1"}]}));
    let found = changes("Pod", Some(&before), Some(&after));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path.to_string(), "spec.containers[name=a].env");
    let plan = restore_patch("Pod", &after, &found, false);
    assert_eq!(patched(&after, &plan.operations).unwrap(), before);
    let shared = pod(json!({"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}));
    let plan = restore_patch("Pod", &shared, &found, false);
    assert_eq!(plan.foreign, []);
    assert_eq!(
        patched(&shared, &plan.operations).unwrap(),
        pod(json!({"name": "a", "env": [{"name": "Y", "value": "2"}]}))
    );
    let edited = pod(json!({"name": "a", "env": [{"name": "X", "value": "3"}]}));
    let plan = restore_patch("Pod", &edited, &found, false);
    assert_eq!(plan.operations, Vec::<Value>::new());
    assert_eq!(plan.foreign[0].path.to_string(), "spec.containers[name=a].env[name=X]");
    let plan = restore_patch("Pod", &edited, &found, true);
    assert_eq!(patched(&edited, &plan.operations).unwrap(), before);
}

#[test]
fn half_of_a_structure_is_never_left() {
    let pod = |probe: Value| json!({"spec": {"containers": [{"name": "a", "livenessProbe": probe}]}});
    let before = json!({"spec": {"containers": [{"name": "a"}]}});
    let after = pod(json!({"httpGet": {"port": 1}, "periodSeconds": 10}));
    let found = changes("Pod", Some(&before), Some(&after));
    let live = pod(json!({"httpGet": {"port": 1}, "periodSeconds": 30}));
    let plan = restore_patch("Pod", &live, &found, false);
    assert_eq!(plan.operations, Vec::<Value>::new());
    assert_eq!(plan.foreign[0].path.to_string(), "spec.containers[name=a].livenessProbe.periodSeconds");
    // The members of data mean something each on its own.
    let found = changes("ConfigMap", Some(&json!({})), Some(&json!({"data": {"a": "1", "b": "1"}})));
    let plan = restore_patch("ConfigMap", &json!({"data": {"a": "1", "b": "2"}}), &found, false);
    assert_eq!(plan.operations.len(), 2);
    assert_eq!(plan.foreign[0].path.to_string(), "data.b");
}

#[test]
fn a_moved_list_fails_the_patch_instead_of_hitting_another_item() {
    let pod = |containers: Value| json!({"spec": {"containers": containers}});
    let before = pod(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
    let after = pod(json!([{"name": "a", "image": "2"}, {"name": "b", "image": "1"}]));
    let found = changes("Pod", Some(&before), Some(&after));
    let plan = restore_patch("Pod", &after, &found, false);
    let moved = pod(json!([{"name": "b", "image": "2"}, {"name": "a", "image": "2"}]));
    assert!(patched(&moved, &plan.operations).is_err());
}

#[test]
fn a_created_object_is_one_change_and_not_restored_by_a_patch() {
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "x", "uid": "1"}, "data": {"a": "1"}});
    let found = changes("ConfigMap", None, Some(&object));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, Path::default());
    assert_eq!(
        found[0].after,
        Some(json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}))
    );
    let plan = restore_patch("ConfigMap", &object, &found, true);
    assert_eq!((plan.operations.len(), plan.foreign.len()), (0, 1));
}

#[test]
fn numbers_are_equal_by_value_and_quantities_as_text() {
    assert!(same(&json!({"a": [1.0]}), &json!({"a": [1]})));
    assert!(!same(&json!("1"), &json!(1)));
    assert!(!same(&json!("100m"), &json!("0.1")));
    assert!(!same(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
}
