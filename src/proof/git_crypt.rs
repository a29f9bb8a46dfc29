//! git-crypt: is the repository unlocked, and is what should be ciphertext ciphertext?
//!
//! It claims, for every regular file of the index or of HEAD that the attributes mark with a git-crypt filter:
//! 1. its key is in the git directory of this work tree, and git's filter for that key is complete and is git-crypt;
//! 2. in the work tree it is no ciphertext;
//! 3. in the index and in HEAD it is ciphertext, or empty (git-crypt leaves empty files alone, AGWA/git-crypt issue 53).
//!
//! It does not claim that the key is the right one, that older commits or untracked files are sound, or that what no
//! attribute marks is no secret. It sees first bytes only.

use super::{Finding, Judgement, Verdict};
use crate::port::{BlobState, FilterConfig, KeyFile, MarkedFile, RepositoryFact};
use crate::text::Clean;
use std::collections::BTreeMap;

/// How many files are named one by one for each fault; the rest is counted.
const NAMED: usize = 10;

/// Why the proof is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The plan takes the repository that encloses the working folder, if one does.
    Enclosing,
    /// The operator named a repository; that there is none is no answer then.
    Asked,
}

/// Judges what was read of a repository; `Err` is why it could not be read, `Ok(None)`: there is none.
pub fn judge(fact: &Result<Option<RepositoryFact>, Clean>, wanted: Wanted) -> Judgement {
    let fact = match (fact, wanted) {
        (Err(cause), _) => {
            return Judgement::of(vec![Finding::unknown(format!(
                "the repository could not be read: {cause}"
            ))]);
        }
        (Ok(None), Wanted::Enclosing) => {
            return Judgement::of(vec![Finding::not_applicable(
                "no git repository encloses the working folder",
            )]);
        }
        (Ok(None), Wanted::Asked) => {
            return Judgement::of(vec![
                Finding::unknown("there is no git repository at the given path")
                    .hint("give a path inside a work tree"),
            ]);
        }
        (Ok(Some(fact)), _) => fact,
    };
    let mut findings: Vec<Finding> = fact.unread.iter().map(unread).collect();
    if fact.marked.is_empty() {
        if findings.is_empty() {
            findings.push(Finding::not_applicable(nothing_marked(fact)));
        }
        return Judgement::of(findings);
    }
    let mut by_key: BTreeMap<&Clean, Vec<&MarkedFile>> = BTreeMap::new();
    for file in &fact.marked {
        by_key.entry(&file.key).or_default().push(file);
    }
    for (key, files) in &by_key {
        findings.extend(judge_key(fact, key, files));
    }
    findings.extend(judge_stored(&fact.marked));
    Judgement::of(findings)
}

fn unread(unread: &crate::port::Unread) -> Finding {
    Finding { hint: unread.hint.clone(), ..Finding::unknown(&unread.what) }
}

fn nothing_marked(fact: &RepositoryFact) -> String {
    let known: Vec<String> = fact.keys.iter().map(|file| format!("`{}`", file.key)).collect();
    if known.is_empty() {
        return format!("{} marks no file with a git-crypt filter", fact.root);
    }
    format!(
        "{} marks no file with a git-crypt filter, although it has the key {}",
        fact.root,
        known.join(", ")
    )
}

/// Claims 1 and 2, for the files of one key.
fn judge_key(fact: &RepositoryFact, key: &Clean, files: &[&MarkedFile]) -> Vec<Finding> {
    let key_file = fact.keys.iter().find(|file| file.key == *key);
    let filter = fact.filters.iter().find(|filter| filter.key == *key);
    let locked = files.iter().filter(|file| file.worktree == BlobState::Ciphertext).count();
    let of_files = match (locked, files.len()) {
        (0, count) => format!("{} marked with it", files_are(count)),
        (locked, count) => format!("{locked} of {} in the work tree", files_of(count, "ciphertext")),
    };
    let unlock = if *key == Clean::from("default") {
        "git-crypt unlock".to_owned()
    } else {
        format!("git-crypt unlock, with the key file or a GPG key that has `{key}`")
    };
    let elsewhere = fact.linked && fact.keys_elsewhere.contains(key);
    let hint = if elsewhere {
        "run `git-crypt unlock` in this linked work tree, or work in the main one: keys belong to one work tree".to_owned()
    } else {
        unlock
    };
    let mut findings = Vec::new();
    match (key_file, filter) {
        (None, None) => {
            findings.push(
                Finding::refuted(format!("{} is locked: the key `{key}` is not there, and {of_files}", fact.root)).hint(hint),
            );
            findings.extend(named(files, |file| file.worktree == BlobState::Plaintext, |what| {
                Finding::refuted(format!("{what} plaintext in the work tree, and without a filter `git add` stores that"))
                    .hint("unlock before anything is added")
            }));
        }
        (Some(_), None) => findings.push(
            Finding::refuted(format!(
                "{} is half unlocked: the key `{key}` is there, and git has no filter for it, so files are added as they are",
                fact.root
            ))
            .hint(hint),
        ),
        (None, Some(_)) => findings.push(
            Finding::refuted(format!(
                "{} is half unlocked: git has a filter for the key `{key}`, and the key is not there",
                fact.root
            ))
            .hint(hint),
        ),
        (Some(key_file), Some(filter)) => {
            findings.extend(judge_key_file(key_file));
            findings.extend(judge_filter(filter));
            findings.extend(judge_work_tree(key, files, findings.is_empty()));
        }
    }
    findings
}

fn judge_key_file(file: &KeyFile) -> Option<Finding> {
    let key = &file.key;
    match file.sound {
        Some(true) => None,
        Some(false) => Some(
            Finding::refuted(format!("the key file `{key}` does not begin as one of git-crypt does"))
                .hint("git-crypt lock, then git-crypt unlock with a sound key"),
        ),
        None => Some(Finding::unknown(format!("the key file `{key}` could not be opened"))),
    }
}

/// A filter that does something else, or may fail silently, lets plaintext be committed.
fn judge_filter(filter: &FilterConfig) -> Vec<Finding> {
    let section = section(&filter.key);
    let mut findings = Vec::new();
    for (verb, command) in [("smudge", &filter.smudge), ("clean", &filter.clean)] {
        let Some(command) = command else {
            findings.push(
                Finding::refuted(format!("git's filter {section} has no `{verb}` command"))
                    .hint("git-crypt unlock"),
            );
            continue;
        };
        match read_command(command.as_str(), verb) {
            Command::GitCrypt(key) if key == filter.key.as_str() => {}
            Command::GitCrypt(key) => findings.push(
                Finding::refuted(format!(
                    "git's filter {section} takes the key `{}` to {verb}",
                    Clean::new(key)
                ))
                .hint("git-crypt unlock"),
            ),
            Command::PassesThrough => findings.push(
                Finding::refuted(format!(
                    "git's filter {section} encrypts nothing: its `{verb}` is `{command}`"
                ))
                .hint("git-crypt unlock"),
            ),
            Command::Other => findings.push(
                Finding::unknown(format!(
                    "git's filter {section} runs `{command}` to {verb}, which is not known here"
                ))
                .hint("let it be `git-crypt` itself"),
            ),
        }
    }
    if !filter.required {
        findings.push(
            Finding::refuted(format!(
                "git's filter {section} is not `required`: where it fails, plaintext is stored"
            ))
            .hint(format!("git config filter.{section}.required true")),
        );
    }
    findings
}

fn section(key: &Clean) -> String {
    if key.as_str() == "default" { "git-crypt".to_owned() } else { format!("git-crypt-{key}") }
}

enum Command {
    /// git-crypt itself, with this key.
    GitCrypt(String),
    /// Does nothing to the bytes.
    PassesThrough,
    Other,
}

/// Reads a filter command as git-crypt writes it: `"git-crypt" clean --key-name=NAME` (commands.cpp, configure_git_filters).
fn read_command(command: &str, verb: &str) -> Command {
    let command = command.trim();
    let (program, rest) = match command.strip_prefix('"') {
        Some(quoted) => match quoted.split_once('"') {
            Some((program, rest)) => (program, rest),
            None => return Command::Other,
        },
        None => command.split_once(char::is_whitespace).unwrap_or((command, "")),
    };
    let mut words = rest.split_whitespace();
    if program.is_empty() || (matches!(program, "cat" | "true" | ":") && rest.trim().is_empty()) {
        return Command::PassesThrough;
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    if name != "git-crypt" || words.next() != Some(verb) {
        return Command::Other;
    }
    let key = match words.next() {
        None => "default",
        Some(word) => match word.strip_prefix("--key-name=") {
            Some(key) => key,
            None => return Command::Other,
        },
    };
    if words.next().is_some() || key.contains(['"', '\'', '$', ';', '&', '|', '<', '>', '`', '\\']) {
        return Command::Other;
    }
    Command::GitCrypt(key.to_owned())
}

/// Claim 2 for a key that is there with its filter; `sound`: neither has a fault.
fn judge_work_tree(key: &Clean, files: &[&MarkedFile], sound: bool) -> Vec<Finding> {
    let mut findings = named(
        files,
        |file| file.worktree == BlobState::Ciphertext,
        |what| {
            Finding::refuted(format!(
                "{what} still ciphertext in the work tree, although the key `{key}` is there"
            ))
            .hint("remove the file and check it out again, or git-crypt unlock")
        },
    );
    findings.extend(named(
        files,
        |file| file.worktree == BlobState::Unreadable,
        |what| Finding::unknown(format!("{what} in the work tree, and could not be read")),
    ));
    let count = |state| files.iter().filter(|file| file.worktree == state).count();
    let absent = count(BlobState::Absent);
    if absent == files.len() {
        findings.push(Finding::unknown(format!(
            "the key `{key}` and its filter are there, but no file that is marked with it is in the work tree to show it"
        )));
    } else if findings.is_empty() && sound {
        let empty = count(BlobState::Empty);
        let mut text = format!(
            "unlocked: the key `{key}` and its filter are there, and {} plaintext in the work tree",
            { files_are(count(BlobState::Plaintext)) }
        );
        for (number, word) in [(empty, "empty"), (absent, "not checked out")] {
            if number > 0 {
                text.push_str(&format!(", {number} {word}"));
            }
        }
        findings.push(Finding::proven(text));
    }
    findings
}

/// Claim 3.
fn judge_stored(files: &[MarkedFile]) -> Vec<Finding> {
    let files: Vec<&MarkedFile> = files.iter().collect();
    let is = |file: &MarkedFile, state| (file.index == state, file.head == state);
    let replace =
        "encrypt it with `git-crypt status -f`, commit, and replace the secret: history keeps the plaintext";
    let mut findings = named(
        &files,
        |file| is(file, BlobState::Plaintext) == (true, true),
        |what| Finding::refuted(format!("{what} plaintext in the index and in HEAD")).hint(replace),
    );
    findings.extend(named(
        &files,
        |file| is(file, BlobState::Plaintext) == (true, false),
        |what| {
            Finding::refuted(format!("{what} plaintext in the index"))
                .hint("encrypt it with `git-crypt status -f`")
        },
    ));
    findings.extend(named(
        &files,
        |file| is(file, BlobState::Plaintext) == (false, true),
        |what| {
            Finding::refuted(format!("{what} plaintext in HEAD"))
                .hint("commit the encrypted file, and replace the secret: history keeps the plaintext")
        },
    ));
    findings.extend(named(
        &files,
        |file| is(file, BlobState::Unreadable) != (false, false),
        |what| {
            Finding::unknown(format!("{what} in the repository, and could not be read from it"))
                .hint("a partial clone fetches it with git; look with `git fsck`")
        },
    ));
    if findings.iter().all(|finding| finding.verdict == Verdict::Proven) {
        let empty = files
            .iter()
            .filter(|file| file.index == BlobState::Empty || file.head == BlobState::Empty)
            .count();
        let mut text =
            format!("{} ciphertext wherever the index and HEAD hold bytes of them", files_are(files.len()));
        if empty > 0 {
            text.push_str(&format!("; {empty} empty, which git-crypt leaves as they are"));
        }
        findings.push(Finding::proven(text));
    }
    findings
}

/// One finding for each file of a kind, the first ones by name.
fn named(
    files: &[&MarkedFile],
    of: impl Fn(&MarkedFile) -> bool,
    finding: impl Fn(String) -> Finding,
) -> Vec<Finding> {
    let found: Vec<&&MarkedFile> = files.iter().filter(|file| of(file)).collect();
    let mut findings: Vec<Finding> =
        found.iter().take(NAMED).map(|file| finding(format!("{} is", file.path))).collect();
    match found.len().saturating_sub(NAMED) {
        0 => {}
        1 => findings.push(finding("one more file is".to_owned())),
        more => findings.push(finding(format!("{more} more files are"))),
    }
    findings
}

fn files_are(count: usize) -> String {
    if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") }
}

fn files_of(count: usize, what: &str) -> String {
    if count == 1 { format!("1 file is {what}") } else { format!("{count} files are {what}") }
}
