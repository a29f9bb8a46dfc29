//! What people get to see.

use super::*;
use serde_json::json;

fn shown(kind: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let object = ObjectRef::new("v1", kind, Some("monitoring"), "x");
    to_text(&render(&object, before, after, &mut Masker::new()), false)
}

fn config(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "uid": "u"}, "data": {"loki.yaml": text, "other": "1"}})
}

#[test]
fn a_new_object_is_shown_whole() {
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "managedFields": []},
        "data": {"a.yaml": "a: 1\npassword: made-up\n"}, "status": {}});
    insta::assert_snapshot!(shown("ConfigMap", None, Some(&object)), @r"
    + configmap/x in monitoring (new)
      + apiVersion: v1
      + kind: ConfigMap
      + metadata:
      +   name: x
      + data:
      +   a.yaml: |
      +     a: 1
      +     password: ‹secret #1›
    ");
    insta::assert_snapshot!(shown("ConfigMap", Some(&json!({"data": {"a": "b"}})), None), @r"
    - configmap/x in monitoring (deleted)
      - data:
      -   a: b
    ");
}

#[test]
fn an_embedded_document_is_opened() {
    let before = "apiVersion: 1\ndatasources:\n- name: Loki\n  type: loki\n  jsonData:\n    maxLines: 1000\n    timeout: 60\n  editable: false\n";
    let after = before.replace(
        "    timeout: 60\n",
        "    timeout: 60\n    derivedFields:\n    - name: TraceID\n      datasourceUid: tempo\n",
    );
    insta::assert_snapshot!(shown("ConfigMap", Some(&config(before)), Some(&config(&after))), @r"
    ~ configmap/x in monitoring: 1 change
      data['loki.yaml']
        inside: datasources[0].jsonData.derivedFields added
        … 5 lines the same
            jsonData:
              maxLines: 1000
              timeout: 60
      +       derivedFields:
      +       - name: TraceID
      +         datasourceUid: tempo
            editable: false
    ");
    let commented = before.replace("datasources:", "datasources: # all of them");
    insta::assert_snapshot!(shown("ConfigMap", Some(&config(before)), Some(&config(&commented))), @r"
    ~ configmap/x in monitoring: 1 change
      data['loki.yaml']
        inside: the same document; only comments, order or form differ
        loki.yaml: |
          apiVersion: 1
      -   datasources:
      +   datasources: # all of them
          - name: Loki
            type: loki
            jsonData:
        … 3 lines the same
    ");
    let broken = before.replace("name: Loki", "name: [Loki");
    insta::assert_snapshot!(shown("ConfigMap", Some(&config(before)), Some(&config(&broken))), @r"
    ~ configmap/x in monitoring: 1 change
      data['loki.yaml']
        the text after cannot be read as YAML or JSON; compared line by line
        loki.yaml: |
          apiVersion: 1
          datasources:
      -   - name: Loki
      +   - name: [Loki
            type: loki
            jsonData:
              maxLines: 1000
        … 2 lines the same
    ");
}

#[test]
fn workloads_are_shown_with_what_stands_around() {
    let pod = |env: Value, replicas: u8| {
        json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "app", "image": "app:1", "args": ["--a", "--b", "--c", "--d", "--e", "--f"], "env": env}]}}}})
    };
    let before = pod(json!([{"name": "A", "value": "1"}]), 1);
    let mut after = pod(json!([{"name": "A", "value": "1"}, {"name": "LOG_FORMAT", "value": "json"}]), 2);
    after["spec"]["template"]["spec"]["containers"][0]["args"][3] = json!("--x");
    insta::assert_snapshot!(shown("Deployment", Some(&before), Some(&after)), @r#"
    ~ deployment/x in monitoring: 3 changes
      spec.replicas
        spec:
      -   replicas: 1
      +   replicas: 2
          template:
            spec:
      spec.template.spec.containers[name=app].args
        containers:
        - name: app
        … 2 lines the same
          - --b
          - --c
      -   - --d
      +   - --x
          - --e
          - --f
          env:
          - name: A
      spec.template.spec.containers[name=app].env[name=LOG_FORMAT]
        - name: A
          value: "1"
      + - name: LOG_FORMAT
      +   value: json
        image: app:1
    "#);
}

#[test]
fn long_lines_are_cut_where_they_differ_and_say_so() {
    let line =
        |middle: &str| json!({"data": {"a": format!("{}{middle}{}", "x".repeat(600), "y".repeat(600))}});
    let text = shown("ConfigMap", Some(&line("ONE")), Some(&line("TWO")));
    assert!(text.contains("ONE") && text.contains("TWO"), "{text}");
    assert!(text.contains("characters)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 300), "{text}");
}

#[test]
fn documents_on_one_line_are_reshaped() {
    let document =
        |value: u8| json!({"data": {"a.json": json!({"a": [1, 2, {"b": value}], "c": "d"}).to_string()}});
    insta::assert_snapshot!(shown("ConfigMap", Some(&document(1)), Some(&document(2))), @r"
    ~ configmap/x in monitoring: 1 change
      data['a.json']
        inside: a[2].b changed
        written on long lines; shown here as YAML
        a:
        - 1
        - 2
      - - b: 1
      + - b: 2
        c: d
    ");
}

#[test]
fn what_cannot_be_seen_is_said() {
    let text = |text: &str| json!({"data": {"a": text}});
    assert!(
        shown("ConfigMap", Some(&text("a\nb \nc\n")), Some(&text("a\nb\nc\n"))).contains("blanks at the end")
    );
    let end = shown("ConfigMap", Some(&text("a\nb\n")), Some(&text("a\nb")));
    insta::assert_snapshot!(end, @r"
    ~ configmap/x in monitoring: 1 change
      data.a
      - a: |
      + a: |-
          a
          b
    ");
    // The same secret in other quotes has the same placeholder.
    let one = text("password: 'made-up'\nb: 1\n");
    let other = text("password: made-up\nb: 1\n");
    insta::assert_snapshot!(shown("ConfigMap", Some(&one), Some(&other)), @r"
    ~ configmap/x in monitoring: 1 change
      data.a
        the same secret or text, written in another way
    ");
    assert_eq!(shown("ConfigMap", Some(&one), Some(&one)), "= configmap/x in monitoring: no change\n");
}

#[test]
fn a_secret_is_told_apart_and_not_told() {
    let secret = |value: &str| json!({"data": {"password": value, "same": "c2FtZQ=="}, "type": "Opaque"});
    insta::assert_snapshot!(shown("Secret", Some(&secret("b25l")), Some(&secret("dHdv"))), @r"
    ~ secret/x in monitoring: 1 change
      data.password
        data:
      -   password: ‹secret #1›
      +   password: ‹secret #3›
          same: ‹secret #2›
        type: Opaque
    ");
}

#[test]
fn colour_only_repeats_what_signs_say() {
    let lines = [
        Line { mark: Mark::Added, text: Clean::new("  + a") },
        Line { mark: Mark::Same, text: Clean::new("    b") },
    ];
    assert_eq!(to_text(&lines, true), "\u{1b}[34m  + a\u{1b}[0m\n    b\n");
}
