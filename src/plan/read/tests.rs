use super::super::{Action, plan_hash};
use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::time::Duration;

fn assets() -> Assets {
    let files = [
        (
            "tempo/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: tempo }\ndata: { a: \"${size}\" }\n",
        ),
        (
            "tempo/set.yaml",
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: tempo }\nspec: { replicas: 1 }\n",
        ),
        ("tempo/README.md", "not a manifest"),
        ("tempo/more/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n"),
        ("grafana/tempo.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ds }\n"),
        (
            "grafana/two.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: b }\n",
        ),
        ("broken/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { nmae: a }\n---\na: [\n"),
        ("twice/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
        ("twice/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
    ];
    Assets { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
}

fn read_with(text: &str, set: &[&str]) -> Result<Plan, Vec<Problem>> {
    load(&Source::new("plans/x.yaml", text), &assets(), &Settings::parse(set.iter().copied()).unwrap())
}

fn shown(result: Result<Plan, Vec<Problem>>) -> String {
    result.unwrap_err().iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

const GOOD: &str = "\
plan: x
title: A plan
claim: { names: [ \"stack:${app}\", \"stack:${app}\" ] }
inputs:
  namespace: monitoring
  app: { default: trip, help: The application }
  size: { help: A size, example: 1Gi }
  replicas: 2
  url: { optional: true }
  both: \"${app}-${replicas}\"
phases:
  - phase: one
    steps:
      - prove: [ access ]
      - apply: tempo
        was: old-name
        after: [ rolled-out, ready ]
        ready: [ { service: tempo, port: 3200, url: \"${url}\" } ]
        timeout: 1h30m
        take: [ \"spec.replicas\" ]
  - phase: two
    title: The rest
    steps:
      - datasource: tempo
      - datasource: { configmap: c, key: k.yaml, name: Loki, derived_field: { name: T, matcherRegex: 't=(\\w+)', url: '$${__value.raw}' } }
        before: [ datasource ]
      - env: { workload: \"deployment/${app}\", namespace: apps, container: main, set: { A: x, B: 3, C: true, D: \"${both}\" } }
        name: flip
        after: [ rolled-out ]
      - watch: spans
        service: ${app}
        tempo: { url: \"http://tempo:3200\" }
        loki: { service: loki, namespace: logs, port: 3100 }
        loki_query: '{app=\"${app}\"}'
        after: [ first-light ]
";

#[test]
fn a_plan_is_read() {
    let plan = read_with(GOOD, &["size=5Gi", "replicas=3"]).unwrap();
    assert_eq!(plan.claim, ["stack:trip"]);
    let names: Vec<&str> = plan.steps().map(|(_, step)| step.name.as_str()).collect();
    assert_eq!(
        names,
        ["prove-one", "apply-tempo", "datasource-tempo", "datasource-loki", "flip", "watch-spans"]
    );
    let apply = plan.step("apply-tempo").unwrap();
    assert_eq!(plan.manager(apply), "firstlight:x:apply-tempo");
    assert_eq!(plan.earlier_managers(apply), ["firstlight:x:old-name"]);
    assert_eq!(apply.timeout, Duration::from_secs(5400));
    assert_eq!(apply.ready[0].path, "/ready");
    let Action::Apply { objects, .. } = &apply.action else { panic!() };
    assert_eq!(objects[0].object["data"]["a"], "5Gi");
    assert_eq!(objects.len(), 2);
    let Action::Env { workload, set, .. } = &plan.step("flip").unwrap().action else { panic!() };
    assert_eq!(workload.to_string(), "deployment/trip in apps");
    assert_eq!(set.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["x", "3", "true", "trip-3"]);
}

#[test]
fn the_hash_is_that_of_what_is_said() {
    let hash = |text: &str, set: &[&str]| plan_hash(&read_with(text, set).unwrap());
    let first = hash(GOOD, &["size=5Gi"]);
    assert_eq!(first.len(), 64);
    assert_eq!(
        first,
        hash(
            &format!("# comment\n{}", GOOD.replace("  - phase: two", "\n\n  - phase: \"two\"")),
            &["size=5Gi"]
        )
    );
    assert_ne!(first, hash(GOOD, &["size=6Gi"]), "an asset depends on it");
    assert_ne!(first, hash(GOOD, &["size=5Gi", "replicas=3"]));
    assert_ne!(first, hash(&GOOD.replace("B: 3", "B: 4"), &["size=5Gi"]));
    assert_ne!(first, hash(&GOOD.replace("1h30m", "1h31m"), &["size=5Gi"]));
    assert!(serde_json::to_value(read_with(GOOD, &["size=1"]).unwrap()).is_ok());
}

#[test]
fn inputs_are_checked() {
    assert_snapshot!(shown(read_with(GOOD, &["sizee=1", "replicas=many", "app=a\nb", "zzz=1"])), @r#"
    --set:1:1: input `replicas` takes a whole number, not `many`
      1 | replicas=many
        | ^^^^^^^^^^^^^
    --set:1:1: the value of input `app` cannot be used: a value is one line of at most 4096 visible characters
      1 | app=a
        | ^^^^^
    --set:1:1: unknown input `sizee`
      1 | sizee=1
        | ^^^^^
      hint: did you mean `size`?
    --set:1:1: unknown input `zzz`
      1 | zzz=1
        | ^^^
      hint: known: `namespace`, `app`, `size`, `replicas`, `url`, `both`
    plans/x.yaml:7:3: input `size` has no value
      7 |   size: { help: A size, example: 1Gi }
        |   ^^^^
      hint: give it with --set size=VALUE
    "#);
    let stand_in = load(&Source::new("x", GOOD), &assets(), &Settings::default().with_stand_ins()).unwrap();
    assert_eq!(stand_in.inputs[2].value, "1Gi");
}

#[test]
fn every_mistake_is_shown_at_once_with_its_place() {
    let text = "\
plann: x
plan: X_1
claim: { names: [ 'a b' ] }
inputs:
  Bad: 1
  empty:
  both: { default: 1, optional: true, hlep: x }
phases:
  - phasse: one
    steps: []
  - phase: two
    steps:
      - aply: tempo
      - apply: temp
      - apply: tempo
        prove: [ access ]
      - apply: tempo
        namespace: m
        after: [ rolledout, rolled-out, rolled-out, first-light ]
        timeout: 10
        take: [ 'a[', 7 ]
        ready: [ { service: t, port: 70000 }, { url: tempo, path: ready }, {} ]
      - just text
      - {}
      - datasource: { configmap: c, key: k, derived_field: { name: t, matcherTyp: regex, matcherRegex: x } }
        namespace: m
      - env: { workload: tripit, set: { 1A: x, B: , C: [1] } }
        namespace: M
      - watch: spams
        service: 7
        deadline: 2d
        tempo: { service: tempo }
        loki_query: app
  - phase: two
    steps: none
";
    assert_snapshot!(shown(read_with(text, &[])));
}

#[test]
fn assets_are_read_with_the_plan() {
    let plan = |step: &str| {
        format!(
            "plan: x\ninputs: {{ namespace: m, size: 1 }}\nphases: [ {{ phase: a, steps: [ {step} ] }} ]\n"
        )
    };
    assert_snapshot!(shown(read_with(&plan("{ apply: broken }, { apply: broken, name: again }"), &[])), @"
    assets/broken/x.yaml:5:4: this `[` is never closed
      5 | a: [
        |    ^
    ");
    assert_snapshot!(shown(read_with(&plan("{ apply: twice }"), &[])), @"
    assets/twice/b.yaml:1:1: configmap/a in m is there twice, first in assets/twice/a.yaml
      1 | apiVersion: v1
        | ^^^^^^^^^^^^^^
      hint: keep one of them
    ");
    assert_snapshot!(shown(read_with(&plan("{ datasource: two }, { datasource: temp }"), &[])), @"
    plans/x.yaml:3:46: assets/grafana/two.yaml must hold one ConfigMap and nothing else
      3 | phases: [ { phase: a, steps: [ { datasource: two }, { datasource: temp } ] } ]
        |                                              ^^^
      hint: use `apply:` for other objects
    plans/x.yaml:3:67: there is no data source assets/grafana/temp.yaml
      3 | phases: [ { phase: a, steps: [ { datasource: two }, { datasource: temp } ] } ]
        |                                                                   ^^^^
      hint: did you mean `tempo`?
    ");
    let without = "plan: x\ninputs: { size: 1 }\nphases: [ { phase: a, steps: [ { apply: tempo } ] } ]\n";
    assert_snapshot!(shown(read_with(without, &[])).lines().next().unwrap(), @"assets/tempo/config.yaml:3:11: ConfigMap `tempo` has no namespace");
}

#[test]
fn two_steps_do_not_own_one_field() {
    let text = "plan: x\ninputs: { namespace: m, size: 1 }\nphases: [ { phase: a, steps: [ { apply: tempo }, { apply: tempo, name: b } ] } ]\n";
    let refused = shown(read_with(text, &[]));
    assert!(
        refused.contains("steps `apply-tempo` and `b` both own .data.a of configmap/tempo in m"),
        "{refused}"
    );
}

#[test]
fn odd_texts_are_answered() {
    for text in [
        "",
        "# nothing\n",
        "- a\n",
        "a\n",
        "plan: x\n---\nplan: y\n",
        "phases:\n",
        "{}",
        "plan: [",
        "inputs: 3\n",
        "phases: [ 1, [], {} ]\n",
    ] {
        assert!(read_with(text, &[]).is_err(), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_damage_to_a_plan_breaks_it(at in any::<prop::sample::Index>(), cut in 0usize..12, new in "[-a:${}\\[\\]\" \n#&*!|0]{0,4}") {
        let chars: Vec<char> = GOOD.chars().collect();
        let start = at.index(chars.len());
        let text: String = chars[..start].iter().copied().chain(new.chars()).chain(chars.iter().skip(start + cut).copied()).collect();
        match read_with(&text, &["size=1"]) {
            Ok(plan) => prop_assert!(!plan.phases.is_empty()),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(!problem.source.as_str().is_empty() && problem.span.line > 0, "{problem}");
                }
            }
        }
    }
}
