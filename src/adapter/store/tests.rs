use super::*;
use crate::port::Store;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn opened(folder: &tempfile::TempDir) -> StateDir {
    StateDir::open(Some(folder.path().join("state"))).unwrap()
}

/// Bytes of a journal in these tests; their meaning is the journal's business.
const LINE: &[u8] = b"{\"seq\":1}\n";

#[test]
fn the_environment_says_where_it_is() {
    let at = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, OsString)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        place(move |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    };
    let all = [(VARIABLE, "/own"), ("XDG_STATE_HOME", "/xdg"), ("HOME", "/home/me")];
    assert_eq!(at(&all), Some("/own".into()));
    assert_eq!(at(&all[1..]), Some("/xdg/firstlight".into()));
    assert_eq!(at(&all[2..]), Some("/home/me/.local/state/firstlight".into()));
    assert_eq!(at(&[("XDG_STATE_HOME", "relative"), ("HOME", "/home/me")]), at(&all[2..]));
    assert_eq!(at(&[(VARIABLE, ""), ("HOME", "/home/me")]), at(&all[2..]));
    assert_eq!(at(&[]), None);
}

#[test]
fn directory_and_files_are_the_operators_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    state.key().unwrap();
    state.create_run("one").unwrap();
    assert_eq!(mode(state.path()), 0o700);
    assert_eq!(mode(&state.path().join("runs")), 0o700);
    assert_eq!(mode(&state.path().join("key")), 0o600);
    assert_eq!(mode(&state.path().join("runs/one.jsonl")), 0o600);
}

#[test]
fn a_directory_open_to_others_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    let error = StateDir::open(Some(path.clone())).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is open to others (mode 0750)", path.display()));
    assert!(error.hint().unwrap().starts_with("chmod -R go= "), "{:?}", error.hint());
}

#[test]
fn a_file_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, "").unwrap();
    assert!(matches!(StateDir::open(Some(path)), Err(StoreError::Io { .. } | StoreError::Damaged { .. })));
}

#[test]
fn the_key_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let key = opened(&folder).key().unwrap();
    assert_eq!(opened(&folder).key().unwrap(), key);
    assert_ne!(key, [0; 32]);
}

#[test]
fn many_at_once_get_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| state.key().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_key_that_a_crash_left_half_written_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    fs::write(state.path().join("key.new"), "half").unwrap();
    assert_eq!(state.key().unwrap(), state.key().unwrap());
}

#[test]
fn a_damaged_or_open_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    state.key().unwrap();
    let path = state.path().join("key");
    for bytes in [vec![], vec![7; 31], vec![7; 33]] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(state.key(), Err(StoreError::Damaged { .. })));
    }
    fs::write(&path, [7; 32]).unwrap();
    assert_eq!(state.key().unwrap(), [7; 32]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(state.key(), Err(StoreError::Exposed { .. })));
}

#[test]
fn names_of_runs_are_no_paths() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    for name in ["", ".", "..", "../key", "a/b", "-rf", "a\nb", "ü", &"x".repeat(129)] {
        assert!(matches!(state.create_run(name), Err(StoreError::NotARun(_))), "{name:?}");
        assert!(matches!(state.read_run(name), Err(StoreError::NotARun(_))), "{name:?}");
    }
}

#[tokio::test]
async fn what_was_appended_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    let mut store = state.create_run("20261004-0001").unwrap();
    store.append(LINE).await.unwrap();
    store.append(b"two\n").await.unwrap();
    assert_eq!(store.bytes().unwrap(), b"{\"seq\":1}\ntwo\n");
    assert_eq!(state.read_run("20261004-0001").unwrap(), b"{\"seq\":1}\ntwo\n");
    // Reading moved no position: appends go to the end.
    store.append(b"three\n").await.unwrap();
    drop(store);
    let mut again = state.open_run("20261004-0001").unwrap();
    assert_eq!(again.bytes().unwrap(), b"{\"seq\":1}\ntwo\nthree\n");
    assert_eq!(state.list_runs().unwrap(), ["20261004-0001"]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_appends_follow_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    let mut store = state.create_run("torn").unwrap();
    store.append(b"whole\ntor").await.unwrap();
    store.truncate(6).unwrap();
    store.append(b"next\n").await.unwrap();
    assert_eq!(state.read_run("torn").unwrap(), b"whole\nnext\n");
    // A cut never makes the file longer: that would be a hole of zeros in the journal.
    store.truncate(1000).unwrap_err();
    store.append(b"more\n").await.unwrap_err();
    assert_eq!(state.read_run("torn").unwrap(), b"whole\nnext\n");
}

#[test]
fn a_run_is_created_once_and_opened_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    let store = state.create_run("one").unwrap();
    assert_eq!(state.create_run("one").unwrap_err(), StoreError::RunExists("one".into()));
    let error = state.open_run("one").unwrap_err();
    assert_eq!(error.to_string(), "another firstlight has run one open");
    assert!(state.is_open_elsewhere("one").unwrap());
    drop(store);
    assert!(!state.is_open_elsewhere("one").unwrap());
    state.open_run("one").unwrap();
    assert_eq!(state.open_run("two").unwrap_err(), StoreError::NoSuchRun("two".into()));
}

#[test]
fn the_list_holds_runs_only() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    for name in ["b", "a"] {
        state.create_run(name).unwrap();
    }
    fs::write(state.path().join("runs/notes.txt"), "").unwrap();
    fs::write(state.path().join("runs/.hidden.jsonl"), "").unwrap();
    assert_eq!(state.list_runs().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn after_a_failed_write_nothing_more_is_written() {
    // A handle without write access refuses every write, as a disk error would, for root as well.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read-only.jsonl");
    fs::write(&path, "").unwrap();
    let mut store = FileStore::lock(File::open(&path).unwrap(), &path, "read-only").unwrap();
    let first = store.append(LINE).await.unwrap_err();
    assert!(first.as_str().contains("could not write: "), "{first}");
    fs::write(&path, "changed").unwrap();
    assert_eq!(store.append(LINE).await.unwrap_err(), first);
    assert_eq!(fs::read(&path).unwrap(), b"changed");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_said_as_such() {
    let path = Path::new("/dev/full");
    let file = OpenOptions::new().read(true).append(true).open(path).unwrap();
    let mut store = FileStore::lock(file, path, "full").unwrap();
    let error = store.append(LINE).await.unwrap_err();
    assert!(error.as_str().contains("No space left on device"), "{error}");
}

#[tokio::test]
async fn an_append_given_up_half_way_ends_the_store_and_keeps_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(&folder);
    let mut store = state.create_run("one").unwrap();
    {
        let append = store.append(LINE);
        futures::pin_mut!(append);
        // Polled once: the worker has the file; then it is dropped.
        assert!(futures::poll!(append.as_mut()).is_pending());
    }
    store.append(LINE).await.unwrap_err();
    assert!(state.is_open_elsewhere("one").unwrap());
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("file");
    fs::write(&parent, "").unwrap();
    let error = StateDir::open(Some(parent.join("state"))).unwrap_err();
    assert!(error.to_string().contains("could not create the directory: "), "{error}");
}
