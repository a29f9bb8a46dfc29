//! Gathers the facts that proofs ask for, and has them judged.

use super::event::{Outcome, Sign};
use super::preview::Preview;
use super::{Halt, World, wait};
use crate::object::{ObjectRef, kind, status};
use crate::plan::{Action, Plan, ProofName, ReadyTarget, Step, Watch};
use crate::port::{Access, Endpoint, Selection};
use crate::proof::datasource::{Known, config_map};
use crate::proof::{self, Finding, Judgement, Verdict, first_light::Sighting};
use crate::span;
use crate::step::{Intent, compile};
use crate::text::Clean;
use futures::stream::{self, StreamExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often an endpoint is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// How far back the application's log lines are looked for, in seconds.
const LOOK_BACK: u64 = 900;

/// Judges a proof of a step, before or after it. `previews` are those of the step. What takes time to come true is waited
/// for, as long as the step's timeout allows.
///
/// # Errors
/// The operator asked to stop.
pub async fn judge(
    world: &World,
    plan: &Plan,
    step: &Step,
    previews: &[Preview],
    proof: ProofName,
) -> Result<Judgement, Halt> {
    match proof {
        ProofName::Access => Ok(access(world, plan).await),
        ProofName::GitCrypt => Ok(proof::git_crypt::judge(&world.repository.git_crypt().await, world.wanted)),
        ProofName::Datasource => Ok(datasource(world, plan, previews).await),
        ProofName::RolledOut => rolled_out(world, step).await,
        ProofName::Ready => ready(world, step).await,
        ProofName::FirstLight => match &step.action {
            Action::Watch(watch) => first_light(world, plan, watch).await,
            _ => Ok(one(Finding::not_applicable("the step watches no spans"))),
        },
    }
}

fn one(finding: Finding) -> Judgement {
    Judgement::of(vec![finding])
}

async fn access(world: &World, plan: &Plan) -> Judgement {
    let intents: Vec<Intent> = plan
        .steps()
        .flat_map(|(_, step)| {
            step.action.objects().into_iter().map(|object| Intent {
                body: compile::bare(&object),
                manager: plan.manager(step),
                must_exist: compile::must_exist(step),
                take: Vec::new(),
                object,
            })
        })
        .collect();
    let forwards: BTreeSet<String> = plan.steps().flat_map(|(_, step)| compile::forwards(step)).collect();
    let mut unnamed = Vec::new();
    let mut named = Vec::new();
    for intent in &intents {
        match kind::known(&intent.object.api_version, &intent.object.kind) {
            Some(kind) => named.push((intent, kind.plural)),
            None => unnamed.push(Finding::unknown(format!("what {} needs is not known", intent.object))),
        }
    }
    let questions = proof::access::needs(&named, &forwards);
    let answers: Vec<(Access, Result<bool, Clean>)> = stream::iter(questions)
        .map(|access| async move {
            let answer = world.cluster.may(&access).await.map_err(|error| Clean::new(error.to_string()));
            (access, answer)
        })
        .buffered(super::preview::CONCURRENCY)
        .collect()
        .await;
    let judgement = proof::access::judge(&answers);
    if unnamed.is_empty() {
        return judgement;
    }
    unnamed.extend(judgement.findings);
    Judgement::of(unnamed)
}

async fn datasource(world: &World, plan: &Plan, previews: &[Preview]) -> Judgement {
    let created = created(plan);
    let mut findings = Vec::new();
    for preview in previews {
        let object = &preview.intent.object;
        if object.kind != "ConfigMap" {
            continue;
        }
        let Some(new) = &preview.result else {
            findings.push(Finding::unknown(format!("{object} could not be tried")));
            continue;
        };
        // What the sidecar reads beside this ConfigMap: names, uids and file names must not collide with it.
        let selection = Selection {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: object.namespace.clone(),
            labels: config_map::LABEL.to_owned(),
            fields: String::new(),
        };
        let listed = world.cluster.list(&selection).await;
        let others: Option<Vec<Value>> = match listed {
            Ok(all) => Some(all.into_iter().filter(|other| name(other) != Some(&object.name)).collect()),
            Err(error) => {
                findings
                    .push(Finding::unknown(format!("the other data sources could not be listed: {error}")));
                None
            }
        };
        let mut known = Known::default();
        for other in others.iter().flatten() {
            let origin = Clean::new(format!("configmap/{}", name(other).unwrap_or_default()));
            known_from(&mut known, other, &origin, false, &mut findings);
        }
        for (reference, body) in created.iter().filter(|(reference, _)| reference != object) {
            let exists = others.iter().flatten().any(|other| name(other) == Some(&reference.name));
            if !exists {
                let origin = Clean::new(format!("{}, which the plan creates", reference.short()));
                known_from(&mut known, body, &origin, true, &mut findings);
            }
        }
        let case = config_map::Case {
            old: preview.live.as_ref(),
            new,
            others: others.as_deref(),
            known: &known,
            label: config_map::LABEL,
        };
        findings.extend(config_map::judge(&case).findings);
    }
    Judgement::of(findings)
}

fn name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

fn known_from(
    known: &mut Known,
    config_map: &Value,
    origin: &Clean,
    created: bool,
    findings: &mut Vec<Finding>,
) {
    let data = config_map.get("data").and_then(Value::as_object);
    for text in data.into_iter().flatten().filter_map(|(_, text)| text.as_str()) {
        if let Err(cause) = known.add(text, origin, created) {
            findings.push(Finding::unknown(format!("{origin} could not be read: {cause}")));
        }
    }
}

/// ConfigMaps with data sources that the plan itself creates.
fn created(plan: &Plan) -> Vec<(ObjectRef, Value)> {
    let mut all = Vec::new();
    for (_, step) in plan.steps() {
        let assets: Vec<_> = match &step.action {
            Action::Apply { objects, .. } => objects.iter().collect(),
            Action::Datasource { object, .. } => vec![object.as_ref()],
            Action::Prove { .. } | Action::DatasourceField(_) | Action::Env { .. } | Action::Watch(_) => {
                Vec::new()
            }
        };
        for asset in assets {
            let labels = asset.object.pointer("/metadata/labels");
            if asset.reference.kind == "ConfigMap"
                && labels.is_some_and(|l| l.get(config_map::LABEL).is_some())
            {
                all.push((asset.reference.clone(), asset.object.clone()));
            }
        }
    }
    all
}

async fn rolled_out(world: &World, step: &Step) -> Result<Judgement, Halt> {
    let objects: Vec<_> =
        step.action.objects().into_iter().filter(|object| status::has_rollout(&object.kind)).collect();
    if objects.is_empty() {
        return Ok(one(Finding::not_applicable("the step has no workload")));
    }
    // One after the other would wait as long, and say less: the first that fails ends the wait.
    let mut waits = objects
        .iter()
        .map(|object| wait::rolled_out(world, object, step.timeout))
        .collect::<stream::FuturesUnordered<_>>();
    let mut findings = Vec::new();
    while let Some(finding) = waits.next().await {
        let finding = finding?;
        let over = finding.verdict == Verdict::Refuted;
        findings.push(finding);
        if over {
            break;
        }
    }
    Ok(Judgement::of(findings))
}

async fn ready(world: &World, step: &Step) -> Result<Judgement, Halt> {
    if step.ready.is_empty() {
        return Ok(one(Finding::not_applicable("the step names no endpoint")));
    }
    let mut findings = Vec::new();
    for target in &step.ready {
        findings.push(ready_target(world, target, step.timeout).await?);
    }
    Ok(Judgement::of(findings))
}

async fn ready_target(world: &World, target: &ReadyTarget, timeout: Duration) -> Result<Finding, Halt> {
    let started = world.clock.boot();
    let what = Clean::new(format!("{} of {}", target.path, target.endpoint));
    loop {
        let answer = world
            .http
            .request(&target.endpoint, "GET", &target.path, None)
            .await
            .map(|answer| (answer.status, first_line(&answer.body)));
        let finding = proof::ready::judge(what.as_str(), &answer);
        let waited = world.clock.boot().saturating_sub(started);
        if finding.verdict == Verdict::Proven || waited >= timeout {
            return Ok(finding);
        }
        say_waiting(world, &what, &finding.text, waited);
        wait::pause(world, AGAIN, &format!("while waiting for {what}")).await?;
    }
}

fn first_line(body: &[u8]) -> Clean {
    let text = String::from_utf8_lossy(body.get(..300).unwrap_or(body));
    Clean::new(text.lines().next().unwrap_or_default())
}

fn say_waiting(world: &World, what: &Clean, reason: &Clean, waited: Duration) {
    let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    world.reader.sign(&Sign::Waiting { what: what.clone(), reason: reason.clone(), waited });
}

async fn first_light(world: &World, plan: &Plan, watch: &Watch) -> Result<Judgement, Halt> {
    let started = world.clock.boot();
    let since = match since(world, plan).await {
        Ok(since) => since,
        Err(finding) => return Ok(one(finding)),
    };
    let what = Clean::new(format!("spans of {}", watch.service));
    let mut sighting = Sighting { service: Clean::new(&watch.service), ..Sighting::default() };
    let mut counts: BTreeMap<span::TraceId, usize> = BTreeMap::new();
    loop {
        sighting.troubles.clear();
        look(world, watch, since, &mut sighting, &mut counts).await;
        let waited = world.clock.boot().saturating_sub(started);
        if sighting.complete() || waited >= watch.deadline {
            return Ok(proof::first_light::judge(&sighting));
        }
        let reason =
            proof::first_light::judge(&sighting).findings.first().map(|f| f.text.clone()).unwrap_or_default();
        say_waiting(world, &what, &reason, waited);
        wait::pause(world, AGAIN, "while watching for the first span").await?;
    }
}

/// Since when a span proves anything, in seconds since the epoch by the cluster's clock: since the pods run that have the
/// environment which the plan set. An older span was sent by an older pod, and says nothing of this one.
async fn since(world: &World, plan: &Plan) -> Result<u64, Finding> {
    let unknown = |object: &ObjectRef, cause: &str| {
        Finding::unknown(format!("since when {object} runs as it does could not be told: {cause}"))
    };
    let mut since = 0;
    for (_, step) in plan.steps() {
        let Action::Env { workload, .. } = &step.action else { continue };
        let live =
            world.cluster.get(workload).await.map_err(|error| unknown(workload, &error.to_string()))?;
        let labels = live
            .as_ref()
            .and_then(status::pod_selector)
            .ok_or_else(|| unknown(workload, "it has no pods"))?;
        let selection = Selection {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: workload.namespace.clone(),
            labels,
            fields: String::new(),
        };
        let pods =
            world.cluster.list(&selection).await.map_err(|error| unknown(workload, &error.to_string()))?;
        let started = pods
            .iter()
            .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
            .filter_map(|pod| {
                pod.pointer("/metadata/creationTimestamp")?.as_str()?.parse::<jiff::Timestamp>().ok()
            })
            .min()
            .ok_or_else(|| unknown(workload, "it has no pods"))?;
        since = since.max(u64::try_from(started.as_second()).unwrap_or(0));
    }
    Ok(since)
}

/// One look: ids from the log lines are fetched at once, search fills in the rest (it lags by 5 to 15 s on Tempo 2).
async fn look(
    world: &World,
    watch: &Watch,
    since: u64,
    sighting: &mut Sighting,
    counts: &mut BTreeMap<span::TraceId, usize>,
) {
    let now = world.clock.wall() / 1000;
    let from = since.max(now.saturating_sub(LOOK_BACK));
    if sighting.by_id.is_none() {
        let path =
            span::loki_query_path(&watch.loki_query, from * 1_000_000_000, (now + 1) * 1_000_000_000, 100);
        match fetch(world, &watch.loki, &path).await.and_then(|body| span::parse_loki(&body)) {
            Err(cause) => sighting.troubles.push(Clean::new(format!("Loki: {cause}"))),
            Ok(lines) => {
                let ids = lines.iter().filter_map(|line| line.trace);
                // The newest lines come first; a few are enough, and each is one request.
                for id in ids.take(5) {
                    sighting.logged.get_or_insert(id);
                    match spans_of(world, watch, since, id, counts).await {
                        Err(cause) => sighting.troubles.push(Clean::new(format!("Tempo: {cause}"))),
                        Ok(0) => {}
                        Ok(spans) => {
                            sighting.logged = Some(id);
                            sighting.by_id = Some((id, spans));
                            break;
                        }
                    }
                }
            }
        }
    }
    if sighting.by_search.is_none() {
        let path = span::search_path(&watch.service, from, now + 60, 20);
        match fetch(world, &watch.tempo, &path).await.and_then(|body| span::parse_search(&body)) {
            Err(cause) => sighting.troubles.push(Clean::new(format!("Tempo search: {cause}"))),
            Ok(found) => {
                // What search returns counts only if the trace itself holds a span of the application.
                for found in found.iter().take(5) {
                    if let Ok(1..) = spans_of(world, watch, since, found.trace, counts).await {
                        sighting.by_search = Some(found.trace);
                        break;
                    }
                }
            }
        }
    }
}

/// How many spans of the application a trace has that began since then, fetched by id.
async fn spans_of(
    world: &World,
    watch: &Watch,
    since: u64,
    id: span::TraceId,
    counts: &mut BTreeMap<span::TraceId, usize>,
) -> Result<usize, Clean> {
    if let Some(count) = counts.get(&id).filter(|count| **count > 0) {
        return Ok(*count);
    }
    let answer = world.http.request(&watch.tempo, "GET", &span::trace_path(id), None).await?;
    let count = match answer.status {
        200 => {
            let trace = span::parse_tempo_trace(&answer.body)?;
            let ours = trace.spans.iter().filter(|span| span.service.as_str() == watch.service);
            ours.filter(|span| span.trace == id && span.start_ns / 1_000_000_000 >= since).count()
        }
        404 => 0,
        status => return Err(Clean::new(format!("trace {id} answers {status}"))),
    };
    counts.insert(id, count);
    Ok(count)
}

async fn fetch(world: &World, endpoint: &Endpoint, path: &str) -> Result<Vec<u8>, Clean> {
    let answer = world.http.request(endpoint, "GET", path, None).await?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    Err(Clean::new(format!("it answers {}: {}", answer.status, first_line(&answer.body))))
}

/// The halt of a proof that was not passed.
pub fn halt(place: &Clean, proof: &str, judgement: &Judgement) -> Halt {
    let finding = judgement.findings.first();
    let text = finding.map(|finding| finding.text.clone()).unwrap_or_default();
    let outcome = if judgement.verdict == Verdict::Refuted { Outcome::Refuted } else { Outcome::Unknown };
    let halt = Halt::new(outcome, format!("{proof} is {} in {place}: {text}", judgement.verdict));
    match finding.and_then(|finding| finding.hint.clone()) {
        Some(hint) => halt.hint(hint),
        None => halt,
    }
}
