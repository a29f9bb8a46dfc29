//! Help of every command.

use crate::home::Home;

/// Every command with its subcommands, as words.
pub const COMMANDS: [&[&str]; 10] = [
    &["plan"],
    &["plan", "list"],
    &["plan", "show"],
    &["plan", "lint"],
    &["preview"],
    &["run"],
    &["rehearse"],
    &["rollback"],
    &["runs"],
    &["show"],
];

#[test]
fn every_command_has_help_that_fits_eighty_columns() {
    let home = Home::new();
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let said = home.run(&[command, &[flag]].concat());
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{command:?}");
            assert!(said.out.contains(&format!("Usage: firstlight {}", command.join(" "))), "{}", said.out);
            let wide: Vec<&str> = said.out.lines().filter(|line| line.chars().count() > 80).collect();
            assert_eq!(wide, [""; 0], "{command:?}");
        }
    }
}

#[test]
fn the_front_page_names_every_command() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["-h"]).all());
    let said = home.run(&[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("Usage: firstlight"), "{}", said.err);
    let named: Vec<String> = home
        .run(&["-h"])
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    let mut known: Vec<&str> = COMMANDS.iter().map(|words| words[0]).collect();
    known.dedup();
    assert_eq!(named, known);
}

#[test]
fn a_run_says_what_its_options_do() {
    insta::assert_snapshot!(Home::new().run(&["run", "-h"]).all());
}

#[test]
fn the_version_is_one_line() {
    let said = Home::new().run(&["--version"]);
    assert_eq!(said.all(), format!("--- stdout\nfirstlight {}\nexit 0", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["plan", "shwo"]).all());
    for wrong in [
        &["bogus"][..],
        &["plan", "show"],
        &["show"],
        &["run", "tracing", "--approve-unseen"],
        &["run", "x", "--colour"],
    ] {
        let said = home.run(wrong);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{wrong:?}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
}
