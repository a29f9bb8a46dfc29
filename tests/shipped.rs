//! What is shipped: every file of `plans/` and `assets/` is in the program, and every plan reads well.

use firstlight::plan::{Bundle, Settings, lint, load, show_text};
use std::path::Path;

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

#[test]
fn no_file_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, &root.join("plans"), &mut files).unwrap();
    collect(root, &root.join("assets"), &mut files).unwrap();
    files.sort();
    let mut shipped: Vec<(String, String)> =
        Bundle::shipped_files().iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    shipped.sort();
    let names = |files: &[(String, String)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&shipped), names(&files), "the table in src/plan/bundle.rs lists every file");
    assert!(shipped == files);
}

#[test]
fn every_plan_reads_well_with_its_defaults() {
    let bundle = Bundle::shipped();
    let mut folders = Vec::new();
    for name in bundle.names() {
        let source = bundle.plan(name).unwrap();
        let plan = load(source, bundle.assets(), &Settings::default()).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>())
        });
        assert_eq!(plan.name, name);
        let notes = lint(&plan, bundle.assets());
        assert!(
            notes.is_empty(),
            "{}",
            notes.iter().map(|note| format!("{}\n", note.problem)).collect::<String>()
        );
        folders.push(show_text(&plan));
    }
    // No asset without a plan.
    for folder in bundle.assets().folders() {
        assert!(
            folders.iter().any(|text| text.contains(&format!("assets/{folder}"))),
            "{folder} is used by no plan"
        );
    }
}

#[test]
fn the_tracing_plan_is_what_it_is_said_to_be() {
    let bundle = Bundle::shipped();
    let settings = Settings::parse(["app=shop", "tempo_url=http://127.0.0.1:3200"]).unwrap();
    let plan = load(bundle.plan("tracing").unwrap(), bundle.assets(), &settings).unwrap();
    insta::assert_snapshot!(show_text(&plan));
}
