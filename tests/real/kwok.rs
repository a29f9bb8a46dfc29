//! What kwok plays: nodes, pods that become Ready, faults, and port-forwards into the harness.

use serde_json::json;
use std::collections::BTreeMap;

/// Images whose programs the harness really runs (see `kubelet.rs`), as a regular expression over the image.
const PROGRAMS: &str = "(^|/)(tempo|opentelemetry-collector-contrib|loki|tripit)(:|@|$)";

/// What goes wrong with the pods whose name, followed by blanks and the names of their environment variables, matches a
/// regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The image is not to be had.
    ImagePullBackOff,
    /// The container is killed for its memory again and again.
    OomKilled,
}

/// Where a port-forward leads: pods of one namespace, one by name or all, and the local port of each container port.
pub struct Forward {
    /// Namespace of the pods.
    pub namespace: String,
    /// The pod's name; `None` matches every pod that an earlier entry does not name.
    pub pod: Option<String>,
    /// Container port to local port.
    pub ports: BTreeMap<u16, u16>,
}

/// The configuration file. `real_programs` says whether pods of the known images wait for their programs' probes.
pub fn configuration(forwards: &[Forward], faults: &[(Fault, String)], real_programs: bool) -> String {
    let faulty = match faults {
        [] => "^$".to_owned(),
        some => some.iter().map(|(_, pods)| format!("({pods})")).collect::<Vec<_>>().join("|"),
    };
    let programs = if real_programs { PROGRAMS } else { "^$" };
    let mut text =
        include_str!("stages/base.yaml").replace("@PROGRAMS@", programs).replace("@FAULTS@", &faulty);
    for (number, (fault, pods)) in faults.iter().enumerate() {
        let (reason, phase, restarts, last, message) = match fault {
            Fault::ImagePullBackOff => ("ImagePullBackOff", "Pending", "0", "", "Back-off pulling image"),
            Fault::OomKilled => (
                "CrashLoopBackOff",
                "Running",
                "4",
                "lastState: { terminated: { exitCode: 137, reason: OOMKilled, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }} } }",
                "back-off 40s restarting failed container",
            ),
        };
        text.push_str("\n---\n");
        text.push_str(
            &include_str!("stages/fault.yaml")
                .replace("@NAME@", &format!("fault-{number}"))
                .replace("@PODS@", pods)
                .replace("@REASON@", reason)
                .replace("@PHASE@", phase)
                .replace("@RESTARTS@", restarts)
                .replace("@LAST@", last)
                .replace("@MESSAGE@", message),
        );
    }
    for (number, forward) in forwards.iter().enumerate() {
        let mut targets: Vec<_> = forward
            .ports
            .iter()
            .map(|(port, local)| json!({"ports": [port], "target": {"address": "127.0.0.1", "port": local}}))
            .collect();
        if forward.pod.is_some() {
            // A port that this pod does not serve must not fall through to another pod's entry.
            targets.push(json!({"target": {"address": "127.0.0.1", "port": 1}}));
        }
        let mut selector = json!({"matchNamespaces": [forward.namespace]});
        if let (Some(pod), Some(map)) = (&forward.pod, selector.as_object_mut()) {
            map.insert("matchNames".to_owned(), json!([pod]));
        }
        let object = json!({
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterPortForward",
            "metadata": {"name": format!("forward-{number}")},
            "spec": {"selector": selector, "forwards": targets},
        });
        text.push_str(&format!("\n---\n{object}\n"));
    }
    text
}
