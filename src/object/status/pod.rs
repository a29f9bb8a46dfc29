//! What is wrong with a pod, in one line.

use super::container::{Container, is_sidecar, name_of};
use super::read::{Event, condition, items, name, some_text, text, true_condition};
use super::{Readiness, Surroundings};
use crate::text::Clean;
use serde_json::Value;

/// How much a trouble weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It may well pass by itself.
    Passing,
    /// Nothing points to it passing by itself.
    Stuck,
    /// It will not pass without a change.
    Fatal,
}

/// Something that is wrong with a pod, or with making one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `pod tempo-0: container tempo was OOM-killed (exit 137) at its limit of 256Mi`.
    pub text: Clean,
    /// How much it weighs.
    pub weight: Weight,
    /// Whether a container ran and ended: it crashed or was killed. Otherwise it never came so far.
    pub ran: bool,
}

impl Trouble {
    pub(super) fn new(weight: Weight, text: impl AsRef<str>) -> Self {
        Self { text: Clean::new(text), weight, ran: false }
    }

    pub(super) fn after_running(weight: Weight, text: impl AsRef<str>) -> Self {
        Self { text: Clean::new(text), weight, ran: true }
    }
}

/// A pod that is an object of its own.
pub(super) fn readiness(pod: &Value, around: Surroundings<'_>) -> Readiness {
    match text(pod, "/status/phase") {
        "Succeeded" => return Readiness::ready("it ran to its end"),
        _ if true_condition(pod, "Ready").is_some() => return Readiness::ready("it is ready"),
        _ => {}
    }
    let troubles = troubles(pod, &[pod], around.events);
    match troubles.first() {
        Some(trouble) if text(pod, "/status/phase") == "Failed" => Readiness::Failed(trouble.text.clone()),
        Some(Trouble { text, weight: Weight::Fatal, .. }) => Readiness::Failed(text.clone()),
        Some(Trouble { text, weight: Weight::Stuck, .. }) => Readiness::stuck(text),
        Some(Trouble { text, .. }) => Readiness::waiting(text),
        None => Readiness::waiting("it is not ready yet"),
    }
}

/// The troubles of these pods of a workload, worst first, then by the pod's name.
pub(super) fn troubles(workload: &Value, pods: &[&Value], events: &[Value]) -> Vec<Trouble> {
    let mut pods = pods.to_vec();
    pods.sort_by_key(|pod| name(pod));
    let mut found: Vec<Trouble> =
        pods.iter().flat_map(|pod| View { workload, pod, events }.troubles()).collect();
    found.sort_by_key(|trouble| std::cmp::Reverse(trouble.weight));
    found
}

/// One pod with what is needed to judge it.
struct View<'o> {
    workload: &'o Value,
    pod: &'o Value,
    events: &'o [Value],
}

impl View<'_> {
    fn troubles(&self) -> Vec<Trouble> {
        let pod = name(self.pod);
        let phase = text(self.pod, "/status/phase");
        if phase == "Failed"
            && let Some(reason) = some_text(self.pod, "/status/reason")
        {
            // Evicted, NodeLost, UnexpectedAdmissionError, …: the owner makes another pod.
            let message = brief(text(self.pod, "/status/message"));
            return vec![Trouble::new(Weight::Passing, joined(&[&format!("pod {pod}"), reason, &message]))];
        }
        if let Some(unscheduled) =
            condition(self.pod, "PodScheduled").filter(|c| text(c, "/status") == "False")
        {
            return vec![self.unscheduled(unscheduled)];
        }
        let containers: Vec<Trouble> = ["/status/initContainerStatuses", "/status/containerStatuses"]
            .iter()
            .flat_map(|list| items(self.pod, list).iter().map(move |status| (status, list.contains("init"))))
            .filter_map(|(status, init)| {
                Container { workload: self.workload, pod: self.pod, status, init }.trouble()
            })
            .collect();
        if !containers.is_empty() || phase == "Succeeded" || true_condition(self.pod, "Ready").is_some() {
            return containers;
        }
        if phase == "Failed" {
            return vec![Trouble::new(Weight::Passing, format!("pod {pod} failed"))];
        }
        vec![self.not_ready()]
    }

    fn unscheduled(&self, condition: &Value) -> Trouble {
        let pod = name(self.pod);
        if let Some(claim) = self.claim_trouble() {
            return claim;
        }
        match text(condition, "/reason") {
            "SchedulingGated" => {
                Trouble::new(Weight::Stuck, format!("pod {pod} is held back by a scheduling gate"))
            }
            "Unschedulable" => Trouble::new(
                Weight::Stuck,
                joined(&[&format!("pod {pod}"), "unschedulable", &brief(text(condition, "/message"))]),
            ),
            reason => Trouble::new(
                Weight::Passing,
                joined(&[&format!("pod {pod}: not scheduled"), reason, &brief(text(condition, "/message"))]),
            ),
        }
    }

    /// While a volume is being made for a pod that its storage class waits for, the pod itself says nothing; the claim
    /// does.
    fn claim_trouble(&self) -> Option<Trouble> {
        items(self.pod, "/spec/volumes")
            .iter()
            .filter_map(|v| some_text(v, "/persistentVolumeClaim/claimName"))
            .find_map(|claim| {
                let object = serde_json::json!({
                    "kind": "PersistentVolumeClaim",
                    "metadata": { "name": claim, "namespace": text(self.pod, "/metadata/namespace") },
                });
                let events = Event::about(&object, self.events);
                let event = events.last().filter(|event| event.is_warning())?;
                let claim = format!("pod {}: volume claim {claim}", name(self.pod));
                Some(Trouble::new(Weight::Stuck, joined(&[&claim, event.reason(), &brief(event.message())])))
            })
    }

    /// No container has a trouble of its own, and the pod is not ready.
    fn not_ready(&self) -> Trouble {
        let pod = name(self.pod);
        let statuses = items(self.pod, "/status/containerStatuses");
        if condition(self.pod, "PodScheduled").is_none() && statuses.is_empty() {
            return self
                .claim_trouble()
                .unwrap_or_else(|| Trouble::new(Weight::Passing, format!("pod {pod} is not scheduled yet")));
        }
        let events = Event::about(self.pod, self.events);
        let waiting =
            statuses.is_empty() || statuses.iter().any(|status| status.pointer("/state/waiting").is_some());
        let latest_warning = events.last().filter(|event| event.is_warning());
        if waiting {
            if let Some(running) = items(self.pod, "/status/initContainerStatuses")
                .iter()
                .find(|s| s.pointer("/state/running").is_some() && !is_sidecar(self.pod, name_of(s)))
            {
                let container = name_of(running);
                return Trouble::new(
                    Weight::Passing,
                    format!("pod {pod}: init container {container} is running"),
                );
            }
            return match latest_warning {
                Some(event) => {
                    // A volume that the pod before it still holds comes free when that one has ended. Of the others
                    // (FailedMount, FailedCreatePodSandBox) the node makes further tries, mostly to the same end.
                    let passes = event.message().starts_with("Multi-Attach error");
                    let weight = if passes { Weight::Passing } else { Weight::Stuck };
                    Trouble::new(
                        weight,
                        joined(&[&format!("pod {pod}"), event.reason(), &brief(event.message())]),
                    )
                }
                None => Trouble::new(Weight::Passing, format!("pod {pod}: its containers are being created")),
            };
        }
        let unready = statuses.iter().find(|s| s.get("ready").and_then(Value::as_bool) != Some(true));
        let Some(unready) = unready else {
            // All containers are ready, the pod is not: a readiness gate.
            let why = condition(self.pod, "Ready").map(|c| brief(text(c, "/message"))).unwrap_or_default();
            return Trouble::new(Weight::Passing, joined(&[&format!("pod {pod} is not ready"), &why]));
        };
        let probe = events
            .iter()
            .rev()
            .find(|event| event.reason() == "Unhealthy")
            .map(|event| brief(event.message()));
        let state = format!("pod {pod}: container {} is running, not ready", name_of(unready));
        Trouble::new(Weight::Passing, joined(&[&state, &probe.unwrap_or_default()]))
    }
}

/// A message, short enough to stand in one line among others.
pub(super) fn brief(message: &str) -> String {
    const LIMIT: usize = 300;
    let message = message.trim();
    match message.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", message.get(..at).unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// The parts that say something, with colons between.
pub(super) fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use serde_json::json;

    /// What a StatefulSet with this one pod says.
    fn rolling(pod: &Value, events: &[Value]) -> String {
        let set = with(stateful_set(), "/status/readyReplicas", json!(1));
        told(&set, Surroundings { pods: std::slice::from_ref(pod), events, ..Surroundings::default() })
    }

    fn waiting(reason: &str, message: &str) -> Value {
        in_state(tempo(), json!({ "waiting": { "reason": reason, "message": message } }), json!(null))
    }

    fn ended(code: i64, reason: &str) -> Value {
        json!({ "exitCode": code, "reason": reason, "finishedAt": "2026-11-23T03:16:00Z" })
    }

    fn crash_loop(last: Value) -> Value {
        let message = "back-off 40s restarting failed container=tempo pod=tempo-0_ns(1)";
        in_state(tempo(), json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }), last)
    }

    #[test]
    fn an_out_of_memory_kill_names_the_limit_of_the_pod() {
        // As of now, and after the restart.
        let now = in_state(tempo(), json!({ "terminated": ended(137, "OOMKilled") }), json!(null));
        let default = ", which the workload does not set (a LimitRange's default?)";
        let text = "failed: pod tempo-0: container tempo was OOM-killed (exit 137) at its limit of 256Mi";
        assert_eq!(rolling(&now, &[]), format!("{text}{default}"));
        assert_eq!(rolling(&crash_loop(ended(137, "OOMKilled")), &[]), format!("{text}{default}"));
        let again = in_state(tempo(), json!({ "running": {} }), ended(137, "OOMKilled"));
        assert_eq!(rolling(&again, &[]), format!("{text}{default}"));

        let set = with(stateful_set(), "/status/readyReplicas", json!(1));
        let set =
            with(set, "/spec/template/spec/containers/0/resources/limits", json!({ "memory": "256Mi" }));
        assert_eq!(
            told(&set, Surroundings { pods: std::slice::from_ref(&now), ..Surroundings::default() }),
            text
        );

        let bare = with(now, "/spec/containers/0/resources", json!({}));
        insta::assert_snapshot!(rolling(&bare, &[]), @"failed: pod tempo-0: container tempo was OOM-killed (exit 137) without a memory limit of its own: its node ran out of memory");
        let of_pod = with(bare, "/spec/resources", json!({ "limits": { "memory": "1Gi" } }));
        insta::assert_snapshot!(rolling(&of_pod, &[]), @"failed: pod tempo-0: container tempo was OOM-killed (exit 137) at its pod's limit of 1Gi");
    }

    #[test]
    fn a_kill_without_that_word_is_not_called_out_of_memory() {
        insta::assert_snapshot!(rolling(&crash_loop(ended(137, "Error")), &[]), @"failed: pod tempo-0: CrashLoopBackOff: it was killed (SIGKILL, exit 137)");
        let now = in_state(tempo(), json!({ "terminated": ended(137, "Error") }), json!(null));
        insta::assert_snapshot!(rolling(&now, &[]), @"waiting: 1 of 2 pods ready; pod tempo-0: container tempo was killed (SIGKILL, exit 137)");
    }

    #[test]
    fn a_crash_loop_says_how_it_ended() {
        let mut last = ended(2, "Error");
        last["message"] = json!("starting\nfailed to load config: field retention not found\n");
        insta::assert_snapshot!(rolling(&crash_loop(last), &[]), @"failed: pod tempo-0: CrashLoopBackOff: it exited with 2: failed to load config: field retention not found");
        insta::assert_snapshot!(rolling(&crash_loop(ended(128, "StartError")), &[]), @"failed: pod tempo-0: CrashLoopBackOff: it exited with 128 (StartError)");
        insta::assert_snapshot!(rolling(&crash_loop(json!(null)), &[]), @"failed: pod tempo-0: CrashLoopBackOff: back-off 40s restarting failed container=tempo pod=tempo-0_ns(1)");
        let again = in_state(tempo(), json!({ "running": {} }), ended(1, "Error"));
        insta::assert_snapshot!(rolling(&again, &[]), @"waiting: 1 of 2 pods ready; pod tempo-0: container tempo is running again, not ready; it restarted 3 times, before that it exited with 1");
    }

    #[test]
    fn every_waiting_reason_has_its_weight() {
        let rows = [
            ("ImagePullBackOff", "failed: pod tempo-0: ImagePullBackOff: why"),
            ("InvalidImageName", "failed: pod tempo-0: InvalidImageName: why"),
            ("ErrImageNeverPull", "failed: pod tempo-0: ErrImageNeverPull: why"),
            ("CreateContainerConfigError", "failed: pod tempo-0: CreateContainerConfigError: why"),
            ("ErrImagePull", "waiting: 1 of 2 pods ready; pod tempo-0: ErrImagePull: why"),
            ("CreateContainerError", "stuck: 1 of 2 pods ready; pod tempo-0: CreateContainerError: why"),
            ("SomethingNew", "stuck: 1 of 2 pods ready; pod tempo-0: SomethingNew: why"),
            (
                "ContainerCreating",
                "waiting: 1 of 2 pods ready; pod tempo-0: its containers are being created",
            ),
            ("PodInitializing", "waiting: 1 of 2 pods ready; pod tempo-0: its containers are being created"),
        ];
        for (reason, expected) in rows {
            assert_eq!(rolling(&waiting(reason, "why"), &[]), expected);
        }
    }

    #[test]
    fn with_several_containers_the_one_is_named() {
        let pod = with(
            waiting("ImagePullBackOff", "why"),
            "/spec/containers",
            json!([{ "name": "tempo" }, { "name": "proxy" }]),
        );
        assert_eq!(rolling(&pod, &[]), "failed: pod tempo-0: container tempo: ImagePullBackOff: why");
        let init = json!([{ "name": "migrate", "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "lastState": { "terminated": ended(3, "Error") } }]);
        let pod = with(waiting("PodInitializing", ""), "/status/initContainerStatuses", init);
        assert_eq!(
            rolling(&pod, &[]),
            "failed: pod tempo-0: init container migrate: CrashLoopBackOff: it exited with 3"
        );
        let done = json!([{ "name": "migrate", "state": { "terminated": ended(0, "Completed") } }, { "name": "wait", "state": { "running": {} } }]);
        let pod = with(waiting("PodInitializing", ""), "/status/initContainerStatuses", done);
        assert_eq!(
            rolling(&pod, &[]),
            "waiting: 1 of 2 pods ready; pod tempo-0: init container wait is running"
        );
    }

    #[test]
    fn what_the_scheduler_says_is_stuck() {
        let message = "0/3 nodes are available: 3 Insufficient memory.";
        let condition = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }]);
        let pod = with(tempo(), "/status", json!({ "phase": "Pending", "conditions": condition }));
        assert_eq!(
            rolling(&pod, &[]),
            format!("stuck: 1 of 2 pods ready; pod tempo-0: unschedulable: {message}")
        );
        let gated = with(pod.clone(), "/status/conditions/0/reason", json!("SchedulingGated"));
        assert_eq!(
            rolling(&gated, &[]),
            "stuck: 1 of 2 pods ready; pod tempo-0 is held back by a scheduling gate"
        );

        // The volume is what it waits for: its claim says more than the pod.
        let unsaid = with(pod, "/status/conditions", json!([]));
        assert_eq!(rolling(&unsaid, &[]), "waiting: 1 of 2 pods ready; pod tempo-0 is not scheduled yet");
        let unsaid = with(
            unsaid,
            "/spec/volumes",
            json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-tempo-0" } }]),
        );
        let failed = json!({
            "type": "Warning", "reason": "ProvisioningFailed", "message": "storageclass \"fast\" not found", "lastTimestamp": "2026-11-23T03:16:00Z",
            "involvedObject": { "kind": "PersistentVolumeClaim", "namespace": "ns", "name": "data-tempo-0", "uid": "claim" },
        });
        assert_eq!(
            rolling(&unsaid, &[failed]),
            "stuck: 1 of 2 pods ready; pod tempo-0: volume claim data-tempo-0: ProvisioningFailed: storageclass \"fast\" not found"
        );
    }

    #[test]
    fn events_say_why_a_pod_is_not_ready() {
        let early = "2026-11-23T03:16:00Z";
        let mount = event(
            "pod-tempo-0",
            "Warning",
            "FailedMount",
            early,
            "MountVolume.SetUp failed for volume \"config\" : configmap \"tempo\" not found",
        );
        insta::assert_snapshot!(rolling(&waiting("ContainerCreating", ""), std::slice::from_ref(&mount)), @r#"stuck: 1 of 2 pods ready; pod tempo-0: FailedMount: MountVolume.SetUp failed for volume "config" : configmap "tempo" not found"#);
        let pulling = event("pod-tempo-0", "Normal", "Pulling", "2026-11-23T03:17:00Z", "Pulling image");
        assert_eq!(
            rolling(&waiting("ContainerCreating", ""), &[pulling, mount]),
            "waiting: 1 of 2 pods ready; pod tempo-0: its containers are being created"
        );
        let attach = event(
            "pod-tempo-0",
            "Warning",
            "FailedAttachVolume",
            early,
            "Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) tempo-0",
        );
        assert!(rolling(&waiting("ContainerCreating", ""), &[attach]).starts_with("waiting"));

        let probe = event(
            "pod-tempo-0",
            "Warning",
            "Unhealthy",
            early,
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        );
        let running = in_state(tempo(), json!({ "running": {} }), json!(null));
        insta::assert_snapshot!(rolling(&running, &[probe]), @"waiting: 1 of 2 pods ready; pod tempo-0: container tempo is running, not ready: Readiness probe failed: HTTP probe failed with statuscode: 503");
        let other = event("pod-tempo-1", "Warning", "Unhealthy", early, "of another pod");
        assert_eq!(
            rolling(&running, &[other]),
            "waiting: 1 of 2 pods ready; pod tempo-0: container tempo is running, not ready"
        );
    }

    #[test]
    fn an_evicted_pod_is_replaced() {
        let pod = with(
            tempo(),
            "/status",
            json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." }),
        );
        insta::assert_snapshot!(rolling(&pod, &[]), @"waiting: 1 of 2 pods ready; pod tempo-0: Evicted: The node was low on resource: memory.");
    }

    #[test]
    fn a_pod_of_its_own() {
        let around = Surroundings::default();
        assert_eq!(told(&tempo(), around), "ready: it is ready");
        assert_eq!(
            told(&with(tempo(), "/status/phase", json!("Succeeded")), around),
            "ready: it ran to its end"
        );
        assert_eq!(
            told(&waiting("ImagePullBackOff", "why"), around),
            "failed: pod tempo-0: ImagePullBackOff: why"
        );
        let failed = in_state(tempo(), json!({ "terminated": ended(1, "Error") }), json!(null));
        let failed =
            with(with(failed, "/status/phase", json!("Failed")), "/spec/restartPolicy", json!("Never"));
        assert_eq!(told(&failed, around), "failed: pod tempo-0: container tempo exited with 1");
    }

    #[test]
    fn hostile_and_long_messages_stay_one_safe_line() {
        let told = rolling(&waiting("ImagePullBackOff", &format!("\x1b[2J\r\n{}", "x".repeat(5000))), &[]);
        assert!(!told.chars().any(char::is_control) && told.chars().count() < 400, "{told}");
    }
}
