//! Text that means harm: it is refused, in little time and memory, and nothing of it acts on the terminal.

use crate::home::Home;

#[track_caller]
fn refused(content: impl AsRef<[u8]>) -> String {
    let home = Home::new();
    home.file("plan.yaml", content);
    let mut text = String::new();
    for command in
        [&["plan", "lint", "plan.yaml"][..], &["plan", "show", "plan.yaml"], &["preview", "plan.yaml"]]
    {
        let said = home.run(command);
        said.assert_harmless();
        assert_eq!(said.code, 2, "{command:?}: {}", said.all());
        text.push_str(&said.all());
    }
    assert!(text.len() < 60_000, "{} bytes are too many to read", text.len());
    text
}

#[test]
fn control_characters_are_shown_and_do_not_act() {
    assert!(refused("plan: x\ntitle: a\u{1b}[2Jb\nphases: []\n").contains("\\x1b[2J"));
    assert!(refused("plan: x\u{0}y\nphases: []\n").contains("U+0000"));
    assert!(refused("plan: \"x\\e]52;c;eA==\\a\"\nphases: []\n").contains("\\x1b]52"));
    assert!(refused("plan: x\n\"ti\u{202e}tle\": y\nphases: []\n").contains("\\u{202e}"));
    assert!(refused("plan: x\n\u{200b}title: y\n\u{9b}2Jx: 1\n").contains("\\u{"));
    refused("plan: x\r\rphases: y\r\n\u{85}\u{2028}z: 1");
}

#[test]
fn what_is_not_utf8_is_said_with_its_place() {
    assert!(refused(b"plan: x\ntitle: caf\xe9\n").contains("plan.yaml is not UTF-8 from byte 18"));
    refused(b"\xff\xfep\0l\0a\0n\0");
    refused(vec![0; 100_000]);
}

#[test]
fn texts_that_grow_are_bounded() {
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let ten = vec![format!("*a{}", level - 1); 10].join(",");
        laughs.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
    }
    assert!(refused(laughs + "plan: x\nphases: *a11\n").contains("anchors and aliases stand for more than"));
    assert!(refused("plan: x\nphases: ".to_owned() + &"[".repeat(100_000)).contains("nested"));
    assert!(refused("plan: x\nphases: ".to_owned() + &"{a: ".repeat(100_000)).contains("nested"));
    assert!(refused("- ".repeat(100_000)).contains("nested"));
    assert!(refused("plan: ".to_owned() + &"x".repeat(6 << 20)).contains("bytes"));
    refused("? ".repeat(50_000));
    refused("&a ".repeat(50_000));
    refused("plan: x\nphases:\n".to_owned() + &"  - phase: one\n".repeat(20_000));
    refused("%YAML 1.2\n".repeat(10_000));
    refused("---\n".repeat(100_000));
    refused("a: b: c\n".repeat(10_000));
}

#[test]
fn a_file_without_an_end_is_not_read_to_its_end() {
    let home = Home::new();
    let said = home.run(&["plan", "lint", "/dev/../dev/zero"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(said.err, @r"
    error: /dev/../dev/zero has more than 4194304 bytes, and a plan never does
    hint: name the plan's YAML file
    ");
    let said = home.run(&["preview", "tracing", "--kubeconfig", "/dev/zero"]);
    assert_eq!(said.code, 1, "{}", said.all());
}

#[test]
fn a_folder_with_pipes_and_loops_is_read_to_its_end() {
    let home = Home::new();
    home.file(
        "mine/plans/a.yaml",
        "plan: a\ntitle: A\nphases: [ { phase: one, steps: [ { prove: [ access ] } ] } ]\n",
    );
    let made =
        std::process::Command::new("mkfifo").arg(home.path().join("mine/plans/pipe.yaml")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink(home.path().join("mine"), home.path().join("mine/plans/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", home.path().join("mine/plans/broken.yaml")).unwrap();
    let said = home.run(&["plan", "list", "--plans", "mine"]);
    assert_eq!((said.code, said.out.as_str()), (0, "a  A\n"), "{}", said.all());
}

#[test]
fn what_is_typed_is_foreign_too() {
    let home = Home::new();
    for arguments in [
        &["\u{1b}[2J"][..],
        &["plan", "show", "\u{1b}[2J"],
        &["plan", "show", "\u{1b}[2J/x.yaml"],
        &["plan", "show", "tracing", "--set", "app=\u{1b}[2J"],
        &["plan", "show", "tracing", "--set", "\u{202e}=x"],
        &["plan", "list", "--plans", "\u{1b}[2J"],
        &["preview", "tracing", "--until", "\u{9b}2J"],
        &["preview", "tracing", "--output", "\u{1b}[2J"],
        &["show", "\u{1b}[2J"],
        &["show", "../../etc/passwd"],
        &["rollback", "--context", "\u{1b}", "--yes", "\u{1b}[2J"],
        &["run", "tracing", "--override", "\u{1b}[2J=x"],
        &["run", "tracing", "--override", "\u{1b}[2J"],
    ] {
        let said = home.run(arguments);
        said.assert_harmless();
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {}", said.all());
    }
}
