//! The engine, through the real adapter, on a rehearsal in process.

use super::clock::SimClock;
use super::fault::Fault;
use super::network::Network;
use super::program::{Images, Program, Start};
use super::resource::Resource;
use super::store::Key;
use super::value::text;
use super::{Options, Rehearsal};
use crate::adapter::claim::{Holder, LeaseClaim};
use crate::plan::{self, Bundle, Settings};
use crate::port::{ClusterIdentity, Repository, RepositoryFact};
use crate::proof::Judgement;
use crate::proof::git_crypt::Wanted;
use crate::rollout::book::{Book, Log};
use crate::rollout::event::{Approval, Event, Reader, RunHeader, Sign, Stamped};
use crate::rollout::gate::{Answer, Gate, Operator};
use crate::rollout::run::{self, Options as RunOptions};
use crate::rollout::state::State;
use crate::rollout::undo::{Item, Scope};
use crate::rollout::{Halt, Stop, World, back};
use crate::secret::StateKey;
use crate::text::Clean;
use async_trait::async_trait;
use http::{Request, Response};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Says yes.
struct Willing;

#[async_trait]
impl Operator for Willing {
    async fn gate(&self, _: &Gate) -> Answer {
        Answer::Approve(Approval::Unseen)
    }
    async fn pass(&self, _: &Clean, _: &Clean, _: &Judgement) -> Option<Clean> {
        None
    }
    async fn undo(&self, _: &ClusterIdentity, _: &[Item]) -> Answer {
        Answer::Approve(Approval::Unseen)
    }
}

#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl Reader for Ears {
    fn event(&self, _: &Stamped) {}
    fn sign(&self, sign: &Sign) {
        self.0.lock().unwrap().push(format!("{sign:?}"));
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Log for Lines {
    async fn append(&mut self, at: u64, events: &[Event]) -> Result<u64, Clean> {
        let mut lines = self.0.lock().unwrap();
        let first = lines.len() as u64;
        lines.extend(events.iter().map(|event| format!("{at} {}", serde_json::to_string(event).unwrap())));
        Ok(first)
    }
}

/// A repository that git-crypt has no part in.
struct NoRepository;

#[async_trait]
impl Repository for NoRepository {
    async fn git_crypt(&self) -> Result<Option<RepositoryFact>, Clean> {
        Ok(None)
    }
}

/// Every port of every program answers 200.
struct Fine;

#[async_trait]
impl Program for Fine {
    async fn handle(&self, _: u16, _: Request<Bytes>) -> Option<Response<Bytes>> {
        Some(Response::new(Bytes::from_static(b"ready")))
    }
    fn log(&self) -> Vec<String> {
        vec!["started".to_owned()]
    }
}

impl Images for Fine {
    fn start(&self, _: &Start) -> Option<Arc<dyn Program>> {
        Some(Arc::new(Fine))
    }
}

struct Ran {
    result: Result<Clean, Halt>,
    journal: Vec<String>,
    objects: BTreeMap<String, Value>,
    back: Option<Result<Clean, Halt>>,
    before: BTreeMap<String, Value>,
    after: BTreeMap<String, Value>,
}

/// What of the objects an undo must restore: without versions, times and status.
fn snapshot(rehearsal: &Rehearsal) -> BTreeMap<String, Value> {
    let store = rehearsal.server().store();
    let kinds = ["ConfigMap", "Service", "ServiceAccount", "Deployment", "StatefulSet"];
    store
        .all()
        .filter(|(key, _)| kinds.contains(&key.resource.kind))
        .map(|(key, object)| {
            let mut object = Value::clone(object);
            let fields = object.as_object_mut().unwrap();
            fields.remove("status");
            let metadata = fields.get_mut("metadata").unwrap().as_object_mut().unwrap();
            for field in ["resourceVersion", "generation", "managedFields"] {
                metadata.remove(field);
            }
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("deployment.kubernetes.io/revision");
            }
            (format!("{} {}/{}", key.resource.kind, key.namespace, key.name), object)
        })
        .collect()
}

async fn settled(rehearsal: &Rehearsal) {
    let clock = rehearsal.clock();
    crate::port::Clock::sleep(&clock, Duration::from_secs(120)).await;
}

fn rehearse(seed: u64, faults: &[&str], until: &str, and_back: bool) -> Ran {
    SimClock::runtime().unwrap().block_on(async {
        let clock = SimClock::paused();
        let mut options = Options::new(seed, clock);
        options.faults = faults.iter().map(|name| Fault::named(name).unwrap()).collect();
        options.images = Box::new(|_: Network, _, _| Arc::new(Fine));
        let rehearsal = Rehearsal::new(options);
        settled(&rehearsal).await;
        let before = snapshot(&rehearsal);
        let bundle = Bundle::shipped();
        let source = bundle.plan("tracing").unwrap().clone();
        let settings = Settings::parse(std::iter::empty()).unwrap();
        let plan = plan::load(&source, bundle.assets(), &settings).unwrap();
        let cluster = rehearsal.cluster();
        let identity = cluster.identity().await.unwrap();
        let clock: Arc<SimClock> = Arc::new(clock);
        let holder = Holder::this_process("run", "tracing");
        let claim = LeaseClaim::new(
            cluster.clone(),
            clock.clone(),
            rehearsal.entropy().as_ref(),
            plan.claim.clone(),
            holder,
            Arc::new(|_| ()),
        );
        let reader = Arc::new(Ears::default());
        let (_stop, stopped) = tokio::sync::watch::channel(Stop::No);
        let world = World {
            cluster,
            http: rehearsal.http(),
            clock: clock.clone(),
            claim: Arc::new(claim),
            repository: Arc::new(NoRepository),
            wanted: Wanted::Enclosing,
            operator: Arc::new(Willing),
            reader: reader.clone(),
            key: Arc::new(StateKey::new([7; 32])),
            stop: stopped,
        };
        let claimed = world.claim.take().await.unwrap();
        let lines = Lines::default();
        let mut book = Book::new(Box::new(lines.clone()), clock.clone(), reader, State::default());
        let header = RunHeader {
            plan: Clean::new(&plan.name),
            title: plan.title.clone(),
            plan_hash: plan::plan_hash(&plan),
            program: Clean::from("test"),
            cluster: identity.clone(),
            by: Clean::from("nobody@nowhere"),
            inputs: BTreeMap::new(),
        };
        book.record(vec![Event::RunStarted(header), Event::ClaimTaken { names: claimed }]).await.unwrap();
        let options = RunOptions { until: Some(until.to_owned()), ..RunOptions::default() };
        let result = run::run(&world, &mut book, &plan, &identity, &options).await;
        let objects = snapshot(&rehearsal);
        let mut back = None;
        if and_back {
            back = Some(
                back::roll_back(&world, &mut book, &identity, &Scope::default(), Clean::from("nobody")).await,
            );
            settled(&rehearsal).await;
        }
        world.claim.release().await;
        let after = snapshot(&rehearsal);
        let journal = lines.0.lock().unwrap().clone();
        Ran { result, journal, objects, back, before, after }
    })
}

#[test]
fn the_engine_rolls_the_plan_out_and_back() {
    let ran = rehearse(1, &[], "application", true);
    assert!(ran.result.is_ok(), "{:?}\n{}", ran.result, ran.journal.join("\n"));
    assert!(ran.objects.contains_key("StatefulSet monitoring/tempo"));
    let loki = &ran.objects["ConfigMap monitoring/grafana-loki-datasource"];
    assert!(text(loki, "/data/loki-datasource.yaml").contains("TraceID"), "{loki}");
    assert!(ran.back.as_ref().unwrap().is_ok(), "{:?}", ran.back);
    for (name, object) in &ran.before {
        assert_eq!(ran.after.get(name), Some(object), "{name}");
    }
    assert_eq!(ran.before.len(), ran.after.len(), "{:?}", ran.after.keys());
}

#[test]
fn one_seed_one_journal() {
    let journal = |seed| rehearse(seed, &["api-429", "watch-cut"], "application", false);
    let (first, second) = (journal(3), journal(3));
    assert!(first.result.is_ok(), "{:?}", first.result);
    assert_eq!(first.journal, second.journal);
    assert_ne!(first.journal, journal(4).journal);
}

/// A rollout with one fault ends, and what it says contains the phrase.
fn ends(fault: &str, phrase: &str) {
    let ran = rehearse(1, &[fault], "collector", false);
    let halt = ran.result.expect_err(fault);
    let said = format!("{halt:?}\n{}", ran.journal.join("\n"));
    assert!(said.contains(phrase), "{fault}: {said}");
}

#[test]
fn tempo_without_memory_ends_with_its_limit() {
    ends("tempo-oom", "OOM");
}

#[test]
fn an_image_that_is_not_there_ends_with_its_name() {
    ends("image-pull", "otel/opentelemetry-collector-contrib:0.145.0");
}

#[test]
fn a_quota_ends_with_its_event() {
    ends("quota", "exceeded quota: team");
}

#[test]
fn a_limit_range_ends_with_its_bound() {
    ends("limit-range", "maximum memory usage per Container is 512Mi, but limit is 1Gi");
}

#[test]
fn an_edit_after_the_gate_opens_the_gate_again() {
    let ran = rehearse(1, &["someone-edits"], "application", false);
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    let gates =
        ran.journal.iter().filter(|line| line.contains(r#""gate-approved","phase":"grafana""#)).count();
    assert_eq!(gates, 2, "{}", ran.journal.join("\n"));
    let loki = &ran.objects["ConfigMap monitoring/grafana-loki-datasource"];
    let document = text(loki, "/data/loki-datasource.yaml");
    assert!(document.contains("maxLines: 2000") && document.contains("TraceID"), "{document}");
}

#[test]
fn a_claim_that_stays_pending_is_named() {
    let ran = rehearse(1, &["pvc-pending"], "tempo", false);
    let said = format!("{:?}\n{}", ran.result.expect_err("pending"), ran.journal.join("\n"));
    assert!(said.contains("storage-tempo-0") || said.contains("claim"), "{said}");
}

#[test]
fn effects_without_an_answer_are_settled() {
    for seed in 0..6 {
        let ran = rehearse(seed, &["api-reset"], "application", true);
        assert!(ran.result.is_ok(), "seed {seed}: {:?}\n{}", ran.result, ran.journal.join("\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_has_a_log_and_serves_its_ports() {
    let mut options = Options::new(1, SimClock::paused());
    options.images = Box::new(|_, _, _| Arc::new(Fine));
    let rehearsal = Rehearsal::new(options);
    settled(&rehearsal).await;
    let cluster = rehearsal.cluster();
    assert_eq!(cluster.logs("monitoring", "loki-0", "loki", 10, false).await.unwrap(), "started\n");
    let endpoint = crate::port::Endpoint::Service {
        namespace: "monitoring".to_owned(),
        name: "loki".to_owned(),
        port: 3100,
    };
    let answer = rehearsal.http().request(&endpoint, "GET", "/ready", None).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, b"ready".to_vec()));
    let network = Network::new(rehearsal.server().clone());
    let get = || Request::get("/").body(Bytes::new()).unwrap();
    assert!(network.request("tripit", "loki.monitoring.svc", 3100, get()).await.is_ok());
    assert_eq!(
        network.request("tripit", "nowhere.monitoring", 3100, get()).await.unwrap_err(),
        "dial tcp: lookup nowhere.monitoring: no such host"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_takes_its_own_with_it() {
    let rehearsal = Rehearsal::new(Options::new(1, SimClock::paused()));
    settled(&rehearsal).await;
    let deployments = Resource::of("apps", "v1", "deployments").unwrap();
    let key = Key::new(deployments, "tripit", "tripit");
    let live = rehearsal.server().store().get(&key).cloned().unwrap();
    assert_eq!(live["status"]["availableReplicas"], json!(1), "{live}");
    let object = crate::object::ObjectRef::of(&live).unwrap();
    rehearsal.cluster().delete(&object, text(&live, "/metadata/uid"), None).await.unwrap();
    settled(&rehearsal).await;
    let store = rehearsal.server().store();
    let left: Vec<String> = store
        .all()
        .filter(|(key, _)| {
            key.namespace == "tripit" && ["Deployment", "ReplicaSet", "Pod"].contains(&key.resource.kind)
        })
        .map(|(key, object)| format!("{} {object}", key.name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
