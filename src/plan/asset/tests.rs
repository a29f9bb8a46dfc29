use super::*;
use insta::assert_snapshot;
use serde_json::json;

fn read_text(text: &str) -> Result<Vec<AssetObject>, String> {
    let mut values = Values::default();
    values.insert("size", json!("20Gi"));
    values.insert("replicas", json!(2));
    let mut problems = Vec::new();
    let objects = read("tempo/x.yaml", text, Some("monitoring"), &mut values, &mut problems);
    if problems.is_empty() {
        return Ok(objects);
    }
    Err(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn objects_get_their_namespace_and_inputs() {
    let text = "# first\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { s: \"${size}\", t: \"$${z}\" }\n\
                ---\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: b, namespace: other }\nspec:\n  replicas: ${replicas}\n\
                ---\napiVersion: v1\nkind: Namespace\nmetadata: { name: c }\n---\napiVersion: x.io/v1\nkind: Thing\nmetadata: { name: d }\n";
    let objects = read_text(text).unwrap();
    let names: Vec<String> = objects.iter().map(|object| object.reference.to_string()).collect();
    assert_eq!(names, ["configmap/a in monitoring", "deployment/b in other", "namespace/c", "thing/d"]);
    assert_eq!(objects[0].object["metadata"], json!({"name": "a", "namespace": "monitoring"}));
    assert_eq!(objects[0].object["data"], json!({"s": "20Gi", "t": "$${z}"}));
    assert_eq!(objects[1].object["spec"]["replicas"], 2);
    assert_eq!(objects[1].span.line, 9);
    assert_eq!(objects[2].object["metadata"], json!({"name": "c"}));
}

#[test]
fn what_a_manifest_must_not_say_is_refused() {
    let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: a\n  uid: x\n  creationTimestamp: null\n  managedFields: []\n\
                spec:\n  template:\n    spec:\n      nodeName: n1\n      volumes:\n        - secret: { defaultMode: 0644 }\nstatus: {}\n";
    assert_snapshot!(read_text(text).unwrap_err(), @"
    assets/tempo/x.yaml:13:34: `0644` is an octal number for YAML 1.1, a decimal one for YAML 1.2
      13 |         - secret: { defaultMode: 0644 }
         |                                  ^^^^
      hint: write it so that every reader agrees: in quotes as a text, in decimal digits as a number
    assets/tempo/x.yaml:14:1: a manifest must not set `status`
      14 | status: {}
         | ^^^^^^
      hint: remove it: it is what the cluster observes
    assets/tempo/x.yaml:5:3: a manifest must not set `metadata.uid`
      5 |   uid: x
        |   ^^^
      hint: remove it: the API server sets it
    assets/tempo/x.yaml:6:3: a manifest must not set `metadata.creationTimestamp`
      6 |   creationTimestamp: null
        |   ^^^^^^^^^^^^^^^^^
      hint: remove it: the API server sets it
    assets/tempo/x.yaml:7:3: a manifest must not set `metadata.managedFields`
      7 |   managedFields: []
        |   ^^^^^^^^^^^^^
      hint: remove it: the API server sets it
    assets/tempo/x.yaml:11:17: a manifest must not set `nodeName`
      11 |       nodeName: n1
         |                 ^^
      hint: remove it: a pod with a node name passes by the scheduler; use nodeSelector or affinity
    ");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let first = |text: &str| read_text(text).unwrap_err().lines().next().unwrap_or_default().to_owned();
    assert_snapshot!(first("- a\n"), @"assets/tempo/x.yaml:1:1: a manifest is a mapping, and this is a list");
    assert_snapshot!(first("kind: X\nmetadata: {name: a}\n"), @"assets/tempo/x.yaml:1:1: the manifest has no apiVersion");
    assert_snapshot!(first("apiVersion: v1\nkind: ConfigMap\n"), @"assets/tempo/x.yaml:1:1: the manifest has no metadata.name");
    assert_snapshot!(first("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 1}\n"), @"assets/tempo/x.yaml:3:18: metadata.name must be a text, and this is a number");
    assert_snapshot!(first("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ../x}\n"), @"assets/tempo/x.yaml:3:18: `../x` is not the name of an object");
    assert_snapshot!(first("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n"), @"assets/tempo/x.yaml:3:11: the manifest has no metadata.name");
    assert_snapshot!(first("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n"), @"assets/tempo/x.yaml:3:32: a Namespace has no namespace");
    assert_snapshot!(first("apiVersion: v1\nkind: List\nitems: []\nmetadata: {name: a}\n"), @"assets/tempo/x.yaml:1:1: a List cannot be applied");
    assert_snapshot!(first("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: B_}\n"), @"assets/tempo/x.yaml:3:32: `B_` is not the name of a namespace");
}
