//! datasource: the laws. Documents are made at random, changed at random, and judged; a small second opinion on their
//! values says what must never be called Proven.

use firstlight::proof::Verdict;
use firstlight::proof::datasource::{Known, judge};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

/// Fields that may not change at all, with what Grafana takes where they are not written.
const FIXED: [(&str, Value); 7] = [
    ("uid", Value::Null),
    ("name", Value::Null),
    ("type", Value::Null),
    ("url", Value::Null),
    ("access", Value::Null),
    ("isDefault", Value::Bool(false)),
    ("orgId", Value::Null),
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..5_i64).prop_map(Value::from),
        Just(Value::Null),
        prop_oneof![
            Just(""),
            Just("a"),
            Just("yes"),
            Just("x: y"),
            Just("$VALUE"),
            Just("30s"),
            Just("# no comment")
        ]
        .prop_map(Value::from),
    ]
}

fn settings() -> impl Strategy<Value = Value> {
    let leaf = scalar();
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::btree_map("[a-d]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    });
    (
        proptest::collection::btree_map("[e-h]", tree, 0..3),
        proptest::option::of(proptest::collection::vec(field(), 0..3)),
    )
        .prop_map(|(map, fields)| {
            let mut map: Map<String, Value> = map.into_iter().collect();
            if let Some(fields) = fields {
                map.insert("derivedFields".to_owned(), Value::Array(fields));
            }
            Value::Object(map)
        })
}

fn field() -> impl Strategy<Value = Value> {
    (0..4_usize, any::<bool>()).prop_map(|(number, internal)| {
        let mut field = json!({
            "name": format!("field {number}"),
            "matcherRegex": r#""id":\s*"(\w+)""#,
            "url": "https://example.com/$${__value.raw}",
        });
        if internal {
            field["datasourceUid"] = Value::from("loki");
        }
        field
    })
}

fn datasource(name: &'static str) -> impl Strategy<Value = Value> {
    let optional = |value: &'static str| proptest::option::of(Just(value));
    (
        (optional("loki"), optional("http://loki:3100"), optional("proxy")),
        (
            proptest::option::of(any::<bool>()),
            proptest::option::of(0..2_i64),
            proptest::option::of(settings()),
        ),
    )
        .prop_map(move |((uid, url, access), (default, org, settings))| {
            let mut map = Map::new();
            map.insert("name".to_owned(), Value::from(name));
            map.insert("type".to_owned(), Value::from("loki"));
            for (key, value) in [
                ("uid", uid.map(Value::from)),
                ("url", url.map(Value::from)),
                ("access", access.map(Value::from)),
                ("isDefault", default.map(Value::from)),
                ("orgId", org.map(Value::from)),
                ("jsonData", settings),
            ] {
                if let Some(value) = value {
                    map.insert(key.to_owned(), value);
                }
            }
            Value::Object(map)
        })
}

fn document() -> impl Strategy<Value = Value> {
    (
        datasource("Loki"),
        proptest::option::of(datasource("Other")),
        proptest::option::of(any::<bool>()),
        any::<bool>(),
    )
        .prop_map(|(first, second, prune, deletes)| {
            let list: Vec<Value> = std::iter::once(first).chain(second).collect();
            let mut document = json!({ "apiVersion": 1, "datasources": list });
            if let Some(prune) = prune {
                document["prune"] = Value::from(prune);
            }
            if deletes {
                document["deleteDatasources"] = json!([{ "name": "Old", "orgId": 1 }]);
            }
            document
        })
}

/// One change of one place.
#[derive(Clone, Debug)]
enum Mutation {
    Remove(Index),
    Replace(Index, Value),
    Insert(Index, usize, String, Value),
    Swap(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let key = prop_oneof![
        Just("uid"),
        Just("name"),
        Just("type"),
        Just("url"),
        Just("access"),
        Just("isDefault"),
        Just("orgId"),
        Just("prune"),
        Just("deleteDatasources"),
        Just("jsonData"),
        Just("derivedFields"),
        Just("matcherType"),
        Just("datasourceUid"),
        Just("a"),
        Just("e"),
        Just("basicAuth"),
    ];
    let value = prop_oneof![
        3 => scalar(),
        1 => field(),
        1 => datasource("New"),
        1 => Just(json!([])),
        1 => Just(json!([{ "name": "Loki" }])),
        1 => field().prop_map(|field| json!([field])),
    ];
    prop_oneof![
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), scalar()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        (any::<Index>(), 0..4_usize, key, value).prop_map(|(at, position, key, value)| Mutation::Insert(
            at,
            position,
            key.to_owned(),
            value
        )),
        any::<Index>().prop_map(Mutation::Swap),
    ]
}

/// Pointers of all values but the root.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

fn mutate(document: &mut Value, mutation: &Mutation) {
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    if places.is_empty() {
        return;
    }
    let collections = |document: &Value| -> Vec<String> {
        let all = std::iter::once(String::new()).chain(places.clone());
        all.filter(|place| document.pointer(place).is_some_and(|value| value.is_array() || value.is_object()))
            .collect()
    };
    match mutation {
        Mutation::Remove(index) => {
            let place = &places[index.index(places.len())];
            let (parent, key) = place.rsplit_once('/').unwrap();
            match document.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(key)),
                Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                _ => unreachable!(),
            }
        }
        Mutation::Replace(index, value) => {
            let place = &places[index.index(places.len())];
            *document.pointer_mut(place).unwrap() = value.clone();
        }
        Mutation::Insert(index, position, key, value) => {
            let collections = collections(document);
            match document.pointer_mut(&collections[index.index(collections.len())]).unwrap() {
                Value::Object(map) => drop(map.insert(key.clone(), value.clone())),
                Value::Array(items) => items.insert((*position).min(items.len()), value.clone()),
                _ => unreachable!(),
            }
        }
        Mutation::Swap(index) => {
            let collections = collections(document);
            if let Value::Array(items) =
                document.pointer_mut(&collections[index.index(collections.len())]).unwrap()
            {
                items.reverse();
            }
        }
    }
}

/// The second opinion, on values alone.
fn kept(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Null, _) => true,
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(key, value)| new.get(key).is_some_and(|other| kept(value, other)))
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() <= new.len() && old.iter().zip(new).all(|(value, other)| kept(value, other))
        }
        (old, new) => old == new,
    }
}

fn additive(old: &Value, new: &Value) -> bool {
    let list = |document: &Value, key: &str| document[key].as_array().cloned().unwrap_or_default();
    let (before, after) = (list(old, "datasources"), list(new, "datasources"));
    let fixed = before.iter().zip(&after).all(|(before, after)| {
        FIXED.iter().all(|(key, default)| {
            let nothing = |value: &Value| {
                value.is_null() || value == "" || value == default
                    || (*key == "access" && value == "proxy")
                    // Go's strconv.ParseBool.
                    || (*key == "isDefault" && value == 0)
                    || (*key == "orgId" && (value == 0 || value == 1))
            };
            before[key] == after[key] || (nothing(&before[key]) && nothing(&after[key]))
        })
    });
    let prunes = |document: &Value| document["prune"] == json!(true);
    kept(old, new)
        && fixed
        && list(old, "deleteDatasources").len() == list(new, "deleteDatasources").len()
        && (!prunes(new) || prunes(old))
}

/// As block YAML, its keys in an order that `turn` decides.
fn render(value: &Value, indent: usize, turn: usize, out: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            let start = turn % entries.len();
            entries.rotate_left(start);
            if turn % 2 == 1 {
                entries.reverse();
            }
            for (key, value) in entries {
                out.push_str(&format!("{margin}{}:", Value::from(key.as_str())));
                nested(value, indent + 2, turn, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{margin}-"));
                nested(item, indent + 2, turn, out);
            }
        }
        scalar => out.push_str(&format!("{margin}{scalar}\n")),
    }
}

fn nested(value: &Value, indent: usize, turn: usize, out: &mut String) {
    let filled = value.as_object().is_some_and(|map| !map.is_empty())
        || value.as_array().is_some_and(|list| !list.is_empty());
    if filled {
        out.push('\n');
        render(value, indent, turn, out);
    } else {
        out.push_str(&format!(" {value}\n"));
    }
}

fn text(document: &Value, turn: usize) -> String {
    let mut out = String::new();
    render(document, 0, turn, &mut out);
    out
}

fn known() -> Known {
    Known { datasources: Vec::new(), complete: true }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_loses_or_alters_anything_is_never_proven(
        old in document(),
        mutations in proptest::collection::vec(mutation(), 1..4),
        turns in (0..6_usize, 0..6_usize),
    ) {
        let mut new = old.clone();
        for mutation in &mutations {
            mutate(&mut new, mutation);
        }
        let judgement = judge(Some(&text(&old, turns.0)), &text(&new, turns.1), &known());
        if judgement.verdict == Verdict::Proven {
            prop_assert!(additive(&old, &new), "{}\n{}\n{judgement:?}", text(&old, 0), text(&new, 0));
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter(
        old in document(),
        mutations in proptest::collection::vec(mutation(), 0..3),
        turns in (0..6_usize, 0..6_usize),
    ) {
        let mut new = old.clone();
        for mutation in &mutations {
            mutate(&mut new, mutation);
        }
        let one = judge(Some(&text(&old, 0)), &text(&new, 0), &known());
        let other = judge(Some(&text(&old, turns.0)), &text(&new, turns.1), &known());
        prop_assert_eq!(one.verdict, other.verdict, "{}\n{}", text(&old, 0), text(&new, 0));
    }

    #[test]
    fn a_good_derived_field_at_the_end_is_proven(old in document(), turns in (0..6_usize, 0..6_usize)) {
        let mut new = old.clone();
        let good = json!({
            "name": "trace_id",
            "matcherRegex": r#""trace_id":\s*"(\w+)""#,
            "url": "https://tempo.example.com/$${__value.raw}",
        });
        let source = new["datasources"][0].as_object_mut().unwrap();
        let settings = source.entry("jsonData").or_insert(json!({})).as_object_mut().unwrap();
        settings.entry("derivedFields").or_insert(json!([])).as_array_mut().unwrap().push(good);
        let judgement = judge(Some(&text(&old, turns.0)), &text(&new, turns.1), &known());
        prop_assert_eq!(judgement.verdict, Verdict::Proven, "{}\n{:?}", text(&old, 0), judgement);
        // And back again it is not.
        let back = judge(Some(&text(&new, turns.1)), &text(&old, turns.0), &known());
        prop_assert_eq!(back.verdict, Verdict::Refuted);
    }

    #[test]
    fn any_texts_are_judged_without_a_panic(old in any::<String>(), new in "[a-d:\\- \\n\\[\\]{}&*!|>'\"%@`]*") {
        judge(Some(&old), &new, &known());
        judge(None, &new, &known());
    }
}
