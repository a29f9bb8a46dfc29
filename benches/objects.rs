//! 500 ConfigMaps on a real API server: firstlight's preview and apply beside the same requests sent bare.
//!
//! `cargo bench --features real --bench objects` prints, for each round, both times and their ratio; the budget is 1.3.
//! The bare side sends the very requests that firstlight sends, at the same concurrency, over the same client, and
//! throws the answers away; firstlight also reads, diffs, fingerprints and keeps its journal on disk.

#[path = "../tests/real/api.rs"]
#[expect(dead_code, reason = "shared with the tests on real servers")]
mod api;
#[path = "../tests/real/audit.rs"]
#[expect(dead_code, reason = "shared with the tests on real servers")]
mod audit;
#[path = "../tests/real/cluster.rs"]
#[expect(dead_code, reason = "shared with the tests on real servers")]
mod cluster;
#[path = "../tests/real/condition.rs"]
mod condition;
#[path = "../tests/real/kwok.rs"]
#[expect(dead_code, reason = "shared with the tests on real servers")]
mod kwok;
#[path = "../tests/real/process.rs"]
mod process;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use cluster::Cluster;
use firstlight::adapter::clock::SystemClock;
use firstlight::adapter::git::GitRepository;
use firstlight::adapter::http::TelemetryHttp;
use firstlight::adapter::kubeconfig::{self, Connection};
use firstlight::adapter::store::StateDir;
use firstlight::cli::history::JournalLog;
use firstlight::journal::RunId;
use firstlight::plan::{self, Assets, Plan, Settings};
use firstlight::port::{Claim, ClaimError, Clock, ClusterIdentity};
use firstlight::proof::Judgement;
use firstlight::rollout::book::Book;
use firstlight::rollout::event::{Approval, Event, Reader, RunHeader, Sign, Stamped};
use firstlight::rollout::gate::{Answer, Gate, Operator};
use firstlight::rollout::preview::CONCURRENCY;
use firstlight::rollout::state::State;
use firstlight::rollout::{Stop, World, run, undo};
use firstlight::secret::StateKey;
use firstlight::text::Clean;
use firstlight::yaml::Source;
use futures::stream::{self, StreamExt};
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OBJECTS: usize = 500;
const ROUNDS: usize = 8;
const WHAT: [&str; 3] = ["preview, nothing there", "apply", "preview, nothing to do"];

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --benches` runs benchmarks too, to see that they start; that is not a measurement.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = if quick { 1 } else { ROUNDS };
    let cluster = Cluster::start().await?;
    let connection = kubeconfig::connect(Some(cluster.kubeconfig()), Some("real"), false).await?;
    let client = cluster.access("real").await?.client();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 0..=rounds {
        let (ours, bare) = (format!("ours-{round}"), format!("bare-{round}"));
        for namespace in [&ours, &bare] {
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            cluster.api().create("/api/v1/namespaces", "bench", &body).await?;
        }
        let side = Side::new(&connection, &ours)?;
        for ((index, what), ratios) in WHAT.into_iter().enumerate().zip(&mut ratios) {
            let ours = async { if index == 1 { side.apply().await } else { side.preview().await } };
            let bare = async {
                if index == 1 { bare_apply(&client, &bare).await } else { bare_preview(&client, &bare).await }
            };
            // In turn, so that neither side always meets the API server as the other left it.
            let (ours, bare) = if round % 2 == 0 {
                let ours = ours.await?;
                (ours, bare.await?)
            } else {
                let bare = bare.await?;
                (ours.await?, bare)
            };
            // The first round opens the connections of both sides.
            if round > 0 {
                let ratio = ours.as_secs_f64() / bare.as_secs_f64();
                println!("{what:<24} firstlight {ours:>10.1?}   bare {bare:>10.1?}   ratio {ratio:.2}");
                ratios.push(ratio);
            }
        }
    }
    for (what, mut ratios) in WHAT.into_iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let (median, low, high) = (ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
        println!(
            "{what:<24} median ratio {median:.2} ({low:.2} to {high:.2}) over {OBJECTS} objects; budget 1.30"
        );
    }
    cluster.stop().await;
    Ok(())
}

/// firstlight's side.
struct Side {
    world: World,
    plan: Plan,
    state: StateDir,
    identity: ClusterIdentity,
    _folder: tempfile::TempDir,
}

impl Side {
    fn new(connection: &Connection, namespace: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let state = StateDir::open(Some(folder.path().join("state")))?;
        let key = Arc::new(StateKey::new(state.key()?));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // A receiver whose sender is gone never asks to stop.
        let (_, stop) = tokio::sync::watch::channel(Stop::No);
        let world = World {
            cluster: connection.cluster.clone(),
            http: Arc::new(TelemetryHttp::new(connection.cluster.clone(), connection.dial.clone())),
            clock,
            claim: Arc::new(Unclaimed),
            repository: Arc::new(GitRepository::new(".")),
            wanted: firstlight::proof::git_crypt::Wanted::Enclosing,
            operator: Arc::new(Yes),
            reader: Arc::new(Silent),
            key,
            stop,
        };
        let identity = ClusterIdentity {
            context: Clean::from("real"),
            uid: "bench".to_owned(),
            version: Clean::default(),
            server: Clean::default(),
        };
        Ok(Self { world, plan: config_maps(namespace)?, state, identity, _folder: folder })
    }

    async fn preview(&self) -> Result<Duration> {
        let started = Instant::now();
        let views = run::preview_plan(&self.world, &self.plan, None).await?;
        let took = started.elapsed();
        ensure!(views.iter().map(|view| view.step.previews.len()).sum::<usize>() == OBJECTS);
        Ok(took)
    }

    /// A whole run: preview, gate, journal, effects.
    async fn apply(&self) -> Result<Duration> {
        let started = Instant::now();
        let id = RunId::new("bench", self.world.clock.wall(), [7; 16]);
        let log = JournalLog::begin(Box::new(self.state.create_run(id.as_str())?), id);
        let (clock, reader) = (self.world.clock.clone(), self.world.reader.clone());
        let mut book = Book::new(Box::new(log), clock, reader, State::default());
        book.note(Event::RunStarted(RunHeader {
            plan: Clean::from("bench"),
            title: Clean::default(),
            plan_hash: String::new(),
            program: Clean::default(),
            cluster: self.identity.clone(),
            by: Clean::default(),
            inputs: Default::default(),
        }))
        .await?;
        run::run(&self.world, &mut book, &self.plan, &self.identity, &Default::default()).await?;
        let took = started.elapsed();
        ensure!(book.state.standing().count() == OBJECTS, "{} effects stand", book.state.standing().count());
        Ok(took)
    }
}

/// A plan of one step with 500 ConfigMaps.
fn config_maps(namespace: &str) -> Result<Plan> {
    let source = Source {
        name: Clean::from("bench.yaml"),
        text: format!(
            "plan: bench\ntitle: Bench\ninputs: {{ namespace: {namespace} }}\nphases:\n  - phase: all\n    steps:\n      - apply: bench\n"
        ),
    };
    let text: Vec<String> = (0..OBJECTS)
        .map(|index| serde_json::to_string(&config_map(namespace, index)).unwrap_or_default())
        .collect();
    let mut assets = Assets::default();
    assets.files.insert("bench/all.yaml".to_owned(), text.join("\n---\n"));
    plan::load(&source, &assets, &Settings::default()).map_err(|problems| {
        anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<String>())
    })
}

fn config_map(namespace: &str, index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("bench-{index:03}"), "namespace": namespace },
        "data": { "config.yaml": format!("index: {index}\nlist: [a, b, c]\n"), "key": "value" },
    })
}

const MANAGER: &str = "firstlight%3Abench%3Aapply-bench";

/// GET and dry-run apply of every object.
async fn bare_preview(client: &kube::Client, namespace: &str) -> Result<Duration> {
    let started = Instant::now();
    let mut all =
        stream::iter(0..OBJECTS).map(|index| bare_read(client, namespace, index)).buffered(CONCURRENCY);
    while let Some(done) = all.next().await {
        done?;
    }
    Ok(started.elapsed())
}

async fn bare_read(client: &kube::Client, namespace: &str, index: usize) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/bench-{index:03}");
    send(client, "GET", &path, "", None).await?;
    let uri = format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict&force=false&dryRun=All");
    let body = config_map(namespace, index);
    send(client, "PATCH", &uri, "application/apply-patch+yaml", Some(&body)).await.map(|_| ())
}

/// What a run sends: the preview, then POST and the patch of managedFields.
async fn bare_apply(client: &kube::Client, namespace: &str) -> Result<Duration> {
    let started = Instant::now();
    bare_preview(client, namespace).await?;
    let mut all = stream::iter(0..OBJECTS)
        .map(|index| async move {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps");
            let uri = format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict");
            let body = config_map(namespace, index);
            let created = send(client, "POST", &uri, "application/json", Some(&body)).await?;
            let created: Value = serde_json::from_str(&created).context("the created object")?;
            let mut entry = created["metadata"]["managedFields"][0].clone();
            entry["operation"] = json!("Apply");
            let operations = json!([
                { "op": "test", "path": "/metadata/uid", "value": created["metadata"]["uid"] },
                { "op": "replace", "path": "/metadata/managedFields/0", "value": entry },
            ]);
            let uri = format!("{path}/bench-{index:03}?fieldManager={MANAGER}");
            send(client, "PATCH", &uri, "application/json-patch+json", Some(&operations)).await.map(|_| ())
        })
        .buffer_unordered(CONCURRENCY);
    while let Some(done) = all.next().await {
        done?;
    }
    Ok(started.elapsed())
}

async fn send(
    client: &kube::Client,
    method: &str,
    uri: &str,
    kind: &str,
    body: Option<&Value>,
) -> Result<String> {
    let mut request = Request::builder().method(method).uri(uri);
    if !kind.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, kind);
    }
    let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    match client.request_text(request.body(body)?).await {
        Ok(text) => Ok(text),
        // A GET of what is not there yet is part of the work.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// The bare side has no claim either.
struct Unclaimed;

#[async_trait]
impl Claim for Unclaimed {
    async fn take(&self) -> Result<Vec<Clean>, ClaimError> {
        Ok(Vec::new())
    }
    async fn confirm(&self) -> Result<(), ClaimError> {
        Ok(())
    }
    async fn release(&self) {}
}

struct Yes;

#[async_trait]
impl Operator for Yes {
    async fn gate(&self, _: &Gate) -> Answer {
        Answer::Approve(Approval::Unseen)
    }
    async fn pass(&self, _: &Clean, _: &Clean, _: &Judgement) -> Option<Clean> {
        None
    }
    async fn undo(&self, _: &ClusterIdentity, _: &[undo::Item]) -> Answer {
        Answer::Decline
    }
}

struct Silent;

impl Reader for Silent {
    fn event(&self, _: &Stamped) {}
    fn sign(&self, _: &Sign) {}
}
