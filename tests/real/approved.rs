//! An approval that a preview saved: it carries a run without a terminal, and approves nothing else.

use crate::sandbox::{Sandbox, exits, said, stderr};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

const APPROVED: [&str; 4] = ["--context=real", "--headless", "--approved", "approval.json"];

/// `preview` of a plan in a namespace, saved beside the home's other files.
async fn save(sandbox: &Sandbox, home: &str, plan: &str, namespace: &str, options: &[&str]) -> Result<()> {
    let plans = sandbox.cluster.folder().join("small").display().to_string();
    let mut arguments = vec!["preview", plan, "--plans", &plans, "--namespace", namespace];
    arguments.extend(["--context=real", "--summary", "--save", "approval.json"]);
    arguments.extend(options);
    let output = exits(sandbox.command(home, &arguments)?, 0).await?;
    ensure!(stderr(&output).contains("saved the approval of"), "{}", said(&output));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_approval_approves_exactly_what_was_shown() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    for namespace in ["whole", "moved"] {
        sandbox.plant(namespace).await?;
    }

    // Saved for its owner alone, without content, and good for the whole run.
    save(&sandbox, "ann", "small", "whole", &[]).await?;
    let file = sandbox.home("ann").join("approval.json");
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let text = std::fs::read_to_string(&file)?;
    ensure!(!text.contains("first") && !text.contains("dark") && !text.contains("slow"), "{text}");
    let run = exits(sandbox.run_with("ann", "whole", &APPROVED)?, 0).await?;
    ensure!(stderr(&run).contains("approved as saved: 4 objects"), "{}", said(&run));
    // What is done needs no approval any more.
    let again = exits(sandbox.run_with("ann", "whole", &APPROVED)?, 0).await?;
    ensure!(stderr(&again).contains("nothing to do"), "{}", said(&again));

    // Somebody edits a field that would be taken: the second phase is not as approved, and nothing of it is sent.
    save(&sandbox, "bob", "small", "moved", &[]).await?;
    let path = "/api/v1/namespaces/moved/configmaps/shared?fieldManager=other";
    let edit = json!({ "data": { "mode": "slower" } });
    sandbox.api().send("PATCH", path, "application/merge-patch+json", &edit).await?;
    let run = exits(sandbox.run_with("bob", "moved", &APPROVED)?, 3).await?;
    ensure!(stderr(&run).contains("phase others is not as approved"), "{}", said(&run));
    ensure!(stderr(&run).contains("the change of configmap/shared in moved"), "{}", said(&run));
    let shared = sandbox.api().get("/api/v1/namespaces/moved/configmaps/shared").await?.context("gone")?;
    ensure!(shared["data"] == json!({ "mode": "slower", "size": "1", "keep": "yes" }), "{shared}");
    exits(sandbox.rollback("bob")?, 0).await?;

    // Another namespace is another plan hash; a shorter approval ends before the run does.
    save(&sandbox, "bob", "small", "moved", &[]).await?;
    let other = exits(sandbox.run_with("bob", "whole", &APPROVED)?, 3).await?;
    ensure!(stderr(&other).contains("not as they were approved"), "{}", said(&other));
    save(&sandbox, "bob", "small", "moved", &["--until", "base"]).await?;
    let short = exits(sandbox.run_with("bob", "moved", &APPROVED)?, 3).await?;
    ensure!(stderr(&short).contains("the approval ends after phase base"), "{}", said(&short));
    let mut options = APPROVED.to_vec();
    options.extend(["--until", "base"]);
    exits(sandbox.run_with("bob", "moved", &options)?, 0).await?;

    // An approval is worth nothing with another key, on another cluster by its own word, or after an edit.
    std::fs::create_dir_all(sandbox.home("eve"))?;
    std::fs::copy(sandbox.home("bob").join("approval.json"), sandbox.home("eve").join("approval.json"))?;
    let eve = exits(sandbox.run_with("eve", "moved", &options)?, 2).await?;
    ensure!(stderr(&eve).contains("the key of another state directory"), "{}", said(&eve));
    let file = sandbox.home("bob").join("approval.json");
    let mut approval: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    approval["cluster"] = json!("another");
    std::fs::write(&file, approval.to_string())?;
    let edited = exits(sandbox.run_with("bob", "moved", &options)?, 2).await?;
    ensure!(stderr(&edited).contains("was changed after it was saved"), "{}", said(&edited));

    a_namespace_of_the_plan_itself(&sandbox).await?;
    sandbox.stop().await;
    Ok(())
}

/// What can be tried only once its namespace exists is approved as it is created.
async fn a_namespace_of_the_plan_itself(sandbox: &Sandbox) -> Result<()> {
    let plan = "plan: fresh\ntitle: Fresh\ninputs: { namespace: fresh }\nphases: [ { phase: one, steps: [ { apply: fresh } ] } ]\n";
    sandbox.plan("fresh", plan)?;
    sandbox.asset(
        "fresh/all.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: \"${namespace}\", labels: { part: fresh } }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: one, namespace: \"${namespace}\" }\ndata: { a: b }\n",
    )?;
    save(sandbox, "cid", "fresh", "fresh", &[]).await?;
    let run = exits(sandbox.run_plan("fresh", "cid", "fresh", &APPROVED)?, 0).await?;
    ensure!(stderr(&run).contains("approved as saved: 2 objects"), "{}", said(&run));
    Ok(())
}
