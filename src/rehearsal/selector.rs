//! Label and field selectors.

use super::answer::Refusal;
use super::resource::Resource;
use super::value::text;
use serde_json::Value;

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// What of a resource is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    /// Pointer, whether it must equal, value.
    fields: Vec<(String, bool, String)>,
}

impl Selector {
    /// Reads both selectors in the API's syntax.
    ///
    /// # Errors
    /// 400: a requirement is none, or a field is not known.
    pub fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut selector = Self::default();
        for part in split(labels).into_iter().filter(|part| !part.is_empty()) {
            selector.labels.push(requirement(part)?);
        }
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let (name, equal, value) = if let Some((name, value)) = part.split_once("!=") {
                (name, false, value)
            } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (name, true, value)
            } else {
                return Err(Refusal::bad_request(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                )));
            };
            if !known_field(resource, name) {
                let message = format!(
                    "{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                );
                return Err(Refusal::bad_request(message));
            }
            selector.fields.push((format!("/{}", name.replace('.', "/")), equal, value.to_owned()));
        }
        Ok(selector)
    }

    /// Whether an object is wanted.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |name: &str| {
            object.pointer("/metadata/labels").and_then(|all| all.get(name)).and_then(Value::as_str)
        };
        self.labels.iter().all(|requirement| match requirement {
            Requirement::Is(name, value) => label(name) == Some(value),
            Requirement::IsNot(name, value) => label(name) != Some(value),
            Requirement::In(name, values) => {
                label(name).is_some_and(|found| values.iter().any(|one| one == found))
            }
            Requirement::NotIn(name, values) => {
                label(name).is_none_or(|found| values.iter().all(|one| one != found))
            }
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Absent(name) => label(name).is_none(),
        }) && self.fields.iter().all(|(pointer, equal, value)| (text(object, pointer) == value) == *equal)
    }
}

fn known_field(resource: &Resource, name: &str) -> bool {
    let more: &[&str] = match resource.kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "reason",
            "type",
            "source",
            "reportingComponent",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Node" => &["spec.unschedulable"],
        "ReplicaSet" => &["status.replicas"],
        "Service" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    };
    matches!(name, "metadata.name" | "metadata.namespace") || more.contains(&name)
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_u32, 0, Vec::new());
    for (at, one) in text.char_indices() {
        match one {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default().trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default().trim());
    parts
}

fn requirement(part: &str) -> Result<Requirement, Refusal> {
    let unread = || {
        let found = part.split_whitespace().nth(1).unwrap_or(part);
        Refusal::bad_request(format!(
            "unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt"
        ))
    };
    let name = |text: &str| {
        let text = text.trim();
        let sound = !text.is_empty() && !text.contains(char::is_whitespace);
        sound.then(|| text.to_owned()).ok_or_else(unread)
    };
    let owned = |text: &str| text.trim().to_owned();
    if let Some((key, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(owned).collect();
        let (key, operator) = key.trim_end().rsplit_once(char::is_whitespace).ok_or_else(unread)?;
        return match operator {
            "in" => Ok(Requirement::In(name(key)?, values)),
            "notin" => Ok(Requirement::NotIn(name(key)?, values)),
            _ => Err(unread()),
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::IsNot(name(key)?, owned(value)));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::Is(name(key)?, owned(value)));
    }
    match part.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(name(key)?)),
        None => Ok(Requirement::Exists(name(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_of_the_api() {
        let pods = Resource::of("", "v1", "pods").unwrap();
        let pod = json!({"metadata": {"name": "a", "labels": {"app": "x", "tier": "b"}}, "status": {"phase": "Running"}});
        for (labels, fields, wanted) in [
            ("", "", true),
            ("app=x", "", true),
            ("app==x,tier in (a, b)", "metadata.name=a", true),
            ("app!=x", "", false),
            ("other!=x,!other,app", "", true),
            ("tier notin (b)", "", false),
            ("", "metadata.name=b", false),
            ("", "status.phase!=Running", false),
        ] {
            let selector = Selector::parse(pods, labels, fields).unwrap();
            assert_eq!(selector.matches(&pod), wanted, "{labels} {fields}");
        }
        let refused = |labels, fields| Selector::parse(pods, labels, fields).unwrap_err().message;
        assert_eq!(
            refused("a b c", ""),
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
        );
        assert!(refused("", "foo=b").starts_with("\"foo\" is not a known field selector"));
    }
}
