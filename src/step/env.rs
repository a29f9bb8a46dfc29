//! `env`: environment variables of an existing workload, as an intent that owns these variables and nothing else.

use super::compile::bare;
use crate::object::ObjectRef;
use crate::text::Clean;
use serde_json::{Value, json};

/// What an `env` step sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// The workload: Deployment, StatefulSet or DaemonSet.
    pub workload: ObjectRef,
    /// The container; without it the workload must have exactly one.
    pub container: Option<String>,
    /// Names and values, in the order of the plan.
    pub set: Vec<(String, String)>,
}

impl Env {
    /// The intent on the live workload: server-side apply merges `containers` and `env` by name.
    ///
    /// # Errors
    /// The container is not to be told, or a variable that is set comes from elsewhere (`valueFrom`) or stands twice.
    pub fn body(&self, live: &Value) -> Result<Value, Clean> {
        let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let names: Vec<&str> = containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get("name").and_then(Value::as_str))
            .collect();
        let container = match &self.container {
            Some(name) if names.contains(&name.as_str()) => name.as_str(),
            Some(name) => {
                return Err(Clean::new(format!("{} has no container {name}; it has {}", self.workload, names.join(", "))));
            }
            None => match names.as_slice() {
                [only] => only,
                [] => return Err(Clean::new(format!("{} has no container", self.workload))),
                _ => {
                    let text = format!("{} has several containers ({})", self.workload, names.join(", "));
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
        for (name, _) in &self.set {
            let same = || {
                env.into_iter().flatten().filter(|item| item.get("name").and_then(Value::as_str) == Some(name))
            };
            if same().count() > 1 {
                // Two entries of one name break server-side apply on that list.
                return Err(Clean::new(format!("{} sets {name} twice in container {container}", self.workload)));
            }
            if same().any(|item| item.get("valueFrom").is_some()) {
                let text = format!("{} takes {name} from elsewhere (valueFrom) in container {container}", self.workload);
                return Err(Clean::new(text));
            }
        }
        let env: Vec<Value> = self.set.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut body = bare(&self.workload);
        if let Some(body) = body.as_object_mut() {
            let containers = json!([{ "name": container, "env": env }]);
            body.insert("spec".to_owned(), json!({ "template": { "spec": { "containers": containers } } }));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(container: Option<&str>) -> Env {
        Env {
            workload: ObjectRef::new("apps/v1", "Deployment", Some("tripit"), "tripit"),
            container: container.map(str::to_owned),
            set: vec![("LOG_FORMAT".to_owned(), "json".to_owned())],
        }
    }

    fn live(containers: Value) -> Value {
        json!({ "spec": { "template": { "spec": { "containers": containers } } } })
    }

    #[test]
    fn only_the_named_variables_of_the_container_are_owned() {
        let body = env(None).body(&live(json!([{ "name": "app", "env": [{ "name": "A", "value": "b" }] }]))).unwrap();
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
        assert!(env(None).body(&two).unwrap_err().as_str().contains("several containers (app, proxy)"));
        assert!(env(Some("proxy")).body(&two).is_ok());
        assert!(env(Some("web")).body(&two).unwrap_err().as_str().contains("has no container web"));
        let from = live(json!([{ "name": "app", "env": [{ "name": "LOG_FORMAT", "valueFrom": {} }] }]));
        assert!(env(None).body(&from).unwrap_err().as_str().contains("valueFrom"));
        let twice = live(json!([{ "name": "app", "env": [{ "name": "LOG_FORMAT" }, { "name": "LOG_FORMAT" }] }]));
        assert!(env(None).body(&twice).unwrap_err().as_str().contains("twice"));
        assert!(env(None).body(&live(json!([]))).unwrap_err().as_str().contains("has no container"));
    }
}
