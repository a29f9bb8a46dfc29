//! `plan list`, `plan show`, `plan lint`, and what commands say about plans and inputs that are not right.

use crate::home::Home;
use serde_json::Value;

#[test]
fn the_shipped_plan_is_listed_shown_and_sound() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["plan", "list"]).all(), @r"
    --- stdout
    tracing  Tracing: Tempo, the Collector, Grafana, the first application
    exit 0
    ");
    let shown = home.run(&["plan", "show", "tracing", "--set", "app=shop"]);
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    for part in
        ["claims  stack:monitoring, stack:shop", "1. preflight", "6. first-light", "deployment/shop in shop"]
    {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let lint = home.run(&["plan", "lint", "tracing"]);
    assert_eq!(lint.code, 0, "{}", lint.all());
    assert!(!home.path().join(".local").exists(), "looking at plans makes no state");
}

#[test]
fn programs_get_json_lines() {
    let home = Home::new();
    let values = |arguments: &[&str]| -> Vec<Value> {
        let said = home.run(&[arguments, &["--output", "json"]].concat());
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(values(&["plan", "list"])[0]["plan"], "tracing");
    let shown = &values(&["plan", "show", "tracing"])[0];
    assert_eq!(shown["phases"][1]["steps"][0]["objects"][0]["kind"], "ConfigMap");
    assert_eq!(shown["inputs"]["namespace"], "monitoring");
    home.file("bad.yaml", "plan: x\nphases: []\nextra: 1\n");
    let problems = values(&["plan", "lint", "bad.yaml"]);
    assert!(problems.iter().any(|problem| problem["problem"]["span"]["line"] == 3), "{problems:?}");
    assert_eq!(values(&["runs"]), [Value::Null; 0]);
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let home = Home::new();
    let said = |arguments: &[&str]| home.run(arguments).all();
    insta::assert_snapshot!(said(&["plan", "show", "trcing"]));
    insta::assert_snapshot!(said(&["preview", "none.yaml"]));
    insta::assert_snapshot!(said(&["preview", "tracing", "--set", "nmespace=x", "--set", "retention"]));
    insta::assert_snapshot!(said(&["preview", "tracing", "--set", "colour=blue"]));
    insta::assert_snapshot!(said(&["preview", "tracing", "--until", "tempoo"]));
    insta::assert_snapshot!(said(&["run", "tracing", "--accept-unknown", "redy=x", "--context", "c"]));
    insta::assert_snapshot!(said(&["run", "tracing", "--override", "ready=", "--context", "c"]));
    insta::assert_snapshot!(said(&["plan", "list", "--plans", "nowhere"]));
}

#[test]
fn one_wrong_input_is_one_thing_to_read() {
    insta::assert_snapshot!(Home::new().run(&["preview", "tracing", "--set", "namespace=A_B"]).all());
}

#[test]
fn every_mistake_of_a_plan_is_shown_at_once_with_its_place() {
    let home = Home::new();
    home.file(
        "mistakes.yaml",
        "plan: Bad Name
titel: x
claim: { name: [ a ] }
inputs:
  app: { defualt: x }
phases:
  - phase: one
    stepz: []
  - phase: one
    steps:
      - aply: tempo
      - apply: tempoo
      - apply: tempo
        after: [ rolled-oot ]
        timeout: soon
      - env: { workload: pod/x, set: { A: \"${nope}\" } }
",
    );
    insta::assert_snapshot!(home.run(&["plan", "lint", "mistakes.yaml"]).all());
    let preview = home.run(&["preview", "mistakes.yaml"]);
    assert_eq!((preview.code, preview.out.as_str()), (2, ""));
}

#[test]
fn a_folder_of_plans_replaces_the_shipped_ones() {
    let home = Home::new();
    home.file(
        "mine/plans/small.yaml",
        "plan: small\ntitle: One map\nphases: [ { phase: one, steps: [ { apply: things } ] } ]\n",
    );
    home.file(
        "mine/assets/things/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: b }\ndata: { k: v }\n",
    );
    insta::assert_snapshot!(home.run(&["plan", "list", "--plans", "mine"]).all(), @r"
    --- stdout
    small  One map
    exit 0
    ");
    // A plan file finds the assets beside its folder.
    let shown = home.run(&["plan", "show", "mine/plans/small.yaml"]);
    assert!(shown.code == 0 && shown.out.contains("configmap/a"), "{}", shown.all());
}

#[test]
fn a_gate_without_a_terminal_needs_an_answer_in_advance() {
    let home = Home::new();
    let said = |arguments: &[&str]| home.run(arguments).all();
    insta::assert_snapshot!(said(&["run", "tracing"]));
    insta::assert_snapshot!(said(&["run", "tracing", "--yes"]));
    insta::assert_snapshot!(said(&["run", "tracing", "--yes", "--approve-unseen"]));
    insta::assert_snapshot!(said(&["rollback"]));
    insta::assert_snapshot!(said(&["rollback", "--yes"]));
}
