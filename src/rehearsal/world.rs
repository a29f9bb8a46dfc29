//! One rehearsal: a cluster as Terraform left it, and the ports through which the engine meets it.

use super::api::Server;
use super::clock::SimClock;
use super::dice::SeededEntropy;
use super::fault::{Fault, Faults};
use super::network::{Network, SimDial};
use super::program::{Images, NoImages};
use super::seed;
use super::store::Store;
use super::workload::Controllers;
use crate::adapter::cluster::KubeCluster;
use crate::adapter::http::TelemetryHttp;
use crate::port::{Cluster, Dial, Entropy, Http};
use crate::text::Clean;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// What a rehearsal is made of.
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<&'static Fault>,
    /// Time.
    pub clock: SimClock,
    /// Makes the images that can run, given the network that their programs use.
    pub images: Box<dyn FnOnce(Network, SimClock, u64) -> Arc<dyn Images> + Send>,
}

impl Options {
    /// No faults, and images that do nothing.
    pub fn new(seed: u64, clock: SimClock) -> Self {
        Self { seed, faults: Vec::new(), clock, images: Box::new(|_, _, _| Arc::new(NoImages)) }
    }
}

/// A running rehearsal; dropping it ends its controllers.
pub struct Rehearsal {
    server: Arc<Server>,
    entropy: Arc<SeededEntropy>,
    clock: SimClock,
    controllers: AbortHandle,
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

impl Rehearsal {
    /// Builds the world. To be called on the runtime that the rehearsal shall live on.
    pub fn new(options: Options) -> Self {
        let server =
            Server::new(Store::new(options.seed), options.clock, Faults::new(options.seed, options.faults));
        let time = options.clock.timestamp();
        seed::plant(&mut server.store(), server.faults(), &time);
        let images = (options.images)(Network::new(server.clone()), options.clock, options.seed);
        let controllers = tokio::spawn(Controllers::new(&server, images).run()).abort_handle();
        let entropy = Arc::new(SeededEntropy::new(options.seed));
        Self { server, entropy, clock: options.clock, controllers }
    }

    /// The API server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The clock.
    pub fn clock(&self) -> SimClock {
        self.clock
    }

    /// The entropy.
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        self.entropy.clone()
    }

    /// kube's client over the server, in process.
    pub fn client(&self) -> kube::Client {
        let server = self.server.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body: Bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                let answer = server.handle(http::Request::from_parts(parts, body)).await;
                answer.map_err(|reset| std::io::Error::new(std::io::ErrorKind::ConnectionReset, reset))
            }
        });
        kube::Client::new(service, "default")
    }

    /// The real adapter over the server, in process.
    pub fn cluster(&self) -> Arc<dyn Cluster> {
        Arc::new(KubeCluster::new(
            self.client(),
            Clean::from("rehearsal"),
            Clean::from("rehearsal (in process)"),
            self.entropy(),
        ))
    }

    /// Port-forward in process.
    pub fn dial(&self) -> Arc<dyn Dial> {
        Arc::new(SimDial::new(self.server.clone()))
    }

    /// The real adapter for telemetry services, over port-forwards in process.
    pub fn http(&self) -> Arc<dyn Http> {
        Arc::new(TelemetryHttp::new(self.cluster(), self.dial()))
    }
}
