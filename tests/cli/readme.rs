//! The README says what is true.

use crate::help::COMMANDS;
use crate::home::Home;
use firstlight::cli::exit;
use std::collections::BTreeMap;

const README: &str = include_str!("../../README.md");

/// The rows of the table under a heading, as cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = README.split_once(&format!("{heading}\n")).expect("the heading is there");
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let source = include_str!("../../src/cli/exit.rs");
    let constants: BTreeMap<String, String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u8 = "))
        .map(|(name, code)| (code.trim_end_matches(';').to_owned(), name.to_owned()))
        .collect();
    let listed: Vec<String> = table("## Exit codes").iter().map(|row| row[0].clone()).collect();
    let mut known: Vec<u8> = constants.keys().map(|code| code.parse().unwrap()).collect();
    known.sort_unstable();
    assert_eq!(listed, known.iter().map(u8::to_string).collect::<Vec<_>>(), "{constants:?}");
    assert_eq!(
        known,
        [
            exit::DONE,
            exit::FAILED,
            exit::USAGE,
            exit::PENDING,
            exit::REFUTED,
            exit::UNKNOWN,
            exit::HELD,
            exit::INTERRUPTED,
            exit::TERMINATED
        ]
    );
}

/// The words of a command line that is in the README, without a prompt.
fn command_lines() -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            lines.push(words);
        }
    }
    lines
}

/// Whether a command takes these options, by its help.
fn takes(home: &Home, words: &[&str]) {
    let command =
        COMMANDS.iter().filter(|command| words.starts_with(command)).max_by_key(|command| command.len());
    let command = command.unwrap_or_else(|| panic!("there is no command {words:?}"));
    let help = home.run(&[command, &["--help"][..]].concat()).out;
    for option in words.iter().filter(|word| word.starts_with("--")) {
        let known = help.split_whitespace().any(|word| word == *option);
        assert!(known, "{command:?} has no {option}: {help}");
    }
}

#[test]
fn every_command_of_the_code_blocks_exists() {
    let home = Home::new();
    let lines = command_lines();
    assert!(lines.len() > 6);
    for line in lines {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cargo", "test"] => {}
            ["cargo", "run", "--", rest @ ..] | ["firstlight", rest @ ..] => takes(&home, rest),
            other => panic!("{other:?} is checked by nothing"),
        }
    }
    let shown = home.run(&["plan", "show", "tracing"]);
    assert_eq!(shown.code, 0);
}

#[test]
fn the_table_of_commands_is_whole() {
    let home = Home::new();
    let mut named: Vec<Vec<String>> = Vec::new();
    for row in table("inputs, cluster and state directory.") {
        let words = |text: &str| -> Vec<String> {
            text.replace('`', " ")
                .split([' ', ',', ';'])
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let command: Vec<String> =
            words(&row[0]).into_iter().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        let options = words(&row[1]).into_iter().filter(|word| word.starts_with("--"));
        let all: Vec<String> = command.iter().cloned().chain(options).collect();
        takes(&home, &all.iter().map(String::as_str).collect::<Vec<_>>());
        named.push(command);
    }
    let known: Vec<Vec<String>> = COMMANDS
        .iter()
        .filter(|command| **command != ["plan"])
        .map(|command| command.iter().map(|word| (*word).to_owned()).collect())
        .collect();
    assert_eq!(named, known);
}

#[test]
fn what_it_links_to_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for piece in README.split("](").skip(1) {
        let target = piece.split(')').next().unwrap();
        assert!(target.starts_with("http") || root.join(target).exists(), "{target}");
    }
    for path in [".ci/run", ".ci/components", "docs/picture", "rust-toolchain.toml"] {
        assert!(README.contains(path) && root.join(path).exists(), "{path}");
    }
}
