use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

fn node<'d>(root: &'d Node, steps: &[&str]) -> &'d Node {
    steps.iter().fold(root, |node, step| match step.parse::<usize>() {
        Ok(index) => node.items().nth(index).unwrap(),
        Err(_) => node.get(step).unwrap(),
    })
}

fn append(text: &str, steps: &[&str], key: &str, item: &Value) -> Result<String, Problem> {
    let documents = parse(&Source::new("x", text), &Limits::MANIFEST).unwrap();
    append_item(text, &documents[0], node(&documents[0].root, steps), key, item)
}

fn field() -> Value {
    json!({"name": "Trace", "matcherRegex": "\"trace_id\":\\s*\"(\\w+)\"", "url": "$${__value.raw}", "targetBlank": true})
}

const LOKI: &str = "\
apiVersion: 1

datasources:
  - name: Loki   # the logs
    type: loki
    jsonData:
      maxLines: 1000
      derivedFields:
        - name: other
          url: |
            x

        # the last one stays the last comment
    editable: false
# end
";

#[test]
fn an_item_goes_to_the_end_of_a_block_list() {
    let edited = append(LOKI, &["datasources", "0", "jsonData"], "derivedFields", &field()).unwrap();
    assert_snapshot!(edited, @r#"
    apiVersion: 1

    datasources:
      - name: Loki   # the logs
        type: loki
        jsonData:
          maxLines: 1000
          derivedFields:
            - name: other
              url: |
                x
            - name: Trace
              matcherRegex: '"trace_id":\s*"(\w+)"'
              targetBlank: true
              url: '$${__value.raw}'

            # the last one stays the last comment
        editable: false
    # end
    "#);
}

#[test]
fn a_missing_list_is_made_as_the_others_are_indented() {
    assert_snapshot!(append("a:\n- x: 1\n  b:\n    c: 1\n", &["a", "0", "b"], "list", &json!("v")).unwrap(), @r"
    a:
    - x: 1
      b:
        c: 1
        list:
        - v
    ");
    assert_snapshot!(append("a:\n    - x: 1\n      b: |+\n        q\n\nz: 1\n", &["a", "0"], "l", &json!({"k": {"m": [1, "2"]}})).unwrap(), @r"
    a:
        - x: 1
          b: |+
            q

          l:
              - k:
                  m:
                    - 1
                    - '2'
    z: 1
    ");
}

#[test]
fn an_empty_list_becomes_a_block() {
    for (before, after) in [
        ("a:\nb: 1\n", "a:\n  - x\nb: 1\n"),
        ("a: # note\nb: 1\n", "a: # note\n  - x\nb: 1\n"),
        ("a: []\nb: 1\n", "a:\n  - x\nb: 1\n"),
        ("a: [ ]  # note\nb: 1\n", "a:  # note\n  - x\nb: 1\n"),
        ("a: null\n", "a:\n  - x\n"),
        ("a: ~", "a:\n  - x"),
        ("b: 1", "b: 1\na:\n  - x"),
        ("a:\r\n  - y\r\nb: 1\r\n", "a:\r\n  - y\r\n  - x\r\nb: 1\r\n"),
        ("b: 1\r\na: []", "b: 1\r\na:\r\n  - x"),
        ("a: [\n  # none\n]\n", "a: [\"x\"\n  # none\n]\n"),
        ("a:\n- y\n# next\nb: 1\n", "a:\n- y\n- x\n# next\nb: 1\n"),
        ("a:\n- y\n  # of y\nb: 1\n", "a:\n- y\n  # of y\n- x\nb: 1\n"),
        ("a:\n-\n  y\nb: 1\n", "a:\n-\n  y\n- x\nb: 1\n"),
        ("a:\n  - - y\n", "a:\n  - - y\n  - x\n"),
        ("a:\n- - y\n", "a:\n- - y\n- x\n"),
        ("{}", "{\"a\": [\"x\"]}"),
        ("{b: 1}\n", "{b: 1, \"a\": [\"x\"]}\n"),
        ("{a: [1, 2, ]}\n", "{a: [1, 2, \"x\", ]}\n"),
        ("{a: null}\n", "{a: [\"x\"]}\n"),
        ("{a: , b: 1}\n", "{a: [\"x\"] , b: 1}\n"),
        ("{a}\n", "{a: [\"x\"]}\n"),
        ("{\n  \"a\": [\n    {\"b\": 1}\n  ]\n}\n", "{\n  \"a\": [\n    {\"b\": 1}, \"x\"\n  ]\n}\n"),
        ("---\nb: 1\n...\n", "---\nb: 1\na:\n  - x\n...\n"),
        ("b: 1\n---\na: [z]\n", "b: 1\na:\n  - x\n---\na: [z]\n"),
        ("a:\n  - |\n    text\n\n    more\n\n\nb: 1\n", "a:\n  - |\n    text\n\n    more\n  - x\n\n\nb: 1\n"),
    ] {
        assert_eq!(append(before, &[], "a", &json!("x")).as_deref(), Ok(after), "{before:?}");
    }
}

#[test]
fn what_cannot_be_done_safely_is_refused() {
    let refused =
        |text: &str, steps: &[&str], key: &str| append(text, steps, key, &json!("x")).unwrap_err().headline();
    assert_snapshot!(refused("a: text\n", &[], "a"), @"1:4: `a` is a text, not a list");
    assert_snapshot!(refused("- a\n", &[], "a"), @"1:1: `a` cannot be added to a list");
    assert_snapshot!(refused("b: &b [1]\na: *b\n", &[], "a"), @"2:4: `a` is an alias, so that a change of it would change another value too");
    assert_snapshot!(refused("b: &b {a: [1]}\nc: *b\n", &["c"], "a"), @"2:4: this value stands behind an alias, so that a change of it would change other values too");
    // The list is anchored, and used elsewhere.
    assert_snapshot!(refused("a: &b\n  - 1\nc: *b\n", &[], "a"), @"1:1: this layout of YAML cannot be edited safely");
    // A line feed at the end of the text would become part of the block scalar.
    assert_snapshot!(refused("a:\n  - |\n    x", &[], "a"), @"1:1: this layout of YAML cannot be edited safely");
    assert_snapshot!(refused("a: !!null\n", &[], "a"), @"1:1: this layout of YAML cannot be edited safely");
}

#[test]
fn a_node_of_another_text_is_refused() {
    let documents = parse(&Source::new("x", "a: [1]\n"), &Limits::MANIFEST).unwrap();
    assert!(append_item("a: [2]\n", &documents[0], &documents[0].root, "a", &json!(1)).is_err());
    let other = documents[0].root.clone();
    assert!(append_item("a: [1]\n", &documents[0], &other, "a", &json!(1)).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~\u{85}\u{2028}é\n\t\u{7}]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["yes", "017", "1:30", "null", "~", "- a", "a: b", "#", "2020-01-01"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z:# ]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Lays a value out in one of many styles.
fn lay_out(value: &Value, column: usize, offset: usize, noise: &mut impl Iterator<Item = u8>) -> Vec<String> {
    let margin = " ".repeat(column);
    let mut lines = Vec::new();
    let comment =
        |noise: &mut dyn Iterator<Item = u8>, lines: &mut Vec<String>| match noise.next().unwrap_or(0) % 8 {
            0 => lines.push(format!("{margin}# note")),
            1 => lines.push(String::new()),
            2 => lines.push("# at the margin".to_owned()),
            _ => {}
        };
    match value {
        Value::Object(map) if !map.is_empty() && !noise.next().unwrap_or(0).is_multiple_of(5) => {
            for (key, value) in map {
                comment(noise, &mut lines);
                let key = write::scalar(&Value::String(key.clone()));
                let deeper = column + if value.is_array() { offset } else { 2 };
                let inner = lay_out(value, deeper, offset, noise);
                match (value, inner.as_slice()) {
                    (Value::Object(_) | Value::Array(_), inner) if !inner[0].starts_with('\u{1}') => {
                        lines.push(format!("{margin}{key}:"));
                        lines.extend(inner.iter().cloned());
                    }
                    (_, [first, rest @ ..]) => {
                        lines.push(format!("{margin}{key}: {}", first.trim_start_matches('\u{1}')));
                        lines.extend(rest.iter().cloned());
                    }
                    _ => unreachable!(),
                }
            }
        }
        Value::Array(items) if !items.is_empty() && !noise.next().unwrap_or(0).is_multiple_of(5) => {
            for value in items {
                comment(noise, &mut lines);
                let inner = lay_out(value, column + 2, offset, noise);
                let mut inner = inner
                    .into_iter()
                    .skip_while(|line| line.trim().is_empty() || line.trim().starts_with('#'));
                let first = inner.next().unwrap();
                lines.push(format!("{margin}- {}", first.trim_start_matches('\u{1}').trim_start()));
                lines.extend(inner);
            }
        }
        Value::String(text)
            if text.contains('\n')
                && !text.starts_with([' ', '\n', '\t'])
                && text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)) =>
        {
            let chomp = if text.ends_with("\n\n") {
                "+"
            } else if text.ends_with('\n') {
                ""
            } else {
                "-"
            };
            lines.push(format!("\u{1}|{chomp}"));
            for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                lines.push(if line.is_empty() { String::new() } else { format!("{margin}{line}") });
            }
        }
        _ => lines.push(format!(
            "\u{1}{}",
            if noise.next().unwrap_or(0).is_multiple_of(2) {
                write::scalar(value)
            } else {
                write::flow(value)
            }
        )),
    }
    lines
}

/// Every mapping of a tree with the steps that lead to it.
fn mappings<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
    if matches!(node.kind, NodeKind::Mapping(_)) {
        found.push(node);
    }
    node.items().for_each(|item| mappings(item, found));
    node.entries().for_each(|(_, value)| mappings(value, found));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn an_edit_adds_exactly_the_item(
        map in prop::collection::btree_map("[a-z:# ]{1,6}", value(), 1..4), item in value(), offset in 0usize..4,
        noise in prop::collection::vec(any::<u8>(), 60), crlf in any::<bool>(), last in any::<bool>(), pick in any::<prop::sample::Index>(),
        key in any::<prop::sample::Index>(),
    ) {
        let whole = Value::Object(map.into_iter().collect());
        let mut text: String = lay_out(&whole, 0, offset, &mut noise.into_iter())
            .iter().map(|line| format!("{}\n", line.trim_start_matches('\u{1}'))).collect();
        if !last { text = text.trim_end_matches('\n').to_owned(); }
        if crlf { text = text.replace('\n', "\r\n"); }
        let Ok(documents) = parse(&Source::new("x", text.as_str()), &Limits::MANIFEST) else { return Ok(()) };
        let mut targets = Vec::new();
        mappings(&documents[0].root, &mut targets);
        prop_assume!(!targets.is_empty());
        let target = targets[pick.index(targets.len())];
        let mut keys: Vec<&str> = target.entries().filter_map(|(key, _)| key.as_str()).collect();
        keys.push("new");
        let key = keys[key.index(keys.len())];
        match append_item(&text, &documents[0], target, key, &item) {
            Ok(edited) => {
                // The old text is all there, in one or two pieces, but for the token of an empty list.
                let mut kept = vec![text.clone()];
                if let Some((name, value)) = target.entries().find(|(name, _)| name.as_str() == Some(key)) {
                    let token = &text[value.span.start..value.span.end];
                    if matches!(token, "[]" | "null" | "~") {
                        kept.push(format!("{}{}", &text[..value.span.start], &text[value.span.end..]));
                        kept.push(format!("{}:{}", &text[..name.span.end], &text[value.span.end..]));
                    }
                }
                prop_assert!(kept.iter().any(|kept| is_insertion(kept, &edited)), "{text:?}\n{edited:?}");
                prop_assert!(!text.contains('\r') || !edited.replace("\r\n", "").contains('\n'), "{edited:?}");
                let after = parse(&Source::new("x", edited.as_str()), &Limits::MANIFEST).unwrap();
                prop_assert!(count(&after[0].root) > count(&documents[0].root) || target.get(key).is_some_and(Node::is_null));
            }
            Err(problem) => {
                // The only reasons: the value is no list, or the text ends within a block scalar without a line feed.
                let ends_open = !text.ends_with('\n') && (text.contains('|') || text.contains("\"\n"));
                let no_list = target.get(key).is_some_and(|value| !value.is_null() && !matches!(value.kind, NodeKind::Sequence(_)));
                prop_assert!(no_list || ends_open, "{problem}\n{text:?} {key:?} {item}");
            }
        }
    }
}

/// Whether `new` is `old` with something put in at one place.
fn is_insertion(old: &str, new: &str) -> bool {
    let prefix = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let suffix = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    new.len() > old.len() && prefix + suffix >= old.len()
}

fn count(node: &Node) -> usize {
    1 + node.items().map(count).sum::<usize>() + node.entries().map(|(_, value)| count(value)).sum::<usize>()
}
