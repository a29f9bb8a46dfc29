//! What clients ask before they ask for objects: version, health, groups, resources, OpenAPI.

use super::VERSION;
use crate::rehearsal::answer::{self, Body};
use crate::rehearsal::resource::{RESOURCES, Resource};
use http::{Method, Request, Response, header};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The media type of aggregated discovery (KEP-3352).
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The answer, if the path is one of discovery.
pub(super) fn answer(request: &Request<Bytes>, path: &str) -> Option<Response<Body>> {
    if request.method() != Method::GET {
        return None;
    }
    let accept =
        request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2");
    match path.trim_end_matches('/') {
        "/version" => Some(answer::json(
            200,
            &json!({
                "major": "1", "minor": "34", "gitVersion": VERSION, "gitTreeState": "clean",
                "platform": "linux/amd64", "goVersion": "", "compiler": "", "gitCommit": "", "buildDate": "",
                "emulationMajor": "1", "emulationMinor": "34", "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
            }),
        )),
        "/readyz" | "/livez" | "/healthz" => Some(answer::text(200, "ok")),
        "/api" if aggregated => Some(aggregate(&[""])),
        "/api" => Some(answer::json(
            200,
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        )),
        "/apis" if aggregated => Some(aggregate(&groups())),
        "/apis" => {
            let all: Vec<Value> = groups().into_iter().map(group).collect();
            Some(answer::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})))
        }
        "/api/v1" => Some(resources("")),
        other => {
            let rest = other.strip_prefix("/apis/")?;
            match rest.split_once('/') {
                None if groups().contains(&rest) => {
                    let mut found = group(rest);
                    let fields = crate::rehearsal::value::map(&mut found);
                    fields.insert("kind".to_owned(), Value::from("APIGroup"));
                    fields.insert("apiVersion".to_owned(), Value::from("v1"));
                    Some(answer::json(200, &found))
                }
                Some((name, "v1")) if groups().contains(&name) => Some(resources(name)),
                _ => None,
            }
        }
    }
}

fn groups() -> Vec<&'static str> {
    let mut all: BTreeSet<&str> =
        RESOURCES.iter().map(|resource| resource.group).filter(|group| !group.is_empty()).collect();
    all.insert("authorization.k8s.io");
    all.into_iter().collect()
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn of_group<'g>(group: &'g str) -> impl Iterator<Item = &'static Resource> + 'g {
    RESOURCES.iter().filter(move |resource| resource.group == group)
}

fn singular(resource: &Resource) -> String {
    resource.kind.to_lowercase()
}

/// Subresources with kind and verbs.
fn subresources(resource: &Resource) -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut all = Vec::new();
    if resource.status {
        all.push(("status", resource.kind, vec!["get", "patch", "update"]));
    }
    if resource.scale {
        all.push(("scale", "Scale", vec!["get", "patch", "update"]));
    }
    if resource.kind == "Pod" {
        all.push(("log", "Pod", vec!["get"]));
        all.push(("portforward", "PodPortForwardOptions", vec!["create", "get"]));
    }
    all
}

fn resources(group: &str) -> Response<Body> {
    let mut all = Vec::new();
    for resource in of_group(group) {
        all.push(json!({
            "name": resource.plural, "singularName": singular(resource), "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": VERBS, "shortNames": resource.short,
        }));
        for (name, kind, verbs) in subresources(resource) {
            all.push(json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": kind, "verbs": verbs,
            }));
        }
    }
    if group == "authorization.k8s.io" {
        all.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
            "kind": "SelfSubjectAccessReview", "verbs": ["create"],
        }));
    }
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    answer::json(
        200,
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all}),
    )
}

fn aggregate(groups: &[&str]) -> Response<Body> {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let kind = |kind: &str| json!({"group": group, "version": "v1", "kind": kind});
            let resources: Vec<Value> = of_group(group)
                .map(|resource| {
                    let below: Vec<Value> = subresources(resource)
                        .into_iter()
                        .map(|(name, of, verbs)| json!({"subresource": name, "responseKind": kind(of), "verbs": verbs}))
                        .collect();
                    json!({
                        "resource": resource.plural, "responseKind": kind(resource.kind),
                        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                        "singularResource": singular(resource), "verbs": VERBS, "shortNames": resource.short,
                        "subresources": below,
                    })
                })
                .collect();
            json!({
                "metadata": {"name": group},
                "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    answer::bytes(200, AGGREGATED, list.to_string().into_bytes())
}
