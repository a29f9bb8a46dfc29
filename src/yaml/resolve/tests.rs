use super::*;
use crate::yaml::{Limits, Source, parse};
use insta::assert_snapshot;
use serde_json::json;

fn root(text: &str) -> Node {
    parse(&Source::new("x", text), &Limits::MANIFEST).unwrap().remove(0).root
}

#[test]
fn the_core_schema_resolves_plain_scalars() {
    let text = "[~, null, true, False, 12, -7, +3, 0o17, 0x1F, 017, 1.5, -2e3, .5, '1', \"true\", yes, 1_000, 1:30, abc]";
    assert_eq!(
        root(text).to_json().unwrap(),
        json!([
            null, null, true, false, 12, -7, 3, 15, 31, 17, 1.5, -2000.0, 0.5, "1", "true", "yes", "1_000",
            "1:30", "abc"
        ])
    );
    assert_eq!(root("18446744073709551615").to_json().unwrap(), json!(u64::MAX));
    assert_eq!(root("-9223372036854775808").to_json().unwrap(), json!(i64::MIN));
    assert_eq!(root("a:\nb: ''\n").to_json().unwrap(), json!({"a": null, "b": ""}));
}

#[test]
fn core_tags_are_obeyed_and_others_refused() {
    assert_eq!(
        root("[!!str 1, !!int '2', !!float 3, ! x, !!null '', !!seq [], !!map {}]").to_json().unwrap(),
        json!(["1", 2, 3.0, "x", null, [], {}])
    );
    for text in ["!!int x", "!!binary aGk=", "!local {}", "!!set {a}", "!!timestamp 2020-01-01"] {
        assert!(root(text).to_json().is_err(), "{text}");
    }
}

#[test]
fn what_json_cannot_hold_is_an_error_with_its_place() {
    let refused = |text: &str| root(text).to_json().unwrap_err().headline();
    assert_snapshot!(refused("a:\n  - 99999999999999999999\n"), @"2:5: the number `99999999999999999999` does not fit into 64 bits");
    assert_snapshot!(refused("a: .nan"), @"1:4: the number `.nan` does not fit into 64 bits");
    assert_snapshot!(refused("a: -.inf"), @"1:4: the number `-.inf` does not fit into 64 bits");
    assert_snapshot!(refused("1e999"), @"1:1: the number `1e999` does not fit into 64 bits");
    assert_snapshot!(refused("~: 1"), @"1:1: the key `~` is nothing, not a text");
    assert_snapshot!(refused("0x10: 1"), @"1:1: the key `0x10` is a number, not a text");
    assert_eq!(root("1: a\ntrue: b\n").to_json().unwrap(), json!({"1": "a", "true": "b"}));
}

#[test]
fn scalars_that_readers_take_differently_are_named() {
    for text in [
        "yes",
        "No",
        "ON",
        "off",
        "y",
        "N",
        "017",
        "-017",
        "0o17",
        "1_000",
        "0x_1F",
        "0b101",
        "+0x1F",
        "-0x1F",
        "0X1F",
        "1:30",
        "190:20:30.15",
        "2020-01-01",
        "2020-1-2T03:04:05Z",
        "=",
        "99999999999999999999",
        "1e999",
        "1_0.5",
    ] {
        let node = root(&format!("[{text}]"));
        assert_eq!(node.ambiguous_scalars().len(), 1, "{text}");
        assert!(root(&format!("['{text}']")).ambiguous_scalars().is_empty(), "{text} in quotes");
    }
    for text in [
        "a",
        "true",
        "null",
        "~",
        "0",
        "12",
        "-3",
        "1.5",
        "0.5",
        "1e3",
        "0x1F",
        "20Gi",
        "720h",
        "grafana/tempo:2.8.2",
        "10.0.0.1",
        "0.145.0",
        "a:b",
        "::1",
        ".inf",
        "1-2",
        "2020-01",
        "nothing",
        "v1",
        "00:00:5e:00",
        "127.0.0.1:4317",
        "http://x:4318",
    ] {
        let found = root(&format!("- {text}\n")).ambiguous_scalars();
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    assert_eq!(root("on: 1\n").ambiguous_scalars().len(), 1, "keys count");
    assert_eq!(root("a: 'x\u{2028}y'\n").ambiguous_scalars().len(), 1);
}
