//! The scheduler and the kubelet: pods through their stages, programs in their containers, probes over HTTP.

use super::stage::{STAGES, State, When};
use super::{Look, event, is_going, set_condition};
use crate::rehearsal::api::Server;
use crate::rehearsal::network::Running;
use crate::rehearsal::program::{Images, Start};
use crate::rehearsal::quantity::nano;
use crate::rehearsal::registry::{self, Deletion};
use crate::rehearsal::store::Key;
use crate::rehearsal::value::{has, items, map, member, members, number, text};
use base64::Engine as _;
use http::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The one node.
pub(crate) const NODE: &str = "node-1";

const COMPONENT: &str = "kubelet";

/// Ends of programs that are not yet taken in: (uid, container, exit code).
type Ends = Arc<Mutex<Vec<(String, String, i32)>>>;

/// One pod as the kubelet knows it.
struct Life {
    key: Key,
    state: State,
    since: Duration,
    restarts: i64,
    started: String,
    address: String,
    /// Ready containers.
    ready: BTreeSet<String>,
    /// When the next probe of a container is due.
    probes: BTreeMap<String, Duration>,
    tasks: Vec<AbortHandle>,
    /// How the last run of the first container ended: reason, exit code, when it began and ended.
    last: Option<(String, i32, String, String)>,
}

/// The kubelet.
pub(super) struct Kubelet {
    running: Arc<Running>,
    images: Arc<dyn Images>,
    lives: BTreeMap<String, Life>,
    ends: Ends,
    notify: Arc<Notify>,
    addresses: u32,
}

impl Kubelet {
    /// A kubelet that lets these images run.
    pub(super) fn new(running: Arc<Running>, images: Arc<dyn Images>) -> Self {
        Self {
            running,
            images,
            lives: BTreeMap::new(),
            ends: Ends::default(),
            notify: Arc::default(),
            addresses: 10,
        }
    }

    /// Told when a program has ended.
    pub(super) fn ended(&self) -> Arc<Notify> {
        self.notify.clone()
    }

    /// Brings every pod forward as far as its time has come.
    pub(super) fn look(&mut self, look: &mut Look<'_>) {
        let pods = look.list("v1", "Pod", None);
        let present: BTreeSet<&str> = pods.iter().map(|(_, pod)| text(pod, "/metadata/uid")).collect();
        let gone: Vec<String> =
            self.lives.keys().filter(|uid| !present.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            if let Some(mut life) = self.lives.remove(&uid) {
                self.stop(&mut life);
                self.running.remove(&life.key.namespace, &life.key.name, None);
            }
        }
        let ends: Vec<_> = std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, pod) in pods {
            if matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") && !is_going(&pod) {
                continue;
            }
            let uid = text(&pod, "/metadata/uid").to_owned();
            let now = look.now;
            let mut life = self.lives.remove(&uid).unwrap_or_else(|| {
                self.addresses += 1;
                Life {
                    key: key.clone(),
                    state: State::New,
                    since: now,
                    restarts: 0,
                    started: String::new(),
                    address: format!("10.244.{}.{}", self.addresses / 250, self.addresses % 250 + 1),
                    ready: BTreeSet::new(),
                    probes: BTreeMap::new(),
                    tasks: Vec::new(),
                    last: None,
                }
            });
            if life.state == State::Running
                && let Some((_, _, code)) = ends.iter().find(|(one, ..)| *one == uid)
            {
                self.enter(look, &mut life, &pod, State::CrashBackOff, Some(("Error".to_owned(), *code)));
            } else {
                self.advance(look, &mut life, &pod);
            }
            if life.state != State::Ended {
                self.lives.insert(uid, life);
            }
        }
    }

    fn advance(&mut self, look: &mut Look<'_>, life: &mut Life, pod: &Value) {
        let Some(stage) = STAGES.iter().find(|stage| stage.from == life.state && fits(look, stage.when, pod))
        else {
            self.say_what_is_missing(look, life, pod);
            self.write(look, life);
            return;
        };
        // Each restart waits longer than the one before, as long as five minutes.
        let mut after = stage.after;
        if stage.from == State::CrashBackOff && stage.to == State::Running {
            let doublings = u32::try_from(life.restarts.clamp(0, 5)).unwrap_or(0);
            after = (after * 2_u32.pow(doublings)).min(Duration::from_secs(300));
        }
        let due = life.since + after;
        if look.now < due {
            look.at(due);
            self.write(look, life);
            return;
        }
        let end = (stage.to == State::Killed).then(|| ("OOMKilled".to_owned(), 137));
        self.enter(look, life, pod, stage.to, end);
    }

    fn enter(
        &mut self,
        look: &mut Look<'_>,
        life: &mut Life,
        pod: &Value,
        to: State,
        end: Option<(String, i32)>,
    ) {
        let from = life.state;
        life.state = to;
        life.since = look.now;
        if from == State::Running {
            self.stop(life);
            if let Some((reason, code)) = end {
                life.last = Some((reason, code, life.started.clone(), look.time.clone()));
            }
        }
        match to {
            State::Scheduled => {
                let mut bound = pod.clone();
                member(&mut bound, "spec").insert("nodeName".to_owned(), Value::from(NODE));
                // A binding is no update: it goes past the registry.
                look.store.put(life.key.clone(), bound.clone());
                let message =
                    format!("Successfully assigned {}/{} to {NODE}", life.key.namespace, life.key.name);
                event::say(look, &bound, "Normal", "Scheduled", &message, "default-scheduler");
            }
            State::Running => {
                if from == State::CrashBackOff {
                    life.restarts += 1;
                }
                life.started = look.time.clone();
                self.start(look, life, pod);
            }
            State::PullFailed => {
                let image = text(pod, "/spec/containers/0/image").to_owned();
                let message = format!("Failed to pull image {image:?}: {}", not_found(&image));
                event::say(look, pod, "Warning", "Failed", &message, COMPONENT);
            }
            State::PullBackOff => {
                let image = text(pod, "/spec/containers/0/image").to_owned();
                event::say(
                    look,
                    pod,
                    "Normal",
                    "BackOff",
                    &format!("Back-off pulling image {image:?}"),
                    COMPONENT,
                );
            }
            State::CrashBackOff => {
                let name = text(pod, "/spec/containers/0/name").to_owned();
                let message = format!("Back-off restarting failed container {name} in pod {}", life.key.name);
                event::say(look, pod, "Warning", "BackOff", &message, COMPONENT);
            }
            State::Ended => {
                self.running.remove(&life.key.namespace, &life.key.name, None);
                let deletion = Deletion { grace: Some(0), ..Deletion::default() };
                let time = look.time.clone();
                registry::delete(look.store, &life.key, &deletion, &time).ok();
                return;
            }
            State::New | State::Killed => {}
        }
        self.write(look, life);
        // The next stage may be due at once, and its time must be known.
        if let Some(next) = STAGES.iter().find(|stage| stage.from == to) {
            look.at(look.now + next.after);
        }
    }

    fn say_what_is_missing(&self, look: &mut Look<'_>, life: &Life, pod: &Value) {
        if life.state != State::Scheduled {
            return;
        }
        for (volume, kind, name) in missing_files(look, pod) {
            let lower = kind.to_lowercase();
            let message =
                format!("MountVolume.SetUp failed for volume {volume:?} : {lower} {name:?} not found");
            let uid = text(pod, "/metadata/uid");
            let said = look.list("v1", "Event", Some(&life.key.namespace)).iter().any(|(_, event)| {
                text(event, "/involvedObject/uid") == uid && text(event, "/message") == message
            });
            if !said {
                event::say(look, pod, "Warning", "FailedMount", &message, COMPONENT);
            }
        }
    }

    fn start(&mut self, look: &Look<'_>, life: &mut Life, pod: &Value) {
        life.ready.clear();
        life.probes.clear();
        for container in items(pod, "/spec/containers") {
            let name = text(container, "/name").to_owned();
            let mut start = Start {
                namespace: life.key.namespace.clone(),
                pod: life.key.name.clone(),
                uid: text(pod, "/metadata/uid").to_owned(),
                labels: strings(pod, "/metadata/labels"),
                container: name.clone(),
                image: text(container, "/image").to_owned(),
                args: items(container, "/args")
                    .iter()
                    .filter_map(|arg| arg.as_str().map(str::to_owned))
                    .collect(),
                env: environment(look, life, pod, container),
                files: files(look, &life.key.namespace, pod, container),
            };
            if look.faults.on("wrong-endpoint")
                && let Some(endpoint) = start.env.get_mut("OTEL_EXPORTER_OTLP_ENDPOINT")
            {
                // The image's own start script adds the path that the SDK will add again.
                endpoint.push_str("/v1/traces");
            }
            let program = self.images.start(&start);
            let delay = number(container, "/readinessProbe/initialDelaySeconds").unwrap_or(0);
            let delay = Duration::from_secs(u64::try_from(delay).unwrap_or(0));
            if has(container, "/readinessProbe") {
                life.probes.insert(name.clone(), look.now + delay);
            } else {
                life.ready.insert(name.clone());
            }
            let Some(program) = program else { continue };
            self.running.insert(&life.key.namespace, &life.key.name, &name, program.clone());
            let (ends, notify, uid) = (self.ends.clone(), self.notify.clone(), start.uid);
            let task = tokio::spawn(async move {
                let code = program.run().await;
                ends.lock().unwrap_or_else(PoisonError::into_inner).push((uid, name, code));
                notify.notify_one();
            });
            life.tasks.push(task.abort_handle());
        }
    }

    fn stop(&self, life: &mut Life) {
        for task in life.tasks.drain(..) {
            task.abort();
        }
        life.ready.clear();
        life.probes.clear();
        for (container, program) in self.running.containers(&life.key.namespace, &life.key.name) {
            self.running.keep_log(&life.key.namespace, &life.key.name, &container, program.log());
            self.running.remove(&life.key.namespace, &life.key.name, Some(&container));
        }
    }

    /// Asks the readiness probes that are due; when the next one is.
    pub(super) async fn probe(&mut self, server: &Arc<Server>) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut changed = false;
        let now = server.clock().elapsed();
        for life in self.lives.values_mut().filter(|life| life.state == State::Running) {
            let Some(pod) = server.store().get(&life.key).cloned() else { continue };
            for container in items(&pod, "/spec/containers") {
                let name = text(container, "/name");
                let Some(due) = life.probes.get(name).copied() else { continue };
                if due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    continue;
                }
                let ready = match self.running.container(&life.key.namespace, &life.key.name, name) {
                    // An image that is not simulated is ready when its delay is over.
                    None => true,
                    Some(program) => match probe_of(container) {
                        Some((port, request)) => {
                            let answer = program.handle(port, request).await;
                            answer.is_some_and(|answer| (200..400).contains(&answer.status().as_u16()))
                        }
                        None => true,
                    },
                };
                let was = if ready { !life.ready.insert(name.to_owned()) } else { life.ready.remove(name) };
                changed |= was != ready;
                let period = number(container, "/readinessProbe/periodSeconds").unwrap_or(10).max(1);
                let due = now + Duration::from_secs(u64::try_from(period).unwrap_or(10));
                let simulated = self.running.container(&life.key.namespace, &life.key.name, name).is_some();
                if simulated {
                    life.probes.insert(name.to_owned(), due);
                    next = Some(next.map_or(due, |next| next.min(due)));
                } else {
                    life.probes.remove(name);
                }
            }
        }
        if changed { Some(now) } else { next }
    }

    /// Writes the status of a pod as it is now.
    fn write(&self, look: &mut Look<'_>, life: &Life) {
        let Some(live) = look.store.get(&life.key).cloned() else { return };
        let status = status(look, life, &live);
        if live.get("status") == Some(&status) {
            return;
        }
        let mut object = Value::clone(&live);
        map(&mut object).insert("status".to_owned(), status);
        look.update(&life.key, Some("status"), COMPONENT, object);
    }
}

/// Whether a rule's condition holds for a pod.
fn fits(look: &Look<'_>, when: When, pod: &Value) -> bool {
    let image =
        |part: &str| items(pod, "/spec/containers").iter().any(|one| text(one, "/image").contains(part));
    match when {
        When::Always => true,
        When::Going => is_going(pod),
        When::Fault(fault, part) => look.faults.on(fault) && image(part),
        When::Starved(fault, part, mebibytes) => {
            let limit = pod.pointer("/spec/containers/0/resources/limits/memory").and_then(nano);
            let least = mebibytes * 1024 * 1024 * 1_000_000_000;
            look.faults.on(fault) && image(part) && limit.is_some_and(|limit| limit < least)
        }
        When::ClaimsBound => items(pod, "/spec/volumes").iter().all(|volume| {
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            claim.is_empty()
                || look
                    .get("v1", "PersistentVolumeClaim", text(pod, "/metadata/namespace"), claim)
                    .is_some_and(|claim| text(&claim, "/status/phase") == "Bound")
        }),
        When::Mountable => missing_files(look, pod).is_empty(),
    }
}

/// ConfigMaps and Secrets that a pod mounts and that are not there: (volume, kind, name).
fn missing_files(look: &Look<'_>, pod: &Value) -> Vec<(String, &'static str, String)> {
    let namespace = text(pod, "/metadata/namespace");
    let mut missing = Vec::new();
    for volume in items(pod, "/spec/volumes") {
        for (kind, source, pointer) in
            [("ConfigMap", "configMap", "/configMap/name"), ("Secret", "secret", "/secret/secretName")]
        {
            let name = text(volume, pointer);
            let optional = volume.pointer(&format!("/{source}/optional")) == Some(&Value::Bool(true));
            if !name.is_empty() && !optional && look.get("v1", kind, namespace, name).is_none() {
                missing.push((text(volume, "/name").to_owned(), kind, name.to_owned()));
            }
        }
    }
    missing
}

fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    members(object, pointer)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The texts of a ConfigMap or Secret.
fn data_of(look: &Look<'_>, namespace: &str, kind: &str, name: &str) -> BTreeMap<String, String> {
    let Some(object) = look.get("v1", kind, namespace, name) else { return BTreeMap::new() };
    let data = strings(&object, "/data");
    if kind == "ConfigMap" {
        return data;
    }
    let plain = |text: String| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    data.into_iter().map(|(name, text)| (name, plain(text))).collect()
}

fn environment(look: &Look<'_>, life: &Life, pod: &Value, container: &Value) -> BTreeMap<String, String> {
    let namespace = &life.key.namespace;
    let mut all = BTreeMap::new();
    for source in items(container, "/envFrom") {
        for (kind, pointer) in [("ConfigMap", "/configMapRef/name"), ("Secret", "/secretRef/name")] {
            let name = text(source, pointer);
            if !name.is_empty() {
                all.extend(data_of(look, namespace, kind, name));
            }
        }
    }
    for variable in items(container, "/env") {
        let name = text(variable, "/name").to_owned();
        let value = if has(variable, "/valueFrom") {
            let reference = |kind: &str, pointer: &str| {
                let object = text(variable, &format!("/valueFrom/{pointer}/name"));
                let key = text(variable, &format!("/valueFrom/{pointer}/key"));
                data_of(look, namespace, kind, object).get(key).cloned()
            };
            let field = match text(variable, "/valueFrom/fieldRef/fieldPath") {
                "" => None,
                "status.podIP" => Some(life.address.clone()),
                path => Some(text(pod, &format!("/{}", path.replace('.', "/"))).to_owned()),
            };
            field
                .or_else(|| reference("ConfigMap", "configMapKeyRef"))
                .or_else(|| reference("Secret", "secretKeyRef"))
                .unwrap_or_default()
        } else {
            text(variable, "/value").to_owned()
        };
        all.insert(name, value);
    }
    all
}

/// The mounted files by their paths.
fn files(look: &Look<'_>, namespace: &str, pod: &Value, container: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for mount in items(container, "/volumeMounts") {
        let volume =
            items(pod, "/spec/volumes").iter().find(|volume| volume.get("name") == mount.get("name"));
        let Some(volume) = volume else { continue };
        for (kind, pointer) in [("ConfigMap", "/configMap/name"), ("Secret", "/secret/secretName")] {
            let name = text(volume, pointer);
            if name.is_empty() {
                continue;
            }
            let path = text(mount, "/mountPath").trim_end_matches('/');
            let part = text(mount, "/subPath");
            for (file, content) in data_of(look, namespace, kind, name) {
                if part.is_empty() {
                    all.insert(format!("{path}/{file}"), content);
                } else if part == file {
                    all.insert(path.to_owned(), content);
                }
            }
        }
    }
    all
}

/// The readiness probe over HTTP: port and request.
fn probe_of(container: &Value) -> Option<(u16, Request<Bytes>)> {
    let get = container.pointer("/readinessProbe/httpGet")?;
    let port = match get.get("port")? {
        Value::Number(number) => number.as_u64()?,
        Value::String(name) => items(container, "/ports")
            .iter()
            .find(|port| text(port, "/name") == name)
            .and_then(|port| port.get("containerPort")?.as_u64())?,
        _ => return None,
    };
    let request =
        Request::get(text(get, "/path")).header("user-agent", "kube-probe/1.34").body(Bytes::new()).ok()?;
    Some((u16::try_from(port).ok()?, request))
}

fn not_found(image: &str) -> String {
    format!("rpc error: code = NotFound desc = failed to pull and unpack image {image:?}: not found")
}

/// The status of a pod as its life has it.
fn status(look: &Look<'_>, life: &Life, pod: &Value) -> Value {
    let mut status = pod.get("status").cloned().unwrap_or_else(|| json!({}));
    if life.state == State::New {
        return status;
    }
    let containers = items(pod, "/spec/containers");
    let up = life.state == State::Running;
    let began = !life.started.is_empty();
    let all_ready = up && containers.iter().all(|one| life.ready.contains(text(one, "/name")));
    let fields = map(&mut status);
    fields.insert("phase".to_owned(), Value::from(if began { "Running" } else { "Pending" }));
    fields.insert("hostIP".to_owned(), Value::from("10.0.0.11"));
    fields.insert("hostIPs".to_owned(), json!([{"ip": "10.0.0.11"}]));
    if began {
        fields.insert("podIP".to_owned(), Value::from(life.address.as_str()));
        fields.insert("podIPs".to_owned(), json!([{"ip": life.address}]));
    }
    crate::rehearsal::value::default(fields, "startTime", look.time.as_str());
    let states: Vec<Value> = containers.iter().map(|container| container_status(life, container)).collect();
    fields.insert("containerStatuses".to_owned(), Value::from(states));
    let unready: Vec<&str> = containers
        .iter()
        .map(|one| text(one, "/name"))
        .filter(|name| !life.ready.contains(*name) || !up)
        .collect();
    let truth = |kind: &str, truth: bool| {
        if truth {
            json!({"type": kind, "status": "True", "lastProbeTime": null})
        } else {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            json!({"type": kind, "status": "False", "lastProbeTime": null, "reason": "ContainersNotReady", "message": message})
        }
    };
    for (kind, holds) in [
        ("PodReadyToStartContainers", began),
        ("Initialized", true),
        ("Ready", all_ready),
        ("ContainersReady", all_ready),
        ("PodScheduled", true),
    ] {
        let condition = if matches!(kind, "Ready" | "ContainersReady") {
            truth(kind, holds)
        } else {
            json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastProbeTime": null})
        };
        set_condition(&mut status, condition, &look.time, &["lastTransitionTime"]);
    }
    status
}

fn container_status(life: &Life, container: &Value) -> Value {
    let image = text(container, "/image");
    let name = text(container, "/name");
    let ended = |last: &(String, i32, String, String)| {
        let (reason, code, started, finished) = last;
        json!({"terminated": {
            "reason": reason, "exitCode": code, "startedAt": started, "finishedAt": finished,
            "containerID": format!("containerd://{}", life.restarts),
        }})
    };
    let waiting = |reason: &str, message: Option<String>| {
        let mut state = json!({"waiting": {"reason": reason}});
        if let (Some(message), Some(waiting)) = (message, state.pointer_mut("/waiting")) {
            map(waiting).insert("message".to_owned(), Value::from(message));
        }
        state
    };
    let state = match life.state {
        State::Running => json!({"running": {"startedAt": life.started}}),
        State::PullFailed => waiting("ErrImagePull", Some(not_found(image))),
        State::PullBackOff => {
            let message = format!("Back-off pulling image {image:?}: ErrImagePull: {}", not_found(image));
            waiting("ImagePullBackOff", Some(message))
        }
        State::Killed => life.last.as_ref().map_or_else(|| json!({}), ended),
        State::CrashBackOff => {
            let seconds = 10 * 2_i64.pow(u32::try_from(life.restarts.clamp(0, 5)).unwrap_or(0));
            let message = format!(
                "back-off {}s restarting failed container={name} pod={}_{}",
                seconds.min(300),
                life.key.name,
                life.key.namespace
            );
            waiting("CrashLoopBackOff", Some(message))
        }
        State::New | State::Scheduled | State::Ended => waiting("ContainerCreating", None),
    };
    let last = match (&life.last, life.state) {
        (Some(last), State::Running | State::CrashBackOff) => ended(last),
        _ => json!({}),
    };
    let up = life.state == State::Running;
    json!({
        "name": name, "image": image, "imageID": if up { format!("sha256:{name}") } else { String::new() },
        "ready": up && life.ready.contains(name), "started": up, "restartCount": life.restarts,
        "state": state, "lastState": last,
    })
}
