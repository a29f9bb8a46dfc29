//! Assets: the manifests that a plan applies.

use super::input::{Reader, Values};
use crate::object::{ObjectRef, kind};
use crate::yaml::{Limits, Node, Problem, Source, Span, parse};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The folder of assets: path below it (`tempo/service.yaml`) to text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    /// Files by path, with `/` between folders.
    pub files: BTreeMap<String, String>,
}

/// One object of an asset file, its inputs put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssetObject {
    /// apiVersion, kind, namespace, name.
    #[serde(skip)]
    pub reference: ObjectRef,
    /// The object as it is applied, with its namespace.
    pub object: Value,
    /// The file.
    #[serde(skip)]
    pub source: Arc<Source>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub span: Span,
}

/// What the API server sets, so that a manifest must not.
const SERVER_SET: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Where `nodeName` stands in a pod, a workload and a CronJob.
const NODE_NAME: &[&[&str]] = &[
    &["spec", "nodeName"],
    &["spec", "template", "spec", "nodeName"],
    &["spec", "jobTemplate", "spec", "template", "spec", "nodeName"],
];

impl Assets {
    /// Names of the folders that hold manifests, sorted.
    pub fn folders(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.manifests().filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
        names.dedup();
        names
    }

    fn manifests(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|path| is_manifest(path))
    }

    /// The manifests directly in a folder, by path.
    pub(super) fn folder(&self, folder: &str) -> Vec<(&str, &str)> {
        self.files
            .iter()
            .filter(|(path, _)| {
                path.rsplit_once('/').is_some_and(|(found, _)| found == folder) && is_manifest(path)
            })
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect()
    }

    /// Manifests in folders below a folder, which an `apply` of that folder does not take.
    pub(super) fn below(&self, folder: &str) -> Vec<&str> {
        let prefix = format!("{folder}/");
        self.manifests()
            .filter(|path| path.strip_prefix(&prefix).is_some_and(|rest| rest.contains('/')))
            .collect()
    }

    /// Names of the manifests directly in a folder, without extension.
    pub(super) fn names(&self, folder: &str) -> Vec<&str> {
        self.folder(folder)
            .into_iter()
            .filter_map(|(path, _)| path.rsplit_once('/')?.1.rsplit_once('.').map(|(name, _)| name))
            .collect()
    }
}

/// What `kubectl apply -f FOLDER` takes, too.
fn is_manifest(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| matches!(extension, "yaml" | "yml" | "json"))
}

/// Reads the objects of one file. Objects of namespaced kinds without a namespace get `namespace`.
pub(super) fn read(
    path: &str,
    text: &str,
    namespace: Option<&str>,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) -> Vec<AssetObject> {
    let source = Arc::new(Source::new(format!("assets/{path}"), text));
    let documents = match parse(&source, &Limits::MANIFEST) {
        Ok(documents) => documents,
        Err(found) => {
            problems.extend(found);
            return Vec::new();
        }
    };
    let mut objects = Vec::new();
    for mut document in documents {
        if document.root.is_null() {
            continue;
        }
        report_ambiguous(&document.root, &source, problems);
        values.substitute(&mut document.root, &source, Reader::Asset, problems);
        let mut checker = Checker { source: &source, problems: Vec::new() };
        let object = checker.object(&document.root, namespace);
        problems.append(&mut checker.problems);
        if let Some((reference, object)) = object {
            objects.push(AssetObject {
                reference,
                object,
                source: Arc::clone(&source),
                span: document.root.span,
            });
        }
    }
    objects
}

/// Scalars that kubectl and this program would read differently are refused: `defaultMode: 0644` is one.
pub(super) fn report_ambiguous(root: &Node, source: &Source, problems: &mut Vec<Problem>) {
    for scalar in root.ambiguous_scalars() {
        let message = format!("`{}` is {}", scalar.text, scalar.reason);
        let hint = "write it so that every reader agrees: in quotes as a text, in decimal digits as a number";
        problems.push(Problem::new(scalar.span, message).hint(hint).in_source(source));
    }
}

struct Checker<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn problem(&mut self, node: &Node, message: impl AsRef<str>, hint: &str) {
        let problem = Problem::new(node.span, message);
        let problem = if hint.is_empty() { problem } else { problem.hint(hint) };
        self.problems.push(problem.in_source(self.source));
    }

    fn object(&mut self, root: &Node, namespace: Option<&str>) -> Option<(ObjectRef, Value)> {
        let before = self.problems.len();
        let nothing = Node::absent(root.span);
        if root.entries().next().is_none() {
            let message = format!("a manifest is a mapping, and this is {}", root.describe());
            self.problem(root, message, "");
            return None;
        }
        let api_version = self.text(root, root.get("apiVersion"), "apiVersion");
        let kind_name = self.text(root, root.get("kind"), "kind");
        let metadata = root.get("metadata").unwrap_or(&nothing);
        let place = if metadata.is_null() { root } else { metadata };
        let name = self.text(place, metadata.get("name"), "metadata.name");
        let own_namespace = match metadata.get("namespace") {
            Some(node) if !node.is_null() => self.text(place, Some(node), "metadata.namespace"),
            _ => None,
        };
        self.forbidden(root, metadata);
        let mut object = match root.to_json() {
            Ok(object) => object,
            Err(problem) => {
                self.problems.push(problem.in_source(self.source));
                return None;
            }
        };
        let (api_version, kind_name, name) = (api_version?, kind_name?, name?);
        if kind_name.ends_with("List") && root.get("items").is_some() {
            self.problem(
                root,
                format!("a {kind_name} cannot be applied"),
                "write its items as documents of their own",
            );
        }
        if !is_name(&name) {
            let node = metadata.get("name").unwrap_or(root);
            self.problem(node, format!("`{name}` is not the name of an object"), "");
        }
        let namespace = match kind::known(&api_version, &kind_name) {
            Some(known) if !known.namespaced => {
                if let Some(node) = metadata.get("namespace") {
                    let message = format!("a {kind_name} has no namespace");
                    self.problem(node, message, "remove the line");
                }
                None
            }
            Some(_) if own_namespace.is_none() => match namespace {
                Some(namespace) => Some(namespace.to_owned()),
                None => {
                    let hint = "write it, or give the step a `namespace:`, or the plan an input `namespace`";
                    self.problem(metadata, format!("{kind_name} `{name}` has no namespace"), hint);
                    None
                }
            },
            // The scope of an unknown kind is the API server's to say.
            _ => own_namespace,
        };
        if let Some(namespace) = &namespace {
            if !is_label(namespace) {
                let node = metadata.get("namespace").unwrap_or(metadata);
                self.problem(node, format!("`{namespace}` is not the name of a namespace"), "");
            }
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
            }
        }
        let reference = ObjectRef::new(&api_version, &kind_name, namespace.as_deref(), &name);
        (self.problems.len() == before).then_some((reference, object))
    }

    /// A text that must be there; `place` is where it would stand.
    fn text(&mut self, place: &Node, found: Option<&Node>, what: &str) -> Option<String> {
        let Some(node) = found else {
            self.problem(place, format!("the manifest has no {what}"), "");
            return None;
        };
        match node.to_json() {
            Ok(Value::String(text)) if !text.is_empty() => Some(text),
            _ => {
                self.problem(node, format!("{what} must be a text, and this is {}", node.describe()), "");
                None
            }
        }
    }

    /// What a manifest must not say.
    fn forbidden(&mut self, root: &Node, metadata: &Node) {
        for (key, _) in root.entries() {
            if key.as_str() == Some("status") {
                self.problem(
                    key,
                    "a manifest must not set `status`",
                    "remove it: it is what the cluster observes",
                );
            }
        }
        for (key, _) in metadata.entries() {
            match key.as_str() {
                Some(name) if SERVER_SET.contains(&name) => {
                    self.problem(
                        key,
                        format!("a manifest must not set `metadata.{name}`"),
                        "remove it: the API server sets it",
                    );
                }
                Some("generateName") => {
                    let hint = "give it a name: what is applied must be found again";
                    self.problem(key, "a manifest must not use `metadata.generateName`", hint);
                }
                _ => {}
            }
        }
        for path in NODE_NAME {
            if let Some(node) = path.iter().try_fold(root, |node, key| node.get(key)) {
                let hint =
                    "remove it: a pod with a node name passes by the scheduler; use nodeSelector or affinity";
                self.problem(node, "a manifest must not set `nodeName`", hint);
            }
        }
    }
}

/// Whether a text can stand as a name in a request's path (apimachinery api/validation/path: no `.`, `..`, `/`, `%`).
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !matches!(name, "." | "..")
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '%' | '?' | '#' | '\\' | '"' | '\''))
}

/// Whether a text is a DNS label (RFC 1123), as names of namespaces are.
pub(super) fn is_label(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 63
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || c == '-')
}

#[cfg(test)]
mod tests;
