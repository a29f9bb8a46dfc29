//! A bad line: answers lost, refused and cut between the program and a real API server. The end state is that of a good
//! line, nothing is done twice, and what cannot be known is said.

use crate::audit;
use crate::condition::until;
use crate::proxy::{Fault, Proxy};
use crate::sandbox::{Sandbox, difference, exits, said, stderr, together};
use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type State = BTreeMap<String, Value>;

/// What a run and its way back leave and write on a good line.
struct Good {
    before: State,
    after: State,
    writes: Vec<String>,
    writes_back: Vec<String>,
}

/// A refusal in the API server's words.
fn status(code: u16, reason: &str) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "played by the test"})
        .to_string()
}

fn refuse(code: u16) -> Fault {
    Fault::Refuse(code, Vec::new(), status(code, "InternalError"))
}

/// What an operator's requests carried out in a namespace, from the `since`-th on; sorted.
fn writes(sandbox: &Sandbox, namespace: &str, since: usize) -> Result<Vec<String>> {
    let own = format!("{namespace}/");
    let carried_out = |request: &&audit::Request| {
        request.user == "operator"
            && request.writes()
            && (200..300).contains(&request.code)
            && request.object.starts_with(&own)
    };
    let audit = sandbox.cluster.audit_so_far()?;
    let mut lines: Vec<String> = audit
        .iter()
        .skip(since)
        .filter(carried_out)
        .map(|request| {
            format!("{} {} {}", request.verb, request.resource, request.object.replacen(&own, "", 1))
        })
        .collect();
    lines.sort();
    Ok(lines)
}

/// The same, once the audit log has caught up to as many writes as expected and no more come.
async fn written(sandbox: &Sandbox, namespace: &str, since: usize, expected: &[String]) -> Result<()> {
    until("the audit log shows each effect once", 10, async || {
        let found = writes(sandbox, namespace, since)?;
        ensure!(found == expected, "expected {expected:?}, found {found:?}");
        Ok(())
    })
    .await
}

async fn good(sandbox: &Sandbox) -> Result<Good> {
    let namespace = "good";
    sandbox.plant(namespace).await?;
    let before = sandbox.state(namespace).await?;
    exits(sandbox.run(namespace, namespace)?, 0).await?;
    let after = sandbox.state(namespace).await?;
    // Four created, each with its ownership, and two changed.
    let writes = until("the audit log is complete", 10, async || {
        let found = writes(sandbox, namespace, 0)?;
        ensure!(found.len() == 10, "{found:?}");
        Ok(found)
    })
    .await?;
    let since = sandbox.cluster.audit_so_far()?.len();
    exits(sandbox.rollback(namespace)?, 0).await?;
    // Four deleted, and two restored: values, then ownership.
    let writes_back = until("the audit log is complete", 10, async || {
        let found = self::writes(sandbox, namespace, since)?;
        ensure!(found.len() == 8, "{found:?}");
        Ok(found)
    })
    .await?;
    ensure!(sandbox.state(namespace).await? == before, "the good line does not go back");
    Ok(Good { before, after, writes, writes_back })
}

/// One line with its faults, one after the other: each must strike, and change nothing about the end.
async fn lane(
    sandbox: &Sandbox,
    good: &Good,
    namespace: &'static str,
    faults: Vec<(Method, &'static str, u32, Fault)>,
    back: Vec<(Method, &'static str, u32, Fault)>,
) -> Result<()> {
    sandbox.plant(namespace).await?;
    let rounds = faults.len().max(back.len());
    let (mut faults, mut back) = (faults.into_iter(), back.into_iter());
    for round in 0..rounds {
        let home = format!("{namespace}-{round}");
        for (going, fault) in [(true, faults.next()), (false, back.next())] {
            let proxy = Proxy::start(&sandbox.cluster, &home).await?;
            let trap = fault.map(|(method, part, times, fault)| {
                let shown = format!("{method} {part}");
                (proxy.set(method, part, times, fault), times, shown)
            });
            let shown = trap.as_ref().map_or_else(String::new, |(.., shown)| shown.clone());
            let since = sandbox.cluster.audit_so_far()?.len();
            let mut command = if going { sandbox.run(&home, namespace)? } else { sandbox.rollback(&home)? };
            command.env("KUBECONFIG", proxy.kubeconfig());
            let output = exits(command, 0).await.with_context(|| format!("round {round}, {shown}"))?;
            let place = || format!("round {round}, {shown}: {}", said(&output));
            if let Some((trap, times, _)) = &trap {
                ensure!(trap.struck() == *times, "it struck {} times of {times}: {}", trap.struck(), place());
            }
            let (expected, lines) =
                if going { (&good.after, &good.writes) } else { (&good.before, &good.writes_back) };
            let found = sandbox.state(namespace).await?;
            ensure!(found == *expected, "{}{}", place(), difference(expected, &found));
            written(sandbox, namespace, since, lines).await.with_context(place)?;
        }
    }
    Ok(())
}

/// The requests of a run that change something, one of each sort.
const EFFECTS: [(Method, &str); 5] = [
    (Method::POST, "/configmaps?"),
    (Method::PATCH, "/configmaps/one?"),
    (Method::POST, "/statefulsets?"),
    (Method::PATCH, "/configmaps/shared?"),
    (Method::PATCH, "/deployments/app?"),
];

/// Those of a way back.
const EFFECTS_BACK: [(Method, &str); 4] = [
    (Method::PATCH, "/deployments/app?"),
    (Method::PATCH, "/configmaps/shared?"),
    (Method::DELETE, "/statefulsets/store"),
    (Method::DELETE, "/configmaps/two"),
];

fn each(effects: &[(Method, &'static str)], fault: &Fault) -> Vec<(Method, &'static str, u32, Fault)> {
    effects.iter().map(|(method, part)| (method.clone(), *part, 1, fault.clone())).collect()
}

/// Busy servers, and lines that fail for reads, reviews of the claim, and watches.
async fn around_the_effects(sandbox: &Sandbox, good: &Good) -> Result<()> {
    let after = vec![("retry-after", "1".to_owned())];
    let busy = || Fault::Refuse(429, after.clone(), status(429, "TooManyRequests"));
    let expired = || Fault::Refuse(410, Vec::new(), status(410, "Expired"));
    let object: Value = serde_json::from_str(&status(410, "Expired"))?;
    let expired_in_stream = format!("{}\n", json!({"type": "ERROR", "object": object}));
    let faults = vec![
        // First of all: later on the Lease is there.
        (Method::POST, "/leases?", 1, Fault::Lose(503)),
        (Method::POST, "/configmaps?", 2, busy()),
        (Method::GET, "/configmaps/shared", 2, refuse(503)),
        (Method::GET, "/deployments/app", 2, Fault::ResetBefore),
        (Method::GET, "watch=true", 6, expired()),
        (Method::GET, "watch=true", 4, Fault::Refuse(200, Vec::new(), expired_in_stream)),
        (Method::GET, "watch=true", 6, Fault::ResetBefore),
    ];
    let back = vec![
        (Method::DELETE, "/configmaps/", 2, busy()),
        (Method::PATCH, "/configmaps/shared?", 2, busy()),
        (Method::PUT, "/leases/", 1, Fault::Lose(504)),
        (Method::GET, "watch=true", 2, expired()),
    ];
    lane(sandbox, good, "around", faults, back).await
}

/// Watches that are cut in the middle of a wait are taken up again: the pod gets its node only after the cut.
async fn cut_watches(sandbox: &Sandbox) -> Result<()> {
    let namespace = "cut";
    sandbox.plant(namespace).await?;
    let proxy = Proxy::start(&sandbox.cluster, namespace).await?;
    let trap = proxy.set(Method::GET, "watch=true", 4, Fault::Cut);
    let mut command = sandbox.run_plan("homeless", namespace, namespace, &crate::sandbox::UNSEEN)?;
    let running = command.env("KUBECONFIG", proxy.kubeconfig()).output();
    let meanwhile = async {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        until("the pod waits for a node, and everything is watched", 60, async || {
            let pods = sandbox.api().list(&path).await?;
            ensure!(pods.iter().any(|pod| pod["status"].to_string().contains("Unschedulable")), "{pods:?}");
            ensure!(trap.struck() == 4, "{} watches", trap.struck());
            Ok(())
        })
        .await?;
        trap.let_go();
        let label = json!({"metadata": {"labels": {"home": namespace}}});
        sandbox.api().merge("/api/v1/nodes/node-1", "harness", &label).await.map(|_| ())
    };
    let (output, done) = tokio::join!(running, meanwhile);
    let output = output?;
    done.with_context(|| said(&output))?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// A create whose answer is lost, and a cluster that cannot be asked: it is said that nobody knows, and the next run asks.
async fn nobody_knows(sandbox: &Sandbox, good: &Good) -> Result<()> {
    let namespace = "doubt";
    sandbox.plant(namespace).await?;
    let proxy = Proxy::start(&sandbox.cluster, namespace).await?;
    let held = proxy.set(Method::POST, "/statefulsets?", 1, Fault::HoldAndLose(504));
    let mut command = sandbox.run(namespace, namespace)?;
    let running = command.env("KUBECONFIG", proxy.kubeconfig()).output();
    let meanwhile = async {
        until("the effect is in flight", 60, async || {
            ensure!(held.struck() == 1, "not yet");
            Ok(())
        })
        .await?;
        proxy.set(Method::GET, "/statefulsets/store", 1000, refuse(503));
        held.let_go();
        Ok::<_, anyhow::Error>(())
    };
    let (output, done) = tokio::join!(running, meanwhile);
    let output = output?;
    done.with_context(|| said(&output))?;
    ensure!(output.status.code() == Some(1), "{}", said(&output));
    let text = stderr(&output);
    ensure!(text.contains("error: it is not known whether") && text.contains("statefulset/store"), "{text}");
    let runs = exits(sandbox.command(namespace, &["runs"])?, 0).await?;
    ensure!(String::from_utf8_lossy(&runs.stdout).contains("1 effect to settle"), "{}", said(&runs));
    let again = exits(sandbox.run(namespace, namespace)?, 0).await?;
    ensure!(stderr(&again).contains("it happened"), "{}", said(&again));
    let found = sandbox.state(namespace).await?;
    ensure!(found == good.after, "{}", difference(&good.after, &found));
    for _ in 0..2 {
        exits(sandbox.rollback(namespace)?, 0).await?;
    }
    let found = sandbox.state(namespace).await?;
    ensure!(found == good.before, "{}", difference(&good.before, &found));
    Ok(())
}

/// A server that takes no write at all: the run fails, says why, and leaves nothing unknown.
async fn no_writes(sandbox: &Sandbox, good: &Good) -> Result<()> {
    let namespace = "refused";
    sandbox.plant(namespace).await?;
    let proxy = Proxy::start(&sandbox.cluster, namespace).await?;
    let trap = proxy.set(Method::POST, "/configmaps?", 1000, refuse(503));
    let mut command = sandbox.run(namespace, namespace)?;
    command.env("KUBECONFIG", proxy.kubeconfig());
    let output = exits(command, 1).await?;
    ensure!((2..40).contains(&trap.struck()), "{} tries", trap.struck());
    ensure!(stderr(&output).contains("played by the test"), "{}", said(&output));
    let runs = exits(sandbox.command(namespace, &["runs"])?, 0).await?;
    ensure!(!String::from_utf8_lossy(&runs.stdout).contains("to settle"), "{}", said(&runs));
    let found = sandbox.state(namespace).await?;
    ensure!(found == good.before, "{}", difference(&good.before, &found));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_changes_nothing_about_the_end() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.homeless()?;
    let good = good(&sandbox).await?;
    let lane = |name, fault: Fault| {
        lane(&sandbox, &good, name, each(&EFFECTS, &fault), each(&EFFECTS_BACK, &fault)).boxed_local()
    };
    together(vec![
        ("answers lost to 500", lane("lost-500", Fault::Lose(500))),
        ("answers lost to 503", lane("lost-503", Fault::Lose(503))),
        ("answers lost to 504", lane("lost-504", Fault::Lose(504))),
        ("refused with 503", lane("refused-503", refuse(503))),
        ("reset before", lane("reset-before", Fault::ResetBefore)),
        ("reset after", lane("reset-after", Fault::ResetAfter)),
        ("around the effects", around_the_effects(&sandbox, &good).boxed_local()),
        ("cut watches", cut_watches(&sandbox).boxed_local()),
        ("nobody knows", nobody_knows(&sandbox, &good).boxed_local()),
        ("no writes", no_writes(&sandbox, &good).boxed_local()),
    ])
    .await?;
    sandbox.stop().await;
    Ok(())
}
