//! From the text of a plan to its model, with every problem at its place.

mod ask;
mod fields;
mod step;

use super::asset::{self, Assets};
use super::input::{self, Declared, Input, Reader, Settings, Values};
use super::lint::{Level, lint};
use super::model::{Phase, Plan};
use crate::text::Clean;
use crate::yaml::{Limits, Node, NodeKind, Problem, Source, parse};
use fields::Report;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest names: together with `firstlight:` and two colons they fit the 128 bytes that a field manager may have
/// (apimachinery `FieldManagerMaxLength`).
const PLAN_NAME: usize = 40;
const STEP_NAME: usize = 70;

/// Reads a plan, the assets it names and the values of its inputs.
///
/// # Errors
/// All problems at once, in the order of the texts: those of `--set`, of the plan, of its assets. Where they read well,
/// the errors of [`lint`].
pub fn load(source: &Source, assets: &Assets, settings: &Settings) -> Result<Plan, Vec<Problem>> {
    let documents = parse(source, &Limits::PLAN)?;
    let mut problems = Vec::new();
    let mut documents = documents.into_iter();
    let Some(document) = documents.next() else {
        let problem =
            Problem::new(crate::yaml::Span { line: 1, column: 1, ..Default::default() }, "the plan is empty");
        return Err(vec![problem.hint("a plan has `plan:`, `phases:` and more").in_source(source)]);
    };
    for more in documents {
        problems.push(
            Problem::new(more.root.span, "a plan is one document, and this is another").in_source(source),
        );
    }
    let mut root = document.root;
    asset::report_ambiguous(&root, source, &mut problems);
    let mut values = Values::default();
    let inputs = inputs(&mut root, source, settings, &mut values, &mut problems);
    problems.extend(input::unknown_settings(settings, &inputs));
    substitute(&mut root, source, &mut values, &mut problems);
    let mut report = Report { source, problems };
    let plan = plan(&root, inputs, assets, values, &mut report);
    let mut problems = report.problems;
    if let (Some(plan), true) = (&plan, problems.is_empty()) {
        let errors = lint(plan, assets).into_iter().filter(|note| note.level == Level::Error);
        problems.extend(errors.map(|note| note.problem));
    }
    match plan {
        Some(plan) if problems.is_empty() => Ok(plan),
        _ => {
            // An asset that two steps name is read twice. Within a text the order is that of the text.
            let mut sources: Vec<Clean> = Vec::new();
            for problem in &problems {
                if !sources.contains(&problem.source) {
                    sources.push(problem.source.clone());
                }
            }
            let rank = |name: &Clean| match name.as_str() {
                "--set" => 0,
                _ if *name == source.name => 1,
                _ => 2 + sources.iter().position(|known| known == name).unwrap_or_default(),
            };
            problems
                .sort_by_key(|problem| (rank(&problem.source), problem.span.start, problem.message.clone()));
            problems.dedup();
            Err(problems)
        }
    }
}

/// Reads `inputs:`; a default may name inputs that are declared before it.
fn inputs(
    root: &mut Node,
    source: &Source,
    settings: &Settings,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) -> Vec<Input> {
    let mut inputs = Vec::new();
    let NodeKind::Mapping(entries) = &mut root.kind else { return inputs };
    let Some((_, declared)) = entries.iter_mut().find(|(key, _)| key.as_str() == Some("inputs")) else {
        return inputs;
    };
    let NodeKind::Mapping(declared) = &mut declared.kind else { return inputs };
    for (key, node) in declared {
        let name = key.as_str().unwrap_or_default().to_owned();
        if !input::is_input_name(&name) {
            let problem = Problem::new(key.span, format!("`{name}` is not the name of an input"));
            problems.push(
                problem.hint("use lower-case letters, digits and `_`, a letter first").in_source(source),
            );
            continue;
        }
        values.substitute(node, source, Reader::Plan, problems);
        let mut report = Report { source, problems: std::mem::take(problems) };
        let declared = declaration(&name, key, node, &mut report);
        *problems = report.problems;
        let (value, origin) = input::settle(&name, &declared, settings, source, problems);
        values.insert(&name, value.clone());
        let Declared { default, help, span, .. } = declared;
        inputs.push(Input {
            name,
            help,
            default: default.unwrap_or_default(),
            value,
            origin,
            used: false,
            span,
        });
    }
    inputs
}

fn declaration(name: &str, key: &Node, node: &Node, report: &mut Report<'_>) -> Declared {
    let what = format!("input `{name}`");
    if matches!(node.kind, NodeKind::Scalar { .. }) {
        let default = report.scalar(node, &what);
        return Declared { default, optional: false, example: None, help: None, span: key.span };
    }
    let fields = report.fields(node, &what, &["default", "help", "optional", "example"]);
    let declared = Declared {
        default: fields.get("default").and_then(|node| report.scalar(node, "`default`")),
        optional: fields.get("optional").and_then(|node| report.boolean(node, "`optional`")).unwrap_or(false),
        example: fields.get("example").and_then(|node| report.scalar(node, "`example`")),
        help: fields.get("help").and_then(|node| report.text(node, "`help`")).map(Clean::new),
        span: key.span,
    };
    if declared.optional && declared.default.is_some() {
        report.problem(node, format!("{what} is optional and has a default"), "keep one of them");
    }
    declared
}

/// Puts the values into everything but `inputs:`, which is done.
fn substitute(root: &mut Node, source: &Source, values: &mut Values, problems: &mut Vec<Problem>) {
    if let NodeKind::Mapping(entries) = &mut root.kind {
        for (_, node) in entries.iter_mut().filter(|(key, _)| key.as_str() != Some("inputs")) {
            values.substitute(node, source, Reader::Plan, problems);
        }
    }
}

fn plan(
    root: &Node,
    mut inputs: Vec<Input>,
    assets: &Assets,
    values: Values,
    report: &mut Report<'_>,
) -> Option<Plan> {
    let fields = report.fields(root, "a plan", &["plan", "title", "claim", "inputs", "phases"]);
    if let Some(node) = fields.get("inputs")
        && !matches!(node.kind, NodeKind::Mapping(_))
    {
        report.problem(node, format!("`inputs` is a mapping, and this is {}", node.describe()), "");
    }
    let name =
        report.required(&fields, "plan").and_then(|node| report.name(node, "the plan's name", PLAN_NAME));
    let title = fields.get("title").and_then(|node| report.text(node, "`title`"));
    let claim = fields.get("claim").map(|node| claim(node, report));
    let shared_namespace = values.get("namespace").and_then(Value::as_str).map(str::to_owned);
    let mut context = step::Context { assets, values, shared_namespace, names: BTreeMap::new() };
    let mut phases = Vec::new();
    let mut phase_names = BTreeMap::new();
    if let Some(node) = report.required(&fields, "phases") {
        for node in report.list(node, "`phases`") {
            phases.extend(phase(node, &mut context, &mut phase_names, report));
        }
    }
    for input in &mut inputs {
        input.used = context.uses(&input.name);
    }
    let name = name?;
    let claim = claim.unwrap_or_else(|| vec![format!("plan:{name}")]);
    let title = Clean::new(title.unwrap_or_else(|| name.clone()));
    let source = Arc::new(report.source.clone());
    Some(Plan { name, title, claim, inputs, phases, source })
}

fn claim(node: &Node, report: &mut Report<'_>) -> Vec<String> {
    let fields = report.fields(node, "`claim`", &["names"]);
    let mut names: Vec<String> = Vec::new();
    let Some(list) = report.required(&fields, "names") else { return names };
    for node in report.list(list, "`names`") {
        let Some(name) = report.text(node, "the name of a claim") else { continue };
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/".contains(c));
        if name.is_empty() || name.len() > 100 || !plain {
            let hint = "use letters, digits and `-_.:/`, 100 at most, like `stack:monitoring`";
            report.problem(node, format!("`{name}` is not the name of a claim"), hint);
        } else if !names.contains(&name) {
            // Two inputs with one value may well name the same stack.
            names.push(name);
        }
    }
    names.sort();
    names
}

fn phase(
    node: &Node,
    context: &mut step::Context<'_>,
    names: &mut BTreeMap<String, usize>,
    report: &mut Report<'_>,
) -> Option<Phase> {
    let fields = report.fields(node, "a phase", &["phase", "title", "steps"]);
    let name = report.required(&fields, "phase").and_then(|node| {
        let name = report.name(node, "a phase's name", PLAN_NAME)?;
        if let Some(line) = names.insert(name.clone(), node.span.line) {
            report.problem(
                node,
                format!("phase `{name}` is there twice, first at line {line}"),
                "rename one of them",
            );
        }
        Some(name)
    });
    let title = fields.get("title").and_then(|node| report.text(node, "`title`")).map(Clean::new);
    let mut steps = Vec::new();
    if let Some(list) = report.required(&fields, "steps") {
        for node in report.list(list, "`steps`") {
            steps.extend(step::step(node, name.as_deref().unwrap_or("phase"), context, report));
        }
    }
    Some(Phase { name: name?, title, steps, span: node.span })
}

#[cfg(test)]
mod tests;
