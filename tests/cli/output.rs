//! Streams: a reader that leaves, a disk that is full, colour.

use crate::home::Home;
use std::process::Stdio;

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let home = Home::new();
    for arguments in [&["plan", "show", "tracing"][..], &["--help"], &["plan", "lint", "none.yaml"]] {
        let mut child =
            home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = home.said(&child.wait_with_output().unwrap());
        assert!(!said.err.contains("panicked") && said.code <= 2, "{}", said.all());
    }
    // Not even stderr has to be there.
    let mut child = home
        .command(&["plan", "show", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_full_disk_is_a_failure() {
    let home = Home::new();
    for arguments in
        [&["plan", "show", "tracing"][..], &["plan", "list"], &["plan", "list", "--output", "json"]]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = home.command(arguments).stdout(full).output().unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(home.said(&output).all(), @r"
            --- stderr
            error: stdout could not be written: No space left on device (os error 28)
            exit 1
            ");
        }
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let error = |home: &Home, color: &str| home.run(&["plan", "show", "none", "--color", color]).err;
    let home = Home::new();
    assert!(!error(&home, "auto").contains('\u{1b}'));
    assert!(!error(&home, "never").contains('\u{1b}'));
    assert!(error(&home, "always").starts_with("\u{1b}[35merror:\u{1b}[0m "));
    let home = Home::new().with("NO_COLOR", "1");
    assert!(!error(&home, "auto").contains('\u{1b}'));
}
