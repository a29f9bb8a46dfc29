//! Stands in for kubelet and container runtime: runs the real program of each pod whose image is known.
//!
//! kwok schedules and starts the pods. For a pod of Tempo, the Collector or Loki the program is started with the pod's
//! arguments and environment and with the file that its ConfigMap volume mounts, changed only as `substitution.rs`
//! lists; for a pod of the application a task plays it. The pod becomes Ready when its readiness probe is answered,
//! and not before; a program that ends shows as CrashLoopBackOff. When the pod goes, the program goes.

use crate::api::Api;
use crate::network::{Network, PodName};
use crate::process::{Process, free_port, program};
use crate::substitution::{Surroundings, substitute};
use crate::tripit;
use anyhow::{Context, Result, anyhow};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// What runs in a pod.
#[derive(Clone, Copy)]
enum Program {
    Component(&'static str),
    Application,
}

/// The program behind an image.
fn program_of(image: &str) -> Option<Program> {
    let last = image.rsplit('/').next()?;
    match last.split([':', '@']).next()? {
        "tempo" => Some(Program::Component("tempo")),
        "opentelemetry-collector-contrib" => Some(Program::Component("otelcol")),
        "loki" => Some(Program::Component("loki")),
        "tripit" => Some(Program::Application),
        _ => None,
    }
}

/// Runs pods until it is dropped.
pub struct Kubelet {
    watch: JoinHandle<()>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.watch.abort();
        if std::thread::panicking() {
            for line in self.log() {
                eprintln!("kubelet: {line}");
            }
        }
    }
}

/// What every pod's task needs.
#[derive(Clone)]
struct Node {
    api: Api,
    network: Network,
    folder: PathBuf,
    application: tripit::Record,
    log: Arc<Mutex<Vec<String>>>,
}

impl Kubelet {
    /// Watches the pods of all namespaces and runs the known ones. Volumes live below `folder`.
    pub fn start(api: &Api, network: &Network, folder: &Path, application: &tripit::Record) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let node = Node {
            api: api.clone(),
            network: network.clone(),
            folder: folder.to_owned(),
            application: application.clone(),
            log: Arc::clone(&log),
        };
        Self { watch: tokio::spawn(watch(node)), log }
    }

    /// What happened to the programs, in words.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Follows the pods; each running one has a task, which ends with the pod.
async fn watch(node: Node) {
    let pods: kube::Api<Pod> = kube::Api::all(node.api.client());
    let mut events = Box::pin(watcher(pods, watcher::Config::default()));
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    loop {
        let pod = match events.try_next().await {
            Ok(Some(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => pod,
            Ok(Some(watcher::Event::Delete(mut pod))) => {
                pod.status = None;
                pod
            }
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Ok(None) => return,
            Err(error) => {
                node.say(format!("the watch was interrupted: {error}"));
                continue;
            }
        };
        let Some(uid) = pod.metadata.uid.clone() else { continue };
        let alive = pod.metadata.deletion_timestamp.is_none()
            && pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
        if !alive {
            if let Some(task) = running.remove(&uid) {
                let task: tokio::task::AbortHandle = task;
                task.abort();
            }
        } else if let Ok(value) = serde_json::to_value(&pod)
            && !running.contains_key(&uid)
            && let Some(program) =
                value.pointer("/spec/containers/0/image").and_then(Value::as_str).and_then(program_of)
        {
            let node = node.clone();
            running.insert(uid, tasks.spawn(async move { Instance::new(node, value).run(program).await }));
        }
    }
}

impl Node {
    fn say(&self, line: String) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// One pod and its program. Dropping it takes the pod off the network.
struct Instance {
    node: Node,
    pod: Value,
    name: PodName,
    restarts: u32,
    /// Starts so far, those that lost their port included: each has a folder of its own.
    starts: u32,
    /// The volume that each claim of the pod is bound to.
    claims: BTreeMap<String, String>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.node.network.remove(&self.name);
        self.say("stopped");
    }
}

impl Instance {
    fn new(node: Node, pod: Value) -> Self {
        let text =
            |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = (text("/metadata/namespace"), text("/metadata/name"));
        Self { node, pod, name, restarts: 0, starts: 0, claims: BTreeMap::new() }
    }

    fn say(&self, what: &str) {
        self.node.say(format!("{}/{}: {what}", self.name.0, self.name.1));
    }

    /// The first container: pods of these programs have one.
    fn container(&self) -> &Value {
        self.pod.pointer("/spec/containers/0").unwrap_or(&Value::Null)
    }

    /// Literal environment variables of the container, and the pod's address where a field reference asks for it.
    fn environment(&self) -> Vec<(String, String)> {
        let mut result = Vec::new();
        for one in self.container()["env"].as_array().into_iter().flatten() {
            let from = one.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str);
            let value = if from == Some("status.podIP") { Some("127.0.0.1") } else { one["value"].as_str() };
            if let (Some(name), Some(value)) = (one["name"].as_str(), value) {
                result.push((name.to_owned(), value.to_owned()));
            }
        }
        result
    }

    /// Runs the program, again and again with growing pauses where it ends by itself.
    async fn run(mut self, program: Program) {
        let mut pause = Duration::from_secs(1);
        loop {
            let outcome = match program {
                Program::Component(name) => self.run_component(name).await,
                Program::Application => self.run_application().await,
            };
            match outcome {
                Ok(()) => continue,
                Err(error) => {
                    self.say(&format!("{error:#}"));
                    self.restarts += 1;
                    self.node.network.remove(&self.name);
                    self.report(false, Some("CrashLoopBackOff")).await;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(20));
                }
            }
        }
    }

    async fn run_application(&mut self) -> Result<()> {
        self.node.network.place(&self.name, BTreeMap::new());
        self.report(true, None).await;
        self.say("runs the application");
        let environment = self.environment().into_iter().collect();
        tripit::run(&environment, &self.node.network, &self.node.application).await
    }

    /// Runs the program once. `Ok` asks for another start at once (its port was taken); an error is a crash.
    async fn run_component(&mut self, name: &str) -> Result<()> {
        self.starts += 1;
        self.claims = self.bound_claims().await?;
        let uid = self.pod.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let folder = self.node.folder.join(format!("{}-{uid}-{}", self.name.1, self.starts));
        std::fs::create_dir_all(&folder)?;
        let arguments: Vec<String> = self.container()["args"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let config = arguments
            .iter()
            .find_map(|argument| argument.trim_start_matches('-').strip_prefix("config")?.split_once('='))
            .map(|(_, path)| path.to_owned())
            .context("no argument names a configuration file")?;
        let text = self.mounted_file(&config).await?;
        let mut local = LocalNames { instance: self, folder: &folder, ports: BTreeMap::new(), failure: None };
        let text = substitute(&text, &mut local);
        let LocalNames { ports, failure, .. } = local;
        if let Some(error) = failure {
            return Err(error);
        }
        let file = folder.join("config.yaml");
        std::fs::write(&file, text)?;
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace(&config, &file.display().to_string())).collect();
        let mut process = Process::start(name, &program(name)?, &arguments, &self.environment(), &folder)?;
        self.say(&format!("started {name}"));
        self.node.network.place(&self.name, ports.clone());
        let mut ready = false;
        loop {
            if let Some(status) = process.ended() {
                if process.lost_its_port() {
                    return Ok(());
                }
                return Err(anyhow!("{name} ended with {status}\n{}", process.tail()));
            }
            let now = self.probe(&ports).await;
            if now != ready {
                ready = now;
                self.say(if ready { "ready" } else { "not ready" });
                self.report(ready, None).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The content of a file that a ConfigMap volume mounts; waits while the ConfigMap is missing, as a kubelet does.
    async fn mounted_file(&self, path: &str) -> Result<String> {
        let mounts = self.container()["volumeMounts"].as_array().cloned().unwrap_or_default();
        let (volume, key) = mounts
            .iter()
            .find_map(|mount| {
                let below = path.strip_prefix(mount["mountPath"].as_str()?)?.strip_prefix('/')?;
                Some((mount["name"].as_str()?, below))
            })
            .with_context(|| format!("no volume is mounted at {path}"))?;
        let volumes =
            self.pod.pointer("/spec/volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        let source = volumes
            .iter()
            .find(|one| one["name"].as_str() == Some(volume))
            .and_then(|one| one.get("configMap"))
            .with_context(|| format!("the volume {volume} is no ConfigMap"))?;
        let object = source["name"].as_str().context("the ConfigMap volume has no name")?;
        let key = match source["items"].as_array() {
            Some(items) => items
                .iter()
                .find(|item| item["path"].as_str() == Some(key))
                .and_then(|item| item["key"].as_str())
                .with_context(|| format!("no item of the volume {volume} has the path {key}"))?,
            None => key,
        };
        let mut said = false;
        loop {
            let url = format!("/api/v1/namespaces/{}/configmaps/{object}", self.name.0);
            if let Some(map) = self.node.api.get(&url).await? {
                let text = map["data"].get(key).and_then(Value::as_str);
                return text
                    .map(str::to_owned)
                    .with_context(|| format!("the ConfigMap {object} has no key {key}"));
            }
            if !said {
                said = true;
                self.say(&format!("waits for the ConfigMap {object}"));
                self.report(false, Some("ContainerCreating")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The pod's claims and the volumes that they are bound to.
    async fn bound_claims(&self) -> Result<BTreeMap<String, String>> {
        let mut bound = BTreeMap::new();
        for volume in self.pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
            let Some(claim) = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str)
            else {
                continue;
            };
            let url = format!("/api/v1/namespaces/{}/persistentvolumeclaims/{claim}", self.name.0);
            let object =
                self.node.api.get(&url).await?.with_context(|| format!("the claim {claim} is gone"))?;
            let volume = object.pointer("/spec/volumeName").and_then(Value::as_str);
            let volume = volume.with_context(|| format!("the claim {claim} is not bound"))?;
            bound.insert(claim.to_owned(), volume.to_owned());
        }
        Ok(bound)
    }

    /// The folder for a path that a volume other than a ConfigMap mounts. A claim's data outlive the pod.
    fn volume_folder(&self, path: &str, own: &Path) -> Option<PathBuf> {
        for mount in self.container()["volumeMounts"].as_array().into_iter().flatten() {
            let Some(rest) = mount["mountPath"].as_str().and_then(|at| path.strip_prefix(at)) else {
                continue;
            };
            if !rest.is_empty() && !rest.starts_with('/') {
                continue;
            }
            let volumes = self.pod.pointer("/spec/volumes").and_then(Value::as_array)?;
            let volume = volumes.iter().find(|one| one["name"] == mount["name"])?;
            let claim = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str);
            let folder = match claim {
                Some(claim) => self.node.folder.join("persistent").join(self.claims.get(claim)?),
                None => own.join("volumes").join(mount["name"].as_str()?),
            };
            return Some(folder.join(rest.trim_start_matches('/')));
        }
        None
    }

    /// Asks the readiness probe, where there is one.
    async fn probe(&self, ports: &BTreeMap<u16, SocketAddr>) -> bool {
        let Some(probe) = self.container().pointer("/readinessProbe/httpGet") else { return true };
        let port = match &probe["port"] {
            Value::String(name) => self.container()["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|one| one["name"].as_str() == Some(name))
                .and_then(|one| one["containerPort"].as_u64()),
            other => other.as_u64(),
        };
        let address = port.and_then(|port| u16::try_from(port).ok()).and_then(|port| ports.get(&port));
        let Some(address) = address else { return false };
        let path = probe["path"].as_str().unwrap_or("/");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build();
        let Ok(client) = client else { return false };
        let answer = client.get(format!("http://{address}{path}")).send().await;
        answer.is_ok_and(|answer| (200..400).contains(&answer.status().as_u16()))
    }

    /// Writes the pod's status as a kubelet would.
    async fn report(&self, ready: bool, waiting: Option<&str>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = if ready { "True" } else { "False" };
        let state = match waiting {
            Some(reason) => json!({"waiting": {"reason": reason}}),
            None => json!({"running": {"startedAt": now}}),
        };
        let last = if self.restarts > 0 {
            json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}})
        } else {
            json!({})
        };
        let containers: Vec<Value> = self
            .pod
            .pointer("/spec/containers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|one| {
                json!({
                    "name": one["name"], "image": one["image"], "imageID": "", "ready": ready, "started": ready,
                    "restartCount": self.restarts, "state": state, "lastState": last,
                })
            })
            .collect();
        let condition = |kind: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
        let body = json!({
            // Another pod of this name must not be written to.
            "metadata": {"uid": self.pod.pointer("/metadata/uid")},
            "status": {
                "conditions": [condition("Ready"), condition("ContainersReady")],
                "containerStatuses": containers,
            },
        });
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", self.name.0, self.name.1);
        let sent = self.node.api.send("PATCH", &path, "application/strategic-merge-patch+json", &body).await;
        if let Err(error) = sent {
            self.say(&format!("its status could not be written: {error:#}"));
        }
    }
}

/// The substitution's table for one pod.
struct LocalNames<'a> {
    instance: &'a Instance,
    folder: &'a Path,
    ports: BTreeMap<u16, SocketAddr>,
    failure: Option<anyhow::Error>,
}

impl LocalNames<'_> {
    /// The value, or a stand-in after noting the failure.
    fn noted<T>(&mut self, result: Result<T>, otherwise: T) -> T {
        result.unwrap_or_else(|error| {
            self.failure = Some(error);
            otherwise
        })
    }
}

impl Surroundings for LocalNames<'_> {
    fn listen(&mut self, port: u16) -> u16 {
        if let Some(address) = self.ports.get(&port) {
            return address.port();
        }
        let local = self.noted(free_port(), 0);
        self.ports.insert(port, SocketAddr::from(([127, 0, 0, 1], local)));
        local
    }

    fn name(&mut self, host: &str, port: u16) -> SocketAddr {
        let relay = self.instance.node.network.relay(host, port);
        self.noted(relay, SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn path(&mut self, path: &str) -> Option<String> {
        let folder = self.instance.volume_folder(path, self.folder)?;
        let made = std::fs::create_dir_all(&folder).map_err(Into::into);
        self.noted(made, ());
        Some(folder.display().to_string())
    }
}
