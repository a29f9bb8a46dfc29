//! Cases whose outcome was seen on kube-apiserver 1.34.4.

use super::*;
use crate::object::kind;
use serde_json::json;

fn known(api_version: &str, name: &str) -> Kind {
    kind::known(api_version, name).unwrap()
}

fn manager(name: &str, operation: Operation, second: u32) -> Manager {
    Manager {
        name: name.to_owned(),
        operation,
        subresource: None,
        api_version: "v1".to_owned(),
        time: format!("2026-01-01T00:00:{second:02}Z"),
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn applied(live: Option<&Value>, intent: &Value, name: &str, second: u32) -> Result<Applied, ApplyError> {
    let kind = known("v1", intent["kind"].as_str().unwrap());
    apply(Schema::embedded(), &kind, live, intent, &manager(name, Operation::Apply, second), false)
}

fn owned(object: &Value) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let sub = entry["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
        format!(
            "{}{sub} {} {} {}",
            text("manager"),
            text("operation"),
            &text("time")[..].trim_start_matches("2026-01-01T00:00:"),
            entry["fieldsV1"]
        )
    };
    entries.into_iter().flatten().map(line).collect()
}

#[test]
fn an_apply_creates_and_owns_what_it_says() {
    let made = applied(None, &map(json!({"a": "1"})), "m", 1).unwrap();
    assert!(made.changed);
    assert_eq!(owned(&made.object), [r#"m Apply 01Z {"f:data":{"f:a":{}}}"#]);
}

#[test]
fn the_same_apply_again_changes_nothing() {
    let made = applied(None, &map(json!({"a": "1"})), "m", 1).unwrap();
    let again = applied(Some(&made.object), &map(json!({"a": "1"})), "m", 9).unwrap();
    assert!(!again.changed);
    assert_eq!(again.object, made.object);
}

/// The second owner of an unchanged value has no time, and stands first.
#[test]
fn an_unchanged_value_is_shared_and_stays_while_one_owner_is_left() {
    let made = applied(None, &map(json!({"a": "1", "b": "1"})), "m", 1).unwrap();
    let shared = applied(Some(&made.object), &map(json!({"a": "1"})), "n", 2).unwrap();
    assert!(shared.changed);
    assert_eq!(
        owned(&shared.object),
        [r#"n Apply - {"f:data":{"f:a":{}}}"#, r#"m Apply 01Z {"f:data":{"f:a":{},"f:b":{}}}"#]
    );
    let mut bare = map(json!({}));
    bare.as_object_mut().unwrap().remove("data");
    let left = applied(Some(&shared.object), &bare, "m", 3).unwrap();
    assert_eq!(left.object["data"], json!({"a": "1"}));
    let gone = applied(Some(&left.object), &bare, "n", 4).unwrap();
    assert_eq!(gone.object.get("data"), None);
    assert_eq!(owned(&gone.object), Vec::<String>::new());
}

#[test]
fn conflicts_are_told_in_the_servers_words() {
    let made = applied(None, &map(json!({"a": "1"})), "m", 1).unwrap();
    let kind = known("v1", "ConfigMap");
    let mut new = made.object.clone();
    new["data"]["b"] = json!("1");
    let live =
        updated(Schema::embedded(), &kind, Some(&made.object), new, &manager("u", Operation::Update, 2));
    let refused = applied(Some(&live), &map(json!({"b": "2"})), "n", 3).unwrap_err();
    assert_eq!(refused.to_string(), r#"Apply failed with 1 conflict: conflict with "u" using v1: .data.b"#);
    let refused = applied(Some(&live), &map(json!({"a": "2", "b": "2"})), "n", 3).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"m\":\n- .data.a\nconflicts with \"u\" using v1:\n- .data.b"
    );
    assert_eq!(refused.status(), (409, Some("Conflict")));
    let writer = manager("n", Operation::Apply, 3);
    let forced =
        apply(Schema::embedded(), &kind, Some(&live), &map(json!({"a": "2", "b": "2"})), &writer, true)
            .unwrap();
    assert_eq!(owned(&forced.object), [r#"n Apply 03Z {"f:data":{"f:a":{},"f:b":{}}}"#]);
}

#[test]
fn what_does_not_fit_is_refused_in_the_servers_words() {
    let cases = [
        (json!({"dataa": {"x": "1"}}), ".dataa: field not declared in schema"),
        (json!({"data": {"x": 1}}), ".data.x: expected string, got &value.valueUnstructured{Value:1}"),
        (
            json!({"data": {"z": [1]}}),
            ".data.z: expected string, got &value.valueUnstructured{Value:[]interface {}{1}}",
        ),
        (
            json!({"data": ["a"], "immutable": "yes"}),
            "errors:\n  .data: expected map, got &{[a]}\n  .immutable: expected boolean, got &{yes}",
        ),
    ];
    for (part, why) in cases {
        let mut intent = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        intent.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let refused = applied(None, &intent, "m", 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("failed to create typed patch object (/a; /v1, Kind=ConfigMap): {why}")
        );
        assert_eq!(refused.status(), (500, None));
    }
    let ports = [
        (
            json!([{"port": 80}, {"port": 80, "protocol": "TCP"}]),
            r#".spec.ports: duplicate entries for key [port=80,protocol="TCP"]"#,
        ),
        (
            json!([{"port": "80"}]),
            r#".spec.ports[port="80",protocol="TCP"].port: expected numeric (int or float), got string"#,
        ),
        (json!("x"), ".spec.ports: expected list, got &{x}"),
        (json!([null]), ".spec.ports: element 0: associative list with keys may not have a null element"),
    ];
    for (ports, why) in ports {
        let intent = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}});
        let refused = applied(None, &intent, "m", 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("failed to create typed patch object (/a; /v1, Kind=Service): {why}")
        );
    }
    let mut intent = map(json!({}));
    intent["metadata"]["managedFields"] = json!([]);
    assert_eq!(
        applied(None, &intent, "m", 1),
        Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()))
    );
    let kind = known("v1", "Service");
    let refused =
        apply(Schema::embedded(), &kind, None, &map(json!({})), &manager("m", Operation::Apply, 1), false);
    assert_eq!(refused, Err(ApplyError::BadRequest("invalid object type: /v1, Kind=ConfigMap".to_owned())));
}

/// The default of a key counts: an item without protocol is the one with TCP.
#[test]
fn a_port_is_named_by_its_number_and_protocol() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}});
    let made = applied(None, &service(json!([{"port": 80, "name": "x"}])), "m", 1).unwrap();
    assert_eq!(
        owned(&made.object),
        [
            r#"m Apply 01Z {"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}}}}"#
        ]
    );
    let mut live = made.object;
    live["spec"]["ports"][0]["protocol"] = json!("TCP");
    live["spec"]["ports"][0]["targetPort"] = json!(80);
    let same = applied(Some(&live), &service(json!([{"port": 80, "name": "x"}])), "m", 2).unwrap();
    assert!(!same.changed);
    // Another number is another item: the old one goes, because nobody else owns it.
    let other = applied(Some(&live), &service(json!([{"port": 81, "name": "x"}])), "m", 3).unwrap();
    assert_eq!(other.object["spec"]["ports"], json!([{"port": 81, "name": "x"}]));
}

#[test]
fn an_item_that_others_own_parts_of_stays_with_their_parts() {
    let kind = known("apps/v1", "Deployment");
    let deployment = |containers: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
               "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let writer = |name: &str, second| Manager {
        api_version: "apps/v1".to_owned(),
        ..manager(name, Operation::Apply, second)
    };
    let one = json!([{"name": "x", "image": "i", "env": [{"name": "E", "value": "1"}]}]);
    let made = apply(Schema::embedded(), &kind, None, &deployment(one), &writer("m", 1), false).unwrap();
    let two = json!([{"name": "x", "env": [{"name": "F", "value": "2"}]}]);
    let both = apply(Schema::embedded(), &kind, Some(&made.object), &deployment(two), &writer("n", 2), false)
        .unwrap();
    let containers = &both.object["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["env"], json!([{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]));
    let less = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    let left = apply(Schema::embedded(), &kind, Some(&both.object), &less, &writer("m", 3), false).unwrap();
    assert_eq!(
        left.object["spec"]["template"]["spec"]["containers"],
        json!([{"name": "x", "resources": {}, "env": [{"name": "F", "value": "2"}]}])
    );
}

/// Create writes `.` for containers that were not there, and none for those that the type always has.
#[test]
fn a_create_owns_containers_too() {
    let kind = known("v1", "Pod");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"l": "m"}},
                     "spec": {"containers": [{"name": "x", "resources": {}}]}, "status": {"phase": "Pending"}});
    let made = updated(Schema::embedded(), &kind, None, pod, &manager("c", Operation::Update, 1));
    assert_eq!(
        owned(&made),
        [
            r#"c Update 01Z {"f:metadata":{"f:labels":{".":{},"f:l":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:name":{},"f:resources":{}}}}}"#
        ]
    );
}

#[test]
fn an_object_without_owners_gets_one_at_its_first_apply() {
    let mut live = map(json!({"a": "1", "b": "1"}));
    live["metadata"]["uid"] = json!("u");
    let kind = known("v1", "ConfigMap");
    let still =
        updated(Schema::embedded(), &kind, Some(&live), live.clone(), &manager("u", Operation::Update, 1));
    assert_eq!(owned(&still), Vec::<String>::new());
    let made = applied(Some(&live), &map(json!({"a": "1"})), "m", 2).unwrap();
    assert_eq!(
        owned(&made.object),
        [
            r#"m Apply - {"f:data":{"f:a":{}}}"#,
            r#"before-first-apply Update 02Z {"f:data":{".":{},"f:a":{},"f:b":{}}}"#
        ]
    );
}

#[test]
fn entries_can_be_reset_and_rewritten() {
    let kind = known("v1", "ConfigMap");
    let made = applied(None, &map(json!({"a": "1"})), "m", 1).unwrap().object;
    for reset in [json!([]), json!([{}])] {
        let mut new = made.clone();
        new["metadata"]["managedFields"] = reset;
        let object =
            updated(Schema::embedded(), &kind, Some(&made), new, &manager("u", Operation::Update, 2));
        assert_eq!(owned(&object), Vec::<String>::new());
    }
    let mut new = made.clone();
    new["metadata"]["managedFields"] = Value::Null;
    let object = updated(Schema::embedded(), &kind, Some(&made), new, &manager("u", Operation::Update, 2));
    assert_eq!(owned(&object), owned(&made));
    let mut new = made.clone();
    new["metadata"]["managedFields"][0]["manager"] = json!("other");
    let object = updated(Schema::embedded(), &kind, Some(&made), new, &manager("u", Operation::Update, 2));
    assert_eq!(owned(&object), [r#"other Apply 01Z {"f:data":{"f:a":{}}}"#]);
}

#[test]
fn the_eleventh_updater_makes_a_bucket_of_the_oldest() {
    let kind = known("v1", "ConfigMap");
    let mut live = updated(
        Schema::embedded(),
        &kind,
        None,
        map(json!({"k0": "1"})),
        &manager("u0", Operation::Update, 0),
    );
    for n in 1..=11 {
        let mut new = live.clone();
        new["data"][format!("k{n}")] = json!("1");
        live = updated(
            Schema::embedded(),
            &kind,
            Some(&live),
            new,
            &manager(&format!("u{n}"), Operation::Update, n),
        );
    }
    let owners = owned(&live);
    assert_eq!(owners.len(), 10);
    assert_eq!(owners[0], r#"ancient-changes Update 02Z {"f:data":{".":{},"f:k0":{},"f:k1":{},"f:k2":{}}}"#);
}

#[test]
fn a_write_owns_only_what_its_subresource_does_not_reset() {
    let kind = known("apps/v1", "Deployment");
    let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "managedFields": [
        {"manager": "c", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
         "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}, "spec": {"replicas": 1}});
    let mut new = live.clone();
    new["metadata"]["labels"] = json!({"q": "r"});
    new["spec"]["replicas"] = json!(7);
    new["status"] = json!({"replicas": 1});
    let writer = |sub: &str| Manager {
        subresource: Some(sub.to_owned()),
        api_version: "apps/v1".to_owned(),
        ..manager("x", Operation::Update, 3)
    };
    let object = updated(Schema::embedded(), &kind, Some(&live), new, &writer("status"));
    assert_eq!(
        owned(&object),
        [
            r#"c Update 00Z {"f:spec":{"f:replicas":{}}}"#,
            r#"x/status Update 03Z {"f:status":{"f:replicas":{}}}"#
        ]
    );
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(7);
    let object = updated(Schema::embedded(), &kind, Some(&live), new, &writer("scale"));
    assert_eq!(owned(&object), [r#"x/scale Update - {"f:spec":{"f:replicas":{}}}"#]);
}

#[test]
fn an_apply_collapses_repeated_items_that_it_names_and_leaves_others() {
    let kind = known("v1", "Pod");
    let pod = |env: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
                                  "spec": {"containers": [{"name": "x", "env": env}]}})
    };
    let twice = json!([{"name": "E", "value": "1"}, {"name": "E", "value": "2"}]);
    let live =
        updated(Schema::embedded(), &kind, None, pod(twice.clone()), &manager("c", Operation::Update, 1));
    let other = applied(Some(&live), &pod(json!([{"name": "F", "value": "3"}])), "m", 2).unwrap().object;
    let env = &other["spec"]["containers"][0]["env"];
    assert_eq!(env.as_array().unwrap().len(), 3);
    let writer = manager("m", Operation::Apply, 3);
    let one = apply(
        Schema::embedded(),
        &kind,
        Some(&live),
        &pod(json!([{"name": "E", "value": "3"}])),
        &writer,
        true,
    )
    .unwrap();
    assert_eq!(one.object["spec"]["containers"][0]["env"], json!([{"name": "E", "value": "3"}]));
    assert!(applied(None, &pod(twice), "m", 1).is_err());
}

#[test]
fn the_built_in_schema_is_read() {
    assert!(Schema::embedded().knows(&known("apps/v1", "StatefulSet")));
    let settled = Schema::embedded().settle(
        &known("v1", "ConfigMap"),
        json!({"kind": "ConfigMap", "metadata": {"labels": {}, "annotations": null}, "data": {"a": null}, "x": 1}),
    );
    assert_eq!(settled, json!({"kind": "ConfigMap", "metadata": {}, "data": {"a": ""}}));
}
