//! The run: phase by phase, a gate before each, evidence after each step.

use super::batch::{self, Work};
use super::book::Book;
use super::event::{Approval, Event, Outcome, Sign};
use super::execute;
use super::gate::{Answer, Gate, GateStep};
use super::preview::{self, Block, Decision, Preview};
use super::{Halt, World, observe};
use crate::object::ObjectRef;
use crate::plan::{Action, Phase, Plan, ProofName, Step};
use crate::port::ClusterIdentity;
use crate::proof::{Judgement, Verdict};
use crate::step::compile;
use crate::text::Clean;
use futures::FutureExt;
use serde_json::Value;
use std::collections::BTreeMap;

/// How often one phase's gate is opened again because something moved.
const GATES: usize = 5;

/// What the command line decides about a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The last phase to run.
    pub until: Option<String>,
    /// Proofs whose Unknown is accepted, each with its reason.
    pub accept_unknown: BTreeMap<String, Clean>,
    /// Proofs whose Refuted is overridden, each with its reason.
    pub override_refuted: BTreeMap<String, Clean>,
}

/// What a preview shows of one step.
#[derive(Clone, Debug)]
pub struct StepView {
    /// The phase.
    pub phase: Clean,
    /// Its objects, proofs and name.
    pub step: GateStep,
    /// Proofs that are judged only after the step.
    pub later: Vec<ProofName>,
}

/// Previews the whole plan; nothing is written. Proofs that judge what a step did are named, not judged.
///
/// # Errors
/// The cluster could not be asked, or a stop was asked for.
pub async fn preview_plan(world: &World, plan: &Plan, until: Option<&str>) -> Result<Vec<StepView>, Halt> {
    let mut views = Vec::new();
    for phase in phases(plan, until) {
        let steps = look_at(world, plan, phase).await?;
        for (step, view) in phase.steps.iter().zip(steps) {
            views.push(StepView { phase: Clean::new(&phase.name), step: view, later: after(step) });
        }
    }
    Ok(views)
}

/// Runs a plan. What happened is in the book, whatever this returns.
///
/// # Errors
/// Why it stopped before its end.
pub async fn run(
    world: &World,
    book: &mut Book,
    plan: &Plan,
    identity: &ClusterIdentity,
    options: &Options,
) -> Result<Clean, Halt> {
    let mut changed = 0_u32;
    for phase in phases(plan, options.until.as_deref()) {
        world.safe_point()?;
        book.note(Event::PhaseStarted { phase: Clean::new(&phase.name) }).await?;
        changed += match run_phase(world, book, plan, phase, identity, options).await {
            Ok(changed) => changed,
            Err(halt) if halt.hint.is_none() && book.state.standing().next().is_some() => {
                return Err(halt.hint("`firstlight rollback` takes back what this run changed"));
            }
            Err(halt) => return Err(halt),
        };
        book.note(Event::PhaseFinished { phase: Clean::new(&phase.name) }).await?;
    }
    Ok(match changed {
        0 => Clean::from("nothing to do: every object is as the plan wants it"),
        1 => Clean::from("1 object changed"),
        n => Clean::new(format!("{n} objects changed")),
    })
}

/// The phases to run: all, or those up to and with `until`.
pub fn phases<'p>(plan: &'p Plan, until: Option<&str>) -> impl Iterator<Item = &'p Phase> {
    let last = until.and_then(|until| plan.phases.iter().position(|phase| phase.name == until));
    plan.phases.iter().take(last.map_or(usize::MAX, |last| last + 1))
}

async fn run_phase(
    world: &World,
    book: &mut Book,
    plan: &Plan,
    phase: &Phase,
    identity: &ClusterIdentity,
    options: &Options,
) -> Result<u32, Halt> {
    let mut moved: Vec<Clean> = Vec::new();
    let mut changed = 0;
    for _ in 0..GATES {
        let steps = look_at(world, plan, phase).await?;
        for view in &steps {
            for (proof, judgement) in &view.proofs {
                settle_proof(world, book, phase, &view.name, proof, judgement, options).await?;
            }
        }
        if let Some(block) = blocked(&steps) {
            let halt = Halt::new(Outcome::Failed, &block.reason);
            return Err(match &block.hint {
                Some(hint) => halt.hint(hint),
                None => halt,
            });
        }
        let gate =
            Gate { cluster: identity.clone(), phase: Clean::new(&phase.name), steps, moved: moved.clone() };
        pass_gate(world, book, &gate).await?;
        match run_steps(world, book, plan, phase, gate, options).await? {
            Steps::Done(count) => return Ok(changed + count),
            Steps::Moved { count, what } => {
                changed += count;
                let objects = what.iter().map(|(object, text)| (object.clone(), text.clone())).collect();
                book.note(Event::GateMoved { phase: Clean::new(&phase.name), objects }).await?;
                moved = what.into_iter().map(|(_, text)| text).collect();
            }
        }
    }
    Err(Halt::new(Outcome::NotApproved, format!("phase {} moves faster than it can be approved", phase.name))
        .hint("see who else is writing to these objects"))
}

/// Compiles, previews and judges what comes before the gate of a phase.
async fn look_at(world: &World, plan: &Plan, phase: &Phase) -> Result<Vec<GateStep>, Halt> {
    let later: Vec<String> = plan
        .steps()
        .flat_map(|(_, step)| step.action.objects())
        .filter(|object| object.kind == "Namespace")
        .map(|object| object.name)
        .collect();
    let mut views = Vec::new();
    for step in &phase.steps {
        let mut live: BTreeMap<ObjectRef, Option<Value>> = BTreeMap::new();
        for object in compile::reads(step) {
            let found = world.cluster.get(&object).await?;
            live.insert(object, found);
        }
        let intents = compile::intents(plan, step, &live)
            .map_err(|reason| Halt::new(Outcome::Failed, format!("step {}: {reason}", step.name)))?;
        if intents.len() > 20 {
            let (what, total) = (Clean::new(&step.name), u32::try_from(intents.len()).unwrap_or(u32::MAX));
            world.reader.sign(&Sign::Progress { what, done: 0, total });
        }
        let previews = preview::preview_all(world.cluster.as_ref(), &world.key, intents, &later).await?;
        let mut proofs = Vec::new();
        let asked: &[ProofName] = match &step.action {
            Action::Prove { proofs } => proofs,
            _ => &[],
        };
        for proof in asked.iter().chain(&step.before) {
            let judgement = observe::judge(world, plan, step, &previews, *proof).await?;
            proofs.push((Clean::new(proof.as_str()), judgement));
        }
        views.push(GateStep { name: Clean::new(&step.name), previews, proofs });
    }
    Ok(views)
}

/// The first step that cannot be carried out, with how many more there are.
fn blocked(steps: &[GateStep]) -> Option<Block> {
    let mut blocks =
        steps.iter().flat_map(|step| &step.previews).filter_map(|preview| match &preview.decision {
            Decision::Blocked(block) => Some(block),
            _ => None,
        });
    let first = blocks.next()?.clone();
    match blocks.count() {
        0 => Some(first),
        more => Some(Block {
            reason: Clean::new(format!("{} (and {more} more)", first.reason)),
            hint: first.hint,
        }),
    }
}

/// Records a judgement, and halts unless it is proven or passed with a reason.
async fn settle_proof(
    world: &World,
    book: &mut Book,
    phase: &Phase,
    step: &Clean,
    proof: &Clean,
    judgement: &Judgement,
    options: &Options,
) -> Result<(), Halt> {
    let place = Clean::new(format!("{}/{step}", phase.name));
    let given = match judgement.verdict {
        Verdict::Proven | Verdict::NotApplicable => None,
        Verdict::Unknown => options.accept_unknown.get(proof.as_str()).cloned(),
        Verdict::Refuted if judgement.is_grave() => None,
        Verdict::Refuted => options.override_refuted.get(proof.as_str()).cloned(),
    };
    let holds = matches!(judgement.verdict, Verdict::Proven | Verdict::NotApplicable);
    let passed = match given {
        Some(reason) => Some(reason),
        None if holds => None,
        None => {
            let mut stop = world.stop.clone();
            tokio::select! {
                biased;
                cause = super::asked(&mut stop) => return Err(super::stopped(cause, "at a question")),
                passed = world.operator.pass(&place, proof, judgement) => passed,
            }
        }
    };
    let halted = !holds && passed.is_none();
    book.note(Event::ProofJudged {
        phase: Clean::new(&phase.name),
        step: step.clone(),
        proof: proof.clone(),
        judgement: judgement.clone(),
        passed,
    })
    .await?;
    if !halted {
        return Ok(());
    }
    // A question that was cut short is no answer.
    world.safe_point()?;
    Err(observe::halt(&place, proof.as_str(), judgement))
}

async fn pass_gate(world: &World, book: &mut Book, gate: &Gate) -> Result<(), Halt> {
    let phase = gate.phase.clone();
    if gate.changes() == 0 {
        if gate.steps.iter().any(|step| !step.previews.is_empty()) {
            let approval = Approval::Unneeded;
            book.note(Event::GateApproved { phase, approval, objects: Vec::new() }).await?;
        }
        return Ok(());
    }
    let mut stop = world.stop.clone();
    let answer = tokio::select! {
        biased;
        cause = super::asked(&mut stop) => return Err(super::stopped(cause, "at the gate; nothing of this phase was sent")),
        answer = world.operator.gate(gate) => answer,
    };
    match answer {
        Answer::Approve(approval) => {
            let planned = gate.steps.iter().flat_map(|step| &step.previews).filter_map(|preview| {
                Some((preview.intent.object.clone(), preview.fingerprint(&world.key)?))
            });
            let objects = planned.collect();
            book.note(Event::GateApproved { phase, approval, objects }).await
        }
        Answer::Decline => {
            book.note(Event::GateDeclined { phase }).await?;
            Err(Halt::new(
                Outcome::NotApproved,
                format!("phase {} was declined; nothing of it was sent", gate.phase),
            )
            .hint("`firstlight rollback` takes back the phases before it"))
        }
        Answer::CannotAsk(what) => {
            Err(Halt::new(Outcome::NotApproved, what)
                .hint("`firstlight preview` shows what would change now"))
        }
    }
}

/// Proofs judged after a step; a watch is there for first light.
fn after(step: &Step) -> Vec<ProofName> {
    let mut proofs = step.after.clone();
    if matches!(step.action, Action::Watch(_)) && !proofs.contains(&ProofName::FirstLight) {
        proofs.push(ProofName::FirstLight);
    }
    proofs
}

/// What became of the steps of a phase.
enum Steps {
    Done(u32),
    Moved { count: u32, what: Vec<(ObjectRef, Clean)> },
}

async fn run_steps(
    world: &World,
    book: &mut Book,
    plan: &Plan,
    phase: &Phase,
    gate: Gate,
    options: &Options,
) -> Result<Steps, Halt> {
    let mut count = 0;
    for (step, view) in phase.steps.iter().zip(gate.steps) {
        world.safe_point()?;
        book.note(Event::StepStarted { phase: Clean::new(&phase.name), step: Clean::new(&step.name) })
            .await?;
        let mut changed = 0;
        let todo: Vec<Preview> = view.previews.iter().filter(|preview| preview.changes()).cloned().collect();
        for wave in preview::waves(todo, |preview| &preview.intent.object) {
            let (sent, moved) = send_wave(world, book, phase, step, wave).await?;
            changed += sent;
            if !moved.is_empty() {
                return Ok(Steps::Moved { count: count + changed, what: moved });
            }
        }
        count += changed;
        for proof in after(step) {
            let judgement = observe::judge(world, plan, step, &view.previews, proof).await?;
            settle_proof(world, book, phase, &view.name, &Clean::new(proof.as_str()), &judgement, options)
                .await?;
        }
        book.note(Event::StepFinished {
            phase: Clean::new(&phase.name),
            step: Clean::new(&step.name),
            changed,
        })
        .await?;
    }
    Ok(Steps::Done(count))
}

/// Sends what goes together, and says how many objects changed and which were not as approved.
async fn send_wave(
    world: &World,
    book: &mut Book,
    phase: &Phase,
    step: &Step,
    wave: Vec<Preview>,
) -> Result<(u32, Vec<(ObjectRef, Clean)>), Halt> {
    // What could not be tried at the gate can be now: its namespace exists. Approved was the object as it is written.
    let mut ready = Vec::with_capacity(wave.len());
    for preview in wave {
        if !matches!(preview.decision, Decision::Later(_)) {
            ready.push(preview);
            continue;
        }
        let again = preview::preview(world.cluster.as_ref(), &world.key, preview.intent, &[]).await?;
        match &again.decision {
            Decision::Change(_) if again.live.is_none() => ready.push(again),
            Decision::Blocked(block) => return Err(Halt::new(Outcome::Failed, &block.reason)),
            Decision::Same | Decision::Change(_) | Decision::Later(_) => {
                let what = Clean::new(format!("{} exists meanwhile", again.intent.object));
                return Ok((0, vec![(again.intent.object.clone(), what)]));
            }
        }
    }
    let objects: Vec<ObjectRef> = ready.iter().map(|preview| preview.intent.object.clone()).collect();
    let works = ready
        .iter()
        .filter_map(|preview| {
            let planned = preview.planned()?;
            Some(Work {
                phase: Clean::new(&phase.name),
                step: Clean::new(&step.name),
                effect: planned.effect.clone(),
                send: execute::send(
                    world.cluster.as_ref(),
                    world.clock.as_ref(),
                    &world.key,
                    &preview.intent,
                    planned,
                )
                .boxed(),
            })
        })
        .collect();
    let first = book.state.next_id();
    let results = batch::batch(world, book, works).await?;
    batch::judge(&results)?;
    let mut done = 0;
    let mut moved = Vec::new();
    for (id, sent) in results {
        match sent {
            execute::Sent::Done { .. } => done += 1,
            execute::Sent::Moved(what) => {
                let object = usize::try_from(id.0 - first.0).ok().and_then(|index| objects.get(index));
                if let Some(object) = object {
                    moved.push((object.clone(), what));
                }
            }
            execute::Sent::Failed { .. } | execute::Sent::Unknown(_) => {}
        }
    }
    Ok((done, moved))
}
