//! access: may the caller do everything that the plan needs?

use super::{Finding, Judgement};
use crate::port::Access;
use crate::step::Intent;
use crate::text::Clean;
use std::collections::BTreeSet;

/// Everything that a run of these intents asks of the API server, undo, waits and claim included.
///
/// `resources` gives the plural of each intent's kind, as the API server names it.
pub fn needs(intents: &[(&Intent, String)], forwards: &BTreeSet<String>) -> Vec<Access> {
    let mut all = BTreeSet::new();
    for (intent, plural) in intents {
        let namespace = intent.object.namespace.as_deref();
        let verbs: &[&str] = if intent.must_exist {
            &["get", "patch"]
        } else {
            &["get", "list", "watch", "create", "patch", "delete"]
        };
        for verb in verbs {
            all.insert(access(verb, intent.object.group(), plural, namespace));
        }
        if crate::object::status::has_rollout(&intent.object.kind) {
            all.insert(access("watch", intent.object.group(), plural, namespace));
            all.insert(access("watch", "", "pods", namespace));
            all.insert(access("watch", "", "events", namespace));
            if intent.object.kind == "Deployment" {
                all.insert(access("watch", "apps", "replicasets", namespace));
            }
        }
    }
    for namespace in forwards {
        all.insert(access("get", "", "services", Some(namespace)));
        all.insert(access("list", "", "pods", Some(namespace)));
        all.insert(access("create", "", "pods/portforward", Some(namespace)));
    }
    for verb in ["get", "create", "update"] {
        all.insert(access(verb, "coordination.k8s.io", "leases", Some("default")));
    }
    all.into_iter().collect()
}

fn access(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Access {
    Access {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: String::new(),
    }
}

/// Judges the answers of the API server's access reviews.
pub fn judge(answers: &[(Access, Result<bool, Clean>)]) -> Judgement {
    let mut findings = Vec::new();
    let mut granted = 0_usize;
    for (access, answer) in answers {
        let place =
            access.namespace.as_deref().map_or("cluster-wide".to_owned(), |name| format!("in {name}"));
        let group = if access.group.is_empty() { String::new() } else { format!(".{}", access.group) };
        let what = format!("{} {}{group} {place}", access.verb, access.resource);
        match answer {
            Ok(true) => granted += 1,
            Ok(false) => findings.push(
                Finding::refuted(format!("not allowed: {what}"))
                    .hint("ask for a role that grants it in this namespace"),
            ),
            Err(cause) => {
                findings.push(Finding::unknown(format!("could not ask whether one may {what}: {cause}")))
            }
        }
    }
    if granted > 0 {
        findings.push(Finding::proven(format!("{granted} of {} permissions are granted", answers.len())));
    }
    Judgement::of(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Verdict;

    #[test]
    fn one_missing_permission_refutes_and_one_failed_question_is_unknown() {
        let get = access("get", "", "pods", Some("monitoring"));
        let patch = access("patch", "apps", "deployments", Some("tripit"));
        assert_eq!(judge(&[(get.clone(), Ok(true)), (patch.clone(), Ok(true))]).verdict, Verdict::Proven);
        let judgement = judge(&[(get.clone(), Ok(true)), (patch.clone(), Ok(false))]);
        assert_eq!(judgement.verdict, Verdict::Refuted);
        assert_eq!(judgement.headline(), "not allowed: patch deployments.apps in tripit");
        assert_eq!(
            judge(&[(get, Ok(true)), (patch, Err(Clean::from("no answer")))]).verdict,
            Verdict::Unknown
        );
        assert_eq!(judge(&[]).verdict, Verdict::Unknown);
    }
}
