//! The state directory and the journals in it, in every state that they can be found in.

use crate::home::Home;
use async_trait::async_trait;
use firstlight::effect::{Create, Effect, EffectId};
use firstlight::journal::{RunId, Writer};
use firstlight::object::ObjectRef;
use firstlight::port::{ClusterIdentity, Store};
use firstlight::rollout::event::{Event, Outcome, RunHeader};
use firstlight::secret::StateKey;
use firstlight::text::Clean;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::{Arc, Mutex};

/// 2026-11-23 04:00:00 UTC in milliseconds.
const BEGIN: u64 = 1_795_406_400_000;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

#[async_trait]
impl Store for Memory {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), Clean> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }
}

fn header() -> Event {
    Event::RunStarted(RunHeader {
        plan: Clean::from("tracing"),
        title: Clean::from("Tracing"),
        plan_hash: "0".repeat(64),
        program: Clean::from("0.1.0"),
        cluster: ClusterIdentity {
            context: Clean::from("prod"),
            uid: "11111111-2222-3333-4444-555555555555".to_owned(),
            version: Clean::from("v1.34.4"),
            server: Clean::from("https://prod.example:6443"),
        },
        by: Clean::from("ann@host"),
        inputs: [("namespace".to_owned(), Clean::from("monitoring"))].into(),
    })
}

fn intended(number: u32, name: &str) -> Event {
    let key = StateKey::new([1; 32]);
    Event::EffectIntended {
        id: EffectId(number),
        phase: Clean::from("tempo"),
        step: Clean::from("apply-tempo"),
        effect: Effect::Create(Create {
            object: ObjectRef::new("v1", "ConfigMap", Some("monitoring"), name),
            manager: "firstlight:tracing:apply-tempo".to_owned(),
            fields: serde_json::json!({}),
            digest: key.keyed("fields", &[]),
        }),
    }
}

/// The bytes of a run's journal.
fn journal(id: &str, events: &[Event]) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer = Writer::new(Box::new(memory.clone()), RunId::parse(id).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(writer.append(BEGIN, events)).unwrap();
    std::mem::take(&mut *memory.0.lock().unwrap())
}

/// A home with a state directory that holds these journals.
fn with_runs(runs: &[(&str, Vec<u8>)]) -> Home {
    let home = Home::new();
    let state = home.path().join(".local/state/firstlight");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state.join("runs")).unwrap();
    for (id, bytes) in runs {
        std::fs::write(state.join("runs").join(format!("{id}.jsonl")), bytes).unwrap();
    }
    home
}

const DONE: &str = "tracing-20261123-040000-aaaaaa";
const TORN: &str = "tracing-20261123-050000-bbbbbb";
const DAMAGED: &str = "tracing-20261123-060000-cccccc";

fn done() -> Vec<u8> {
    let done = |id| Event::EffectDone { id: EffectId(id), uid: "u".to_owned() };
    let summary = Clean::from("2 objects changed");
    journal(
        DONE,
        &[
            header(),
            intended(1, "tempo"),
            intended(2, "collector"),
            done(1),
            done(2),
            Event::RunFinished { outcome: Outcome::Done, summary },
        ],
    )
}

fn torn() -> Vec<u8> {
    let mut bytes = journal(
        TORN,
        &[header(), intended(1, "tempo"), Event::EffectDone { id: EffectId(1), uid: "u".to_owned() }],
    );
    bytes.truncate(bytes.len() - 20);
    bytes
}

fn damaged() -> Vec<u8> {
    let mut bytes = journal(DAMAGED, &[header(), intended(1, "tempo"), intended(2, "collector")]);
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 40;
    bytes[middle] ^= 1;
    bytes
}

#[test]
fn there_may_be_no_runs() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["runs"]).all(), @r"
    --- stderr
    no runs yet
    exit 0
    ");
    insta::assert_snapshot!(home.run(&["show", DONE]).all());
    insta::assert_snapshot!(home.run(&["show", "yesterday"]).all());
    insta::assert_snapshot!(home.run(&["rollback", DONE, "--yes", "--context", "c"]).all());
}

#[test]
fn runs_are_listed_the_latest_first_and_damage_is_not_passed_over() {
    let home = with_runs(&[(DONE, done()), (TORN, torn()), (DAMAGED, damaged())]);
    insta::assert_snapshot!(home.run(&["runs"]).all());
    let json = home.run(&["runs", "--output", "json"]);
    let lines: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["run"], lines[0]["unreadable"].is_string()), (&DAMAGED.into(), true));
    assert_eq!((&lines[1]["unknown"], &lines[2]["standing"]), (&1.into(), &2.into()));
}

#[test]
fn a_run_is_shown_with_what_became_of_it() {
    let home = with_runs(&[(DONE, done()), (TORN, torn()), (DAMAGED, damaged())]);
    insta::assert_snapshot!(home.run(&["show", DONE]).all());
    insta::assert_snapshot!(home.run(&["show", TORN]).all());
    insta::assert_snapshot!(home.run(&["show", DAMAGED]).all());
    for line in home.run(&["show", DONE, "--output", "json"]).out.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(
        std::fs::read(home.path().join(format!(".local/state/firstlight/runs/{TORN}.jsonl"))).unwrap(),
        torn()
    );
}

#[test]
fn hostile_journals_do_not_act() {
    let mut event = header();
    if let Event::RunStarted(header) = &mut event {
        header.cluster.context = Clean::from("a");
    }
    let text = String::from_utf8(journal(DONE, &[event])).unwrap();
    for bytes in [
        text.replace("\"a\"", "\"\u{1b}[2J\"").into_bytes(),
        vec![0xff; 5000],
        vec![b'\n'; 5000],
        b"{".repeat(100_000),
        Vec::new(),
    ] {
        let home = with_runs(&[(DONE, bytes)]);
        for arguments in [&["runs"][..], &["show", DONE]] {
            let said = home.run(arguments);
            said.assert_harmless();
            assert_eq!(said.code, 1, "{}", said.all());
            assert!(said.all().len() < 2000);
        }
    }
}

#[test]
fn a_state_directory_that_cannot_be_trusted_is_not_used() {
    let said = |path: &str| {
        let home = Home::new();
        home.file("file", "");
        std::fs::DirBuilder::new().mode(0o700).create(home.path().join("open")).unwrap();
        std::fs::set_permissions(home.path().join("open"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.replace('~', &home.path().display().to_string());
        let home = home.with("FIRSTLIGHT_STATE_DIR", &path);
        let said = home.run(&["runs"]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.all());
        // Nothing of a rollout may begin without a place for its journal.
        let run = home.run(&["run", "tracing", "--yes", "--approve-unseen", "--context", "c"]);
        assert_eq!((run.code, run.err.as_str()), (1, said.err.as_str()));
        said.err
    };
    insta::assert_snapshot!(said("~/file"));
    insta::assert_snapshot!(said("~/file/below"));
    insta::assert_snapshot!(said("~/open"));
    insta::assert_snapshot!(said("/proc/firstlight"));
}

#[test]
fn a_state_directory_of_somebody_else_is_not_used() {
    let home = Home::new();
    let theirs = home.path().join("theirs");
    std::fs::DirBuilder::new().mode(0o700).create(&theirs).unwrap();
    // Only root can give a directory away; everybody else finds one that is root's.
    let path = match std::os::unix::fs::chown(&theirs, Some(65_534), None) {
        Ok(()) => theirs,
        Err(_) => "/usr".into(),
    };
    let home = home.with("FIRSTLIGHT_STATE_DIR", &path.display().to_string());
    let said = home.run(&["runs"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("belongs to user"), "{}", said.err);
}

#[test]
fn without_a_home_the_hint_says_what_to_set() {
    let home = Home::new().with("HOME", "");
    insta::assert_snapshot!(home.run(&["runs"]).all());
}
