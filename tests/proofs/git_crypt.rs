//! git-crypt: cases, and agreement with git and git-crypt themselves.

use crate::case::{cases, file, mismatch, report, value};
use crate::repository::{CIPHERTEXT, has, make, program, run};
use firstlight::adapter::git::GitRepository;
use firstlight::port::BlobState;
use firstlight::proof::git_crypt::{Wanted, judge};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

#[test]
fn cases_are_judged_as_expected() {
    if !has("git") {
        return;
    }
    let cases = cases("git-crypt");
    let mismatches = cases
        .iter()
        .filter_map(|case| {
            let description = value("case.yaml", &file(case, "case.yaml").expect("every case has case.yaml"));
            let folder = tempfile::tempdir().unwrap();
            let path = if description["repository"].as_bool() == Some(false) {
                folder.path().to_owned()
            } else {
                make(&description, folder.path())
            };
            let path = description["look_in"].as_str().map_or(path.clone(), |inside| path.join(inside));
            let wanted =
                if description["asked"].as_bool() == Some(false) { Wanted::Enclosing } else { Wanted::Asked };
            mismatch(case, &judge(&GitRepository::new(path).read(), wanted))
        })
        .collect();
    report(cases.len(), 12, mismatches);
}

/// The same numbers on every machine and in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn line(&mut self) -> String {
        let part = [
            "a",
            "b",
            "ab",
            "*",
            "**",
            "?",
            "[ab]",
            "[!a]*",
            "[[:alpha:]]",
            "*.k",
            "a*",
            "*b*",
            "\\a",
            "x y",
            "a**",
            "[a",
        ];
        let mut pattern: Vec<&str> = (0..=self.below(3)).map(|_| self.pick(&part)).collect();
        if self.below(4) == 0 {
            pattern.insert(0, "");
        }
        let mut pattern = pattern.join("/");
        match self.below(16) {
            0 => pattern.push('/'),
            1 => pattern.insert(0, '!'),
            2 => pattern = "[attr]m".to_owned(),
            3 => pattern = "[attr]n".to_owned(),
            _ => {}
        }
        if pattern.contains(' ') {
            pattern = format!("\"{pattern}\"");
        }
        let attribute = [
            "filter=git-crypt",
            "filter=git-crypt",
            "filter=git-crypt",
            "filter=git-crypt-team",
            "filter=other",
            "-filter",
            "!filter",
            "filter",
            "m",
            "n",
            "-m",
            "!m",
            "diff=git-crypt",
            "bad/name",
            "-n=x",
            "text",
        ];
        let attributes: Vec<&str> = (0..=self.below(3)).map(|_| self.pick(&attribute)).collect();
        let blank = self.pick(&[" ", "\t", "  "]);
        let end = self.pick(&["\n", "\n", "\r\n", " \n"]);
        format!("{}{pattern}{blank}{}{end}", self.pick(&["", "", "", " ", "#"]), attributes.join(" "))
    }

    fn attributes(&mut self) -> String {
        (0..self.below(5)).map(|_| self.line()).collect()
    }
}

const PATHS: [&str; 20] = [
    "a",
    "b",
    "ab",
    "x.k",
    "x y",
    "d/a",
    "d/b",
    "d/ab",
    "d/x.k",
    "d/a b/a",
    "d/a b/b.k",
    "e/a/a",
    "e/a/b",
    "e/b/ab",
    "e/b/x.k",
    "e/b/x y",
    "abc/a",
    "f/a/b/a",
    "f/a/b/b",
    "f/a/b/ab",
];

#[test]
fn files_are_marked_as_git_marks_them() {
    if !has("git") {
        return;
    }
    let mut marked = 0;
    for seed in 0..300 {
        let mut numbers = Numbers(seed);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let repository = git2::Repository::init(root).unwrap();
        let mut index = repository.index().unwrap();
        let mut write = |path: &str, bytes: &[u8], in_index: bool, in_work_tree: bool| {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, bytes).unwrap();
            if in_index {
                index.add_path(Path::new(path)).unwrap();
            }
            if !in_work_tree {
                std::fs::remove_file(&file).unwrap();
            }
        };
        let mut texts = String::new();
        for place in ["", "d/", "d/a b/", "e/", "e/b/", "f/a/"] {
            if place.is_empty() || numbers.below(2) == 0 {
                let text = numbers.attributes();
                texts.push_str(&format!("{place}: {text:?}\n"));
                let tracked = numbers.below(3) > 0;
                write(
                    &format!("{place}.gitattributes"),
                    text.as_bytes(),
                    tracked,
                    !tracked || numbers.below(4) > 0,
                );
            }
        }
        if numbers.below(3) == 0 {
            let text = numbers.attributes();
            texts.push_str(&format!("info: {text:?}\n"));
            std::fs::create_dir_all(root.join(".git/info")).unwrap();
            std::fs::write(root.join(".git/info/attributes"), text).unwrap();
        }
        for path in PATHS {
            write(path, CIPHERTEXT, true, true);
        }
        index.write().unwrap();
        if seed % 5 == 0 {
            repository.config().unwrap().set_bool("core.ignorecase", true).unwrap();
        }

        let mut child = program("git", root)
            .args(["check-attr", "-z", "--stdin", "filter"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(PATHS.join("\0").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        let fields: Vec<&str> = output.split('\0').collect();
        let theirs: BTreeSet<(String, String)> = fields
            .chunks_exact(3)
            .filter(|fields| fields[2].starts_with("git-crypt"))
            .map(|fields| (fields[0].to_owned(), fields[2].to_owned()))
            .collect();

        let fact = GitRepository::new(root).read().unwrap().unwrap();
        assert_eq!(fact.unread, [], "seed {seed}");
        let ours: BTreeSet<(String, String)> = fact
            .marked
            .iter()
            .filter(|file| !file.path.as_str().ends_with(".gitattributes"))
            .map(|file| {
                let filter = match file.key.as_str() {
                    "default" => "git-crypt".to_owned(),
                    key => format!("git-crypt-{key}"),
                };
                (file.path.to_string(), filter)
            })
            .collect();
        assert_eq!(ours, theirs, "seed {seed}\n{texts}");
        marked += ours.len();
    }
    assert!(marked > 300, "the rules mark too little to show anything: {marked}");
}

#[test]
fn every_file_is_judged_as_by_git_crypt_status() {
    if !has("git") || !has("git-crypt") {
        return;
    }
    let mut seen = BTreeSet::new();
    for seed in 0..8 {
        let mut numbers = Numbers(seed);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        run("git", root, &["init", "-q"]);
        run("git-crypt", root, &["init"]);
        run("git-crypt", root, &["init", "-k", "team"]);
        let mut plain = Vec::new();
        let rules = "*.k filter=git-crypt diff=git-crypt\nd/** filter=git-crypt-team diff=git-crypt-team\n.gitattributes !filter !diff\n";
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        // Some files are committed before the rules are there: they stay plaintext.
        for path in PATHS {
            write(path, numbers.pick(&["", "secret\n", "x", "a longer secret\nof two lines\n"]));
            if numbers.below(4) == 0 {
                plain.push(path);
            }
        }
        if !plain.is_empty() {
            let arguments: Vec<&str> = ["add", "--"].into_iter().chain(plain.iter().copied()).collect();
            run("git", root, &arguments);
            run("git", root, &["commit", "-qm", "plaintext"]);
        }
        write(
            ".gitattributes",
            &format!(
                "{rules}{}",
                numbers.pick(&["", "b filter=git-crypt\n", "d/a !filter\n", "e/** -filter\n"])
            ),
        );
        let rest: Vec<&str> = PATHS.into_iter().filter(|path| !plain.contains(path)).collect();
        let arguments: Vec<&str> = ["add", "--", ".gitattributes"].into_iter().chain(rest).collect();
        run("git", root, &arguments);
        if numbers.below(2) == 0 {
            run("git", root, &["commit", "-qm", "rules"]);
        }

        // 1: something is not encrypted; the listing is complete all the same.
        let output = program("git-crypt", root).arg("status").output().unwrap();
        let mut theirs = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (line, warned) =
                match line.split_once(" *** WARNING: staged/committed version is NOT ENCRYPTED! ***") {
                    Some((line, _)) => (line, true),
                    None => (line, false),
                };
            let line = line.split(" *** WARNING").next().unwrap();
            if let Some(path) = line.strip_prefix("    encrypted: ") {
                theirs.insert(path.to_owned(), !warned);
            }
        }
        let fact = GitRepository::new(root).read().unwrap().unwrap();
        assert_eq!(fact.unread, []);
        let ours: BTreeMap<String, bool> = fact
            .marked
            .iter()
            .filter(|file| file.index != BlobState::Absent)
            // git-crypt warns of empty files that it did not touch (issue 53).
            .map(|file| (file.path.to_string(), file.index == BlobState::Ciphertext))
            .collect();
        assert_eq!(ours, theirs, "seed {seed}");
        let verdict = judge(&Ok(Some(fact.clone())), Wanted::Asked).verdict;
        let sound = fact
            .marked
            .iter()
            .all(|file| file.index != BlobState::Plaintext && file.head != BlobState::Plaintext);
        seen.extend(ours.values().copied());
        let expected = if sound { "proven" } else { "refuted" };
        assert_eq!(verdict.to_string(), expected, "seed {seed}");

        // Locked again, the work tree shows ciphertext.
        if output.status.success()
            && program("git", root).args(["diff", "--quiet", "HEAD"]).status().unwrap().success()
        {
            run("git-crypt", root, &["lock", "--all"]);
            let locked = judge(&GitRepository::new(root).read(), Wanted::Asked);
            assert_eq!(locked.verdict.to_string(), "refuted");
            assert!(locked.headline().contains("is locked"), "{}", locked.headline());
        }
    }
    assert_eq!(seen.len(), 2, "both encrypted files and others are to be seen");
}

/// What is not read is Unknown, with what to do about it.
fn unread(root: &Path, what: &str) {
    let judgement = judge(&GitRepository::new(root).read(), Wanted::Asked);
    let headline = judgement.headline();
    assert_eq!(judgement.verdict.to_string(), "unknown", "{headline}");
    assert!(headline.contains(what), "{headline}");
    assert!(judgement.findings[0].hint.is_some(), "{headline}");
}

#[test]
fn a_repository_of_sha256_is_not_read() {
    if !has("git") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    run("git", folder.path(), &["init", "-q", "--object-format=sha256"]);
    unread(folder.path(), "does not use SHA-1");
}

#[test]
fn a_sparse_index_is_not_read() {
    if !has("git") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    run("git", root, &["init", "-q"]);
    for path in ["a/b/x", "c/d/x"] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), "x").unwrap();
    }
    run("git", root, &["add", "."]);
    run("git", root, &["commit", "-qm", "x"]);
    run("git", root, &["sparse-checkout", "init", "--cone", "--sparse-index"]);
    run("git", root, &["sparse-checkout", "set", "a"]);
    unread(root, "the index is sparse");
}

#[test]
fn a_repository_of_another_user_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    git2::Repository::init(folder.path()).unwrap();
    for path in ["", ".git"] {
        // Only root can give a folder away.
        if let Err(error) = std::os::unix::fs::chown(folder.path().join(path), Some(12345), None) {
            eprintln!("skipped: {error}");
            return;
        }
    }
    unread(folder.path(), "belongs to another user");
}

#[test]
fn every_stage_of_a_conflict_counts() {
    if !has("git") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let repository = git2::Repository::init(root).unwrap();
    std::fs::write(root.join(".gitattributes"), "x filter=git-crypt\n").unwrap();
    let ids = [CIPHERTEXT, b"plaintext of theirs"].map(|bytes| repository.blob(bytes).unwrap());
    let mut child =
        program("git", root).args(["update-index", "--index-info"]).stdin(Stdio::piped()).spawn().unwrap();
    let lines = format!("100644 {0} 1\tx\n100644 {0} 2\tx\n100644 {1} 3\tx\n", ids[0], ids[1]);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let fact = GitRepository::new(root).read().unwrap().unwrap();
    assert_eq!(fact.marked.len(), 1);
    assert_eq!(fact.marked[0].index, BlobState::Plaintext);
}

/// What a hook gets as `GIT_INDEX_FILE` is read instead of the repository's own index.
#[test]
fn another_index_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let repository = git2::Repository::init(root).unwrap();
    std::fs::write(root.join(".gitattributes"), "x filter=git-crypt\n").unwrap();
    std::fs::write(root.join("x"), "plaintext").unwrap();
    let other = root.join(".git/next-index");
    let mut index = git2::Index::open(&other).unwrap();
    repository.set_index(&mut index).unwrap();
    let mut index = repository.index().unwrap();
    index.add_path(Path::new("x")).unwrap();
    index.write().unwrap();
    let states = |repository: GitRepository| -> Vec<BlobState> {
        repository.read().unwrap().unwrap().marked.iter().map(|file| file.index).collect()
    };
    assert_eq!(states(GitRepository::new(root)), []);
    assert_eq!(states(GitRepository::new(root).with_index(other)), [BlobState::Plaintext]);
}
