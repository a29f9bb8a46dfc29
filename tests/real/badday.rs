//! Bad days: wrong names, lost servers, missing rights, signals, full disks, and workloads that never come up.

use crate::condition::until;
use crate::kwok;
use crate::process::free_port;
use crate::proxy::{self, Proxy};
use crate::sandbox::{Sandbox, UNSEEN, difference, exits, plan_of, said, stderr, together};
use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The line that says what went wrong; there must be one, and it must be one.
fn error_of(output: &Output) -> Result<String> {
    let text = stderr(output);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error:")).collect();
    ensure!(errors.len() == 1, "not one error: {}", said(output));
    ensure!(!text.contains("panicked"), "it panicked: {text}");
    Ok(errors.concat())
}

/// What an operator's requests changed so far, Leases apart.
async fn untouched(
    sandbox: &Sandbox,
    namespace: &str,
    before: &std::collections::BTreeMap<String, Value>,
) -> Result<()> {
    let after = sandbox.state(namespace).await?;
    ensure!(after == *before, "{}", difference(before, &after));
    Ok(())
}

/// Sends a signal to a child.
fn signal(child: &Child, signal: rustix::process::Signal) -> Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    Ok(rustix::process::kill_process(id.context("it has ended")?, signal)?)
}

/// Wrong names and missing answers are usage errors that name what there is; nothing was asked of any cluster.
async fn usage(sandbox: &Sandbox) -> Result<()> {
    let run = |options: &[&str]| sandbox.run_with("usage", "usage", options);
    let output = exits(run(&["--context=reel", "--yes", "--approve-unseen"])?, 2).await?;
    let text = stderr(&output);
    ensure!(error_of(&output)?.contains("reel"), "{text}");
    for known in ["real", "reader", "expired"] {
        ensure!(text.contains(known), "{known} is not named: {text}");
    }
    ensure!(text.contains("did you mean real?"), "{text}");
    for options in [&["--context=real"][..], &["--context=real", "--headless"], &["--context=real", "--yes"]]
    {
        let output = exits(run(options)?, 2).await?;
        ensure!(
            error_of(&output)?.len() < 200 && stderr(&output).contains("--approve-unseen"),
            "{}",
            said(&output)
        );
    }
    let output = exits(run(&["--yes", "--approve-unseen"])?, 2).await?;
    ensure!(stderr(&output).contains("--context"), "{}", said(&output));
    let output = exits(sandbox.run_plan("smal", "usage", "usage", &UNSEEN)?, 2).await?;
    ensure!(stderr(&output).contains("small"), "{}", said(&output));
    let output = exits(sandbox.command("usage", &["rollback", "--context=real"])?, 2).await?;
    ensure!(stderr(&output).contains("--yes"), "{}", said(&output));
    Ok(())
}

/// No server, a dead line, a token of yesterday: one sentence, its cause, a hint, and soon.
async fn no_cluster(sandbox: &Sandbox) -> Result<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let addresses = [
        (format!("https://127.0.0.1:{}", free_port()?), "refused"),
        (format!("https://{}", silent.local_addr()?), "did not answer"),
        ("https://no-such-host.invalid:6443".to_owned(), "no-such-host.invalid"),
    ];
    for (number, (server, cause)) in addresses.iter().enumerate() {
        let text = std::fs::read_to_string(sandbox.cluster.kubeconfig())?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["clusters"][0]["cluster"]["server"] = json!(server);
        let file = sandbox.cluster.folder().join(format!("kubeconfig-nowhere-{number}"));
        std::fs::write(&file, config.to_string())?;
        let started = Instant::now();
        let mut command = sandbox.run("nowhere", "nowhere")?;
        let output = exits(
            {
                command.env("KUBECONFIG", &file);
                command
            },
            1,
        )
        .await?;
        let error = error_of(&output)?;
        ensure!(error.contains(cause) || error.contains("could not be reached"), "{}", said(&output));
        ensure!(stderr(&output).contains("hint:"), "{}", said(&output));
        ensure!(started.elapsed() < Duration::from_secs(30), "{server} took {:?}", started.elapsed());
    }
    drop(silent);
    let output = exits(
        sandbox.run_with("expired", "nowhere", &["--context=expired", "--yes", "--approve-unseen"])?,
        1,
    )
    .await?;
    let text = stderr(&output);
    ensure!(
        error_of(&output)?.to_lowercase().contains("unauthorized") || text.contains("credentials"),
        "{text}"
    );
    ensure!(text.contains("hint:"), "{text}");
    Ok(())
}

/// Who may only read sees which right is missing, and changes nothing.
async fn forbidden(sandbox: &Sandbox) -> Result<()> {
    sandbox.plant("forbidden").await?;
    let before = sandbox.state("forbidden").await?;
    let plans = sandbox.plans().display().to_string();
    let preview = ["preview", "small", "--plans", &plans, "--namespace=forbidden", "--context=reader"];
    let output = exits(sandbox.command("forbidden", &preview)?, 1).await?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    ensure!(text.contains("cannot patch resource \"configmaps\""), "{text}");
    let options = ["--context=reader", "--yes", "--approve-unseen"];
    let output = exits(sandbox.run_with("forbidden", "forbidden", &options)?, 1).await?;
    ensure!(error_of(&output)?.contains("leases"), "{}", said(&output));
    ensure!(stderr(&output).contains("hint:"), "{}", said(&output));
    untouched(sandbox, "forbidden", &before).await
}

/// Starts a run whose workload waits for a node, and waits until it says so.
async fn waiting_run(sandbox: &Sandbox, namespace: &str) -> Result<Child> {
    let mut command = sandbox.run_plan("homeless", namespace, namespace, &UNSEEN)?;
    let child = command.stdout(std::process::Stdio::null()).spawn()?;
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    until("the pod waits for a node", 60, async || {
        let pods = sandbox.api().list(&path).await?;
        let waits = pods.iter().any(|pod| pod["status"].to_string().contains("Unschedulable"));
        ensure!(waits, "{pods:?}");
        Ok(())
    })
    .await?;
    Ok(child)
}

/// A signal while waiting stops at the safe point, the journal says so, and a new run completes.
async fn signals(sandbox: &Sandbox) -> Result<()> {
    for (namespace, kill, code, word) in [
        ("interrupted", rustix::process::Signal::INT, 130, "interrupted"),
        ("terminated", rustix::process::Signal::TERM, 143, "terminated"),
        ("hung-up", rustix::process::Signal::HUP, 143, "terminated"),
    ] {
        sandbox.plant(namespace).await?;
        let before = sandbox.state(namespace).await?;
        let child = waiting_run(sandbox, namespace).await?;
        signal(&child, kill)?;
        let output = child.wait_with_output().await?;
        ensure!(output.status.code() == Some(code), "expected exit {code}: {}", said(&output));
        ensure!(error_of(&output)?.contains(word), "{}", said(&output));
        ensure!(stderr(&output).contains("hint: `firstlight run` goes on"), "{}", said(&output));
        let runs = exits(sandbox.command(namespace, &["runs"])?, 0).await?;
        let runs = String::from_utf8_lossy(&runs.stdout).into_owned();
        ensure!(runs.contains(word) && !runs.contains("to settle"), "{runs}");
        if code == 130 {
            let shape = json!([{"op": "add", "path": "/metadata/labels/home", "value": namespace}]);
            let harness = sandbox.api();
            harness.send("PATCH", "/api/v1/nodes/node-1", "application/json-patch+json", &shape).await?;
            let again = exits(sandbox.run_plan("homeless", namespace, namespace, &UNSEEN)?, 0).await?;
            ensure!(stderr(&again).contains("nothing to do"), "{}", said(&again));
        }
        exits(sandbox.rollback(namespace)?, 0).await?;
        untouched(sandbox, namespace, &before).await?;
    }
    Ok(())
}

/// With an effect in flight the first signal waits for it, and the second does not.
async fn two_signals(sandbox: &Sandbox) -> Result<()> {
    sandbox.plant("impatient").await?;
    let before = sandbox.state("impatient").await?;
    let proxy = Proxy::start(&sandbox.cluster, "impatient").await?;
    let trap = proxy.set(Method::POST, "/configmaps?", 1, proxy::Fault::Hold);
    let mut command = sandbox.run("impatient", "impatient")?;
    let child = command.env("KUBECONFIG", proxy.kubeconfig()).stdout(std::process::Stdio::null());
    let mut child = child.spawn()?;
    until("an effect is in flight", 60, async || {
        ensure!(trap.struck() == 1, "not yet");
        Ok(())
    })
    .await?;
    signal(&child, rustix::process::Signal::INT)?;
    let mut pipe = child.stderr.take().context("there is no stderr")?;
    let mut told = String::new();
    {
        use tokio::io::AsyncReadExt;
        let mut chunk = [0; 1024];
        while !told.contains("stopping at the next safe point") {
            let count = pipe.read(&mut chunk).await?;
            ensure!(count > 0, "it ended with an effect in flight: {told}");
            told.push_str(&String::from_utf8_lossy(chunk.get(..count).unwrap_or_default()));
        }
        ensure!(child.try_wait()?.is_none(), "it ended with an effect in flight: {told}");
        signal(&child, rustix::process::Signal::INT)?;
        let started = Instant::now();
        pipe.read_to_string(&mut told).await?;
        let status = child.wait().await?;
        ensure!(status.code() == Some(130) && status.signal().is_none(), "{status}: {told}");
        ensure!(started.elapsed() < Duration::from_secs(10), "at once took {:?}", started.elapsed());
    }
    let runs = exits(sandbox.command("impatient", &["runs"])?, 0).await?;
    ensure!(String::from_utf8_lossy(&runs.stdout).contains("to settle"), "{}", said(&runs));
    trap.let_go();
    let again = exits(sandbox.run("impatient", "impatient")?, 0).await?;
    ensure!(stderr(&again).contains("settled"), "{}", said(&again));
    for _ in 0..2 {
        exits(sandbox.rollback("impatient")?, 0).await?;
    }
    untouched(sandbox, "impatient", &before).await
}

/// A state directory that takes nothing: refused before the first effect. One that fills up: told, and made good later.
async fn full_disk(sandbox: &Sandbox) -> Result<()> {
    sandbox.plant("full").await?;
    let before = sandbox.state("full").await?;
    let file = sandbox.cluster.folder().join("a-file");
    std::fs::write(&file, "")?;
    let mut command = sandbox.run("full", "full")?;
    command.env("FIRSTLIGHT_STATE_DIR", &file);
    let output = exits(command, 1).await?;
    ensure!(error_of(&output)?.contains("a-file") && stderr(&output).contains("hint:"), "{}", said(&output));
    untouched(sandbox, "full", &before).await?;
    exits(sandbox.run("full-expected", "full")?, 0).await?;
    let after = sandbox.state("full").await?;
    exits(sandbox.rollback("full-expected")?, 0).await?;
    // What a limit on file sizes refuses is refused as by a full disk, with another number. In blocks of 512 bytes.
    let mut stopped = 0;
    for blocks in [0, 1, 2, 3, 4, 6, 8, 12, 16, 24] {
        let home = format!("full-{blocks}");
        // The key is there: what is refused is the journal.
        exits(sandbox.command(&home, &["rollback", "--context=real", "--yes"])?, 0).await?;
        let plain = sandbox.run(&home, "full")?;
        let plain = plain.as_std();
        let mut limited = Command::new("/bin/sh");
        limited
            .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(sandbox.home(&home))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = limited.output().await?;
        match output.status.code() {
            Some(0) => {}
            Some(1) => {
                stopped += 1;
                ensure!(error_of(&output)?.contains("File too large"), "{}", said(&output));
                ensure!(stderr(&output).contains("hint:"), "{}", said(&output));
            }
            _ => anyhow::bail!("{}", said(&output)),
        }
        if blocks == 0 {
            untouched(sandbox, "full", &before).await.with_context(|| said(&output))?;
        }
        let again = exits(sandbox.run(&home, "full")?, 0).await.with_context(|| said(&output))?;
        let found = sandbox.state("full").await?;
        ensure!(found == after, "{blocks} blocks: {}{}", difference(&after, &found), said(&again));
        for _ in 0..2 {
            exits(sandbox.rollback(&home)?, 0).await?;
        }
        untouched(sandbox, "full", &before)
            .await
            .with_context(|| format!("{blocks} blocks: {}", said(&output)))?;
    }
    ensure!(stopped >= 5, "only {stopped} runs met the limit");
    Ok(())
}

/// Workloads that never come up: told at once with reason and limit, left as they are, and taken back.
async fn never_ready(sandbox: &Sandbox) -> Result<()> {
    for (plan, words) in
        [("greedy", &["OOM-killed (exit 137)", "64Mi"][..]), ("absent", &["ImagePullBackOff", "pod absent-"])]
    {
        sandbox.plant(plan).await?;
        let before = sandbox.state(plan).await?;
        let started = Instant::now();
        let output = exits(sandbox.run_plan(plan, plan, plan, &UNSEEN)?, 4).await?;
        let error = error_of(&output)?;
        ensure!(words.iter().all(|word| error.contains(word)), "{}", said(&output));
        ensure!(started.elapsed() < Duration::from_secs(50), "{plan} took {:?}", started.elapsed());
        ensure!(stderr(&output).contains("rollback"), "it does not say how to go back: {}", said(&output));
        let live = sandbox.state(plan).await?;
        ensure!(live.contains_key(&format!("deployments/{plan}")), "it went away by itself");
        exits(sandbox.rollback(plan)?, 0).await?;
        untouched(sandbox, plan, &before).await?;
    }
    Ok(())
}

/// A quota refuses objects before anything is written, and pods with its own words.
async fn quota(sandbox: &Sandbox) -> Result<()> {
    for (namespace, resource, plan, code) in [
        ("quota-objects", "count/deployments.apps", "small", 1),
        ("quota-pods", "requests.memory", "modest", 4),
    ] {
        sandbox.plant(namespace).await?;
        let hard = if code == 1 { json!({resource: "1"}) } else { json!({resource: "1Mi"}) };
        let body = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": hard}});
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas");
        sandbox.api().create(&path, "other", &body).await?;
        until("the quota is counted", 60, async || {
            let live = sandbox.api().get(&format!("{path}/tight")).await?.context("it is not there")?;
            ensure!(live.pointer("/status/used").is_some_and(|used| used.get(resource).is_some()), "{live}");
            Ok(())
        })
        .await?;
        let before = sandbox.state(namespace).await?;
        let output = exits(sandbox.run_plan(plan, namespace, namespace, &UNSEEN)?, code).await?;
        let error = error_of(&output)?;
        ensure!(error.contains("exceeded quota: tight"), "{}", said(&output));
        ensure!(!stderr(&output).contains("permission"), "no permission would help: {}", said(&output));
        if code == 1 {
            untouched(sandbox, namespace, &before).await?;
        }
        exits(sandbox.rollback(namespace)?, 0).await?;
        untouched(sandbox, namespace, &before).await?;
    }
    Ok(())
}

/// A StatefulSet whose pod was broken by the change: going back replaces the pod that nobody else would.
async fn broken_pod(sandbox: &Sandbox) -> Result<()> {
    let (namespace, pod) = ("frail", "/api/v1/namespaces/frail/pods/frail-0");
    sandbox.plant(namespace).await?;
    let other = sandbox.cluster.access("Terraform").await?;
    let frail = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "frail"},
        "spec": {
            "serviceName": "frail", "replicas": 1, "selector": {"matchLabels": {"app": "frail"}},
            "template": {
                "metadata": {"labels": {"app": "frail"}},
                "spec": {"containers": [{"name": "main", "image": "registry.example.com/frail:1"}]},
            },
        },
    });
    other.create("/apis/apps/v1/namespaces/frail/statefulsets", "other", &frail).await?;
    let ready = async || {
        until("the pod is ready", 60, async || {
            let live = sandbox.api().get(pod).await?.context("it is not there")?;
            let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            ensure!(ready, "{}", live["status"]);
            Ok(())
        })
        .await
    };
    ready().await?;
    let before = sandbox.state(namespace).await?;
    let output = exits(sandbox.run_plan("frail", namespace, namespace, &UNSEEN)?, 4).await?;
    ensure!(error_of(&output)?.contains("OOM-killed"), "{}", said(&output));
    let back = exits(sandbox.rollback(namespace)?, 0).await?;
    untouched(sandbox, namespace, &before).await.with_context(|| said(&back))?;
    ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_days_are_told_and_survived() -> Result<()> {
    let mut sandbox = Sandbox::start().await?;
    for name in ["greedy", "absent", "modest"] {
        sandbox.workload(name, "")?;
    }
    sandbox.homeless()?;
    let frail = plan_of("frail").replace(
        "apply: frail",
        "env: { workload: statefulset/frail, namespace: \"${namespace}\", set: { COLOUR: blue } }",
    );
    sandbox.plan("frail", &frail)?;
    let faults = [
        (kwok::Fault::OomKilled, "^greedy-".to_owned()),
        (kwok::Fault::ImagePullBackOff, "^absent-".to_owned()),
        // Only the pod of the changed revision.
        (kwok::Fault::OomKilled, "^frail-0 .*COLOUR".to_owned()),
    ];
    sandbox.cluster.play(&faults).await?;
    together(vec![
        ("usage", usage(&sandbox).boxed_local()),
        ("no cluster", no_cluster(&sandbox).boxed_local()),
        ("forbidden", forbidden(&sandbox).boxed_local()),
        ("signals", signals(&sandbox).boxed_local()),
        ("two signals", two_signals(&sandbox).boxed_local()),
        ("full disk", full_disk(&sandbox).boxed_local()),
        ("never ready", never_ready(&sandbox).boxed_local()),
        ("a broken pod", broken_pod(&sandbox).boxed_local()),
        ("quota", quota(&sandbox).boxed_local()),
    ])
    .await?;
    sandbox.stop().await;
    Ok(())
}
