//! `firstlight rehearse`: the whole plan on the embedded cluster, and each fault with its ending.

use crate::home::Home;

/// Runs a rehearsal with these faults; exit code and what it said.
fn rehearse(faults: &[&str]) -> (i32, String) {
    let home = Home::new();
    let mut arguments = vec!["rehearse", "--headless", "--yes"];
    for fault in faults {
        arguments.extend(["--fault", fault]);
    }
    let said = home.run(&arguments);
    (said.code, said.err)
}

#[test]
fn the_shipped_plan_finds_first_light() {
    let (code, text) = rehearse(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("REHEARSAL on an embedded cluster"), "{text}");
    for line in
        ["spans of tripit in Tempo, read by id", "of tripit was found by search", "done: 11 objects changed"]
    {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn two_rehearsals_of_one_seed_are_the_same() {
    // What was waited for is volatile: how often a watch speaks in between is nobody's promise.
    let once = || {
        let (code, text) = rehearse(&["api-reset", "watch-cut"]);
        let durable: Vec<String> =
            text.lines().filter(|line| !line.starts_with("  waiting")).map(str::to_owned).collect();
        (code, durable)
    };
    assert_eq!(once(), once());
}

#[test]
fn each_fault_ends_as_it_says() {
    for (fault, code, sentence) in [
        ("tempo-oom", 4, "pod tempo-0: container tempo was OOM-killed (exit 137) at its limit of 1Gi"),
        ("image-pull", 4, "ImagePullBackOff: Back-off pulling image"),
        ("pvc-pending", 4, "statefulset/tempo in monitoring is not ready after 600 s"),
        ("api-429", 0, "done: 11 objects changed"),
        ("api-reset", 0, "done: 11 objects changed"),
        ("watch-cut", 0, "done: 11 objects changed"),
        ("someone-edits", 3, "what was approved in phase grafana no longer holds"),
        ("quota", 4, "exceeded quota: team"),
        ("wrong-endpoint", 5, "no trace with a span of tripit was found in Tempo by id"),
        ("limit-range", 4, "maximum memory usage per Container is 512Mi, but limit is 1Gi"),
    ] {
        let (ended, text) = rehearse(&[fault]);
        assert_eq!(ended, code, "{fault}\n{text}");
        assert!(text.contains(sentence), "{fault}: no `{sentence}` in\n{text}");
    }
}

#[test]
fn an_unknown_fault_is_told_with_the_known_ones() {
    let (code, text) = rehearse(&["tempo-om"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("there is no fault tempo-om") && text.contains("tempo-oom"), "{text}");
}
