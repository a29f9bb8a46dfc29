//! What is wrong with one container of a pod.

use super::pod::{Trouble, Weight, brief, joined};
use super::read::{items, name, number, second, some_text, specified_at, text};
use serde_json::Value;

/// One container of a pod.
pub(super) struct Container<'o> {
    pub(super) workload: &'o Value,
    pub(super) pod: &'o Value,
    /// Its entry in the pod's status.
    pub(super) status: &'o Value,
    pub(super) init: bool,
}

impl Container<'_> {
    /// What is wrong with it, if anything is.
    pub(super) fn trouble(&self) -> Option<Trouble> {
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
        let (finished, specified) = (second(text(ended, "/finishedAt")), specified_at(self.workload));
        let ready = self.status.get("ready").and_then(Value::as_bool) == Some(true);
        ready && !finished.is_empty() && finished < specified
    }

    /// The limit is read from the pod: there a LimitRange's default shows, which the workload does not.
    fn out_of_memory(&self, ended: &Value) -> Trouble {
        const MEMORY: &str = "/resources/limits/memory";
        let own = self.specification(self.pod, "/spec").and_then(|spec| some_text(spec, MEMORY));
        let place = match (own, some_text(self.pod, "/spec/resources/limits/memory")) {
            (Some(limit), _) => format!("at its limit of {limit}"),
            (None, Some(limit)) => format!("at its pod's limit of {limit}"),
            (None, None) => "without a memory limit of its own: its node ran out of memory".to_owned(),
        };
        let template = self.specification(self.workload, "/spec/template/spec");
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
        let forever = match some_text(self.pod, "/spec/restartPolicy") {
            None | Some("Always") => !self.init || is_sidecar(self.pod, name_of(self.status)),
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
        format!("pod {}: {role} {}", name(self.pod), name_of(self.status))
    }

    /// Without the container where the pod has but one.
    fn short_subject(&self) -> String {
        let only = items(self.pod, "/spec/containers").len() <= 1
            && items(self.pod, "/status/containerStatuses").len() <= 1;
        if self.init || !only { self.subject() } else { format!("pod {}", name(self.pod)) }
    }
}

/// An init container that keeps running beside the others (`restartPolicy: Always` on itself).
pub(super) fn is_sidecar(pod: &Value, container: &str) -> bool {
    items(pod, "/spec/initContainers")
        .iter()
        .any(|spec| name_of(spec) == container && text(spec, "/restartPolicy") == "Always")
}

/// Its name; statuses and specifications both have one.
pub(super) fn name_of(container: &Value) -> &str {
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
