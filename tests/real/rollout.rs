//! The shipped plan on everything that is real: first light, nothing to do, and back again.

use crate::condition::until;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;

/// What the binary said, for a failure.
fn said(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The requests that changed something, without the claim's Leases.
async fn writes(world: &World, since: usize) -> Result<Vec<String>> {
    Ok(world
        .cluster
        .audit()
        .await?
        .iter()
        .skip(since)
        .filter(|request| request.user == "operator" && request.writes())
        .map(|request| format!("{} {} {}", request.verb, request.resource, request.object))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tracing_plan_reaches_first_light_and_goes_back() -> Result<()> {
    let world = World::start().await?;
    let before = world.snapshot().await?;

    // A preview shows what would be, and writes nothing.
    let mark = world.cluster.audit().await?.len();
    let preview = world.firstlight(&["preview", "tracing", "--context", "real"]).await?;
    ensure!(preview.status.code() == Some(0), "{}", said(&preview));
    let text = String::from_utf8_lossy(&preview.stdout).into_owned();
    ensure!(text.contains("proven    datasource"), "{text}");
    ensure!(text.contains("takes data['loki-datasource.yaml'] from Terraform"), "{text}");
    let written = writes(&world, mark).await?;
    ensure!(written.is_empty(), "the preview wrote: {written:?}");
    let save =
        ["preview", "tracing", "--context", "real", "--summary", "--exit-code", "--save", "approval.json"];
    let pending = world.firstlight(&save).await?;
    ensure!(pending.status.code() == Some(3), "{}", said(&pending));

    // The rollout, as it was approved.
    let approved = ["run", "tracing", "--context", "real", "--headless", "--approved", "approval.json"];
    let transcript = std::env::var_os("FIRSTLIGHT_TRANSCRIPT");
    let colour = if transcript.is_some() { "always" } else { "never" };
    let run = world.firstlight(&[&approved[..], &["--color", colour]].concat()).await?;
    ensure!(run.status.code() == Some(0), "{}", said(&run));
    if let Some(path) = transcript {
        // The picture in the README is drawn from it.
        std::fs::write(
            path,
            [
                b"$ firstlight run tracing --context real --headless --approved approval.json\n",
                run.stderr.as_slice(),
            ]
            .concat(),
        )?;
    }
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(text.contains("spans of tripit in Tempo, read by id"), "{text}");
    ensure!(text.contains("of tripit was found by search"), "{text}");
    ensure!(text.contains("a log line of tripit in Loki carries trace id"), "{text}");

    // The harness looks for itself: what the application exported is in Tempo.
    let exports = world.application.exports();
    let arrived = exports.iter().rev().find(|export| export.outcome.is_ok());
    let trace = arrived.context("the application exported nothing")?.trace.clone();
    until("the last export is in Tempo", 30, async || {
        let (status, body) =
            world.forwarded_get("monitoring", "tempo-0", 3200, &format!("/api/v2/traces/{trace}")).await?;
        ensure!(status == 200 && String::from_utf8_lossy(&body).contains("tripit"), "{status}");
        Ok(())
    })
    .await?;

    // A second run finds nothing to do, and writes nothing but the claim's Leases.
    let mark = world.cluster.audit().await?.len();
    let again = world
        .firstlight(&["run", "tracing", "--context", "real", "--headless", "--yes", "--approve-unseen"])
        .await?;
    ensure!(again.status.code() == Some(0), "{}", said(&again));
    ensure!(String::from_utf8_lossy(&again.stderr).contains("nothing to do"), "{}", said(&again));
    let written = writes(&world, mark).await?;
    ensure!(!written.is_empty() && written.iter().all(|write| write.contains(" leases ")), "{written:?}");

    // And back: every object is as it was.
    let back = world.firstlight(&["rollback", "--context", "real", "--yes"]).await?;
    ensure!(back.status.code() == Some(0), "{}", said(&back));
    until("every object is as before", 30, async || {
        let after = world.snapshot().await?;
        ensure!(after == before, "{}", difference(&before, &after));
        Ok(())
    })
    .await?;
    let nothing = world.firstlight(&["rollback", "--context", "real", "--yes"]).await?;
    ensure!(nothing.status.code() == Some(0), "{}", said(&nothing));
    world.stop().await;
    Ok(())
}

/// The first objects that differ, for a failure.
fn difference(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> String {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).take(5);
    differing
        .map(|name| format!("{name}\n  before {:?}\n  after  {:?}\n", before.get(name), after.get(name)))
        .collect()
}
