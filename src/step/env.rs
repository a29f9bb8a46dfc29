//! `env`: environment variables of an existing workload, as an intent that owns these variables and nothing else.

use super::compile::bare;
use crate::object::ObjectRef;
use crate::text::Clean;
use serde_json::{Value, json};

/// The intent on the live workload: server-side apply merges `containers` and `env` by name.
///
/// Without a container's name the workload must have exactly one.
///
/// # Errors
/// The container is not to be told, or a variable that is set comes from elsewhere (`valueFrom`) or stands twice.
pub fn body(
    workload: &ObjectRef,
    container: Option<&str>,
    set: &[(String, String)],
    live: &Value,
) -> Result<Value, Clean> {
    let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let names: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("name").and_then(Value::as_str))
        .collect();
    let container = match container {
        Some(name) if names.contains(&name) => name,
        Some(name) => {
            return Err(Clean::new(format!(
                "{} has no container {name}; it has {}",
                workload,
                names.join(", ")
            )));
        }
        None => match names.as_slice() {
            [only] => only,
            [] => return Err(Clean::new(format!("{} has no container", workload))),
            _ => {
                let text = format!("{} has several containers ({})", workload, names.join(", "));
                return Err(Clean::new(format!("{text}; the step must name one with `container:`")));
            }
        },
    };
    let env = containers
        .into_iter()
        .flatten()
        .find(|found| found.get("name").and_then(Value::as_str) == Some(container))
        .and_then(|found| found.get("env"))
        .and_then(Value::as_array);
    for (name, _) in set {
        let same = || {
            env.into_iter().flatten().filter(|item| item.get("name").and_then(Value::as_str) == Some(name))
        };
        if same().count() > 1 {
            // Two entries of one name break server-side apply on that list.
            return Err(Clean::new(format!("{} sets {name} twice in container {container}", workload)));
        }
        if same().any(|item| item.get("valueFrom").is_some()) {
            let text =
                format!("{} takes {name} from elsewhere (valueFrom) in container {container}", workload);
            return Err(Clean::new(text));
        }
    }
    let env: Vec<Value> = set.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mut body = bare(workload);
    if let Some(body) = body.as_object_mut() {
        let containers = json!([{ "name": container, "env": env }]);
        body.insert("spec".to_owned(), json!({ "template": { "spec": { "containers": containers } } }));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(container: Option<&str>, live: &Value) -> Result<Value, Clean> {
        let workload = ObjectRef::new("apps/v1", "Deployment", Some("tripit"), "tripit");
        body(&workload, container, &[("LOG_FORMAT".to_owned(), "json".to_owned())], live)
    }

    fn live(containers: Value) -> Value {
        json!({ "spec": { "template": { "spec": { "containers": containers } } } })
    }

    #[test]
    fn only_the_named_variables_of_the_container_are_owned() {
        let body =
            env(None, &live(json!([{ "name": "app", "env": [{ "name": "A", "value": "b" }] }]))).unwrap();
        assert_eq!(
            body,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "tripit", "namespace": "tripit" },
                "spec": { "template": { "spec": { "containers": [
                    { "name": "app", "env": [{ "name": "LOG_FORMAT", "value": "json" }] }
                ] } } }
            })
        );
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let two = live(json!([{ "name": "app" }, { "name": "proxy" }]));
        assert!(env(None, &two).unwrap_err().as_str().contains("several containers (app, proxy)"));
        assert!(env(Some("proxy"), &two).is_ok());
        assert!(env(Some("web"), &two).unwrap_err().as_str().contains("has no container web"));
        let from = live(json!([{ "name": "app", "env": [{ "name": "LOG_FORMAT", "valueFrom": {} }] }]));
        assert!(env(None, &from).unwrap_err().as_str().contains("valueFrom"));
        let twice =
            live(json!([{ "name": "app", "env": [{ "name": "LOG_FORMAT" }, { "name": "LOG_FORMAT" }] }]));
        assert!(env(None, &twice).unwrap_err().as_str().contains("twice"));
        assert!(env(None, &live(json!([]))).unwrap_err().as_str().contains("has no container"));
    }
}
