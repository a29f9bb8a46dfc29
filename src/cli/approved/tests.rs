use super::*;
use crate::effect::{Class, Create};
use crate::rollout::gate::GateStep;
use crate::rollout::preview::{Block, Planned};
use crate::step::Intent;
use serde_json::{Value, json};

fn key() -> StateKey {
    StateKey::new([3; 32])
}

fn cluster(uid: &str) -> ClusterIdentity {
    ClusterIdentity {
        context: Clean::from("prod"),
        uid: uid.to_owned(),
        version: Clean::from("v1.34.4"),
        server: Clean::from("https://prod.example:6443"),
    }
}

fn map(name: &str, value: &str, decide: impl FnOnce(&Intent) -> Decision) -> Preview {
    let object = ObjectRef::new("v1", "ConfigMap", Some("ns"), name);
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "ns" },
        "data": { "value": value },
    });
    let intent =
        Intent { object, manager: "firstlight:p:s".to_owned(), body, take: Vec::new(), must_exist: false };
    let decision = decide(&intent);
    Preview { intent, live: None, result: None, decision }
}

fn create(name: &str, value: &str) -> Preview {
    let later = map(name, value, |_| Decision::Later(Clean::from("namespace ns is created by this plan")));
    let fingerprint = later.fingerprint(&key()).unwrap();
    map(name, value, |intent| {
        Decision::Change(Box::new(Planned {
            effect: crate::effect::Effect::Create(Create {
                object: intent.object.clone(),
                manager: intent.manager.clone(),
                fields: Value::Null,
                digest: fingerprint.clone(),
            }),
            body: intent.body.clone(),
            fingerprint,
            changes: Vec::new(),
            class: Class::Reversible,
            taken: Vec::new(),
        }))
    })
}

fn same(name: &str) -> Preview {
    map(name, "x", |_| Decision::Same)
}

fn view(phase: &str, previews: Vec<Preview>) -> StepView {
    let step = GateStep { name: Clean::from("s"), previews, proofs: Vec::new() };
    StepView { phase: Clean::from(phase), step, later: Vec::new() }
}

fn gate(phase: &str, previews: Vec<Preview>) -> Gate {
    let steps = vec![GateStep { name: Clean::from("s"), previews, proofs: Vec::new() }];
    Gate { cluster: cluster("c"), phase: Clean::from(phase), steps, moved: Vec::new() }
}

fn approved(views: &[StepView]) -> Result<Approved, Failure> {
    let cluster = cluster("c");
    let binding = Binding { plan: "p", plan_hash: "hash", cluster: &cluster };
    Approved::of(views, binding, Clean::from("ann@host"), Clean::from("2026-11-23T04:00:00Z"), &key())
}

fn differs(approved: &Approved, gate: &Gate) -> Vec<String> {
    approved.differs(gate, &key()).iter().map(Clean::to_string).collect()
}

#[test]
fn exactly_what_was_shown_is_approved() {
    let approved =
        approved(&[view("one", vec![create("a", "1"), same("b")]), view("two", vec![same("c")])]).unwrap();
    assert_eq!(approved.changes(), 1);
    assert_eq!(differs(&approved, &gate("one", vec![create("a", "1"), same("b")])), [""; 0]);
    // What is done already needs no approval.
    assert_eq!(differs(&approved, &gate("one", vec![same("a"), same("b")])), [""; 0]);
    assert_eq!(
        differs(&approved, &gate("one", vec![create("a", "2"), create("b", "x")])),
        [
            "the change of configmap/a in ns is not the one that was approved",
            "configmap/b in ns needed no change then, and now it would be created",
        ]
    );
    // The same change in another phase was not approved there.
    assert_eq!(differs(&approved, &gate("two", vec![create("a", "1")])).len(), 1);
    assert_eq!(differs(&approved, &gate("three", vec![create("a", "1")])).len(), 1);
}

#[test]
fn what_is_tried_later_is_approved_as_it_is_created() {
    let later = |_: &Intent| Decision::Later(Clean::from("namespace ns is created by this plan"));
    let approved = approved(&[view("one", vec![map("a", "1", later)])]).unwrap();
    assert_eq!(differs(&approved, &gate("one", vec![create("a", "1")])), [""; 0]);
    assert_eq!(differs(&approved, &gate("one", vec![create("a", "2")])).len(), 1);
}

#[test]
fn what_cannot_be_carried_out_cannot_be_approved() {
    let block = Block {
        reason: Clean::from("configmap/a in ns: others own data.x"),
        hint: Some(Clean::from("ask them")),
    };
    let failure = approved(&[view("one", vec![map("a", "1", |_| Decision::Blocked(block))])]).unwrap_err();
    assert_eq!(failure.code, exit::FAILED);
    assert_eq!(failure.text, "the preview was not saved: configmap/a in ns: others own data.x");
    assert_eq!(failure.hint.as_deref(), Some("ask them"));
}

#[test]
fn another_plan_cluster_or_length_is_refused() {
    let approved = approved(&[view("one", vec![create("a", "1")])]).unwrap();
    let check = |plan: &str, hash: &str, uid: &str, phases: &[&str]| {
        let cluster = cluster(uid);
        let binding = Binding { plan, plan_hash: hash, cluster: &cluster };
        approved.check(binding, phases, &key()).map_err(|failure| (failure.code, failure.text))
    };
    assert_eq!(check("p", "hash", "c", &["one"]), Ok(()));
    let refused = [
        check("q", "hash", "c", &["one"]),
        check("p", "hash", "d", &["one"]),
        check("p", "other", "c", &["one"]),
        check("p", "hash", "c", &["one", "two"]),
    ];
    let refused: Vec<(u8, String)> = refused.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(
        refused,
        [
            (2, "the approval is for plan p, not for q".to_owned()),
            (2, "the approval is for another cluster (context prod when it was saved)".to_owned()),
            (3, "plan p, its assets or its inputs are not as they were approved".to_owned()),
            (3, "the approval ends after phase one".to_owned()),
        ]
    );
}

#[test]
fn a_file_is_its_owners_and_comes_back_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("approval.json");
    // An earlier file that others may read is replaced, not written into.
    std::fs::write(&path, "earlier").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let saved = approved(&[view("one", vec![create("a", "a value of the object")])]).unwrap();
    saved.write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("a value") && !text.contains("\"hash\""), "{text}");
    assert_eq!(Approved::read(&path, &key()).unwrap(), saved);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(saved.write(folder.path()).unwrap_err().code, exit::FAILED);
    assert_eq!(saved.write(&folder.path().join("none/x")).unwrap_err().code, exit::FAILED);
}

#[test]
fn any_edit_and_any_other_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("approval.json");
    approved(&[view("one", vec![create("a", "1")])]).unwrap().write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let read = |text: &str, key: &StateKey| {
        std::fs::write(&path, text).unwrap();
        Approved::read(&path, key).map(|_| ()).map_err(|failure| {
            assert_eq!(failure.code, exit::USAGE);
            failure.text.replace(&path.display().to_string(), "FILE")
        })
    };
    assert_eq!(read(&text, &key()), Ok(()));
    let other = read(&text, &StateKey::new([4; 32])).unwrap_err();
    assert_eq!(other, "the approval FILE was saved with the key of another state directory");
    for (from, to) in [
        ("\"one\"", "\"two\""),
        ("\"create\"", "\"change\""),
        ("\"ann@host\"", "\"bob@host\""),
        ("\"ns\"", "\"ms\""),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        assert_eq!(read(&edited, &key()).unwrap_err(), "the approval FILE was changed after it was saved");
    }
    let mut unsealed: Value = serde_json::from_str(&text).unwrap();
    unsealed["seal"] = Value::Null;
    assert_eq!(
        read(&unsealed.to_string(), &key()).unwrap_err(),
        "the approval FILE was changed after it was saved"
    );
    assert_eq!(
        read(&text.replace("\"approval\": 1", "\"approval\": 2"), &key()).unwrap_err(),
        "the approval FILE has version 2, and this program reads 1"
    );
    for wrong in ["", "{}", "[1]", "plan: x", "{\"approval\": 1}"] {
        assert_eq!(read(wrong, &key()).unwrap_err(), "FILE is not an approval");
    }
}
