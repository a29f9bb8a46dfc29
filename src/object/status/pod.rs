//! What is wrong with a pod, in one line.

use super::read::{
    Event, condition, items, name, number, second, some_text, specified_at, text, true_condition,
};
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

    fn after_running(weight: Weight, text: impl AsRef<str>) -> Self {
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
            .filter_map(|(status, init)| Container { view: self, status, init }.trouble())
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

/// One container of a pod.
struct Container<'o> {
    view: &'o View<'o>,
    status: &'o Value,
    init: bool,
}

impl Container<'_> {
    fn trouble(&self) -> Option<Trouble> {
        let state = self.status.pointer("/state/terminated").filter(|value| value.is_object());
        let last = self.status.pointer("/lastState/terminated").filter(|value| value.is_object());
        if let Some(killed) = state.into_iter().chain(last).find(|t| text(t, "/reason") == "OOMKilled")
            && !self.is_history(killed)
        {
            return Some(self.out_of_memory(killed));
        }
        if let Some(reason) = some_text(self.status, "/state/waiting/reason") {
            return self.waiting(reason, last);
        }
        if let Some(ended) = state {
            return self.ended(ended);
        }
        let ready = self.status.get("ready").and_then(Value::as_bool) == Some(true);
        let restarts = number(self.status, "/restartCount");
        match last {
            Some(last) if !ready && restarts > 0 => {
                let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
                let text = format!(
                    "{} is running again, not ready; it restarted {times}, before that it {}",
                    self.subject(),
                    exit(last)
                );
                Some(Trouble::after_running(Weight::Passing, text))
            }
            _ => None,
        }
    }

    /// Whether this container runs well now, and what ended did so before the workload was last changed.
    fn is_history(&self, ended: &Value) -> bool {
        let (finished, specified) = (second(text(ended, "/finishedAt")), specified_at(self.view.workload));
        let ready = self.status.get("ready").and_then(Value::as_bool) == Some(true);
        ready && !finished.is_empty() && finished < specified
    }

    /// The limit is read from the pod: there a LimitRange's default shows, which the workload does not.
    fn out_of_memory(&self, ended: &Value) -> Trouble {
        const MEMORY: &str = "/resources/limits/memory";
        let own = self.specification(self.view.pod, "/spec").and_then(|spec| some_text(spec, MEMORY));
        let place = match (own, some_text(self.view.pod, "/spec/resources/limits/memory")) {
            (Some(limit), _) => format!("at its limit of {limit}"),
            (None, Some(limit)) => format!("at its pod's limit of {limit}"),
            (None, None) => "without a memory limit of its own: its node ran out of memory".to_owned(),
        };
        let template = self.specification(self.view.workload, "/spec/template/spec");
        let defaulted = own.is_some() && template.is_some_and(|spec| some_text(spec, MEMORY).is_none());
        let note = if defaulted { ", which the workload does not set (a LimitRange's default?)" } else { "" };
        let code = number(ended, "/exitCode");
        Trouble::after_running(
            Weight::Fatal,
            format!("{} was OOM-killed (exit {code}) {place}{note}", self.subject()),
        )
    }

    fn waiting(&self, reason: &str, last: Option<&Value>) -> Option<Trouble> {
        let message = brief(text(self.status, "/state/waiting/message"));
        let plain = |weight| Some(Trouble::new(weight, joined(&[&self.short_subject(), reason, &message])));
        match reason {
            "ContainerCreating" | "PodInitializing" => None,
            "ErrImagePull" => plain(Weight::Passing),
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerConfigError" => {
                plain(Weight::Fatal)
            }
            "CrashLoopBackOff" => {
                let why = last.map_or(message, |last| format!("it {}", exit(last)));
                Some(Trouble::after_running(Weight::Fatal, joined(&[&self.short_subject(), reason, &why])))
            }
            // CreateContainerError, RunContainerError, ImageInspectError, RegistryUnavailable, …
            _ => plain(Weight::Stuck),
        }
    }

    fn ended(&self, ended: &Value) -> Option<Trouble> {
        let forever = match some_text(self.view.pod, "/spec/restartPolicy") {
            None | Some("Always") => !self.init || is_sidecar(self.view.pod, name_of(self.status)),
            Some(_) => false,
        };
        if number(ended, "/exitCode") == 0 && !forever {
            return None;
        }
        Some(Trouble::after_running(Weight::Passing, format!("{} {}", self.subject(), exit(ended))))
    }

    fn specification<'v>(&self, object: &'v Value, pod_spec: &str) -> Option<&'v Value> {
        let list = if self.init { "initContainers" } else { "containers" };
        items(object, &format!("{pod_spec}/{list}")).iter().find(|spec| name_of(spec) == name_of(self.status))
    }

    fn subject(&self) -> String {
        let role = if self.init { "init container" } else { "container" };
        format!("pod {}: {role} {}", name(self.view.pod), name_of(self.status))
    }

    /// Without the container where the pod has but one.
    fn short_subject(&self) -> String {
        let only = items(self.view.pod, "/spec/containers").len() <= 1
            && items(self.view.pod, "/status/containerStatuses").len() <= 1;
        if self.init || !only { self.subject() } else { format!("pod {}", name(self.view.pod)) }
    }
}

/// An init container that keeps running beside the others (`restartPolicy: Always` on itself).
fn is_sidecar(pod: &Value, container: &str) -> bool {
    items(pod, "/spec/initContainers")
        .iter()
        .any(|spec| name_of(spec) == container && text(spec, "/restartPolicy") == "Always")
}

fn name_of(container: &Value) -> &str {
    text(container, "/name")
}

/// How a container ended, after a subject. 137 without the word of Kubernetes is any SIGKILL, such as a failed liveness
/// probe after its grace.
fn exit(ended: &Value) -> String {
    let code = number(ended, "/exitCode");
    let reason = text(ended, "/reason");
    let words = match (code, reason) {
        (_, "OOMKilled") => format!("was OOM-killed (exit {code})"),
        (137, _) => "was killed (SIGKILL, exit 137)".to_owned(),
        (143, _) => "was ended (SIGTERM, exit 143)".to_owned(),
        (_, "" | "Error" | "Completed") => format!("exited with {code}"),
        _ => format!("exited with {code} ({reason})"),
    };
    // A message can be the end of the log (terminationMessagePolicy FallbackToLogsOnError): the last line says most.
    let message = text(ended, "/message").trim_end().lines().next_back().map(brief).unwrap_or_default();
    joined(&[&words, &message])
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
fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}
