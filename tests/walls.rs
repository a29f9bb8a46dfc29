//! The walls of the house: no pure room names an edge.
//!
//! Every file below `src` belongs to a pure room unless it is listed as an edge, so a new room is pure until someone
//! says otherwise. Test modules inside a pure room are held to the same rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms that may know the world, as paths below `src` without `.rs`; what lies below a folder of that name too.
const EDGES: [&str; 8] = ["main", "lib", "adapter", "cli", "journal", "rehearsal", "report", "tui"];

/// Paths that no pure room may name, with what to use instead.
const FORBIDDEN: [(&str, &str); 29] = [
    ("kube", "port::Cluster"),
    ("k8s_openapi", "serde_json::Value"),
    ("git2", "port::Repository"),
    ("reqwest", "port::Http"),
    ("hyper", "port::Http"),
    ("hyper_util", "port::Http"),
    ("rustls", "an adapter"),
    ("getrandom", "port::Entropy"),
    ("rand", "port::Entropy"),
    ("tokio::net", "port::Dial"),
    ("tokio::fs", "port::Store"),
    ("tokio::process", "an adapter"),
    ("tokio::signal", "an adapter"),
    ("std::fs", "an adapter"),
    ("std::net", "port::Dial"),
    ("std::process", "an adapter"),
    ("std::env", "an adapter"),
    ("std::os", "an adapter"),
    ("std::time::SystemTime", "port::Clock"),
    ("std::time::Instant", "port::Clock"),
    ("tokio::time::Instant", "port::Clock"),
    ("jiff::Timestamp::now", "port::Clock"),
    ("jiff::Zoned::now", "port::Clock"),
    ("crate::adapter", "a port"),
    ("crate::cli", "a port"),
    ("crate::journal", "port::Store"),
    ("crate::rehearsal", "a port"),
    ("crate::report", "a port"),
    ("crate::tui", "a port"),
];

/// What a path may end in nowhere, however it was imported.
const FORBIDDEN_ENDS: [&str; 4] = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];

/// A piece of source text.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Other(char),
}

/// The words and signs of Rust source, without comments, strings and character literals.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut index, mut line, mut found) = (0, 1, Vec::new());
    while index < chars.len() {
        let start = index;
        let here = line;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= chars.len() {
                        break;
                    }
                }
            }
            '"' => {
                index += 1;
                while index < chars.len() && at(index) != '"' {
                    index += if at(index) == '\\' { 2 } else { 1 };
                }
                index += 1;
            }
            'r' if at(index + 1) == '"' || (at(index + 1) == '#' && ['"', '#'].contains(&at(index + 2))) => {
                let hashes = chars.iter().skip(index + 1).take_while(|one| **one == '#').count();
                index += hashes + 2;
                while index < chars.len()
                    && !(at(index) == '"' && (1..=hashes).all(|offset| at(index + offset) == '#'))
                {
                    index += 1;
                }
                index += hashes + 1;
            }
            // A character literal, not a lifetime.
            '\'' if at(index + 1) == '\\' => {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            '\'' if at(index + 2) == '\'' => index += 3,
            ':' if at(index + 1) == ':' => {
                found.push((here, Token::Colons));
                index += 2;
            }
            one if one.is_alphanumeric() || one == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                found.push((here, Token::Word(chars.iter().skip(start).take(index - start).collect())));
            }
            one => {
                if !one.is_whitespace() {
                    found.push((here, Token::Other(one)));
                }
                index += 1;
            }
        }
        line += chars.iter().take(index).skip(start).filter(|one| **one == '\n').count();
    }
    found
}

/// Every path that the source names, with its line: those in code as they stand, those of `use` trees written out.
fn paths(source: &str) -> Vec<(usize, String)> {
    let tokens = tokens(source);
    let (mut index, mut found) = (0, Vec::new());
    while let Some((line, token)) = tokens.get(index) {
        match token {
            Token::Word(word) if word == "use" => {
                index += 1;
                use_tree(&tokens, &mut index, "", &mut found);
            }
            Token::Word(word) => {
                let mut path = word.clone();
                while let (Some((_, Token::Colons)), Some((_, Token::Word(next)))) =
                    (tokens.get(index + 1), tokens.get(index + 2))
                {
                    path = format!("{path}::{next}");
                    index += 2;
                }
                // One word alone names nothing of another crate or room.
                if path.contains("::") {
                    found.push((*line, path));
                }
                index += 1;
            }
            _ => index += 1,
        }
    }
    found
}

/// Writes out one `use` tree, up to its `;`, `,` or `}`. A renaming or a glob is part of the path.
fn use_tree(tokens: &[(usize, Token)], index: &mut usize, prefix: &str, found: &mut Vec<(usize, String)>) {
    let mut path = prefix.to_owned();
    let mut line = tokens.get(*index).map_or(0, |(line, _)| *line);
    while let Some((here, token)) = tokens.get(*index) {
        match token {
            Token::Word(word) if word == "as" => {
                path.push_str(" as");
                *index += 2;
                continue;
            }
            Token::Word(word) => {
                line = *here;
                path = if path.is_empty() { word.clone() } else { format!("{path}::{word}") };
            }
            Token::Colons => {}
            Token::Other('*') => path.push_str("::*"),
            Token::Other('{') => {
                *index += 1;
                loop {
                    use_tree(tokens, index, &path, found);
                    match tokens.get(*index) {
                        Some((_, Token::Other(','))) => *index += 1,
                        _ => break,
                    }
                    if let Some((_, Token::Other('}'))) = tokens.get(*index) {
                        break;
                    }
                }
                *index += 1;
                return;
            }
            Token::Other(_) => break,
        }
        *index += 1;
    }
    if !path.is_empty() {
        found.push((line, path));
    }
}

/// Why a path may not be named in a pure room, in a file so many modules deep.
fn offence(path: &str, depth: usize) -> Option<String> {
    let path = path.strip_suffix("::self").unwrap_or(path);
    let path = path.replace("::self as", " as");
    let bare = path.strip_suffix(" as").unwrap_or(&path);
    for (forbidden, instead) in FORBIDDEN {
        if bare == forbidden || bare.strip_prefix(forbidden).is_some_and(|rest| rest.starts_with("::")) {
            return Some(format!("`{path}`: use {instead}"));
        }
        // A glob or a new name for something above it would carry it in unseen.
        let opened = path.strip_suffix("::*").or(path.strip_suffix(" as"));
        if opened
            .is_some_and(|opened| forbidden.strip_prefix(opened).is_some_and(|rest| rest.starts_with("::")))
        {
            return Some(format!("`{path}` would bring in {forbidden}: name what you need"));
        }
    }
    let end = FORBIDDEN_ENDS.iter().find(|end| bare == **end || bare.ends_with(&format!("::{end}")));
    if end.is_some() {
        return Some(format!("`{path}`: use port::Clock"));
    }
    // As many `super` as the file is deep lead to the top of the crate.
    let words: Vec<&str> = bare.split("::").collect();
    let up = words.iter().take_while(|word| **word == "super").count();
    let first = words.get(up).filter(|first| up >= depth && EDGES.contains(first))?;
    Some(format!("`{path}` reaches the edge {first}"))
}

/// Everything wrong with one file of a pure room, a line each.
fn offences(name: &str, source: &str) -> BTreeSet<String> {
    let depth = Path::new(name).iter().count();
    paths(source)
        .into_iter()
        .filter_map(|(line, path)| offence(&path, depth).map(|why| format!("{name}:{line}: {why}")))
        .collect()
}

/// Whether a file below `src` belongs to an edge.
fn is_edge(relative: &Path) -> bool {
    let first = relative.iter().next().map(|first| first.to_string_lossy().into_owned()).unwrap_or_default();
    EDGES.contains(&first.strip_suffix(".rs").unwrap_or(&first))
}

#[expect(clippy::unwrap_used, reason = "a tree that cannot be read has failed the test")]
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn no_pure_room_names_an_edge() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let (mut read, mut wrong) = (0, BTreeSet::new());
    for file in files {
        let relative = file.strip_prefix(&source).unwrap();
        if !is_edge(relative) {
            read += 1;
            wrong.extend(offences(&relative.display().to_string(), &std::fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(read >= 10, "only {read} files were read: the rooms have moved");
    assert!(wrong.is_empty(), "a pure room names an edge:\n{}", Vec::from_iter(wrong).join("\n"));
}

/// The scanner sees what it is for, in every way of writing it.
#[test]
fn planted_imports_are_found() {
    for planted in [
        "use kube::Client;",
        "use kube;",
        "use ::kube as k;",
        "pub use k8s_openapi::api::core::v1::Pod;",
        "use {git2::Repository, std::fmt};",
        "use std::{collections::BTreeMap, fs::{self, File}, io};",
        "use std::fs as files;",
        "use std::{self as base};",
        "use std as base;",
        "use std::*;",
        "use tokio::{sync::mpsc, net::TcpStream};",
        "fn f() { let now = std::time::Instant::now(); }",
        "use std::time::{Duration, Instant};",
        "fn f(clock: Instant) { Instant::now(); }",
        "fn f() { jiff::Timestamp::now(); }",
        "fn f() { std::env::var(\"HOME\").ok(); }",
        "fn f() -> crate::adapter::Client { todo!() }",
        "use super::super::journal::Record;",
        "use crate::{plan, cli::Options};",
        "mod a { mod b { use reqwest\n::\nClient; } }",
        "#[cfg(test)] mod tests { use std::process::Command; }",
        "fn f() { getrandom::fill(&mut []).ok(); }",
        "fn f() { let c = '\"'; std::fs::read(\"x\").ok(); }",
        "fn f<'a>(x: &'a str) { std::net::TcpStream::connect(x).ok(); }",
        "fn f() { r#\"text\"#; std::fs::read(\"x\").ok(); }",
    ] {
        assert!(!offences("planted.rs", planted).is_empty(), "not found: {planted}");
    }
}

/// And nothing else: comments, texts, and names that only look alike.
#[test]
fn innocent_lines_pass() {
    for innocent in [
        "// use kube::Client;",
        "/* std::fs::read /* nested */ std::env */ fn f() {}",
        "const HELP: &str = \"std::fs::read \\\" std::env\";",
        "const RAW: &str = r##\"use kube::Client; \"# std::fs\"##;",
        "use std::time::Duration;",
        "use tokio::sync::{mpsc, oneshot};",
        "use tokio::io::{AsyncRead, AsyncWrite};",
        "use super::*;",
        "use crate::plan::report_name;",
        "use self::report::Line;",
        "use std::collections::{BTreeMap as Map, *};",
        "fn f(kube: u8, hyper: u8) -> u8 { kube + hyper }",
        "fn f() { plan.fs::<u8>(); crate::plan::environment(); }",
        "use jiff::Timestamp;",
    ] {
        assert_eq!(offences("innocent.rs", innocent), BTreeSet::new(), "{innocent}");
    }
}

/// A room may have a part of an edge's name.
#[test]
fn super_is_followed_to_where_it_leads() {
    assert_eq!(offences("rollout/undo.rs", "use super::journal::Line;"), BTreeSet::new());
    assert_eq!(offences("rollout/undo.rs", "use super::super::journal::Line;").len(), 1);
}

#[test]
fn a_finding_names_file_and_line() {
    let source = "//! Doc.\n\nuse std::{\n    fmt,\n    fs::File,\n};\n";
    let expected = ["step.rs:5: `std::fs::File`: use an adapter".to_owned()];
    assert_eq!(offences("step.rs", source), BTreeSet::from(expected));
}
