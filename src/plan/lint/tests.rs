use super::super::asset::Assets;
use super::super::input::Settings;
use super::super::read::load;
use super::*;
use crate::yaml::Source;
use insta::assert_snapshot;

fn notes(steps: &str, files: &[(&str, &str)]) -> String {
    let assets =
        Assets { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() };
    let text =
        format!("plan: x\ninputs: {{ namespace: m, spare: 1 }}\nphases:\n  - phase: a\n    steps:\n{steps}");
    match load(&Source::new("plans/y.yaml", text), &assets, &Settings::default()) {
        Ok(plan) => lint(&plan, &assets)
            .iter()
            .map(|note| format!("{:?} {}", note.level, note.problem.headline()))
            .collect::<Vec<_>>(),
        Err(problems) => problems.iter().map(|problem| format!("refused {}", problem.headline())).collect(),
    }
    .join("\n")
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d }\nspec:\n  template:\n    spec:\n      containers:\n        - name: c\n          env:\n            - { name: A, value: one }\n            - { name: B, value: two }\n";

#[test]
fn doubts_are_named() {
    let thing = "apiVersion: x.io/v1\nkind: Thing\nmetadata: { name: t }\n";
    let steps = "      - apply: f\n        take: [ spec.replicas, 'spec.template' ]\n      - datasource: { configmap: c, key: k, name: L, derived_field: { name: t, matcherRegex: '(x)', url: u } }\n";
    assert_snapshot!(notes(steps, &[("f/d.yaml", DEPLOYMENT), ("f/t.yaml", thing), ("f/g/h.yaml", "")]), @"
    Warning plans/y.yaml:6:9: step `apply-f` changes deployment/d in m and does not wait for it
    Warning plans/y.yaml:6:9: step `apply-f` takes spec.replicas, which it does not set
    Warning assets/f/t.yaml:1:1: x.io/v1 Thing is not a kind that firstlight knows
    Warning plans/y.yaml:6:9: assets/f/g/h.yaml is not applied: only manifests directly in assets/f are
    Warning plans/y.yaml:8:9: step `datasource-l` edits a data source and does not prove that it only adds
    Warning plans/y.yaml:2:25: input `spare` has no effect
    Warning plans/y.yaml:1:1: the plan `x` stands in a file of another name, `y`
    ");
}

#[test]
fn one_field_has_one_step() {
    let env = |set: &str| {
        format!(
            "      - apply: f\n        after: [ rolled-out ]\n      - env: {{ workload: deployment/d, set: {{ {set}: z }} }}\n        after: [ rolled-out ]\n"
        )
    };
    assert_snapshot!(notes(&env("B"), &[("f/d.yaml", DEPLOYMENT)]), @"refused plans/y.yaml:8:9: steps `apply-f` and `env-d` both own .spec.template.spec.containers[name=*].env[name=B].value of deployment/d in m");
    assert!(!notes(&env("C"), &[("f/d.yaml", DEPLOYMENT)]).contains("both own"));
    let twice = DEPLOYMENT.replace("name: B", "name: A");
    assert_snapshot!(notes("      - { apply: f, after: [ rolled-out ] }\n", &[("f/d.yaml", &twice)]), @"refused assets/f/d.yaml:1:1: .spec.template.spec.containers[name=c].env of deployment/d in m has two entries with the name `A`");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c, labels: { a: b } }\ndata: { k: v }\n";
    let other = map.replace("labels: { a: b }", "labels: { c: d }");
    let steps = "      - apply: f\n      - apply: g\n";
    assert!(
        notes(steps, &[("f/m.yaml", map), ("g/m.yaml", &other.replace("k: v", "l: v"))])
            .starts_with("Warning")
    );
    assert!(
        notes(steps, &[("f/m.yaml", map), ("g/m.yaml", &other)])
            .contains("both own .data.k of configmap/c in m")
    );
}

#[test]
fn a_port_must_be_there() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: { ports: [ { port: 80 } ] }\n";
    let steps = |port: u16| {
        format!(
            "      - apply: f\n        after: [ ready ]\n        ready: [ {{ service: s, port: {port} }} ]\n"
        )
    };
    assert_snapshot!(notes(&steps(8080), &[("f/s.yaml", service)]), @"refused plans/y.yaml:6:9: step `apply-f` asks port 8080 of service/s in m, which has no such port");
    assert!(notes(&steps(80), &[("f/s.yaml", service)]).starts_with("Warning"));
}
