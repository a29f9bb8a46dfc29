//! One step of a plan.

use super::STEP_NAME;
use super::ask::{NO_NAMESPACE, check_proofs, endpoint, proofs, ready};
use super::fields::{Fields, Report};
use crate::object::{ObjectRef, kind};
use crate::plan::asset::{self, AssetObject, Assets};
use crate::plan::input::Values;
use crate::plan::model::{Action, DerivedField, FieldEdit, Step, Watch};
use crate::yaml::{Node, NodeKind, Problem, nearest};
use std::collections::BTreeMap;
use std::time::Duration;

/// The keys that say what a step does.
const ACTIONS: &[&str] = &["prove", "apply", "datasource", "env", "watch"];
/// Keys of every step.
const COMMON: &[&str] = &["name", "was", "before", "after", "namespace"];
/// Keys of steps that change objects.
const CHANGING: &[&str] = &["take", "timeout", "ready"];
/// Keys of `watch: spans`.
const WATCHING: &[&str] = &["service", "tempo", "loki", "loki_query", "deadline"];

const TIMEOUT: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(300);

/// What the steps of a plan share.
pub(super) struct Context<'a> {
    pub(super) assets: &'a Assets,
    pub(super) values: Values,
    /// Value of the input `namespace`: for objects and services that name none.
    pub(super) shared_namespace: Option<String>,
    /// Names of steps, now and earlier, and the lines where they stand.
    pub(super) names: BTreeMap<String, usize>,
}

impl Context<'_> {
    /// Whether an input has an effect on what was read.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.values.is_used(name) || (name == "namespace" && self.shared_namespace.is_some())
    }
}

/// Reads a step.
pub(super) fn step(
    node: &Node,
    phase: &str,
    context: &mut Context<'_>,
    report: &mut Report<'_>,
) -> Option<Step> {
    let actions: Vec<&Node> = node
        .entries()
        .map(|(key, _)| key)
        .filter(|key| key.as_str().is_some_and(|key| ACTIONS.contains(&key)))
        .collect();
    let keyword = match actions.as_slice() {
        [one] => one.as_str().unwrap_or_default(),
        [] => {
            no_action(node, report);
            return None;
        }
        [first, second, ..] => {
            let (first, name) = (first.as_str().unwrap_or_default(), second.as_str().unwrap_or_default());
            report.problem(
                second,
                format!("a step does one thing, and this one has `{first}` and `{name}`"),
                "make two steps of it",
            );
            return None;
        }
    };
    let own: &[&str] = match keyword {
        "prove" => &["ready", "timeout"],
        "watch" => WATCHING,
        _ => CHANGING,
    };
    let known: Vec<&str> = [keyword].into_iter().chain(own.iter().chain(COMMON).copied()).collect();
    let fields = report.fields(node, &format!("a step with `{keyword}`"), &known);
    let namespace = match fields.get("namespace") {
        Some(node) => namespace(node, report),
        None => context.shared_namespace.clone(),
    };
    let action = report.required(&fields, keyword).and_then(|node| match keyword {
        "prove" => Some((Action::Prove { proofs: proofs(node, report) }, phase.to_owned())),
        "apply" => apply(node, namespace.as_deref(), context, report),
        "datasource" => datasource(node, namespace.as_deref(), context, report),
        "env" => env(node, namespace.as_deref(), report),
        _ => watch(node, &fields, namespace.as_deref(), report),
    });
    let list = |key: &str, report: &mut Report<'_>| {
        fields.get(key).map(|node| proofs(node, report)).unwrap_or_default()
    };
    let before = list("before", report);
    let after = list("after", report);
    let ready = fields.get("ready").map(|node| ready(node, namespace.as_deref(), report)).unwrap_or_default();
    let take = match fields.get("take") {
        Some(node) => report.list(node, "`take`").into_iter().filter_map(|node| report.path(node)).collect(),
        None => Vec::new(),
    };
    let timeout =
        fields.get("timeout").and_then(|node| report.duration(node, "`timeout`")).unwrap_or(TIMEOUT);
    let derived = action.as_ref().map(|(_, argument)| format!("{keyword}-{}", plain(argument)));
    let name = name(node, &fields, derived, context, report);
    let was = was(&fields, context, report);
    let (action, _) = action?;
    let step = Step { name: name?, was, action, before, after, take, timeout, ready, span: node.span };
    check_proofs(&step, &fields, report);
    Some(step)
}

fn no_action(node: &Node, report: &mut Report<'_>) {
    // Where one of the keys is nearly an action, that is the mistake.
    let typo = node.entries().find_map(|(key, _)| {
        let name = key.as_str()?;
        let near = nearest(name, ACTIONS.iter().copied())?;
        (!COMMON.contains(&name)).then_some((key, name, near))
    });
    match typo {
        Some((key, name, near)) => {
            report.problem(key, format!("unknown step `{name}`"), &format!("did you mean `{near}`?"));
        }
        None => {
            let first = node.entries().next().map_or(node, |(key, _)| key);
            let others = [COMMON, CHANGING, WATCHING].concat();
            let unknown = first
                .as_str()
                .filter(|name| matches!(node.kind, NodeKind::Mapping(_)) && !others.contains(name));
            let message = match unknown {
                Some(name) => format!("unknown step `{name}`"),
                None => "a step says what it does".to_owned(),
            };
            report.problem(first, message, &format!("known: `{}`", ACTIONS.join("`, `")));
        }
    }
}

/// The step's name: its own, or one from what it does.
fn name(
    node: &Node,
    fields: &Fields<'_>,
    derived: Option<String>,
    context: &mut Context<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    let (place, name) = match fields.get("name") {
        Some(place) => (place, report.name(place, "a step's name", STEP_NAME)?),
        None => (node.entries().next().map_or(node, |(key, _)| key), derived?),
    };
    if name.len() > STEP_NAME {
        report.problem(place, format!("the name `{name}` is too long"), "give the step a shorter `name:`");
        return None;
    }
    claim_name(place, &name, context, report);
    Some(name)
}

fn was(fields: &Fields<'_>, context: &mut Context<'_>, report: &mut Report<'_>) -> Vec<String> {
    let Some(node) = fields.get("was") else { return Vec::new() };
    let nodes =
        if matches!(node.kind, NodeKind::Scalar { .. }) { vec![node] } else { report.list(node, "`was`") };
    let mut names = Vec::new();
    for node in nodes {
        if let Some(name) = report.name(node, "an earlier name", STEP_NAME) {
            claim_name(node, &name, context, report);
            names.push(name);
        }
    }
    names
}

/// Names of steps, and names they had, are unique: they are the owners of fields.
fn claim_name(place: &Node, name: &str, context: &mut Context<'_>, report: &mut Report<'_>) {
    if let Some(line) = context.names.get(name) {
        let message = format!("step `{name}` is there twice, first at line {line}");
        report.problem(place, message, "give one of them another `name:`");
    } else {
        context.names.insert(name.to_owned(), place.span.line);
    }
}

/// An argument as a part of a name.
fn plain(argument: &str) -> String {
    let name: String =
        argument.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.trim_matches('-').to_owned()
}

pub(super) fn namespace(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let name = report.text(node, "`namespace`")?;
    if asset::is_label(&name) {
        return Some(name);
    }
    report.problem(node, format!("`{name}` is not the name of a namespace"), "");
    None
}

// ---- actions --------------------------------------------------------------------------------------------------------

/// An action, and what a step's derived name takes from it.
type Named = Option<(Action, String)>;

fn apply(node: &Node, namespace: Option<&str>, context: &mut Context<'_>, report: &mut Report<'_>) -> Named {
    let folder = report.text(node, "`apply`")?;
    let files = context.assets.folder(&folder);
    if files.is_empty() {
        let problem = Problem::new(node.span, format!("there are no manifests in assets/{folder}"));
        report.push(problem.known(&folder, context.assets.folders()));
        return None;
    }
    let mut objects: Vec<AssetObject> = Vec::new();
    let mut foreign = Vec::new();
    for (path, text) in files {
        for object in asset::read(path, text, namespace, &mut context.values, &mut foreign) {
            if let Some(first) = objects.iter().find(|known| known.reference == object.reference) {
                let message = format!("{} is there twice, first in {}", object.reference, first.source.name);
                foreign.push(
                    Problem::new(object.span, message).hint("keep one of them").in_source(&object.source),
                );
            }
            objects.push(object);
        }
    }
    let unread = !foreign.is_empty();
    report.problems.append(&mut foreign);
    if objects.is_empty() && !unread {
        report.problem(node, format!("the manifests in assets/{folder} have no objects"), "");
    }
    objects.sort_by_key(|object| kind::order(&object.reference.kind));
    Some((Action::Apply { folder: folder.clone(), objects }, folder))
}

fn datasource(
    node: &Node,
    namespace: Option<&str>,
    context: &mut Context<'_>,
    report: &mut Report<'_>,
) -> Named {
    if matches!(node.kind, NodeKind::Mapping(_)) {
        return field_edit(node, namespace, report);
    }
    let name = report.text(node, "`datasource`")?;
    let found = context.assets.folder("grafana").into_iter().find(|(path, _)| {
        path.rsplit_once('/')
            .and_then(|(_, file)| file.rsplit_once('.'))
            .is_some_and(|(stem, _)| stem == name)
    });
    let Some((path, text)) = found else {
        let problem = Problem::new(node.span, format!("there is no data source assets/grafana/{name}.yaml"));
        report.push(problem.known(&name, context.assets.names("grafana")));
        return None;
    };
    let mut foreign = Vec::new();
    let objects = asset::read(path, text, namespace, &mut context.values, &mut foreign);
    let unread = !foreign.is_empty();
    report.problems.append(&mut foreign);
    match <[AssetObject; 1]>::try_from(objects) {
        Ok([object]) if object.reference.kind == "ConfigMap" && object.reference.api_version == "v1" => {
            Some((Action::Datasource { asset: name.clone(), object: Box::new(object) }, name))
        }
        _ if unread => None,
        _ => {
            let message = format!("assets/{path} must hold one ConfigMap and nothing else");
            report.problem(node, message, "use `apply:` for other objects");
            None
        }
    }
}

fn field_edit(node: &Node, shared: Option<&str>, report: &mut Report<'_>) -> Named {
    let what = "`datasource`";
    let fields = report.fields(node, what, &["configmap", "namespace", "key", "name", "derived_field"]);
    let own = fields.get("namespace").and_then(|node| namespace(node, report));
    let configmap = report.required(&fields, "configmap").and_then(|node| {
        let name = report.text(node, "`configmap`")?;
        if asset::is_name(&name) {
            return Some(name);
        }
        report.problem(node, format!("`{name}` is not the name of a ConfigMap"), "");
        None
    });
    let mut text =
        |key: &str| report.required(&fields, key).and_then(|node| report.text(node, &format!("`{key}`")));
    let key = text("key");
    let datasource = text("name");
    let field = report.required(&fields, "derived_field").and_then(|node| derived_field(node, report));
    let Some(namespace) = own.or_else(|| shared.map(str::to_owned)) else {
        report.problem(node, "the ConfigMap has no namespace", NO_NAMESPACE);
        return None;
    };
    let configmap = ObjectRef::new("v1", "ConfigMap", Some(&namespace), &configmap?);
    let (key, datasource) = (key?, datasource?);
    let edit = FieldEdit { configmap, key, datasource: datasource.clone(), field: field? };
    Some((Action::DatasourceField(edit), datasource))
}

fn derived_field(node: &Node, report: &mut Report<'_>) -> Option<DerivedField> {
    let known =
        ["name", "matcherType", "matcherRegex", "datasourceUid", "url", "urlDisplayLabel", "targetBlank"];
    let fields = report.fields(node, "`derived_field`", &known);
    let matcher_type = fields.get("matcherType").and_then(|node| {
        let kind = report.text(node, "`matcherType`")?;
        if matches!(kind.as_str(), "regex" | "label") {
            return Some(kind);
        }
        report.push(
            Problem::new(node.span, format!("unknown matcherType `{kind}`")).known(&kind, ["regex", "label"]),
        );
        None
    });
    let name = report.required(&fields, "name").and_then(|node| report.text(node, "`name`"));
    let matcher_regex =
        report.required(&fields, "matcherRegex").and_then(|node| report.text(node, "`matcherRegex`"));
    let mut optional = |key: &str| fields.get(key).and_then(|node| report.text(node, &format!("`{key}`")));
    let (datasource_uid, url, url_display_label) =
        (optional("datasourceUid"), optional("url"), optional("urlDisplayLabel"));
    let target_blank = fields.get("targetBlank").and_then(|node| report.boolean(node, "`targetBlank`"));
    if datasource_uid.is_none() && url.is_none() {
        report.problem(
            node,
            "the derived field links to nothing",
            "write `datasourceUid` and `url`, or `url` alone",
        );
    }
    Some(DerivedField {
        name: name?,
        matcher_type,
        matcher_regex: matcher_regex?,
        datasource_uid,
        url,
        url_display_label,
        target_blank,
    })
}

fn env(node: &Node, shared: Option<&str>, report: &mut Report<'_>) -> Named {
    let fields = report.fields(node, "`env`", &["workload", "container", "namespace", "set"]);
    let own = fields.get("namespace").and_then(|node| namespace(node, report));
    let container = fields.get("container").and_then(|node| report.text(node, "`container`"));
    let workload = report.required(&fields, "workload").and_then(|node| workload(node, report));
    let mut set = Vec::new();
    if let Some(node) = report.required(&fields, "set") {
        if !matches!(node.kind, NodeKind::Mapping(_)) {
            report.problem(
                node,
                format!("`set` is a mapping, and this is {}", node.describe()),
                "write `NAME: value`",
            );
        } else if node.entries().next().is_none() {
            report.problem(node, "`set` is empty", "");
        }
        for (key, value) in node.entries() {
            let name = key.as_str().unwrap_or_default();
            let edge = |c: char| c.is_ascii_alphabetic() || c == '_';
            if !name.starts_with(edge)
                || !name.chars().all(|c| edge(c) || c.is_ascii_digit() || matches!(c, '.' | '-'))
            {
                let hint = "use letters, digits and `_`, a letter first";
                report.problem(key, format!("`{name}` is not the name of an environment variable"), hint);
            }
            if let Some(value) = report.text_as_written(value, &format!("`{name}`")) {
                set.push((name.to_owned(), value));
            }
        }
    }
    let (kind, name) = workload?;
    match own.or_else(|| shared.map(str::to_owned)) {
        Some(namespace) => {
            let workload = ObjectRef::new("apps/v1", kind, Some(&namespace), &name);
            Some((Action::Env { workload, container, set }, name))
        }
        None => {
            report.problem(node, format!("workload `{name}` has no namespace"), NO_NAMESPACE);
            None
        }
    }
}

/// `deployment/NAME`.
fn workload(node: &Node, report: &mut Report<'_>) -> Option<(&'static str, String)> {
    const KINDS: [(&str, &str); 3] =
        [("deployment", "Deployment"), ("statefulset", "StatefulSet"), ("daemonset", "DaemonSet")];
    let text = report.text(node, "`workload`")?;
    let Some((kind, name)) = text.split_once('/') else {
        report.problem(
            node,
            format!("`{text}` does not say its kind"),
            &format!("write `deployment/{text}`"),
        );
        return None;
    };
    if !asset::is_name(name) {
        report.problem(
            node,
            format!("`{name}` is not the name of a workload"),
            "write it like `deployment/NAME`",
        );
        return None;
    }
    let found = KINDS.iter().find(|row| row.0 == kind.to_lowercase()).map(|row| row.1);
    if found.is_none() {
        let problem =
            Problem::new(node.span, format!("`{kind}` is not a workload with environment variables"));
        report.push(problem.known(kind, KINDS.iter().map(|row| row.0)));
    }
    found.map(|kind| (kind, name.to_owned()))
}

fn watch(node: &Node, fields: &Fields<'_>, namespace: Option<&str>, report: &mut Report<'_>) -> Named {
    let what = report.text(node, "`watch`")?;
    if what != "spans" {
        report.push(Problem::new(node.span, format!("`{what}` cannot be watched")).known(&what, ["spans"]));
    }
    let service = report.required(fields, "service").and_then(|node| report.text(node, "`service`"));
    let mut place = |key: &str| {
        report.required(fields, key).and_then(|node| {
            let inner = report.fields(node, &format!("`{key}`"), &["service", "port", "namespace", "url"]);
            endpoint(node, &inner, namespace, report)
        })
    };
    let (tempo, loki) = (place("tempo"), place("loki"));
    let loki_query = report.required(fields, "loki_query").and_then(|node| {
        let query = report.text(node, "`loki_query`")?;
        if query.trim_start().starts_with('{') && query.contains('}') {
            return Some(query);
        }
        report.problem(node, format!("`{query}` is not a LogQL selector"), "write it like `{app=\"NAME\"}`");
        None
    });
    let deadline =
        fields.get("deadline").and_then(|node| report.duration(node, "`deadline`")).unwrap_or(DEADLINE);
    let watch = Watch { service: service?, tempo: tempo?, loki: loki?, loki_query: loki_query?, deadline };
    Some((Action::Watch(watch), what))
}
