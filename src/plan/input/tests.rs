use super::*;
use crate::yaml::{Limits, parse};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

fn values() -> Values {
    let mut values = Values::default();
    values.insert("app", json!("tripit"));
    values.insert("port", json!(4317));
    values.insert("on", json!(true));
    values.insert("zip", json!("0123"));
    values.insert("spaced", json!("a b: c"));
    values.insert("none", Value::Null);
    values
}

fn put(text: &str, reader: Reader) -> Result<Value, String> {
    let source = Source::new("x.yaml", text);
    let mut root = parse(&source, &Limits::MANIFEST).unwrap().remove(0).root;
    let mut problems = Vec::new();
    values().substitute(&mut root, &source, reader, &mut problems);
    if problems.is_empty() {
        return Ok(root.to_json().unwrap());
    }
    Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_whole_scalar_takes_the_type_of_the_value() {
    let text = "a: ${app}\nb: ${port}\nc: ${on}\nd: ${zip}\ne: ${none}\nf: ${spaced}\n";
    let expected = json!({"a": "tripit", "b": 4317, "c": true, "d": "0123", "e": null, "f": "a b: c"});
    assert_eq!(put(text, Reader::Plan), Ok(expected));
    let quoted = json!({"b": "4317", "c": "true", "e": null});
    assert_eq!(put("{b: \"${port}\", c: '${on}', e: '${none}'}", Reader::Plan), Ok(quoted));
}

#[test]
fn a_part_of_a_text_stays_text() {
    let text = "a: x-${app}-${port}\nb: ${port}${port}\nc: |\n  retention: ${port}\n  app: ${app}\nd: '{app=\"${app}\"}'\n";
    let expected = json!({
        "a": "x-tripit-4317", "b": "43174317", "c": "retention: 4317\napp: tripit\n", "d": "{app=\"tripit\"}"
    });
    assert_eq!(put(text, Reader::Asset), Ok(expected));
}

#[test]
fn what_other_programs_expand_is_left_alone() {
    let text = "a: $${__value.raw}\nb: ${__value.raw}\nc: ${env:MY_POD_IP}\nd: $$${app}\ne: ${1}\nf: $app\ng: $${app}\n\
                h: ${HOME} ${HOME:-x} ${app:-} $(APP) ${\ni: 'a$'\nj: \"\"\n";
    let before = parse(&Source::new("x", text), &Limits::MANIFEST).unwrap().remove(0).root.to_json().unwrap();
    assert_eq!(put(text, Reader::Asset), Ok(before));
}

#[test]
fn mistakes_have_their_place() {
    assert_snapshot!(put("a:\n  b: |\n    x\n    y ${appp} z\n", Reader::Asset).unwrap_err(), @"
    x.yaml:4:7: unknown input `appp`
      4 |     y ${appp} z
        |       ^^^^^^^
      hint: did you mean `${app}`?
    ");
    assert_snapshot!(put("a: é ${ app } ${APP}\n", Reader::Asset).unwrap_err(), @"
    x.yaml:1:6: `${ app }` is not substituted
      1 | a: é ${ app } ${APP}
        |      ^^^^^^^^
      hint: write `${app}`
    ");
    assert_snapshot!(put("a: ${APP}\n${app}: 1\nb: x${none}\nc: x ${spaced}\n", Reader::Plan).unwrap_err(), @"
    x.yaml:1:4: `${APP}` names no input
      1 | a: ${APP}
        |    ^^^^^^
      hint: an input is `${name}` in lower-case letters, digits and `_`; a literal `${` is written `$${`
    x.yaml:2:1: `${app}` stands in a key, where inputs are not substituted
      2 | ${app}: 1
        | ^^^^^^
    x.yaml:3:5: input `none` has no value, and stands in a text
      3 | b: x${none}
        |     ^^^^^^^
      hint: give it with --set none=VALUE
    x.yaml:4:6: the value of input `spaced` (`a b: c`) cannot be a part of a text
      4 | c: x ${spaced}
        |      ^^^^^^^^^
      hint: there a value has letters, digits and `._-/:@+=~`, and begins with a letter, a digit, `.` or `/`
    ");
}

#[test]
fn settings_are_read() {
    let settings = Settings::parse(["a=1", "b=x=y", "c="]).unwrap();
    assert_eq!(
        settings.values,
        BTreeMap::from([("a", "1"), ("b", "x=y"), ("c", "")].map(|(k, v)| (k.to_owned(), v.to_owned())))
    );
    let problems = Settings::parse(["a=1", "a=2", "b"]).unwrap_err();
    assert_snapshot!(problems.iter().map(Problem::headline).collect::<Vec<_>>().join("\n"), @"
    --set:1:1: input `a` is set twice
    --set:1:1: `b` sets nothing
    ");
}

/// YAML with one value at a place, read back.
fn round(template: &str, value: &str) -> Option<Value> {
    let source = Source::new("x", template);
    let mut root = parse(&source, &Limits::MANIFEST).unwrap().remove(0).root;
    let mut values = Values::default();
    values.insert("v", json!(value));
    let mut problems = Vec::new();
    values.substitute(&mut root, &source, Reader::Asset, &mut problems);
    problems.is_empty().then(|| root.to_json().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_whole_scalar_is_any_text(value in "[ -~é]{0,20}") {
        prop_assert_eq!(round("a: ${v}\nb: 1\n", &value), Some(json!({"a": value, "b": 1})));
        prop_assert_eq!(round("{a: \"${v}\", b: 1}", &value), Some(json!({"a": value, "b": 1})));
    }

    #[test]
    fn a_value_cannot_break_out_of_what_it_is_put_into(value in "[ -~\n\t]{0,12}") {
        // The embedded document is read by another program: its structure must not depend on the value.
        let templates = [
            "a: |\n  x: ${v}\n  y: 1\n", "a: |\n  x: \"${v}\"\n  y: 1\n", "a: |\n  x: '${v}'\n  y: 1\n",
            "a: |\n  {x: \"${v}\", y: 1}\n", "a: |\n  x: {z: \"q${v}\"}\n  y: 1\n", "a: |\n  x: [q${v}]\n  y: 1\n",
            "a: |\n  x: {z: ${v}}\n  y: 1\n", "a: |\n  x: 1 # ${v}\n  y: 1\n",
        ];
        for template in templates {
            let Some(outer) = round(template, &value) else { continue };
            let inner = parse(&Source::new("y", outer["a"].as_str().unwrap()), &Limits::MANIFEST);
            let inner = inner.map_err(|problems| format!("{value:?} in {template:?}: {problems:?}"));
            prop_assert!(inner.is_ok(), "{}", inner.unwrap_err());
            let inner = inner.unwrap_or_default()[0].root.clone();
            let keys: Vec<&str> = inner.entries().filter_map(|(key, _)| key.as_str()).collect();
            prop_assert_eq!(keys, ["x", "y"]);
            let x = inner.get("x").unwrap();
            prop_assert!(x.items().count() <= 1 && x.entries().count() <= 1, "{:?} in {:?}", value, template);
            prop_assert!(x.items().all(|item| item.as_str().is_some()));
        }
    }
}
