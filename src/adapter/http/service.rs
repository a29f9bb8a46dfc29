//! From a Service's port to the pods and the port behind it.

use crate::object::ObjectRef;
use crate::port::{Cluster, Selection};
use crate::text::Clean;
use serde_json::Value;

/// Where a Service's port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A ready pod.
    pub(super) pod: String,
    /// Its port.
    pub(super) port: u16,
}

/// `service tempo in monitoring`.
pub(super) fn shown(namespace: &str, name: &str) -> Clean {
    Clean::new(format!("service {name} in {namespace}"))
}

/// The ready pods behind a Service's port, by name.
///
/// # Errors
/// A sentence: what of it there is not.
pub(super) async fn resolve(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Vec<Place>, Clean> {
    let subject = shown(namespace, name);
    let reference = ObjectRef::new("v1", "Service", Some(namespace), name);
    let service = match cluster.get(&reference).await {
        Ok(Some(service)) => service,
        Ok(None) => return Err(Clean::new(format!("there is no {subject}"))),
        Err(error) => return Err(Clean::new(format!("{subject} could not be read: {error}"))),
    };
    let port = service_port(&service, port).map_err(|what| Clean::new(what.about(&subject)))?;
    let selector = selector(&service).map_err(|what| Clean::new(what.about(&subject)))?;
    let pods = Selection {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: Some(namespace.to_owned()),
        labels: selector,
        fields: String::new(),
    };
    let pods = match cluster.list(&pods).await {
        Ok(pods) => pods,
        Err(error) => return Err(Clean::new(format!("the pods of {subject} could not be listed: {error}"))),
    };
    let mut ready: Vec<(&str, &Value)> = pods
        .iter()
        .filter(|pod| is_ready(pod))
        .filter_map(|pod| Some((text(pod, "/metadata/name")?, pod)))
        .collect();
    ready.sort_by_key(|(name, _)| *name);
    if ready.is_empty() {
        let others = match pods.len() {
            0 => String::new(),
            1 => ": its one pod is not ready".to_owned(),
            count => format!(": none of its {count} pods is ready"),
        };
        return Err(Clean::new(format!("{subject} has no ready pod{others}")));
    }
    let places: Vec<Place> = ready
        .iter()
        .filter_map(|(name, pod)| Some(Place { pod: (*name).to_owned(), port: port.in_pod(pod)? }))
        .collect();
    if places.is_empty() {
        return Err(Clean::new(format!("{subject} leads to the port {port}, which no ready pod of it has")));
    }
    Ok(places)
}

/// A port of pods: a number, or a name that each pod gives to a number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Number(u16),
    Name(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

impl Target {
    fn in_pod(&self, pod: &Value) -> Option<u16> {
        let name = match self {
            Self::Number(number) => return Some(*number),
            Self::Name(name) => name,
        };
        // A sidecar is an init container that keeps running.
        ["/spec/containers", "/spec/initContainers"]
            .iter()
            .filter_map(|path| pod.pointer(path)?.as_array())
            .flatten()
            .filter_map(|container| container.get("ports")?.as_array())
            .flatten()
            .find(|port| text(port, "/name") == Some(name) && is_tcp(port))
            .and_then(|port| number(port.get("containerPort")?))
    }
}

enum Missing {
    External(String),
    Selector,
    Port(u16, Vec<u16>),
}

impl Missing {
    fn about(&self, subject: &Clean) -> String {
        match self {
            Self::External(host) => {
                format!(
                    "{subject} is only a name for {host}, which port-forward cannot reach; give its URL instead"
                )
            }
            Self::Selector => {
                format!("{subject} has no selector, so its pods are not known; give its URL instead")
            }
            Self::Port(port, there) => {
                let there: Vec<String> = there.iter().map(u16::to_string).collect();
                let has = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                format!("port {port} is not a port of {subject}; it has {has}")
            }
        }
    }
}

/// What a port of the Service means in its pods (kubectl pkg/util/service_port.go): the target port, and for a headless
/// Service, which translates nothing, the port itself.
fn service_port(service: &Value, port: u16) -> Result<Target, Missing> {
    if text(service, "/spec/type") == Some("ExternalName") {
        return Err(Missing::External(text(service, "/spec/externalName").unwrap_or_default().to_owned()));
    }
    let ports: Vec<&Value> = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter(|port| is_tcp(port))
        .collect();
    let number_of = |port: &&Value| port.get("port").and_then(number);
    let Some(found) = ports.iter().find(|candidate| number_of(candidate) == Some(port)) else {
        return Err(Missing::Port(port, ports.iter().filter_map(number_of).collect()));
    };
    if text(service, "/spec/clusterIP") == Some("None") {
        return Ok(Target::Number(port));
    }
    Ok(match found.get("targetPort") {
        Some(Value::String(name)) => name.parse().map_or_else(|_| Target::Name(name.clone()), Target::Number),
        Some(target) => {
            number(target).filter(|target| *target != 0).map_or(Target::Number(port), Target::Number)
        }
        None => Target::Number(port),
    })
}

/// The Service's selector, in the syntax of a label selector.
fn selector(service: &Value) -> Result<String, Missing> {
    let labels = service.pointer("/spec/selector").and_then(Value::as_object).ok_or(Missing::Selector)?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    if pairs.is_empty() { Err(Missing::Selector) } else { Ok(pairs.join(",")) }
}

fn is_ready(pod: &Value) -> bool {
    let conditions =
        pod.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && conditions.iter().any(|condition| {
            text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
        })
}

fn is_tcp(port: &Value) -> bool {
    matches!(text(port, "/protocol"), None | Some("TCP"))
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}
