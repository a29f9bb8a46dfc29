//! Everything that a rollout meets: the cluster as Terraform left it, real telemetry programs, and the application.

use crate::api::Api;
use crate::cluster::Cluster;
use crate::condition::until;
use crate::kubelet::Kubelet;
use crate::kwok::Forward;
use crate::network::Network;
use crate::{seed, snapshot, tripit};
use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;
use tokio::process::Command;

/// The running world. Dropping it ends everything that it started.
pub struct World {
    /// Runs the pods' programs; goes before the cluster.
    pub kubelet: Kubelet,
    /// Leads names and ports to the programs.
    pub network: Network,
    /// What the application exported and lost.
    pub application: tripit::Record,
    /// The control plane.
    pub cluster: Cluster,
}

impl World {
    /// Starts everything and waits until Loki and the application run.
    pub async fn start() -> Result<Self> {
        let network = Network::new();
        let forward = |pod: Option<&str>, except: &[&str], ports: &[u16]| -> Result<Forward> {
            let ports = ports
                .iter()
                .map(|port| Ok((*port, network.relay_pod("monitoring", pod, except, *port)?)))
                .collect::<Result<BTreeMap<u16, u16>>>()?;
            Ok(Forward { namespace: "monitoring".to_owned(), pod: pod.map(str::to_owned), ports })
        };
        let forwards = vec![
            forward(Some("tempo-0"), &[], &[3200, 4317, 4318])?,
            forward(Some("loki-0"), &[], &[3100])?,
            // The Collector's pods have a name of their own each.
            forward(None, &["tempo-0", "loki-0"], &[4317, 4318, 8888, 13133])?,
        ];
        let cluster = Cluster::start_with(forwards, true).await?;
        network.follow(cluster.api());
        let application = tripit::Record::default();
        let kubelet = Kubelet::start(cluster.api(), &network, &cluster.folder().join("pods"), &application);
        seed::plant(&cluster.access("Terraform").await?).await?;
        let world = Self { kubelet, network, application, cluster };
        world.rolled_out("/apis/apps/v1/namespaces/monitoring/statefulsets/loki", 60).await?;
        world.rolled_out("/apis/apps/v1/namespaces/tripit/deployments/tripit", 60).await?;
        Ok(world)
    }

    /// The harness's own access to the API server.
    pub fn api(&self) -> &Api {
        self.cluster.api()
    }

    /// Waits until a workload's replicas are the newest and ready.
    pub async fn rolled_out(&self, path: &str, seconds: u64) -> Result<()> {
        until(&format!("{path} is rolled out"), seconds, async || {
            let object = self.api().get(path).await?.with_context(|| format!("{path} is not there"))?;
            let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            ensure!(
                number("/status/observedGeneration") >= number("/metadata/generation"),
                "not observed yet"
            );
            ensure!(number("/status/replicas") == wanted, "{} replicas", number("/status/replicas"));
            ensure!(number("/status/updatedReplicas") == wanted, "not updated: {}", object["status"]);
            ensure!(number("/status/readyReplicas") == wanted, "not ready: {}", object["status"]);
            Ok(())
        })
        .await
    }

    /// The objects as they are now, for comparison.
    pub async fn snapshot(&self) -> Result<BTreeMap<String, Value>> {
        snapshot::take(self.api()).await
    }

    /// A command of the real binary in a home of its own; nothing of the tester's surroundings is inherited.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let home = self.cluster.folder().join("home");
        std::fs::create_dir_all(&home)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &home)
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("FIRSTLIGHT_STATE_DIR", home.join("firstlight"))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .current_dir(&home)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the real binary to its end.
    pub async fn firstlight(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output().await?)
    }

    /// GET of a pod's port over a port-forward through the API server.
    pub async fn forwarded_get(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> Result<(u16, Vec<u8>)> {
        self.forwarded(namespace, pod, port, http::Request::get(path), Vec::new()).await
    }

    /// POST of JSON to a pod's port over a port-forward through the API server.
    pub async fn forwarded_post(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Vec<u8>)> {
        let request = http::Request::post(path).header("content-type", "application/json");
        self.forwarded(namespace, pod, port, request, serde_json::to_vec(body)?).await
    }

    async fn forwarded(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<(u16, Vec<u8>)> {
        use http_body_util::{BodyExt, Full};
        let operator = self.cluster.access("real").await?;
        let pods: kube::Api<Pod> = kube::Api::namespaced(operator.client(), namespace);
        let mut forward = pods.portforward(pod, &[port]).await?;
        let stream = forward.take_stream(port).context("the port-forward has no stream")?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let connection = tokio::spawn(connection);
        let request = request.header("host", "localhost").body(Full::new(hyper::body::Bytes::from(body)))?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            Ok((status, answer.into_body().collect().await?.to_bytes().to_vec()))
        };
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), answer).await;
        connection.abort();
        answer.map_err(|_| anyhow!("no answer from {pod}:{port} within 10 s"))?
    }

    /// The names of a namespace's pods that carry a label.
    pub async fn pods(&self, namespace: &str, label: &str) -> Result<Vec<String>> {
        let label = label.replace('=', "%3D").replace('/', "%2F");
        let pods =
            self.api().list(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={label}")).await?;
        Ok(pods.iter().filter_map(|pod| pod.pointer("/metadata/name")?.as_str().map(str::to_owned)).collect())
    }

    /// Ends everything and waits for the control plane's processes.
    pub async fn stop(self) {
        let Self { kubelet, cluster, .. } = self;
        drop(kubelet);
        cluster.stop().await;
    }
}
