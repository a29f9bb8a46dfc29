//! What runs in pods: programs behind their ports.
//!
//! The kubelet of the rehearsal asks [`Images`] for a program when a container starts, probes it over HTTP as the pod
//! asks, and ends it when the container ends. A program reaches others by [`super::network::Network`].

use async_trait::async_trait;
use http::{Request, Response};
use hyper::body::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A container that starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub pod: String,
    /// uid of its pod.
    pub uid: String,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Name of the container.
    pub container: String,
    /// Image.
    pub image: String,
    /// Arguments, as the pod has them.
    pub args: Vec<String>,
    /// Environment, references resolved.
    pub env: BTreeMap<String, String>,
    /// Files of the mounted ConfigMaps and Secrets by absolute path.
    pub files: BTreeMap<String, String>,
}

/// A running container.
#[async_trait]
pub trait Program: Send + Sync {
    /// Answers a request to one of its ports; `None`: nothing listens there (connection refused).
    async fn handle(&self, port: u16, request: Request<Bytes>) -> Option<Response<Bytes>>;

    /// What it does by itself, until it is dropped. A return before that is the end of the program with this exit code.
    async fn run(&self) -> i32 {
        std::future::pending().await
    }

    /// What it has written to its log.
    fn log(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The images that the rehearsal can run.
pub trait Images: Send + Sync {
    /// The program of a container; `None` for an image that is not simulated: it runs, listens nowhere, and is ready at
    /// once.
    fn start(&self, start: &Start) -> Option<Arc<dyn Program>>;
}

/// No image is simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoImages;

impl Images for NoImages {
    fn start(&self, _: &Start) -> Option<Arc<dyn Program>> {
        None
    }
}
