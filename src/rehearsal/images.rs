//! The images that a rehearsal runs: Tempo, the Collector, Loki and the application, as programs in pods.

use super::application::{LogAgent, LogLine, Tripit};
use super::clock::SimClock;
use super::network::Network;
use super::program::{Images, Program, Start};
use super::telemetry::{self, Service, collector::Collector, loki, loki::Loki, tempo, tempo::Tempo};
use crate::port::Clock;
use crate::text::Clean;
use async_trait::async_trait;
use http::{Request, Response};
use hyper::body::Bytes;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a program without a time of its own looks whether something is due.
const LOOK: Duration = Duration::from_millis(500);

/// How many lines of a container's log are kept.
const KEPT: usize = 200;

/// Where the node's log agent sends what applications write.
const LOKI: &str = "http://loki.monitoring.svc:3100/loki/api/v1/push";

/// The telemetry images and the application.
pub struct Telemetry {
    shared: Arc<Shared>,
    clock: SimClock,
    seed: u64,
}

/// What the programs of one cluster share: the way to each other, and what outlives a pod.
struct Shared {
    network: Network,
    services: Mutex<BTreeMap<(String, String), Arc<dyn Service>>>,
    traces: tempo::Volume,
    lines: loki::Volume,
}

impl Shared {
    fn services(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<dyn Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network as the pods of one namespace see it.
struct Seen {
    shared: Arc<Shared>,
    namespace: String,
}

impl telemetry::Network for Seen {
    fn reach(&self, host: &str, port: u16) -> Result<(Arc<dyn Service>, u16), Clean> {
        let (namespace, pod, port_of_pod) =
            self.shared.network.resolve(&self.namespace, host, port).map_err(Clean::new)?;
        let service = self.shared.services().get(&(namespace, pod)).cloned();
        let service = service
            .ok_or_else(|| Clean::new(format!("dial tcp {host}:{port}: connect: connection refused")))?;
        Ok((service, port_of_pod))
    }
}

impl Telemetry {
    /// The images of a rehearsal.
    pub fn new(network: Network, clock: SimClock, seed: u64) -> Self {
        let shared = Shared {
            network,
            services: Mutex::default(),
            traces: tempo::Volume::default(),
            lines: loki::Volume::default(),
        };
        Self { shared: Arc::new(shared), clock, seed }
    }

    fn service(&self, name: &str, start: &Start) -> Option<Result<Arc<dyn Service>, telemetry::StartError>> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let seen = Arc::new(Seen { shared: self.shared.clone(), namespace: start.namespace.clone() });
        // The file that the arguments name (`-config.file=…`, `--config=…`), as it is mounted.
        let path = start.args.iter().find_map(|arg| {
            let (option, path) = arg.trim_start_matches('-').split_once('=')?;
            matches!(option, "config.file" | "config").then_some(path)
        });
        let config = path.and_then(|path| start.files.get(path)).map(String::as_str).unwrap_or_default();
        Some(match name {
            "tempo" => Tempo::start(config, clock, &self.shared.traces).map(|tempo| Arc::new(tempo) as _),
            "loki" => Loki::start(config, clock, &self.shared.lines).map(|loki| Arc::new(loki) as _),
            "opentelemetry-collector-contrib" => {
                Collector::start(config, &start.env, clock, seen).map(|collector| Arc::new(collector) as _)
            }
            _ => return None,
        })
    }
}

impl Images for Telemetry {
    fn start(&self, start: &Start) -> Option<Arc<dyn Program>> {
        let last = start.image.rsplit('/').next().unwrap_or_default();
        let name = last.split([':', '@']).next().unwrap_or_default();
        if name == "tripit" {
            let mut hasher = DefaultHasher::new();
            (self.seed, &start.uid).hash(&mut hasher);
            let labels = [("app", name), ("namespace", &start.namespace), ("pod", &start.pod)];
            let labels =
                labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
            return Some(Arc::new(Application {
                tripit: Mutex::new(Tripit::new(hasher.finish(), self.clock.wall())),
                env: start.env.clone(),
                agent: Mutex::new(LogAgent::new(LOKI, labels)),
                seen: Seen { shared: self.shared.clone(), namespace: start.namespace.clone() },
                clock: self.clock,
                log: Mutex::default(),
            }));
        }
        Some(match self.service(name, start)? {
            Err(error) => Arc::new(Broken { words: error.to_string() }),
            Ok(service) => {
                let key = (start.namespace.clone(), start.pod.clone());
                self.shared.services().insert(key.clone(), service.clone());
                Arc::new(Running { service, key, shared: self.shared.clone(), clock: self.clock })
            }
        })
    }
}

/// A service in its pod.
struct Running {
    service: Arc<dyn Service>,
    key: (String, String),
    shared: Arc<Shared>,
    clock: SimClock,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A successor in a pod of the same name may be there already.
        let mut services = self.shared.services();
        if services.get(&self.key).is_some_and(|service| Arc::ptr_eq(service, &self.service)) {
            services.remove(&self.key);
        }
    }
}

#[async_trait]
impl Program for Running {
    async fn handle(&self, port: u16, request: Request<Bytes>) -> Option<Response<Bytes>> {
        self.service.ports().contains(&port).then(|| self.service.handle(port, &request))
    }

    async fn run(&self) -> i32 {
        loop {
            let wait = match self.service.due_ms() {
                Some(due) => Duration::from_millis(due.saturating_sub(self.clock.wall()).clamp(1, 500)),
                None => LOOK,
            };
            self.clock.sleep(wait).await;
            self.service.advance();
        }
    }
}

/// A program that refuses its configuration: it says why and ends.
struct Broken {
    words: String,
}

#[async_trait]
impl Program for Broken {
    async fn handle(&self, _: u16, _: Request<Bytes>) -> Option<Response<Bytes>> {
        None
    }

    async fn run(&self) -> i32 {
        1
    }

    fn log(&self) -> Vec<String> {
        vec![self.words.clone()]
    }
}

/// The application in its pod, with the node's log agent.
struct Application {
    tripit: Mutex<Tripit>,
    env: BTreeMap<String, String>,
    agent: Mutex<LogAgent>,
    seen: Seen,
    clock: SimClock,
    log: Mutex<Vec<String>>,
}

impl Application {
    fn collect(&self, lines: Vec<LogLine>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend(lines.iter().map(|line| line.text.clone()));
        let surplus = log.len().saturating_sub(KEPT);
        log.drain(..surplus);
        drop(log);
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        // What Loki does not take waits in the agent; the application does not notice.
        let _ = agent.ship(lines, &self.seen);
    }
}

#[async_trait]
impl Program for Application {
    async fn handle(&self, _: u16, _: Request<Bytes>) -> Option<Response<Bytes>> {
        None
    }

    async fn run(&self) -> i32 {
        loop {
            let (now, lines, due) = {
                let mut tripit = self.tripit.lock().unwrap_or_else(PoisonError::into_inner);
                let now = self.clock.wall();
                let lines = tripit.tick(&self.env, now, &self.seen);
                (now, lines, tripit.due_ms())
            };
            self.collect(lines);
            self.clock.sleep(Duration::from_millis(due.saturating_sub(now).max(1))).await;
        }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
