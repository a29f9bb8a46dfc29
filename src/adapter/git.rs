//! Reads the git-crypt state of a repository with libgit2: no child process, nothing written, no key material read.

mod attributes;
mod glob;

use crate::port::{
    BlobState, FilterConfig, KeyFile, MarkedFile, Repository as RepositoryPort, RepositoryFact, Unread,
};
use crate::text::Clean;
use async_trait::async_trait;
use attributes::Attributes;
use git2::{ErrorClass, ErrorCode, ObjectType, Odb, Oid, Repository, Tree};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// First bytes of a file that git-crypt encrypted (git-crypt 0.8.0, commands.cpp).
const CIPHERTEXT: &[u8; 10] = b"\0GITCRYPT\0";
/// First bytes of a key file (git-crypt 0.8.0, key.cpp).
const KEY: &[u8; 12] = b"\0GITCRYPTKEY";
/// A packed blob has to be unpacked as a whole to see its first bytes; larger ones are called unreadable.
const BLOB_LIMIT: usize = 256 << 20;
/// git ignores larger attributes files (attr.h, ATTR_MAX_FILE_SIZE).
const ATTRIBUTES_LIMIT: u64 = 100 << 20;

/// The repository that encloses a path.
#[derive(Clone, Debug)]
pub struct GitRepository {
    path: PathBuf,
    index: Option<PathBuf>,
}

impl GitRepository {
    /// The repository that encloses this path (a file or folder).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), index: None }
    }

    /// Reads this index instead of the repository's own: what git names in `GIT_INDEX_FILE` when it runs a hook.
    #[must_use]
    pub fn with_index(mut self, index: impl Into<PathBuf>) -> Self {
        self.index = Some(index.into());
        self
    }

    /// Reads the state; blocks on files.
    ///
    /// # Errors
    /// A sentence that says what could not be opened. What is merely not understood is in the fact's `unread`.
    pub fn read(&self) -> Result<Option<RepositoryFact>, Clean> {
        let shown = self.path.display();
        if let Err(error) = std::fs::metadata(&self.path) {
            return Err(Clean::new(format!("{shown} cannot be read: {error}")));
        }
        let found = match Repository::discover_path(&self.path, std::iter::empty::<&OsStr>()) {
            Ok(found) => found,
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => {
                return Err(Clean::new(format!(
                    "no repository can be looked for from {shown}: {}",
                    error.message()
                )));
            }
        };
        let repository = match Repository::open(&found) {
            Ok(repository) => repository,
            Err(error) => {
                let unread = vec![not_opened(&found, &error)];
                return Ok(Some(RepositoryFact {
                    root: Clean::new(shown.to_string()),
                    unread,
                    ..Default::default()
                }));
            }
        };
        let mut reader = Reader { repository: &repository, fact: RepositoryFact::default() };
        if let Some(path) = &self.index {
            let set = git2::Index::open(path).and_then(|mut index| repository.set_index(&mut index));
            if let Err(error) = set {
                reader.unread(
                    format!("the index {} cannot be read: {}", path.display(), error.message()),
                    None,
                );
            }
        }
        reader.read();
        Ok(Some(reader.fact))
    }
}

#[async_trait]
impl RepositoryPort for GitRepository {
    async fn git_crypt(&self) -> Result<Option<RepositoryFact>, Clean> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || this.read()).await {
            Ok(result) => result,
            Err(_) => Err(Clean::new("reading the repository was interrupted")),
        }
    }
}

fn not_opened(path: &Path, error: &git2::Error) -> Unread {
    let shown = path.display();
    let message = error.message();
    let (what, hint) = if error.code() == ErrorCode::Owner {
        (
            format!("{shown} belongs to another user, and git reads no such repository"),
            Some(format!(
                "if you trust it: git config --global --add safe.directory {}",
                trusted(path).display()
            )),
        )
    } else if message.contains("objectformat")
        || message.contains("oid type")
        || message.contains("object format")
    {
        (
            format!("{shown} does not use SHA-1 object names, and nothing else is read here"),
            Some("look with `git-crypt status`".to_owned()),
        )
    } else {
        (
            format!("{shown} cannot be opened: {message}"),
            Some("look with `git status` and `git-crypt status`".to_owned()),
        )
    };
    Unread { what: Clean::new(what), hint: hint.map(Clean::new) }
}

/// The folder that `safe.directory` has to name.
fn trusted(git_dir: &Path) -> &Path {
    match git_dir.file_name() {
        Some(name) if name == ".git" => git_dir.parent().unwrap_or(git_dir),
        _ => git_dir,
    }
}

/// One file that is marked, on the way to a [`MarkedFile`].
struct Marked {
    key: Vec<u8>,
    index: Vec<Oid>,
    head: Option<Oid>,
}

struct Reader<'r> {
    repository: &'r Repository,
    fact: RepositoryFact,
}

impl Reader<'_> {
    fn unread(&mut self, what: impl Into<String>, hint: Option<&str>) {
        let unread = Unread { what: Clean::new(what.into()), hint: hint.map(Clean::from) };
        if !self.fact.unread.contains(&unread) {
            self.fact.unread.push(unread);
        }
    }

    fn read(&mut self) {
        let repository = self.repository;
        let root = repository.workdir().unwrap_or_else(|| repository.path());
        self.fact.root = Clean::new(root.to_string_lossy());
        self.fact.linked = repository.is_worktree();
        let Some(root) = repository.workdir() else {
            self.unread("the repository is bare: it has no work tree", Some("give the path of a work tree"));
            return;
        };
        self.keys();
        self.configuration();
        self.replacements();
        self.files(root);
    }

    /// The key files. A linked work tree has a git directory of its own, and git-crypt looks only there
    /// (`git rev-parse --git-dir`; AGWA/git-crypt issue 105).
    fn keys(&mut self) {
        let keys = self.key_files(self.repository.path());
        self.fact.keys = keys;
        if self.fact.linked {
            let main = self.key_files(self.repository.commondir());
            let here: Vec<_> = self.fact.keys.iter().map(|file| file.key.clone()).collect();
            self.fact.keys_elsewhere =
                main.into_iter().map(|file| file.key).filter(|key| !here.contains(key)).collect();
        }
    }

    fn key_files(&mut self, git_dir: &Path) -> Vec<KeyFile> {
        let folder = git_dir.join("git-crypt").join("keys");
        let mut files = Vec::new();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return files,
            Err(error) => {
                self.unread(format!("the keys in {} cannot be listed: {error}", folder.display()), None);
                return files;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => files.push(KeyFile {
                    key: Clean::new(entry.file_name().to_string_lossy()),
                    sound: first_bytes::<12>(&entry.path()).ok().map(|bytes| bytes == KEY),
                }),
                Err(error) => {
                    self.unread(format!("the keys in {} cannot be listed: {error}", folder.display()), None)
                }
            }
        }
        files.sort_by(|a, b| a.key.cmp(&b.key));
        files
    }

    fn configuration(&mut self) {
        match filters(self.repository) {
            Ok(filters) => self.fact.filters = filters,
            Err(error) => {
                self.unread(format!("the configuration of git cannot be read: {}", error.message()), None)
            }
        }
    }

    /// git reads a replaced object's replacement (git-replace(1)); libgit2 does not.
    fn replacements(&mut self) {
        let any = self.repository.references_glob("refs/replace/*").map(|mut found| found.next().is_some());
        if any.unwrap_or(true) {
            self.unread("the repository replaces objects (refs/replace), which is not followed here", None);
        }
    }

    fn files(&mut self, root: &Path) {
        let repository = self.repository;
        let Some(entries) = self.index() else { return };
        let odb = match repository.odb() {
            Ok(odb) => odb,
            Err(error) => {
                self.unread(
                    format!("the objects of the repository cannot be read: {}", error.message()),
                    None,
                );
                return;
            }
        };
        let problems = RefCell::new(Vec::new());
        let mut marked: BTreeMap<Vec<u8>, Marked> = BTreeMap::new();
        {
            let in_index: HashMap<&[u8], Oid> = entries
                .iter()
                .filter_map(|(path, id)| {
                    let folder = path.strip_suffix(b".gitattributes")?;
                    match folder.strip_suffix(b"/") {
                        Some(folder) => Some((folder, *id)),
                        None => folder.is_empty().then_some((folder, *id)),
                    }
                })
                .collect();
            let mut attributes = self.attributes(root, &odb, &in_index, &problems);
            for (path, id) in &entries {
                if let Some(key) = attributes.filter(path).as_deref().and_then(key_name) {
                    let new = || Marked { key: key.to_vec(), index: Vec::new(), head: None };
                    marked.entry(path.clone()).or_insert_with(new).index.push(*id);
                }
            }
            let mut note = |path: &[u8], id: Oid| {
                if let Some(key) = attributes.filter(path).as_deref().and_then(key_name) {
                    let new = || Marked { key: key.to_vec(), index: Vec::new(), head: None };
                    marked.entry(path.to_vec()).or_insert_with(new).head = Some(id);
                }
            };
            match head(repository) {
                Ok(Some(tree)) => {
                    if let Err(error) = walk(repository, &tree, &mut Vec::new(), 0, &mut note) {
                        problems.borrow_mut().push(format!("HEAD cannot be read: {}", error.message()));
                    }
                }
                Ok(None) => {}
                Err(error) => problems.borrow_mut().push(format!("HEAD cannot be read: {}", error.message())),
            }
        }
        for problem in problems.into_inner() {
            self.unread(problem, None);
        }

        let mut states: HashMap<Oid, BlobState> = HashMap::new();
        let mut state = |id: Oid| *states.entry(id).or_insert_with(|| blob_state(&odb, id));
        self.fact.marked = marked
            .into_iter()
            .map(|(path, file)| MarkedFile {
                path: Clean::new(String::from_utf8_lossy(&path)),
                key: Clean::new(String::from_utf8_lossy(&file.key)),
                index: file
                    .index
                    .into_iter()
                    .map(&mut state)
                    .max_by_key(severity)
                    .unwrap_or(BlobState::Absent),
                head: file.head.map_or(BlobState::Absent, &mut state),
                worktree: file_state(&root.join(OsStr::from_bytes(&path))),
            })
            .collect();
    }

    /// Paths and blobs of the regular files in the index, in order; a path in conflict once per stage.
    fn index(&mut self) -> Option<Vec<(Vec<u8>, Oid)>> {
        match self.repository.index() {
            Ok(index) => Some(
                index
                    .iter()
                    .filter(|entry| is_regular(entry.mode))
                    .map(|entry| (entry.path, entry.id))
                    .collect(),
            ),
            Err(error) if error.message().contains("unsupported mandatory extension") => {
                // The signatures of gitformat-index(5): `link` and `sdir`.
                let (what, hint) = if error.message().contains("link") {
                    (
                        "the index is split, which is not read here",
                        "make it whole: git update-index --no-split-index",
                    )
                } else if error.message().contains("sdir") {
                    (
                        "the index is sparse, which is not read here",
                        "make it full: git sparse-checkout reapply --no-sparse-index",
                    )
                } else {
                    ("the index uses an extension that is not read here", "look with `git-crypt status`")
                };
                self.unread(what, Some(hint));
                None
            }
            Err(error) => {
                let what = match error.class() {
                    ErrorClass::Index => format!("the index cannot be read: {}", error.message()),
                    _ => format!("the index cannot be opened: {}", error.message()),
                };
                self.unread(what, None);
                None
            }
        }
    }

    /// The attributes as `git check-attr` sees them: a folder's file in the work tree, or in the index where it is missing.
    fn attributes<'a>(
        &mut self,
        root: &'a Path,
        odb: &'a Odb<'a>,
        in_index: &'a HashMap<&'a [u8], Oid>,
        problems: &'a RefCell<Vec<String>>,
    ) -> Attributes<'a> {
        let config = self.repository.config().ok();
        let get = |name: &str| config.as_ref().and_then(|config| config.get_bool(name).ok()).unwrap_or(false);
        let fold = get("core.ignorecase");
        if config.as_ref().is_some_and(|config| config.get_entry("attr.tree").is_ok()) {
            self.unread(
                "the configuration takes attributes from a tree (attr.tree), which is not followed here",
                None,
            );
        }
        let user = config
            .as_ref()
            .and_then(|config| config.get_path("core.attributesFile").ok())
            .or_else(|| user_folder().map(|folder| folder.join("git").join("attributes")));
        let outer = [Some(PathBuf::from("/etc/gitattributes")), user];
        let outer = outer.map(|path| path.and_then(|path| attributes_file(&path, true, problems)));
        let info =
            attributes_file(&self.repository.commondir().join("info").join("attributes"), true, problems);
        let read = Box::new(move |folder: &[u8]| {
            let path = root.join(OsStr::from_bytes(folder)).join(".gitattributes");
            attributes_file(&path, false, problems).or_else(|| {
                let id = in_index.get(folder)?;
                match odb.read(*id) {
                    Ok(blob) => sound_attributes(&path, blob.data().to_vec(), problems),
                    Err(error) => {
                        problems.borrow_mut().push(format!(
                            "{} cannot be read: {}",
                            path.display(),
                            error.message()
                        ));
                        None
                    }
                }
            })
        });
        Attributes::new(outer, info, fold, read)
    }
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
fn user_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
}

/// An attributes file, if it is there. Inside a work tree git does not follow a link (`linked` is false there).
fn attributes_file(path: &Path, linked: bool, problems: &RefCell<Vec<String>>) -> Option<Vec<u8>> {
    let metadata = if linked { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
    let problem = match metadata {
        Ok(metadata) if metadata.is_file() && metadata.len() > ATTRIBUTES_LIMIT => {
            "it is too large".to_owned()
        }
        Ok(metadata) if metadata.is_file() => match std::fs::read(path) {
            Ok(text) => return sound_attributes(path, text, problems),
            Err(error) => error.to_string(),
        },
        Ok(metadata) if metadata.is_dir() => return None,
        Ok(_) => "it is no regular file".to_owned(),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return None;
        }
        Err(error) => error.to_string(),
    };
    problems.borrow_mut().push(format!("the attributes in {} cannot be read: {problem}", path.display()));
    None
}

/// A rule such as `* filter=git-crypt` without an exception encrypts the attributes themselves.
fn sound_attributes(path: &Path, text: Vec<u8>, problems: &RefCell<Vec<String>>) -> Option<Vec<u8>> {
    if text.starts_with(CIPHERTEXT) {
        problems.borrow_mut().push(format!("the attributes in {} are ciphertext themselves", path.display()));
        return None;
    }
    Some(text)
}

/// The tree of HEAD; `None` before the first commit.
fn head(repository: &Repository) -> Result<Option<Tree<'_>>, git2::Error> {
    match repository.head() {
        Ok(head) => head.peel_to_tree().map(Some),
        Err(error) if matches!(error.code(), ErrorCode::UnbornBranch) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `note` with path and blob of every regular file below a tree.
fn walk(
    repository: &Repository,
    tree: &Tree<'_>,
    path: &mut Vec<u8>,
    depth: usize,
    note: &mut dyn FnMut(&[u8], Oid),
) -> Result<(), git2::Error> {
    // git itself has core.maxTreeDepth, 2048.
    if depth > 1024 {
        return Err(git2::Error::from_str("its folders are nested too deeply"));
    }
    for entry in tree {
        let length = path.len();
        path.extend_from_slice(entry.name_bytes());
        match entry.kind() {
            Some(ObjectType::Blob) if is_regular(u32::try_from(entry.filemode_raw()).unwrap_or(0)) => {
                note(path, entry.id())
            }
            Some(ObjectType::Tree) => {
                path.push(b'/');
                let subtree = repository.find_tree(entry.id())?;
                walk(repository, &subtree, path, depth + 1, note)?;
            }
            _ => {}
        }
        path.truncate(length);
    }
    Ok(())
}

/// git filters regular files only, neither links nor submodules.
fn is_regular(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

/// The key of a filter that is git-crypt's: `git-crypt`, or `git-crypt-NAME`.
fn key_name(filter: &[u8]) -> Option<&[u8]> {
    match filter.strip_prefix(b"git-crypt")? {
        b"" => Some(b"default"),
        name => name.strip_prefix(b"-"),
    }
}

fn filters(repository: &Repository) -> Result<Vec<FilterConfig>, git2::Error> {
    let config = repository.config()?.snapshot()?;
    let mut found: BTreeMap<Vec<u8>, FilterConfig> = BTreeMap::new();
    config.entries(Some("^filter\\.git-crypt"))?.for_each(|entry| {
        let name = entry.name_bytes();
        let Some(rest) = name.strip_prefix(b"filter.") else { return };
        let Some(dot) = rest.iter().rposition(|byte| *byte == b'.') else { return };
        let (section, variable) =
            (rest.get(..dot).unwrap_or_default(), rest.get(dot + 1..).unwrap_or_default());
        let Some(key) = key_name(section) else { return };
        let value =
            || Clean::new(String::from_utf8_lossy(if entry.has_value() { entry.value_bytes() } else { b"" }));
        let filter = found.entry(key.to_vec()).or_insert_with(|| FilterConfig {
            key: Clean::new(String::from_utf8_lossy(key)),
            smudge: None,
            clean: None,
            required: false,
        });
        // Later entries have a higher precedence, as in git.
        match variable {
            b"smudge" => filter.smudge = Some(value()),
            b"clean" => filter.clean = Some(value()),
            b"required" => {
                filter.required =
                    !entry.has_value() || git2::Config::parse_bool(value().as_str()).unwrap_or(false);
            }
            _ => {}
        }
    })?;
    Ok(found.into_values().collect())
}

/// How much a state of one stage matters beside the others of the same path.
fn severity(state: &BlobState) -> u8 {
    match state {
        BlobState::Absent => 0,
        BlobState::Empty => 1,
        BlobState::Ciphertext => 2,
        BlobState::Unreadable => 3,
        BlobState::Plaintext => 4,
    }
}

fn classify(start: &[u8]) -> BlobState {
    match start {
        [] => BlobState::Empty,
        start if start.starts_with(CIPHERTEXT) => BlobState::Ciphertext,
        _ => BlobState::Plaintext,
    }
}

fn blob_state(odb: &Odb<'_>, id: Oid) -> BlobState {
    // `git add -N` enters it without storing it.
    if Oid::hash_object(ObjectType::Blob, b"").is_ok_and(|empty| empty == id) {
        return BlobState::Empty;
    }
    let Ok((size, ObjectType::Blob)) = odb.read_header(id) else { return BlobState::Unreadable };
    if size == 0 {
        return BlobState::Empty;
    }
    // Too short for nonce and header: nothing that git-crypt wrote.
    if size < CIPHERTEXT.len() {
        return BlobState::Plaintext;
    }
    // Only loose objects can be streamed.
    if let Ok((mut stream, _, _)) = odb.reader(id) {
        let mut start = [0; CIPHERTEXT.len()];
        if stream.read_exact(&mut start).is_ok() {
            return classify(&start);
        }
    }
    if size > BLOB_LIMIT {
        return BlobState::Unreadable;
    }
    odb.read(id).map_or(BlobState::Unreadable, |blob| classify(blob.data()))
}

fn file_state(path: &Path) -> BlobState {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => BlobState::Absent,
        Ok(metadata) if metadata.len() == 0 => BlobState::Empty,
        Ok(_) => first_bytes::<10>(path).map_or(BlobState::Unreadable, |start| classify(&start)),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            BlobState::Absent
        }
        Err(_) => BlobState::Unreadable,
    }
}

/// The first bytes of a file, fewer if it is shorter.
fn first_bytes<const N: usize>(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(N);
    File::open(path)?.take(N as u64).read_to_end(&mut start)?;
    Ok(start)
}
