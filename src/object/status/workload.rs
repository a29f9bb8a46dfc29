//! Deployments, StatefulSets and DaemonSets.

use super::pod::{Trouble, Weight, brief, troubles};
use super::read::{Event, condition, name, number, some_text, specified_at, text, true_condition};
use super::revision::{current_pods, newest_replica_set, old_broken_pod};
use super::{Readiness, Surroundings};
use serde_json::Value;

pub(super) fn deployment(deployment: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(deployment) {
        return Readiness::waiting("the deployment controller has not seen the change yet");
    }
    let set = newest_replica_set(deployment, around.replica_sets);
    let wanted = replicas(deployment);
    let status = |field: &str| number(deployment, &format!("/status/{field}"));
    let (total, updated, available) =
        (status("replicas"), status("updatedReplicas"), status("availableReplicas"));

    let mut found = found_troubles(deployment, around);
    found.extend(creation_trouble(deployment, set.unwrap_or(deployment), updated < wanted, around.events));

    let overdue =
        condition(deployment, "Progressing").filter(|c| text(c, "/reason") == "ProgressDeadlineExceeded");
    if let Some(overdue) = overdue {
        let message = some_text(overdue, "/message").map(brief).unwrap_or_default();
        let worst = worst(&found).map(|trouble| format!("; {}", trouble.text)).unwrap_or_default();
        return Readiness::failed(format!("progress deadline exceeded: {message}{worst}"));
    }
    let progress = if updated < wanted {
        format!("{updated} of {wanted} replicas updated")
    } else if total > updated {
        match total - updated {
            1 => "1 old replica is still to end".to_owned(),
            old => format!("{old} old replicas are still to end"),
        }
    } else if available < updated {
        format!("{available} of {updated} updated replicas available")
    } else {
        return done(format!("{available} of {wanted} replicas updated and available"), wanted, &found);
    };
    if deployment.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Readiness::stuck(format!("{progress}; the rollout is paused (spec.paused)"));
    }
    not_done(&progress, &found)
}

pub(super) fn stateful_set(set: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(set) || number(set, "/status/observedGeneration") == 0 {
        return Readiness::waiting("the statefulset controller has not seen the change yet");
    }
    let wanted = replicas(set);
    let status = |field: &str| number(set, &format!("/status/{field}"));
    let (ready, updated) = (status("readyReplicas"), status("updatedReplicas"));
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").max(0);
    let revision = text(set, "/status/updateRevision");
    let on_delete = text(set, "/spec/updateStrategy/type") == "OnDelete";

    let mut found = found_troubles(set, around);
    found.extend(creation_trouble(set, set, status("replicas") < wanted, around.events));

    let progress = if ready < wanted {
        format!("{ready} of {wanted} pods ready")
    } else if on_delete {
        if updated >= wanted {
            return done(format!("{ready} of {wanted} pods ready, all of the new revision"), wanted, &found);
        }
        return Readiness::stuck(format!(
            "{updated} of {wanted} pods are of the new revision, and it cannot be waited for: with the update strategy \
             OnDelete a pod is replaced only when someone deletes it"
        ));
    } else if partition > 0 {
        let share = (wanted - partition).max(0);
        if updated >= share {
            return done(
                format!("{ready} of {wanted} pods ready, {updated} updated (partition {partition})"),
                wanted,
                &found,
            );
        }
        format!("{updated} of {share} pods above partition {partition} updated")
    } else if revision != text(set, "/status/currentRevision") {
        format!("{updated} of {wanted} pods updated")
    } else {
        return done(format!("{ready} of {wanted} pods ready and updated"), wanted, &found);
    };
    let ordered = text(set, "/spec/podManagementPolicy") != "Parallel";
    if worst(&found).is_none_or(|trouble| trouble.weight == Weight::Passing)
        && ordered
        && !on_delete
        && let Some(old) = old_broken_pod(set, around.pods)
    {
        return Readiness::stuck(format!(
            "{progress}; pod {} is of the earlier revision and not ready, and its controller may wait for it for ever \
             (kubernetes#67250): delete the pod",
            name(old)
        ));
    }
    not_done(&progress, &found)
}

pub(super) fn daemon_set(set: &Value, around: Surroundings<'_>) -> Readiness {
    if unseen(set) {
        return Readiness::waiting("the daemonset controller has not seen the change yet");
    }
    let status = |field: &str| number(set, &format!("/status/{field}"));
    let wanted = status("desiredNumberScheduled");
    let (updated, available) = (status("updatedNumberScheduled"), status("numberAvailable"));

    let mut found = found_troubles(set, around);
    found.extend(creation_trouble(set, set, status("currentNumberScheduled") < wanted, around.events));

    let progress = if updated < wanted {
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return Readiness::stuck(format!(
                "{updated} of {wanted} pods are of the new revision, and it cannot be waited for: with the update \
                 strategy OnDelete a pod is replaced only when someone deletes it"
            ));
        }
        format!("{updated} of {wanted} pods updated")
    } else if available < wanted {
        format!("{available} of {wanted} updated pods available")
    } else if wanted == 0 {
        return Readiness::ready("no node is to run it");
    } else {
        return done(format!("{available} of {wanted} pods updated and available"), wanted, &found);
    };
    not_done(&progress, &found)
}

/// Whether the controller has not yet acted on the current specification: its status is about an earlier one.
fn unseen(workload: &Value) -> bool {
    number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation")
}

/// `spec.replicas`, 1 if not set.
fn replicas(workload: &Value) -> i64 {
    workload.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn found_troubles(workload: &Value, around: Surroundings<'_>) -> Vec<Trouble> {
    troubles(workload, &current_pods(workload, around), around.events)
}

fn worst(found: &[Trouble]) -> Option<&Trouble> {
    // The first of the heaviest: `max_by_key` would take the last.
    found.iter().min_by_key(|trouble| std::cmp::Reverse(trouble.weight))
}

fn done(reason: String, wanted: i64, found: &[Trouble]) -> Readiness {
    if wanted == 0 {
        return Readiness::ready("scaled to 0");
    }
    match worst(found).filter(|trouble| trouble.weight == Weight::Fatal) {
        Some(trouble) => Readiness::ready(format!("{reason}; but {}", trouble.text)),
        None => Readiness::ready(reason),
    }
}

fn not_done(progress: &str, found: &[Trouble]) -> Readiness {
    match worst(found) {
        None => Readiness::waiting(progress),
        Some(trouble) => match trouble.weight {
            Weight::Fatal => Readiness::Failed(trouble.text.clone()),
            Weight::Stuck => Readiness::stuck(format!("{progress}; {}", trouble.text)),
            Weight::Passing => Readiness::waiting(format!("{progress}; {}", trouble.text)),
        },
    }
}

/// Why `owner` (the workload, or its ReplicaSet) cannot create the pods that are missing.
fn creation_trouble(workload: &Value, owner: &Value, missing: bool, events: &[Value]) -> Option<Trouble> {
    if !missing {
        return None;
    }
    let condition = [owner, workload].into_iter().find_map(|object| true_condition(object, "ReplicaFailure"));
    let message = condition.and_then(|condition| some_text(condition, "/message")).or_else(|| {
        let events = Event::about(owner, events);
        let failed = events.iter().rev().find(|event| event.reason() == "FailedCreate")?;
        let made_since = events.iter().any(|e| e.reason() == "SuccessfulCreate" && e.time() > failed.time());
        // An event outlives its cause by an hour; what was said before the last change is about an earlier try.
        let outdated = !failed.time().is_empty() && failed.time() < specified_at(workload);
        (!made_since && !outdated).then(|| failed.message())
    })?;
    let weight = if is_refusal(message) { Weight::Fatal } else { Weight::Stuck };
    Some(Trouble::new(weight, format!("a pod cannot be created: {}", brief(message))))
}

/// Whether this is the word of a quota, a LimitRange, pod security or validation. They say the same on every try; a
/// missing service account or a webhook that does not answer may not (kubernetes plugin/pkg/admission/{resourcequota,
/// limitranger}, staging/src/k8s.io/pod-security-admission/admission).
fn is_refusal(message: &str) -> bool {
    let limit_range = message.contains(" per Container is ") || message.contains(" per Pod is ");
    message.contains(" is invalid: ")
        || (message.contains("forbidden")
            && (limit_range
                || message.contains("exceeded quota")
                || message.contains("failed quota")
                || message.contains("violates PodSecurity")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Surroundings, troubles};
    use serde_json::{Value, json};

    const LATER: &str = "2026-11-23T03:16:00Z";

    fn alone(object: &Value) -> String {
        told(object, Surroundings::default())
    }

    fn crash_loop(pod: Value) -> Value {
        in_state(
            pod,
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container" } }),
            json!({ "exitCode": 1, "reason": "Error" }),
        )
    }

    #[test]
    fn a_deployment_is_done_by_the_rules_of_kubectl_in_their_order() {
        let rows = [
            (json!({}), "ready: 3 of 3 replicas updated and available"),
            (
                json!({ "observedGeneration": 1 }),
                "waiting: the deployment controller has not seen the change yet",
            ),
            (json!({ "updatedReplicas": 2 }), "waiting: 2 of 3 replicas updated"),
            (json!({ "updatedReplicas": null, "replicas": 1 }), "waiting: 0 of 3 replicas updated"),
            (json!({ "replicas": 4 }), "waiting: 1 old replica is still to end"),
            (json!({ "replicas": 5, "availableReplicas": 1 }), "waiting: 2 old replicas are still to end"),
            (json!({ "availableReplicas": 2 }), "waiting: 2 of 3 updated replicas available"),
        ];
        for (status, expected) in rows {
            let mut object = deployment();
            for (field, value) in status.as_object().unwrap() {
                object = with(object, &format!("/status/{field}"), value.clone());
            }
            assert_eq!(alone(&object), expected, "{status}");
        }
        assert_eq!(
            alone(&with(deployment(), "/status", json!({}))),
            "waiting: the deployment controller has not seen the change yet"
        );
    }

    #[test]
    fn a_passed_deadline_fails_it_with_the_cause_beside() {
        let overdue = json!([{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"app-2\" has timed out progressing.",
        }]);
        let object =
            with(with(deployment(), "/status/conditions", overdue), "/status/availableReplicas", json!(2));
        assert_eq!(
            alone(&object),
            "failed: progress deadline exceeded: ReplicaSet \"app-2\" has timed out progressing."
        );
        let pod = in_state(of_replica_set(tempo(), "app-2-x", 2), json!({ "running": {} }), json!(null));
        let around = Surroundings { pods: &[pod], replica_sets: &[replica_set(2)], events: &[] };
        assert_eq!(
            told(&object, around),
            "failed: progress deadline exceeded: ReplicaSet \"app-2\" has timed out progressing.; \
             pod app-2-x: container tempo is running, not ready"
        );
        // It may be the word on an earlier generation.
        let unseen = with(object, "/metadata/generation", json!(3));
        assert_eq!(alone(&unseen), "waiting: the deployment controller has not seen the change yet");
    }

    #[test]
    fn only_pods_of_the_current_revision_count() {
        let rolling = with(deployment(), "/status/updatedReplicas", json!(1));
        let (old, new) =
            (crash_loop(of_replica_set(tempo(), "old", 1)), crash_loop(of_replica_set(tempo(), "new", 2)));
        let sets = [replica_set(1), replica_set(2)];
        let failed = "failed: pod new: CrashLoopBackOff: it exited with 1";
        let waits = "waiting: 1 of 3 replicas updated";
        let row = |object: &Value, pods: &[Value], sets: &[Value]| {
            told(object, Surroundings { pods, replica_sets: sets, events: &[] })
        };
        assert_eq!(row(&rolling, std::slice::from_ref(&old), &sets), waits);
        assert_eq!(row(&rolling, &[old.clone(), new.clone()], &sets), failed);
        // The watch of the ReplicaSets is behind that of the Deployment.
        assert_eq!(row(&rolling, std::slice::from_ref(&old), &sets[..1]), waits);
        // The change is not seen yet: the newest ReplicaSet is still the earlier one.
        let unseen = with(rolling.clone(), "/metadata/generation", json!(3));
        assert!(row(&unseen, std::slice::from_ref(&new), &sets).starts_with("waiting"));
        // A pod that is going counts no more.
        let going = with(new.clone(), "/metadata/deletionTimestamp", json!(LATER));
        assert_eq!(row(&rolling, &[going], &sets), waits);
        // Without ReplicaSets, only where no pod of an earlier revision is left.
        assert_eq!(row(&rolling, std::slice::from_ref(&new), &[]), waits);
        let first = with(rolling.clone(), "/status/replicas", json!(1));
        assert_eq!(row(&first, std::slice::from_ref(&new), &[]), failed);
        // Without the annotation, by the highest number.
        let unnumbered = with(rolling, "/metadata/annotations", json!({}));
        assert_eq!(row(&unnumbered, std::slice::from_ref(&old), &sets), waits);
        assert_eq!(row(&unnumbered, &[new], &sets), failed);
    }

    #[test]
    fn a_paused_rollout_is_stuck_and_zero_replicas_are_ready() {
        let paused = with(deployment(), "/spec/paused", json!(true));
        assert_eq!(alone(&paused), "ready: 3 of 3 replicas updated and available");
        let paused = with(paused, "/status/updatedReplicas", json!(0));
        assert_eq!(alone(&paused), "stuck: 0 of 3 replicas updated; the rollout is paused (spec.paused)");
        let zero = with(deployment(), "/status", json!({ "observedGeneration": 2 }));
        assert_eq!(alone(&with(zero, "/spec/replicas", json!(0))), "ready: scaled to 0");
        let going = with(deployment(), "/metadata/deletionTimestamp", json!(LATER));
        assert_eq!(alone(&going), "stuck: it is being deleted");
    }

    #[test]
    fn pods_that_cannot_be_created_are_said() {
        let quota = "pods \"app-2-x\" is forbidden: exceeded quota: mem, requested: limits.memory=2Gi, used: limits.memory=3Gi, limited: limits.memory=4Gi";
        let rolling = with(deployment(), "/status/updatedReplicas", json!(1));
        let failure = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota }]);
        let expected = format!("failed: a pod cannot be created: {quota}");
        assert_eq!(alone(&with(rolling.clone(), "/status/conditions", failure.clone())), expected);

        let set = with(replica_set(2), "/status/conditions", failure);
        assert_eq!(
            told(&rolling, Surroundings { replica_sets: &[set], ..Surroundings::default() }),
            expected
        );

        let row = |object: &Value, events: &[Value]| {
            told(object, Surroundings { pods: &[], replica_sets: &[replica_set(2)], events })
        };
        let message = format!("Error creating: {quota}");
        assert_eq!(
            row(&rolling, &[event("rs-2", "Warning", "FailedCreate", LATER, &message)]),
            format!("failed: a pod cannot be created: {message}")
        );
        // Of another owner; from before the change; no pod is missing.
        assert_eq!(
            row(&rolling, &[event("rs-1", "Warning", "FailedCreate", LATER, &message)]),
            "waiting: 1 of 3 replicas updated"
        );
        let early = event("rs-2", "Warning", "FailedCreate", "2026-11-23T03:14:59Z", &message);
        assert_eq!(row(&rolling, &[early]), "waiting: 1 of 3 replicas updated");
        assert!(
            row(&deployment(), &[event("rs-2", "Warning", "FailedCreate", LATER, &message)])
                .starts_with("ready")
        );
    }

    #[test]
    fn a_refusal_that_may_pass_is_stuck_and_not_failed() {
        let set = with(with(stateful_set(), "/status/replicas", json!(0)), "/status/readyReplicas", json!(0));
        let start = "create Pod tempo-0 in StatefulSet tempo failed error: ";
        let row = |message: &str| {
            let event = event("set", "Warning", "FailedCreate", LATER, &format!("{start}{message}"));
            let told = told(&set, Surroundings { events: &[event], ..Surroundings::default() });
            told.split(':').next().unwrap().to_owned()
        };
        for refusal in [
            "pods \"tempo-0\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
            "pods \"tempo-0\" is forbidden: failed quota: q: must specify limits.memory for: tempo",
            "pods \"tempo-0\" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 2Gi, maximum cpu usage per Container is 1, but limit is 2]",
            "pods \"tempo-0\" is forbidden: minimum memory usage per Pod is 1Gi, but request is 64Mi",
            "pods \"tempo-0\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            "Pod \"tempo-0\" is invalid: spec.containers[0].image: Required value",
        ] {
            assert_eq!(row(refusal), "failed", "{refusal}");
        }
        for other in [
            "pods \"tempo-0\" is forbidden: error looking up service account ns/tempo: serviceaccount \"tempo\" not found",
            "Internal error occurred: failed calling webhook \"x\": connection refused",
        ] {
            assert_eq!(row(other), "stuck", "{other}");
        }
        // It was created since.
        let events = [
            event(
                "set",
                "Warning",
                "FailedCreate",
                LATER,
                "pods \"tempo-0\" is forbidden: exceeded quota: q",
            ),
            event("set", "Normal", "SuccessfulCreate", "2026-11-23T03:17:00Z", "create Pod tempo-0"),
        ];
        assert_eq!(
            told(&set, Surroundings { events: &events, ..Surroundings::default() }),
            "waiting: 0 of 2 pods ready"
        );
    }

    #[test]
    fn a_stateful_set_is_done_by_the_rules_of_kubectl() {
        let rows = [
            (json!({}), "ready: 2 of 2 pods ready and updated"),
            (
                json!({ "observedGeneration": 1 }),
                "waiting: the statefulset controller has not seen the change yet",
            ),
            (json!({ "readyReplicas": 1, "updateRevision": "tempo-c" }), "waiting: 1 of 2 pods ready"),
            (json!({ "updatedReplicas": 1, "currentRevision": "tempo-a" }), "waiting: 1 of 2 pods updated"),
        ];
        for (status, expected) in rows {
            let mut object = stateful_set();
            for (field, value) in status.as_object().unwrap() {
                object = with(object, &format!("/status/{field}"), value.clone());
            }
            assert_eq!(alone(&object), expected, "{status}");
        }
        let unobserved = with(
            with(stateful_set(), "/metadata/generation", json!(0)),
            "/status/observedGeneration",
            json!(0),
        );
        assert_eq!(alone(&unobserved), "waiting: the statefulset controller has not seen the change yet");

        let old = with(stateful_set(), "/status/currentRevision", json!("tempo-a"));
        let partition =
            |value: u32| with(old.clone(), "/spec/updateStrategy/rollingUpdate/partition", json!(value));
        assert_eq!(
            alone(&with(partition(1), "/status/updatedReplicas", json!(1))),
            "ready: 2 of 2 pods ready, 1 updated (partition 1)"
        );
        assert_eq!(
            alone(&with(partition(1), "/status/updatedReplicas", json!(0))),
            "waiting: 0 of 1 pods above partition 1 updated"
        );
        assert_eq!(
            alone(&with(partition(9), "/status/updatedReplicas", json!(0))),
            "ready: 2 of 2 pods ready, 0 updated (partition 9)"
        );
    }

    #[test]
    fn on_delete_cannot_be_waited_for() {
        let set = with(stateful_set(), "/spec/updateStrategy", json!({ "type": "OnDelete" }));
        let set = with(set, "/status/currentRevision", json!("tempo-a"));
        assert_eq!(alone(&set), "ready: 2 of 2 pods ready, all of the new revision");
        insta::assert_snapshot!(alone(&with(set, "/status/updatedReplicas", json!(1))), @"stuck: 1 of 2 pods are of the new revision, and it cannot be waited for: with the update strategy OnDelete a pod is replaced only when someone deletes it");
    }

    #[test]
    fn an_old_broken_pod_is_in_the_way_and_fails_nothing() {
        let set = with(
            with(stateful_set(), "/status/currentRevision", json!("tempo-a")),
            "/status/readyReplicas",
            json!(1),
        );
        let old = with(crash_loop(tempo()), "/metadata/labels/controller-revision-hash", json!("tempo-a"));
        insta::assert_snapshot!(told(&set, Surroundings { pods: std::slice::from_ref(&old), ..Surroundings::default() }), @"stuck: 1 of 2 pods ready; pod tempo-0 is of the earlier revision and not ready, and its controller may wait for it for ever (kubernetes#67250): delete the pod");
        let parallel = with(set, "/spec/podManagementPolicy", json!("Parallel"));
        assert_eq!(
            told(&parallel, Surroundings { pods: &[old], ..Surroundings::default() }),
            "waiting: 1 of 2 pods ready"
        );
    }

    #[test]
    fn a_ready_workload_says_what_came_back() {
        let killed = json!({ "exitCode": 137, "reason": "OOMKilled", "finishedAt": LATER });
        let pod = with(tempo(), "/status/containerStatuses/0/lastState", json!({ "terminated": killed }));
        let around = Surroundings { pods: &[pod], ..Surroundings::default() };
        insta::assert_snapshot!(told(&stateful_set(), around), @"ready: 2 of 2 pods ready and updated; but pod tempo-0: container tempo was OOM-killed (exit 137) at its limit of 256Mi, which the workload does not set (a LimitRange's default?)");
        assert_eq!(troubles(&stateful_set(), around).len(), 1);
        // Not done, and it was killed after the change: that will happen again.
        let waiting = with(stateful_set(), "/status/readyReplicas", json!(1));
        assert!(told(&waiting, around).starts_with("failed: pod tempo-0: container tempo was OOM-killed"));
        // It was killed before the change: that is another story.
        let changed = with(waiting, "/metadata/managedFields/0/time", json!("2026-11-24T00:00:00Z"));
        assert_eq!(told(&changed, around), "waiting: 1 of 2 pods ready");
        assert_eq!(troubles(&changed, around), []);
    }

    #[test]
    fn a_daemon_set_is_done_by_the_rules_of_kubectl() {
        let set = json!({
            "kind": "DaemonSet",
            "metadata": { "name": "agent", "uid": "ds", "generation": 1, "annotations": { "deprecated.daemonset.template.generation": "2" } },
            "spec": { "updateStrategy": { "type": "RollingUpdate" } },
            "status": { "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2 },
        });
        assert_eq!(alone(&set), "ready: 2 of 2 pods updated and available");
        assert_eq!(
            alone(&with(set.clone(), "/status/numberAvailable", json!(1))),
            "waiting: 1 of 2 updated pods available"
        );
        assert_eq!(
            alone(&with(set.clone(), "/status/desiredNumberScheduled", json!(0))),
            "ready: no node is to run it"
        );
        assert_eq!(
            alone(&with(set.clone(), "/metadata/generation", json!(2))),
            "waiting: the daemonset controller has not seen the change yet"
        );
        let rolling = with(set, "/status/updatedNumberScheduled", json!(1));
        assert_eq!(alone(&rolling), "waiting: 1 of 2 pods updated");
        let on_delete = with(rolling.clone(), "/spec/updateStrategy/type", json!("OnDelete"));
        assert!(
            alone(&on_delete)
                .starts_with("stuck: 1 of 2 pods are of the new revision, and it cannot be waited for")
        );
        let owner = json!([{ "kind": "DaemonSet", "name": "agent", "uid": "ds", "controller": true }]);
        let pod = |generation: &str| {
            let pod = with(crash_loop(tempo()), "/metadata/ownerReferences", owner.clone());
            with(pod, "/metadata/labels/pod-template-generation", json!(generation))
        };
        assert_eq!(
            told(&rolling, Surroundings { pods: &[pod("1")], ..Surroundings::default() }),
            "waiting: 1 of 2 pods updated"
        );
        assert!(
            told(&rolling, Surroundings { pods: &[pod("2")], ..Surroundings::default() })
                .starts_with("failed: pod tempo-0")
        );
    }
}
