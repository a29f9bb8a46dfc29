//! Plans as text for people: `plan list`, `plan show`, `plan lint`. At most 100 columns, problems aside.

use super::bundle::Bundle;
use super::input::{Input, Origin, Settings};
use super::lint::{Level, Note};
use super::model::{Action, Plan, Step};
use super::proofs::ProofName;
use super::read::load;
use crate::port::Endpoint;
use crate::text::Clean;
use crate::yaml::{Problem, Source};
use std::collections::BTreeSet;
use std::time::Duration;

const WIDTH: usize = 100;
/// A longer value has its help below it.
const WIDEST_VALUE: usize = 28;

/// The plans at hand, one line each.
pub fn list_text(bundle: &Bundle) -> String {
    let names: Vec<&str> = bundle.names().collect();
    if names.is_empty() {
        return "there are no plans\n".to_owned();
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut out = Page::default();
    for name in names {
        let settings = Settings::default().with_stand_ins();
        let read = bundle.plan(name).ok().map(|source| (source, load(source, bundle.assets(), &settings)));
        let about = match read {
            Some((_, Ok(plan))) => plan.title.to_string(),
            Some((source, Err(problems))) => {
                format!(
                    "cannot be read ({}); see `firstlight plan lint {}`",
                    count(problems.len(), "problem"),
                    source.name
                )
            }
            None => String::new(),
        };
        out.row(0, &format!("{:width$}  ", Clean::new(name)), &about);
    }
    out.text
}

/// A plan as it would run: inputs with their values, phases, steps, proofs.
pub fn show_text(plan: &Plan) -> String {
    let mut out = Page::default();
    out.row(0, &format!("{}  ", plan.name), plan.title.as_str());
    out.blank();
    out.row(0, "claims  ", &plan.claim.join(", "));
    if !plan.inputs.is_empty() {
        out.blank();
        out.line("inputs (--set name=value)");
        let names = plan.inputs.iter().map(|input| input.name.chars().count()).max().unwrap_or_default();
        let widths = plan.inputs.iter().map(|input| shown_value(input).chars().count());
        let values = widths.filter(|width| *width <= WIDEST_VALUE).max().unwrap_or_default();
        for input in &plan.inputs {
            let value = shown_value(input);
            let help = input.help.as_ref().map_or("", Clean::as_str);
            if value.chars().count() <= values {
                out.row(2, &format!("{:names$}  {value:values$}  ", input.name), help);
            } else {
                out.row(2, &format!("{:names$}  ", input.name), &value);
                if !help.is_empty() {
                    out.row(2, &" ".repeat(names + values + 4), help);
                }
            }
        }
    }
    for (index, phase) in plan.phases.iter().enumerate() {
        out.blank();
        let title = phase.title.as_ref().map_or(String::new(), |title| format!(": {title}"));
        out.row(0, &format!("{}. ", index + 1), &format!("{}{title}", phase.name));
        for step in &phase.steps {
            show_step(step, &mut out);
        }
    }
    let used: BTreeSet<ProofName> = plan.steps().flat_map(|(_, step)| proofs_of(step)).collect();
    if !used.is_empty() {
        out.blank();
        out.line("proofs");
        for proof in ProofName::all().filter(|proof| used.contains(proof)) {
            out.row(2, &format!("{proof:11}  "), proof.doc());
        }
    }
    out.text
}

/// What reading and lint found in one plan: all problems, and a last line that counts them.
pub fn lint_text(source: &Source, read: Result<(&Plan, &[Note]), &[Problem]>) -> String {
    let mut out = String::new();
    let mut add = |level: &str, problem: &Problem| {
        out.push_str(&format!("{level}: {problem}\n\n"));
    };
    match read {
        Err(problems) => {
            problems.iter().for_each(|problem| add("error", problem));
            out.push_str(&format!("{}: {}\n", source.name, count(problems.len(), "error")));
        }
        Ok((plan, notes)) => {
            for note in notes {
                add(if note.level == Level::Error { "error" } else { "warning" }, &note.problem);
            }
            let errors = notes.iter().filter(|note| note.level == Level::Error).count();
            let warnings = notes.len() - errors;
            let found: Vec<String> = [(errors, "error"), (warnings, "warning")]
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, word)| count(number, word))
                .collect();
            let found = if found.is_empty() { "no problems".to_owned() } else { found.join(", ") };
            let steps = plan.steps().count();
            let objects: usize = plan.steps().map(|(_, step)| step.action.objects().len()).sum();
            let size = [(plan.phases.len(), "phase"), (steps, "step"), (objects, "object")]
                .map(|(number, word)| count(number, word));
            out.push_str(&format!("{}: {found} ({})\n", source.name, size.join(", ")));
        }
    }
    out
}

fn shown_value(input: &Input) -> String {
    let value = match &input.value {
        serde_json::Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        serde_json::Value::String(text) => Clean::new(text).to_string(),
        other => other.to_string(),
    };
    match input.origin {
        Origin::Default => value,
        Origin::Set => format!("{value} (set)"),
        Origin::Absent => "(optional)".to_owned(),
        Origin::StandIn => "(must be set)".to_owned(),
    }
}

fn show_step(step: &Step, out: &mut Page) {
    let (what, details) = describe(&step.action);
    out.row(3, &format!("{}  ", step.name), &what);
    let join =
        |proofs: &[ProofName]| proofs.iter().map(|proof| proof.as_str()).collect::<Vec<_>>().join(", ");
    let mut rows: Vec<(&str, String)> = vec![("before", join(&step.before))];
    rows.extend(details);
    rows.push(("takes", step.take.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    rows.push(("after", join(&step.after)));
    let targets: Vec<String> =
        step.ready.iter().map(|target| place(&target.endpoint, &target.path)).collect();
    rows.push(("asks", targets.join(", ")));
    if !step.after.is_empty() && step.action.changes_objects() {
        rows.push(("within", length(step.timeout)));
    }
    for (label, text) in rows.into_iter().filter(|(_, text)| !text.is_empty()) {
        out.row(5, &format!("{label:10}"), &text);
    }
}

/// What an action does, in one line, and the rest in labelled lines.
fn describe(action: &Action) -> (String, Vec<(&'static str, String)>) {
    match action {
        Action::Prove { proofs } => {
            let names: Vec<&str> = proofs.iter().map(|proof| proof.as_str()).collect();
            (format!("proves {}", names.join(", ")), Vec::new())
        }
        Action::Apply { folder, objects } => {
            let names: Vec<String> =
                objects.iter().map(|asset| asset.reference.short().to_string()).collect();
            let spaces: BTreeSet<&str> =
                objects.iter().filter_map(|asset| asset.reference.namespace.as_deref()).collect();
            let spaces: Vec<&str> = spaces.into_iter().collect();
            let within = if spaces.is_empty() { String::new() } else { format!(" in {}", spaces.join(", ")) };
            let what = format!("applies assets/{folder}: {}{within}", count(objects.len(), "object"));
            (what, vec![("objects", names.join(", "))])
        }
        Action::Datasource { asset, object } => {
            (format!("applies assets/grafana/{asset}"), vec![("objects", object.reference.to_string())])
        }
        Action::DatasourceField(edit) => (
            format!(
                "adds derived field {} to data source {}",
                Clean::new(&edit.field.name),
                Clean::new(&edit.datasource)
            ),
            vec![("in", format!("{}, key {}", edit.configmap, Clean::new(&edit.key)))],
        ),
        Action::Env { workload, container, set } => {
            let container =
                container.as_ref().map_or(String::new(), |name| format!(", container {}", Clean::new(name)));
            let rows = set
                .iter()
                .map(|(name, value)| ("sets", format!("{}={}", Clean::new(name), Clean::new(value))));
            (format!("sets environment variables of {workload}{container}"), rows.collect())
        }
        Action::Watch(watch) => (
            format!("watches for spans of {}", Clean::new(&watch.service)),
            vec![
                ("spans", place(&watch.tempo, "")),
                ("logs", format!("{}, {}", place(&watch.loki, ""), Clean::new(&watch.loki_query))),
                ("within", length(watch.deadline)),
            ],
        ),
    }
}

fn proofs_of(step: &Step) -> Vec<ProofName> {
    let listed = match &step.action {
        Action::Prove { proofs } => proofs.as_slice(),
        _ => &[],
    };
    [listed, &step.before, &step.after].concat()
}

/// `tempo:3200/ready in monitoring`, or the address.
fn place(endpoint: &Endpoint, path: &str) -> String {
    let shown = match endpoint {
        Endpoint::Url(url) => format!("{}{path}", url.trim_end_matches('/')),
        Endpoint::Service { namespace, name, port } => format!("{name}:{port}{path} in {namespace}"),
    };
    Clean::new(shown).to_string()
}

/// `1h30m`, as plans write it.
fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect()
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Lines of at most [`WIDTH`] columns.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A label and a text beside it that is broken at blanks; its further lines stand below its first.
    fn row(&mut self, indentation: usize, label: &str, text: &str) {
        let mut line = format!("{}{label}", " ".repeat(indentation));
        // A label that leaves no room has its text below.
        let margin =
            if line.chars().count() > WIDTH / 2 + 12 { indentation + 4 } else { line.chars().count() };
        let mut filled = line.chars().count();
        let mut fresh = true;
        for word in text.split_whitespace().flat_map(|word| cut(word, WIDTH - margin)) {
            let length = word.chars().count();
            if filled + usize::from(!fresh) + length > WIDTH {
                self.line(&line);
                line = " ".repeat(margin);
                filled = margin;
                fresh = true;
            }
            if !fresh {
                line.push(' ');
                filled += 1;
            }
            line.push_str(&word);
            filled += length;
            fresh = false;
        }
        self.line(&line);
    }
}

/// A word in pieces that fit a line.
fn cut(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests;
