//! The way to programs: by Service name inside the cluster, and by port-forward from outside.

use super::api::Server;
use super::program::Program;
use crate::port::{ClusterError, ClusterResult, Dial, Stream};
use crate::text::Clean;
use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};

/// Room of a forwarded connection.
const PIPE: usize = 64 * 1024;

/// The containers of each pod, by (namespace, pod), with their programs.
type Pods = BTreeMap<(String, String), Vec<(String, Arc<dyn Program>)>>;

/// The running programs by (namespace, pod).
#[derive(Default)]
pub struct Running {
    programs: Mutex<Pods>,
    /// Logs of containers that ended, by (namespace, pod, container).
    ended: Mutex<BTreeMap<(String, String, String), Vec<String>>>,
}

impl Running {
    /// Notes a container's program, in place of its earlier one.
    pub fn insert(&self, namespace: &str, pod: &str, container: &str, program: Arc<dyn Program>) {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let containers = programs.entry((namespace.to_owned(), pod.to_owned())).or_default();
        containers.retain(|(name, _)| name != container);
        containers.push((container.to_owned(), program));
    }

    /// Forgets a container's program; all of the pod without a container.
    pub fn remove(&self, namespace: &str, pod: &str, container: Option<&str>) {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), pod.to_owned());
        match (container, programs.get_mut(&key)) {
            (Some(container), Some(containers)) => containers.retain(|(name, _)| name != container),
            _ => {
                programs.remove(&key);
            }
        }
    }

    /// The program of a container.
    pub fn container(&self, namespace: &str, pod: &str, container: &str) -> Option<Arc<dyn Program>> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let containers = programs.get(&(namespace.to_owned(), pod.to_owned()))?;
        containers.iter().find(|(name, _)| name == container).map(|(_, program)| program.clone())
    }

    /// The containers of a pod with their programs.
    pub fn containers(&self, namespace: &str, pod: &str) -> Vec<(String, Arc<dyn Program>)> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.get(&(namespace.to_owned(), pod.to_owned())).cloned().unwrap_or_default()
    }

    /// Keeps the log of a container that ended.
    pub fn keep_log(&self, namespace: &str, pod: &str, container: &str, lines: Vec<String>) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert((namespace.to_owned(), pod.to_owned(), container.to_owned()), lines);
    }

    /// The log of a container's last end.
    pub fn last_words(&self, namespace: &str, pod: &str, container: &str) -> Option<Vec<String>> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get(&(namespace.to_owned(), pod.to_owned(), container.to_owned())).cloned()
    }

    /// The programs of a pod.
    pub fn pod(&self, namespace: &str, pod: &str) -> Vec<Arc<dyn Program>> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let containers = programs.get(&(namespace.to_owned(), pod.to_owned()));
        containers.into_iter().flatten().map(|(_, program)| program.clone()).collect()
    }

    /// Asks a pod's port; `None`: nothing listens there.
    pub async fn ask(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        request: Request<Bytes>,
    ) -> Option<Response<Bytes>> {
        for program in self.pod(namespace, pod) {
            if let Some(answer) = program.handle(port, request.clone()).await {
                return Some(answer);
            }
        }
        None
    }
}

/// Requests from pod to pod.
#[derive(Clone)]
pub struct Network {
    server: Arc<Server>,
}

impl Network {
    /// The network of a cluster.
    pub fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Where a host and port lead that a pod of `namespace` names: namespace, pod, and port of the pod.
    ///
    /// # Errors
    /// As [`Network::request`].
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Result<(String, String, u16), String> {
        self.server.resolve(namespace, host, port)
    }

    /// Sends a request to a host as a pod of `namespace` names it: `tempo`, `tempo.monitoring`,
    /// `tempo.monitoring.svc[.cluster.local]`.
    ///
    /// # Errors
    /// One sentence as Go programs say it: the name does not resolve, nothing is ready behind it, nothing listens.
    pub async fn request(
        &self,
        namespace: &str,
        host: &str,
        port: u16,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, String> {
        let (pod_namespace, pod, pod_port) = self.server.resolve(namespace, host, port)?;
        let answer = self.server.running().ask(&pod_namespace, &pod, pod_port, request).await;
        answer.ok_or_else(|| format!("dial tcp {host}:{port}: connect: connection refused"))
    }
}

/// Port-forward in process.
#[derive(Clone)]
pub struct SimDial {
    server: Arc<Server>,
}

impl SimDial {
    /// Dials into the pods of this cluster.
    pub fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

#[async_trait]
impl Dial for SimDial {
    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> ClusterResult<Box<dyn Stream>> {
        if !self.server.pod_runs(namespace, pod) {
            let message = format!("pods {pod:?} not found");
            return Err(ClusterError::NotFound(Clean::new(message)));
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let running = self.server.running().clone();
        let (namespace, pod) = (namespace.to_owned(), pod.to_owned());
        tokio::spawn(async move { serve_pod(running, &namespace, &pod, port, far).await });
        Ok(Box::new(near))
    }
}

/// Speaks HTTP/1.1 for a pod's port on a byte stream, until either side ends it.
pub async fn serve_pod(
    running: Arc<Running>,
    namespace: &str,
    pod: &str,
    port: u16,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let running = running.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let request = Request::from_parts(parts, body);
            match running.ask(namespace, pod, port, request).await {
                Some(answer) => Ok(answer.map(Full::new)),
                None => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            }
        }
    });
    // The far end of a forward may go at any time; there is nobody to tell.
    let _: Result<(), hyper::Error> =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
