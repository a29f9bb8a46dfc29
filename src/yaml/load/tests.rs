use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    parse(&Source::new("x.yaml", text), &Limits::MANIFEST)
}

fn json_of(text: &str) -> Value {
    read(text).unwrap_or_else(|problems| panic!("{problems:?}"))[0].root.to_json().unwrap()
}

fn problems(text: &str) -> String {
    let shown: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
    shown.join("\n")
}

#[test]
fn spans_name_bytes_lines_and_columns() {
    let text = "a: é\r\nlist:\r\n  - 'x y'\r\n";
    let documents = read(text).unwrap();
    let item = documents[0].root.get("list").unwrap().items().next().unwrap();
    assert_eq!(&text[item.span.start..item.span.end], "'x y'");
    assert_eq!((item.span.line, item.span.column), (3, 5));
    assert_eq!(documents[0].root.get("a").unwrap().span.column, 4);
}

#[test]
fn a_byte_order_mark_is_no_content() {
    assert_eq!(json_of("\u{feff}a: 1\n"), json!({"a": 1}));
    assert_eq!(read("\u{feff}a: 1\n").unwrap()[0].root.entries().next().unwrap().0.span.column, 1);
}

#[test]
fn a_block_scalar_ends_with_its_last_line() {
    let text = "a: |\n  x\n  y\n\n\n# c\nb: |+\n  z\n\nc: >-\n  q\n\n";
    let root = read(text).unwrap().remove(0).root;
    let raw = |key: &str| root.get(key).map(|node| &text[node.span.start..node.span.end]);
    assert_eq!((raw("a"), raw("b"), raw("c")), (Some("x\n  y\n"), Some("z\n\n"), Some("q")));
    assert_eq!(root.to_json().unwrap(), json!({"a": "x\ny\n", "b": "z\n\n", "c": "q"}));
}

#[test]
fn several_documents_are_read() {
    let documents = read("a: 1\n---\nb: 2\n...\n---\n# nothing\n").unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents.iter().map(|document| document.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(documents[2].root.is_null());
    assert!(read("").unwrap().is_empty());
}

#[test]
fn aliases_are_expanded_and_told() {
    let documents = read("a: &x [1, 2]\nb: *x\n").unwrap();
    assert!(documents[0].uses_aliases && !documents[0].uses_tags);
    assert_eq!(documents[0].root.to_json().unwrap(), json!({"a": [1, 2], "b": [1, 2]}));
    assert!(documents[0].root.get("b").unwrap().alias);
    assert!(read("a: !!str 1\n").unwrap()[0].uses_tags);
}

#[test]
fn all_problems_are_shown_at_once() {
    assert_snapshot!(problems("a: 1\nb: 2\na: 3\n<<: {}\n? [x]\n: 1\nc: *none\n---\nx: [\n---\ny:\n\tz: 1\n"), @r"
    x.yaml:3:1: key `a` stands twice in one mapping, first at line 1, column 1
      3 | a: 3
        | ^
      hint: keep one of them
    x.yaml:4:1: merge keys (`<<`) are not supported
      4 | <<: {}
        | ^^
      hint: write the keys out
    x.yaml:5:3: a key must be a text, not a list or a mapping
      5 | ? [x]
        |   ^^^
    x.yaml:7:4: this alias names no anchor that stands before it
      7 | c: *none
        |    ^
    x.yaml:9:4: this `[` is never closed
      9 | x: [
        |    ^
    x.yaml:12:2: tabs disallowed within this context (block indentation)
      12 |  z: 1
         |  ^
      hint: indent with blanks, not with tabs
    ");
}

#[test]
fn what_is_not_text_is_refused_with_its_place() {
    let refused = |bytes: &[u8]| parse_bytes("x", bytes, &Limits::PLAN).unwrap_err()[0].headline();
    assert_snapshot!(refused(b"a: 1\nb: \xff\xfe\n"), @"x:2:4: these bytes are not UTF-8");
    assert_snapshot!(refused(b"\xff\xfea\0:\0"), @"x:1:1: these bytes are not UTF-8");
    assert_snapshot!(refused(b"a: b\0c\n"), @"x:1:5: the character U+0000 must not stand in YAML");
    assert_snapshot!(refused(&vec![b' '; (1 << 20) + 1]), @"x:1:1: the text has 1048577 bytes, and 1048576 are read at most");
}

#[test]
fn bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 9].join(", ")));
    }
    assert_snapshot!(problems(&laughs).lines().next().unwrap(), @"x.yaml:5:9: anchors and aliases stand for more than 100000 values");
    assert_snapshot!(problems("a: &a [1, *a]\n").lines().next().unwrap(), @"x.yaml:1:11: this alias stands inside the value that it names");
    for nested in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let problems = read(&nested).unwrap_err();
        assert!(problems.len() <= MOST_PROBLEMS, "{}", problems.len());
        assert!(problems[0].message.as_str().contains("nested"), "{}", problems[0]);
    }
    let deep: String = (0..3000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let deep: String = deep.chars().take(4_000_000).collect();
    assert!(read(&deep).is_err());
    let wide = "- x\n".repeat(400_001);
    assert_snapshot!(problems(&wide).lines().next().unwrap(), @"x.yaml:400000:3: more than 400000 values in one text");
    let broken_documents = "---\n[\n".repeat(100_000);
    assert_eq!(read(&broken_documents).unwrap_err().len(), MOST_PROBLEMS);
    // Nested anchors: each keeps a copy of what is inside.
    let anchors: String = (0..90).map(|level| format!("&a{level} [")).collect::<String>()
        + &"x, ".repeat(100_000)
        + &"]".repeat(90);
    assert!(read(&anchors).is_err());
}

#[test]
fn aliases_do_not_nest_deeper_than_the_limit() {
    let limits = Limits { depth: 5, ..Limits::MANIFEST };
    let source = Source::new("x", "a: &a [[[1]]]\nb: [[*a]]\n");
    assert_snapshot!(parse(&source, &limits).unwrap_err()[0].headline(), @"x:2:6: nested more than 5 levels deep");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_text_breaks_it(text in "[-a:\\[\\]{}?&*!|>'\"%@#, \n\t\r~<0\u{85}\u{feff}]{0,60}") {
        if let Ok(documents) = read(&text) {
            for document in documents {
                let _ = document.root.to_json();
                let _ = document.root.ambiguous_scalars();
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes("x", &bytes, &Limits::PLAN);
    }

    #[test]
    fn json_is_yaml(text in "[ -~é\u{1f600}]{0,30}", number in any::<i64>()) {
        let value = json!({"a": [text, number, null, {"b": text}]});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(json_of(&pretty), value);
    }
}
