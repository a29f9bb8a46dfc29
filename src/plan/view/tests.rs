use super::*;
use crate::plan::lint;
use insta::assert_snapshot;

fn bundle() -> Bundle {
    let plan = "\
plan: small
title: A small plan with a title that is long enough to be broken into more than one line of a hundred columns
inputs:
  namespace: monitoring
  app: { help: The application, example: trip }
  url: { optional: true, help: An address }
phases:
  - phase: one
    title: the first
    steps:
      - prove: [ access, git-crypt ]
      - apply: things
        after: [ rolled-out, ready ]
        ready: [ { service: x, port: 80, path: /ok, url: \"${url}\" } ]
        take: [ \"data['a.b']\" ]
        timeout: 90s
  - phase: two
    steps:
      - env: { workload: \"deployment/${app}\", set: { LONG: \"http://very-long-host-name.example.com:4318/with/a/path/that/does/not/end/before/the/line/does/not/end\" } }
        after: [ rolled-out ]
";
    let object = |kind: &str, api: &str, name: &str| {
        format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {{ name: {name} }}\n")
    };
    let things: String =
        (0..9).map(|n| object("ConfigMap", "v1", &format!("config-{n}"))).collect::<String>()
            + &object("Deployment", "apps/v1", "x");
    Bundle::new([
        ("plans/small.yaml".to_owned(), plan.to_owned()),
        ("plans/broken.yaml".to_owned(), "plan: x\n".to_owned()),
        ("assets/things/all.yaml".to_owned(), things),
    ])
}

fn small() -> Plan {
    let bundle = bundle();
    load(bundle.plan("small").unwrap(), bundle.assets(), &Settings::default().with_stand_ins()).unwrap()
}

#[test]
fn plans_are_listed() {
    assert_snapshot!(list_text(&bundle()));
    assert_eq!(list_text(&Bundle::default()), "there are no plans\n");
}

#[test]
fn a_plan_is_shown() {
    let text = show_text(&small());
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH && line.trim_end() == line), "{text}");
    assert_snapshot!(text);
}

#[test]
fn lint_is_shown() {
    let bundle = bundle();
    let plan = small();
    let notes = lint(&plan, bundle.assets());
    assert_snapshot!(lint_text(&plan.source, Ok((&plan, &notes))));
    let broken = bundle.plan("broken").unwrap();
    let problems = load(broken, bundle.assets(), &Settings::default()).unwrap_err();
    assert_snapshot!(lint_text(broken, Err(&problems)), @"
    error: plans/broken.yaml:1:1: a plan has no `phases`
      1 | plan: x
        | ^^^^^^^

    plans/broken.yaml: 1 error
    ");
}
