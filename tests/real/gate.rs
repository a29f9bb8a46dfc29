//! What was approved is what is written: edits by others between a gate and the effects, at the moment that hurts.

use crate::condition::until;
use crate::proxy::{Fault, Proxy};
use crate::sandbox::{Sandbox, UNSEEN, difference, exits, ownership, said, stderr, together};
use crate::terminal::Terminal;
use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};

/// Only what is somebody else's, without waits.
const EDIT: &str = r#"plan: edit
title: Two objects of somebody else
claim: { names: [ "stack:${namespace}" ] }
inputs:
  namespace: { default: small, help: Namespace of everything }
phases:
  - phase: others
    steps:
      - apply: shared
        TAKE
      - env: { workload: deployment/app, namespace: "${namespace}", set: { COLOUR: blue } }
"#;

/// One new object.
const FRESH: &str = r#"plan: fresh
title: One new object
claim: { names: [ "stack:${namespace}" ] }
inputs:
  namespace: { default: small, help: Namespace of everything }
phases:
  - phase: new
    steps:
      - apply: fresh
"#;

/// A place with its namespace, and others who write to it.
struct Place<'s> {
    sandbox: &'s Sandbox,
    name: &'static str,
    other: crate::api::Api,
}

impl<'s> Place<'s> {
    async fn new(sandbox: &'s Sandbox, name: &'static str) -> Result<Self> {
        sandbox.plant(name).await?;
        Ok(Self { sandbox, name, other: sandbox.cluster.access("Terraform").await? })
    }

    fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.name)
    }

    async fn config_map(&self, name: &str) -> Result<Option<Value>> {
        self.sandbox.api().get(&self.path(name)).await
    }

    async fn data(&self, name: &str) -> Result<Value> {
        let live = self.config_map(name).await?.with_context(|| format!("{name} is not there"))?;
        Ok(live.get("data").cloned().unwrap_or_default())
    }

    async fn edit(&self, name: &str, body: &Value) -> Result<()> {
        self.other.merge(&self.path(name), "other", body).await.map(|_| ())
    }

    async fn create(&self, name: &str, data: &Value) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let collection = format!("/api/v1/namespaces/{}/configmaps", self.name);
        self.other.create(&collection, "other", &body).await.map(|_| ())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        self.other.send("DELETE", &self.path(name), "application/json", &options).await.map(|_| ())
    }

    /// Runs a plan on a terminal.
    fn terminal(&self, plan: &str) -> Result<Terminal> {
        Terminal::start(self.sandbox.run_plan(plan, self.name, self.name, &["--context=real"])?)
    }

    /// Runs a plan with nobody there, behind a line that holds one request until `meanwhile` is done.
    async fn held(
        &self,
        plan: &str,
        (method, part): (Method, &'static str),
        meanwhile: impl AsyncFn() -> Result<()>,
        code: i32,
    ) -> Result<String> {
        let proxy = Proxy::start(&self.sandbox.cluster, self.name).await?;
        let trap = proxy.set(method, part, 1, Fault::Hold);
        let mut command = self.sandbox.run_plan(plan, self.name, self.name, &UNSEEN)?;
        let running = command.env("KUBECONFIG", proxy.kubeconfig()).output();
        let edit = async {
            until("the request is held", 60, async || {
                ensure!(trap.struck() == 1, "it has not come yet");
                Ok(())
            })
            .await?;
            meanwhile().await?;
            trap.let_go();
            Ok::<_, anyhow::Error>(())
        };
        let (output, edited) = tokio::join!(running, edit);
        let output = output?;
        edited.with_context(|| said(&output))?;
        ensure!(output.status.code() == Some(code), "expected exit {code}: {}", said(&output));
        Ok(stderr(&output))
    }
}

/// A field that the plan changes is edited at the prompt: shown again, nothing written before the new yes.
async fn an_edit_leads_back_to_the_gate(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "edited").await?;
    let mut terminal = place.terminal("edit")?;
    let shown = terminal.sees("approve phase others").await?;
    ensure!(shown.contains("slow") && shown.contains("fast"), "{shown}");
    place.edit("shared", &json!({"data": {"mode": "odd"}})).await?;
    terminal.types("yes")?;
    let shown = terminal.sees("approve phase others").await?;
    ensure!(shown.contains("no longer holds") && shown.contains("odd"), "{shown}");
    ensure!(place.data("shared").await? == json!({"mode": "odd", "keep": "yes", "size": "1"}), "it wrote");
    terminal.types("yes")?;
    terminal.ends(0).await?;
    ensure!(
        place.data("shared").await? == json!({"mode": "fast", "keep": "yes", "size": "2"}),
        "it did not write"
    );
    Ok(())
}

/// The same with nobody there: `--yes` was said before the edit, and does not cover it.
async fn an_edit_stops_a_run_that_nobody_watches(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "unwatched").await?;
    let meanwhile = async || place.edit("shared", &json!({"data": {"mode": "odd"}})).await;
    let text = place.held("edit", (Method::PATCH, "/configmaps/shared?"), meanwhile, 3).await?;
    ensure!(text.contains("no longer holds") && text.contains("configmap/shared"), "{text}");
    ensure!(place.data("shared").await? == json!({"mode": "odd", "keep": "yes", "size": "1"}), "it wrote");
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/app", place.name);
    let app = sandbox.api().get(&path).await?.context("app is gone")?;
    ensure!(!app["spec"].to_string().contains("COLOUR"), "it went on: {}", app["spec"]);
    Ok(())
}

/// An annotation and a status of somebody else's move the resourceVersion and nothing that was approved.
async fn a_harmless_move_needs_no_gate(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "harmless").await?;
    let mut terminal = place.terminal("edit")?;
    terminal.sees("approve phase others").await?;
    place.edit("shared", &json!({"metadata": {"annotations": {"note": "seen"}}})).await?;
    let status = format!("/apis/apps/v1/namespaces/{}/deployments/app/status", place.name);
    let condition = json!({"type": "Looked", "status": "True", "reason": "At", "message": "by the test"});
    let patch = json!({"status": {"conditions": [condition]}});
    place.other.merge(&status, "other", &patch).await?;
    terminal.types("yes")?;
    let screen = terminal.ends(0).await?;
    ensure!(screen.matches("approve phase others").count() == 1, "it asked again: {screen}");
    ensure!(place.data("shared").await?["mode"] == "fast", "{screen}");
    let shared = place.config_map("shared").await?.context("shared is gone")?;
    ensure!(shared.pointer("/metadata/annotations/note") == Some(&json!("seen")), "{shared}");
    // And the same in the very moment of the effect, with nobody there.
    let place = Place::new(sandbox, "harmless-too").await?;
    let meanwhile =
        async || place.edit("shared", &json!({"metadata": {"annotations": {"note": "seen"}}})).await;
    let text = place.held("edit", (Method::PATCH, "/configmaps/shared?"), meanwhile, 0).await?;
    ensure!(!text.contains("no longer holds"), "{text}");
    ensure!(place.data("shared").await?["mode"] == "fast", "{text}");
    Ok(())
}

/// An object that was to be changed is deleted; it is not made again without a new yes.
async fn a_deletion_leads_back_to_the_gate(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "deleted").await?;
    let mut terminal = place.terminal("edit")?;
    terminal.sees("approve phase others").await?;
    place.delete("shared").await?;
    terminal.types("yes")?;
    let shown = terminal.sees("approve phase others").await?;
    ensure!(shown.contains("no longer holds"), "{shown}");
    ensure!(place.config_map("shared").await?.is_none(), "it was made again");
    terminal.types("no")?;
    let screen = terminal.ends(3).await?;
    ensure!(screen.contains("declined"), "{screen}");
    ensure!(place.config_map("shared").await?.is_none(), "it was made after a no");
    let place = Place::new(sandbox, "deleted-too").await?;
    let meanwhile = async || place.delete("shared").await;
    let text = place.held("edit", (Method::PATCH, "/configmaps/shared?"), meanwhile, 3).await?;
    ensure!(text.contains("no longer holds"), "{text}");
    ensure!(place.config_map("shared").await?.is_none(), "it was made again: {text}");
    Ok(())
}

/// An object that was to be made is there meanwhile; it is not changed without a new yes.
async fn a_creation_leads_back_to_the_gate(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "created").await?;
    let mut terminal = place.terminal("fresh")?;
    terminal.sees("approve phase new").await?;
    place.create("fresh", &json!({"theirs": "cow"})).await?;
    terminal.types("yes")?;
    let shown = terminal.sees("approve phase new").await?;
    ensure!(shown.contains("no longer holds"), "{shown}");
    ensure!(place.data("fresh").await? == json!({"theirs": "cow"}), "it wrote");
    terminal.types("yes")?;
    terminal.ends(0).await?;
    ensure!(place.data("fresh").await? == json!({"theirs": "cow", "ours": "dog"}), "it did not write");
    // It was theirs, so going back leaves it with what was theirs.
    exits(sandbox.rollback(place.name)?, 0).await?;
    ensure!(place.data("fresh").await? == json!({"theirs": "cow"}), "{:?}", place.data("fresh").await?);
    // In the moment of the POST, with nobody there: 409.
    let place = Place::new(sandbox, "created-too").await?;
    let meanwhile = async || place.create("fresh", &json!({"theirs": "cow"})).await;
    let text = place.held("fresh", (Method::POST, "/configmaps?"), meanwhile, 3).await?;
    ensure!(text.contains("exists meanwhile"), "{text}");
    ensure!(place.data("fresh").await? == json!({"theirs": "cow"}), "it wrote: {text}");
    Ok(())
}

/// A no is exit 3, and nothing was sent.
async fn a_no_sends_nothing(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "declined").await?;
    let before = sandbox.state(place.name).await?;
    for answer in ["no", "", "y"] {
        let mut terminal = place.terminal("edit")?;
        terminal.sees("approve phase others").await?;
        terminal.types(answer)?;
        let screen = terminal.ends(3).await?;
        ensure!(screen.contains("nothing of it was sent"), "{screen}");
    }
    let after = sandbox.state(place.name).await?;
    ensure!(after == before, "{}", difference(&before, &after));
    Ok(())
}

/// What others own is taken by name, all of it or nothing.
async fn conflicts_are_taken_by_name_only(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "conflict").await?;
    let before = sandbox.state(place.name).await?;
    for (plan, field, owner) in [("untaken", "data.mode", "other"), ("half", "data.size", "chart")] {
        let output = exits(sandbox.run_plan(plan, place.name, place.name, &UNSEEN)?, 1).await?;
        let text = stderr(&output);
        let error = text.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
        ensure!(
            error.contains("configmap/shared") && error.contains(field) && error.contains(owner),
            "{text}"
        );
        ensure!(plan == "untaken" || !error.contains("data.mode"), "what is taken is no conflict: {text}");
        ensure!(text.contains("hint:") && text.contains("take:"), "{text}");
    }
    let after = sandbox.state(place.name).await?;
    ensure!(after == before, "{}", difference(&before, &after));
    exits(sandbox.run_plan("edit", place.name, place.name, &UNSEEN)?, 0).await?;
    let shared = place.config_map("shared").await?.context("shared is gone")?;
    ensure!(shared["data"] == json!({"mode": "fast", "keep": "yes", "size": "2"}), "{shared}");
    let owned = ownership(&shared);
    let ours = owned.iter().find(|entry| entry.starts_with("firstlight:edit:"));
    let ours = ours.with_context(|| format!("it is not ours: {owned:?}"))?;
    ensure!(ours.contains("f:mode") && ours.contains("f:size") && ours.contains("Apply"), "{owned:?}");
    ensure!(owned.iter().all(|entry| !entry.starts_with("chart")), "{owned:?}");
    // Values and ownership go back together, to both of them.
    exits(sandbox.rollback(place.name)?, 0).await?;
    let after = sandbox.state(place.name).await?;
    ensure!(after == before, "{}", difference(&before, &after));
    Ok(())
}

/// What others changed after our apply is theirs: it stays and is told, unless it is named.
async fn later_changes_of_others_stay(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "drifted").await?;
    let before = sandbox.state(place.name).await?;
    exits(sandbox.run_plan("edit", place.name, place.name, &UNSEEN)?, 0).await?;
    place.edit("shared", &json!({"data": {"mode": "odd"}})).await?;
    let output = exits(sandbox.rollback(place.name)?, 1).await?;
    let text = stderr(&output);
    ensure!(text.contains("mode was changed since") && text.contains("left as it is"), "{text}");
    ensure!(text.contains("--overwrite configmap/shared"), "{text}");
    ensure!(place.data("shared").await? == json!({"mode": "odd", "keep": "yes", "size": "2"}), "{text}");
    let app = format!("/apis/apps/v1/namespaces/{}/deployments/app", place.name);
    let live = sandbox.api().get(&app).await?.context("app is gone")?;
    ensure!(!live["spec"].to_string().contains("COLOUR"), "the rest was not undone: {text}");
    let mut again = sandbox.rollback(place.name)?;
    again.args(["--overwrite", "configmap/shared"]);
    exits(again, 0).await?;
    let after = sandbox.state(place.name).await?;
    ensure!(after == before, "{}", difference(&before, &after));
    Ok(())
}

/// What we made and others have touched is not deleted, unless it is named.
async fn what_others_touched_is_not_deleted(sandbox: &Sandbox) -> Result<()> {
    let place = Place::new(sandbox, "touched").await?;
    let before = sandbox.state(place.name).await?;
    exits(sandbox.run_plan("fresh", place.name, place.name, &UNSEEN)?, 0).await?;
    place.edit("fresh", &json!({"data": {"theirs": "cow"}})).await?;
    let output = exits(sandbox.rollback(place.name)?, 1).await?;
    let text = stderr(&output);
    ensure!(text.contains("theirs") && text.contains("owned by other"), "{text}");
    ensure!(place.data("fresh").await? == json!({"ours": "dog", "theirs": "cow"}), "{text}");
    let mut again = sandbox.rollback(place.name)?;
    again.args(["--overwrite", "configmap/fresh"]);
    exits(again, 0).await?;
    let after = sandbox.state(place.name).await?;
    ensure!(after == before, "{}", difference(&before, &after));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_is_what_is_written() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.plan("edit", &EDIT.replace("TAKE", r#"take: [ "data['mode']", "data['size']" ]"#))?;
    sandbox.plan(
        "half",
        &EDIT.replace("plan: edit", "plan: half").replace("TAKE", r#"take: [ "data['mode']" ]"#),
    )?;
    sandbox.plan("untaken", &EDIT.replace("plan: edit", "plan: untaken").replace("        TAKE\n", ""))?;
    sandbox.plan("fresh", FRESH)?;
    sandbox.asset(
        "fresh/fresh.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: fresh, namespace: \"${namespace}\" }\ndata: { ours: dog }\n",
    )?;
    together(vec![
        ("an edit at the gate", an_edit_leads_back_to_the_gate(&sandbox).boxed_local()),
        ("an edit, unwatched", an_edit_stops_a_run_that_nobody_watches(&sandbox).boxed_local()),
        ("a harmless move", a_harmless_move_needs_no_gate(&sandbox).boxed_local()),
        ("a deletion", a_deletion_leads_back_to_the_gate(&sandbox).boxed_local()),
        ("a creation", a_creation_leads_back_to_the_gate(&sandbox).boxed_local()),
        ("a no", a_no_sends_nothing(&sandbox).boxed_local()),
        ("conflicts", conflicts_are_taken_by_name_only(&sandbox).boxed_local()),
        ("later changes", later_changes_of_others_stay(&sandbox).boxed_local()),
        ("touched objects", what_others_touched_is_not_deleted(&sandbox).boxed_local()),
    ])
    .await?;
    sandbox.stop().await;
    Ok(())
}
