//! Repositories for the git-crypt proof, made from descriptions.

use git2::{Index, IndexEntry, IndexTime, Oid, Repository, Signature};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What git-crypt would have written: header, nonce, and bytes.
pub const CIPHERTEXT: &[u8] = b"\0GITCRYPT\0nonce-of-12bbytes";
/// The beginning of a key file, and no key.
pub const KEY: &[u8] = b"\0GITCRYPTKEY\0\0\0\x02";

/// A program, apart from the configuration of the machine.
pub fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "someone")
        .env("GIT_AUTHOR_EMAIL", "someone@example.com")
        .env("GIT_COMMITTER_NAME", "someone")
        .env("GIT_COMMITTER_EMAIL", "someone@example.com");
    command
}

/// Runs a program to its good end.
pub fn run(name: &str, folder: &Path, arguments: &[&str]) -> Output {
    let output =
        program(name, folder).args(arguments).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    output
}

/// Whether a program is there. Where it must be (`CI` is set), a missing one fails.
pub fn has(name: &str) -> bool {
    match Command::new(name).arg("--version").output() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{name} is not there: {error}");
            eprintln!("skipped: {name} is not there ({error})");
            false
        }
    }
}

fn content(word: &str) -> Option<&'static [u8]> {
    match word {
        "ciphertext" => Some(CIPHERTEXT),
        "plaintext" => Some(b"password: not-a-real-one\n"),
        "short" => Some(b"x"),
        "empty" => Some(b""),
        "absent" => None,
        other => panic!("unknown content {other}"),
    }
}

fn entry(path: &str, id: Oid, mode: u32) -> IndexEntry {
    let time = IndexTime::new(0, 0);
    IndexEntry {
        ctime: time,
        mtime: time,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

/// Makes the repository of a case in a folder, and returns the work tree to look at.
///
/// `attributes`: folder → text; `files`: path → contents of `head`, `index` and `worktree` (default: ciphertext twice, then
/// plaintext); `keys`, `filters`: key names; `config`: name → value; `info`: text of info/attributes; `unborn`, `linked`;
/// `git`: lists of arguments for git at the end.
pub fn make(case: &Value, folder: &Path) -> PathBuf {
    let root = folder.join("repository");
    let repository = Repository::init(&root).unwrap();
    let mut index = repository.index().unwrap();
    let mut head = Index::new().unwrap();
    let write = |root: &Path, path: &str, bytes: &[u8]| {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    };

    for (place, text) in case["attributes"].as_object().into_iter().flatten() {
        let path =
            if place.is_empty() { ".gitattributes".to_owned() } else { format!("{place}/.gitattributes") };
        let bytes = text.as_str().unwrap().as_bytes();
        let id = repository.blob(bytes).unwrap();
        index.add(&entry(&path, id, 0o100_644)).unwrap();
        head.add(&entry(&path, id, 0o100_644)).unwrap();
        if !case["attributes_not_checked_out"].as_bool().unwrap_or(false) {
            write(&root, &path, bytes);
        }
    }
    let mut missing = Vec::new();
    for (path, states) in case["files"].as_object().into_iter().flatten() {
        let state = |key: &str, default: &str| states[key].as_str().unwrap_or(default).to_owned();
        let mode = if states["link"].as_bool().unwrap_or(false) { 0o120_000 } else { 0o100_644 };
        if let Some(bytes) = content(&state("head", "ciphertext")) {
            head.add(&entry(path, repository.blob(bytes).unwrap(), mode)).unwrap();
        }
        match state("index", "ciphertext").as_str() {
            "missing-object" => {
                missing.push(format!("100644,1234567890123456789012345678901234567890,{path}"));
            }
            word => {
                if let Some(bytes) = content(word) {
                    index.add(&entry(path, repository.blob(bytes).unwrap(), mode)).unwrap();
                }
            }
        }
        if let Some(bytes) = content(&state("worktree", "plaintext")) {
            write(&root, path, bytes);
        }
    }
    index.write().unwrap();
    if !case["unborn"].as_bool().unwrap_or(false) {
        let tree = repository.find_tree(head.write_tree_to(&repository).unwrap()).unwrap();
        let who = Signature::now("someone", "someone@example.com").unwrap();
        repository.commit(Some("HEAD"), &who, &who, "state", &tree, &[]).unwrap();
    }

    for object in missing {
        run("git", &root, &["update-index", "--add", "--cacheinfo", &object]);
    }

    let mut top = root.clone();
    let mut git_dir = root.join(".git");
    if case["linked"].as_bool().unwrap_or(false) {
        top = folder.join("linked");
        repository.worktree("linked", &top, None).unwrap();
        git_dir = root.join(".git/worktrees/linked");
    }
    let key_dir = if case["keys_in_main"].as_bool().unwrap_or(false) { root.join(".git") } else { git_dir };
    for name in case["keys"].as_array().into_iter().flatten() {
        write(&key_dir, &format!("git-crypt/keys/{}", name.as_str().unwrap()), KEY);
    }
    for name in case["broken_keys"].as_array().into_iter().flatten() {
        write(&key_dir, &format!("git-crypt/keys/{}", name.as_str().unwrap()), b"-");
    }
    let mut config = repository.config().unwrap();
    for name in case["filters"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let (section, option) = match name {
            "default" => ("git-crypt".to_owned(), String::new()),
            name => (format!("git-crypt-{name}"), format!(" --key-name={name}")),
        };
        config
            .set_str(&format!("filter.{section}.smudge"), &format!("\"git-crypt\" smudge{option}"))
            .unwrap();
        config.set_str(&format!("filter.{section}.clean"), &format!("\"git-crypt\" clean{option}")).unwrap();
        config.set_str(&format!("filter.{section}.required"), "true").unwrap();
    }
    for (name, value) in case["config"].as_object().into_iter().flatten() {
        config.set_str(name, value.as_str().unwrap()).unwrap();
    }
    for name in case["unset"].as_array().into_iter().flatten() {
        config.remove(name.as_str().unwrap()).unwrap();
    }
    if let Some(text) = case["info"].as_str() {
        write(&root, ".git/info/attributes", text.as_bytes());
    }
    for arguments in case["git"].as_array().into_iter().flatten() {
        let arguments: Vec<&str> =
            arguments.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        run("git", &top, &arguments);
    }
    top
}
