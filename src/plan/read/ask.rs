//! What a step asks for: proofs, and the services that they ask.

use super::fields::{Fields, Report};
use super::step::namespace;
use crate::object::status;
use crate::plan::asset;
use crate::plan::model::{Action, ReadyTarget, Step};
use crate::plan::proofs::ProofName;
use crate::port::Endpoint;
use crate::yaml::{Node, Problem};

pub(super) fn proofs(node: &Node, report: &mut Report<'_>) -> Vec<ProofName> {
    let mut found = Vec::new();
    for node in report.list(node, "a list of proofs") {
        let Some(name) = report.text(node, "a proof") else { continue };
        match ProofName::parse(&name) {
            Some(proof) if found.contains(&proof) => {
                report.problem(node, format!("proof `{name}` is there twice"), "keep one of them");
            }
            Some(proof) => found.push(proof),
            None => {
                let problem = Problem::new(node.span, format!("unknown proof `{name}`"));
                report.push(problem.known(&name, ProofName::names()));
            }
        }
    }
    found
}

/// Proofs that could never be judged where they stand.
pub(super) fn check_proofs(step: &Step, fields: &Fields<'_>, report: &mut Report<'_>) {
    let action = &step.action;
    let proving = matches!(action, Action::Prove { .. });
    let listed = match action {
        Action::Prove { proofs } => proofs.as_slice(),
        _ => &[],
    };
    let places = [("prove", listed), ("before", &step.before), ("after", &step.after)];
    for (key, proof) in places.iter().flat_map(|(key, proofs)| proofs.iter().map(move |proof| (*key, *proof)))
    {
        let reason = match proof {
            ProofName::Datasource
                if !matches!(action, Action::Datasource { .. } | Action::DatasourceField(_)) =>
            {
                "judges the change of a `datasource` step"
            }
            // Manifests that could not be read are reported already.
            ProofName::RolledOut if !proving && !workloads(step) && !step.action.objects().is_empty() => {
                "waits for workloads, and this step has none"
            }
            ProofName::RolledOut if proving => "waits for the workloads of a step that changes some",
            ProofName::FirstLight if !matches!(action, Action::Watch(_)) || key == "before" => {
                "is judged by a `watch` step, afterwards"
            }
            ProofName::Ready if step.ready.is_empty() => {
                "asks the services under `ready:`, and this step has none"
            }
            _ => continue,
        };
        if let Some(place) = fields.get(key) {
            let item = place.items().find(|item| item.as_str() == Some(proof.as_str())).unwrap_or(place);
            report.problem(item, format!("proof `{proof}` {reason}"), "");
        }
    }
    let asks = places.iter().any(|(_, proofs)| proofs.contains(&ProofName::Ready));
    if let (false, Some(place)) = (asks || step.ready.is_empty(), fields.get("ready")) {
        report.problem(
            place,
            "`ready` is asked by the proof `ready`, which this step does not list",
            "add it under `after:`",
        );
    }
}

fn workloads(step: &Step) -> bool {
    step.action.objects().iter().any(|object| status::has_rollout(&object.kind))
}

pub(super) fn ready(node: &Node, namespace: Option<&str>, report: &mut Report<'_>) -> Vec<ReadyTarget> {
    let mut targets = Vec::new();
    for node in report.list(node, "`ready`") {
        let fields =
            report.fields(node, "a target of `ready`", &["service", "port", "namespace", "url", "path"]);
        let path = match fields.get("path") {
            Some(node) => report.text(node, "`path`").and_then(|path| {
                if path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic()) && !path.contains('#')
                {
                    return Some(path);
                }
                report.problem(node, format!("`{path}` is not a path"), "it begins with `/`");
                None
            }),
            None => Some("/ready".to_owned()),
        };
        if let (Some(endpoint), Some(path)) = (endpoint(node, &fields, namespace, report), path) {
            targets.push(ReadyTarget { endpoint, path });
        }
    }
    targets
}

/// `{ service, port }` by port-forward, or `{ url }`, which counts where both are given.
pub(super) fn endpoint(
    node: &Node,
    fields: &Fields<'_>,
    shared: Option<&str>,
    report: &mut Report<'_>,
) -> Option<Endpoint> {
    let service = fields.get("service").and_then(|node| report.text(node, "`service`"));
    let port = fields.get("port").and_then(|node| report.port(node));
    let own = fields.get("namespace").and_then(|node| namespace(node, report));
    if let Some(node) = fields.get("url") {
        return report.url(node).map(Endpoint::Url);
    }
    if fields.get("service").is_none() && fields.get("port").is_none() {
        report.problem(
            node,
            "nothing says where the service is reached",
            "write `{ service: NAME, port: NUMBER }` or `{ url: … }`",
        );
        return None;
    }
    let place = report.required(fields, "service");
    report.required(fields, "port");
    let (name, port) = (service?, port?);
    if !asset::is_label(&name) {
        report.problem(place?, format!("`{name}` is not the name of a service"), "");
        return None;
    }
    match own.or_else(|| shared.map(str::to_owned)) {
        Some(namespace) => Some(Endpoint::Service { namespace, name, port }),
        None => {
            report.problem(node, format!("service `{name}` has no namespace"), NO_NAMESPACE);
            None
        }
    }
}

pub(super) const NO_NAMESPACE: &str =
    "write it, or give the step a `namespace:`, or the plan an input `namespace`";
