//! Reads plans: the shipped ones, a folder's, or one file, with the inputs of the command line.

use super::{Failure, Global, PlanArgs};
use crate::plan::{self, Bundle, Plan, Settings};
use crate::secret::is_secret_key;
use crate::text::Clean;
use crate::yaml::{Problem, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest file that is read as a plan or manifest, in bytes; what is larger is no plan.
const LIMIT: u64 = 4 << 20;

/// The plans and assets in use: the shipped ones, or those of `--plans`.
///
/// # Errors
/// The folder cannot be read.
pub fn bundle(global: &Global) -> Result<Bundle, Failure> {
    match &global.plans {
        None => Ok(Bundle::shipped()),
        Some(folder) => Ok(Bundle::new(folder_files(folder)?)),
    }
}

/// The files of `plans/` and `assets/` below a folder, by path from there.
fn folder_files(root: &Path) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for part in ["plans", "assets"] {
        if root.join(part).is_dir() {
            collect(root, &PathBuf::from(part), &mut files)?;
        }
    }
    if files.is_empty() {
        let text = format!("{} has no plans/ or assets/ with YAML files", root.display());
        return Err(Failure::usage(text).hint("name the folder that holds plans/ and assets/"));
    }
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        Failure::usage(format!("{} cannot be read: {error}", Clean::new(path.display().to_string())))
    };
    let path = root.join(folder);
    let entries = std::fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&path, &error))?;
        let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
        let below = folder.join(entry.file_name());
        if kind.is_dir() {
            collect(root, &below, files)?;
        } else if below.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let text = read(&root.join(&below))?;
            files.push((below.to_string_lossy().replace('\\', "/"), text));
        }
    }
    Ok(())
}

/// Reads a text file.
///
/// # Errors
/// It is not there, too large, or not UTF-8 (with the position).
pub fn read(path: &Path) -> Result<String, Failure> {
    let name = Clean::new(path.display().to_string());
    let metadata =
        std::fs::metadata(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    if metadata.len() > LIMIT {
        return Err(Failure::usage(format!(
            "{name} has {} bytes; a plan has at most {LIMIT}",
            metadata.len()
        )));
    }
    let bytes =
        std::fs::read(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!("{name} is not UTF-8 from byte {at}")).hint("save it as UTF-8")
    })
}

/// The text of a plan and the assets that it finds.
///
/// A shipped plan goes by its name; what ends in `.yaml` or holds a `/` is a file, with the assets of `--plans`, else of
/// the `assets/` folder beside it or beside its `plans/` folder, else the shipped ones.
///
/// # Errors
/// There is no such plan; the known ones are named.
pub fn source(name: &str, global: &Global) -> Result<(Source, Bundle), Failure> {
    let is_file = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
    if !is_file {
        let bundle = bundle(global)?;
        let source = bundle.plan(name).map_err(|problem| Failure::usage(problem.to_string()))?.clone();
        return Ok((source, bundle));
    }
    let path = Path::new(name);
    let text = read(path)?;
    let beside =
        path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let root = beside.into_iter().flat_map(|folder| [Some(folder), folder.parent()]).flatten();
    let bundle = match (&global.plans, root.into_iter().find(|root| root.join("assets").is_dir())) {
        (None, Some(root)) => Bundle::new(folder_files(root)?),
        _ => bundle(global)?,
    };
    Ok((Source { name: Clean::new(name), text }, bundle))
}

/// Loads a plan with the inputs of the command line.
///
/// # Errors
/// Every problem of the plan, its assets and its inputs, each with its place.
pub fn plan(args: &PlanArgs, global: &Global) -> Result<Plan, Failure> {
    let mut set = args.set.clone();
    if let Some(namespace) = &args.namespace {
        set.push(format!("namespace={namespace}"));
    }
    let settings = Settings::parse(set.iter().map(String::as_str)).map_err(|problems| failure(&problems))?;
    let (source, bundle) = source(&args.plan, global)?;
    plan::load(&source, bundle.assets(), &settings).map_err(|problems| failure(&problems))
}

/// All problems as one failure.
pub fn failure(problems: &[Problem]) -> Failure {
    let texts: Vec<String> =
        problems.iter().map(|problem| problem.to_string().trim_end().to_owned()).collect();
    let text = match texts.len() {
        1 => texts.concat(),
        n => format!("{n} problems\n{}", texts.join("\n")),
    };
    Failure::usage(text)
}

/// Refuses a phase that the plan does not have.
///
/// # Errors
/// The known phases are named.
pub fn check_phase(plan: &Plan, phase: Option<&str>) -> Result<(), Failure> {
    let Some(phase) = phase else { return Ok(()) };
    let names: Vec<&str> = plan.phases.iter().map(|phase| phase.name.as_str()).collect();
    if names.contains(&phase) {
        return Ok(());
    }
    let text = format!("plan {} has no phase {}", plan.name, Clean::new(phase));
    Err(Failure::usage(text).hint(format!("its phases are {}", names.join(", "))))
}

/// The inputs for the record: secret ones are masked.
pub fn shown_inputs(plan: &Plan) -> BTreeMap<String, Clean> {
    plan.inputs
        .iter()
        .map(|input| {
            let secret = is_secret_key(&input.name);
            let value = match &input.value {
                _ if secret => "‹secret›".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => "not set".to_owned(),
                other => other.to_string(),
            };
            (input.name.clone(), Clean::new(value))
        })
        .collect()
}
