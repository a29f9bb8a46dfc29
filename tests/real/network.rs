//! The cluster's network in small: Services lead to the ports of ready pods, and pods' ports to local programs.
//!
//! A name is looked up when a connection is made, in the Service and EndpointSlice objects of the API server, as DNS and
//! kube-proxy would: a Service that is missing, selects nothing, or has no ready pod leads nowhere.

use crate::api::Api;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Namespace and name of a pod.
pub type PodName = (String, String);

/// The pods' ports and the relays that lead to them.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    api: Option<Api>,
    /// For each pod whose program runs: container port to local address. The number says which is the youngest.
    pods: BTreeMap<PodName, (u64, BTreeMap<u16, SocketAddr>)>,
    started: u64,
    relays: BTreeMap<(String, u16), SocketAddr>,
    refused: Vec<String>,
    tasks: JoinSet<()>,
}

/// Where a relay leads.
#[derive(Clone)]
enum Route {
    /// A host name and port, as a program in the cluster would use them.
    Service(String, u16),
    /// A container port of a pod: by name, or the youngest of a namespace that no other route names.
    Pod { namespace: String, pod: Option<String>, except: Vec<String>, port: u16 },
}

impl Network {
    /// A network without pods.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects it with the API server whose Services it follows.
    pub fn follow(&self, api: &Api) {
        self.state(|state| state.api = Some(api.clone()));
    }

    /// A pod's program listens at these addresses from now on.
    pub fn place(&self, pod: &PodName, ports: BTreeMap<u16, SocketAddr>) {
        self.state(|state| {
            state.started += 1;
            state.pods.insert(pod.clone(), (state.started, ports));
        });
    }

    /// A pod's program is gone.
    pub fn remove(&self, pod: &PodName) {
        self.state(|state| state.pods.remove(pod));
    }

    /// The pods whose programs run.
    pub fn pods(&self) -> Vec<PodName> {
        self.state(|state| state.pods.keys().cloned().collect())
    }

    /// The local address of a container port.
    pub fn pod_port(&self, namespace: &str, pod: &str, port: u16) -> Option<SocketAddr> {
        let key = (namespace.to_owned(), pod.to_owned());
        self.state(|state| state.pods.get(&key).and_then(|(_, ports)| ports.get(&port).copied()))
    }

    /// Connections that led nowhere, in words.
    pub fn refused(&self) -> Vec<String> {
        self.state(|state| state.refused.clone())
    }

    /// A local address that leads to a host name and port; one relay for each.
    pub fn relay(&self, host: &str, port: u16) -> Result<SocketAddr> {
        let key = (host.to_owned(), port);
        if let Some(address) = self.state(|state| state.relays.get(&key).copied()) {
            return Ok(address);
        }
        let address = self.open(Route::Service(host.to_owned(), port))?;
        self.state(|state| state.relays.insert(key, address));
        Ok(address)
    }

    /// A local port that leads to a container port of a pod; see [`Route::Pod`].
    pub fn relay_pod(&self, namespace: &str, pod: Option<&str>, except: &[&str], port: u16) -> Result<u16> {
        let route = Route::Pod {
            namespace: namespace.to_owned(),
            pod: pod.map(str::to_owned),
            except: except.iter().map(|name| (*name).to_owned()).collect(),
            port,
        };
        Ok(self.open(route)?.port())
    }

    fn open(&self, route: Route) -> Result<SocketAddr> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let network = Arc::downgrade(&self.0);
        self.state(|state| {
            state.tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((incoming, _)) = listener.accept().await {
                    // What has ended is forgotten.
                    while connections.try_join_next().is_some() {}
                    let Some(network) = network.upgrade().map(Network) else { break };
                    let route = route.clone();
                    connections.spawn(async move { network.lead(incoming, route).await });
                }
            })
        });
        Ok(address)
    }

    /// Leads one connection to where its route points now. Without a target it is closed, as a refused one would be.
    async fn lead(&self, mut incoming: TcpStream, route: Route) {
        let target = match &route {
            Route::Service(host, port) => self.resolve(host, *port).await,
            Route::Pod { namespace, pod, except, port } => self
                .state(|state| {
                    state
                        .pods
                        .iter()
                        .filter(|((ns, name), _)| {
                            ns == namespace && pod.as_ref().map_or(!except.contains(name), |pod| pod == name)
                        })
                        .max_by_key(|(_, (started, _))| *started)
                        .and_then(|(_, (_, ports))| ports.get(port).copied())
                })
                .with_context(|| {
                    format!("port {port} of {namespace}/{}: refused", pod.as_deref().unwrap_or("*"))
                }),
        };
        let outgoing = match target {
            Ok(address) => {
                TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))
            }
            Err(error) => Err(error),
        };
        match outgoing {
            Ok(mut outgoing) => {
                // Either side may go at any time; that is theirs to report.
                let _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await;
            }
            Err(error) => self.state(|state| state.refused.push(format!("{error:#}"))),
        }
    }

    /// The local address behind a host name and port, by the Service and its EndpointSlices.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr> {
        let api = self.state(|state| state.api.clone()).context("the network follows no API server yet")?;
        let (name, namespace) = service_name(host).with_context(|| format!("lookup {host}: no such host"))?;
        let service = api
            .get(&format!("/api/v1/namespaces/{namespace}/services/{name}"))
            .await?
            .with_context(|| format!("lookup {host}: no such host"))?;
        let refused = || anyhow!("dial {host}:{port}: connection refused");
        let port_name = service
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .and_then(|ports| ports.iter().find(|one| one["port"].as_u64() == Some(u64::from(port))))
            .map(|one| one["name"].as_str().unwrap_or_default().to_owned())
            .ok_or_else(refused)?;
        let slices = api
            .list(&format!(
                "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}"
            ))
            .await?;
        for slice in &slices {
            let target = slice["ports"]
                .as_array()
                .and_then(|ports| {
                    ports.iter().find(|one| one["name"].as_str().unwrap_or_default() == port_name)
                })
                .and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
            let Some(target) = target else { continue };
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
                let pod = endpoint.pointer("/targetRef/name").and_then(Value::as_str);
                let address = pod.and_then(|pod| self.pod_port(&namespace, pod, target));
                if let (true, Some(address)) = (ready, address) {
                    return Ok(address);
                }
            }
        }
        bail!(refused())
    }
}

/// Name and namespace of the Service that a host name means: `tempo.monitoring`, with `.svc` and `.svc.cluster.local`.
fn service_name(host: &str) -> Option<(String, String)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let host = host.strip_suffix(".svc").unwrap_or(host);
    let (name, namespace) = host.split_once('.')?;
    (!namespace.contains('.')).then(|| (name.to_owned(), namespace.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services() {
        let tempo = Some(("tempo".to_owned(), "monitoring".to_owned()));
        for host in ["tempo.monitoring", "tempo.monitoring.svc", "tempo.monitoring.svc.cluster.local."] {
            assert_eq!(service_name(host), tempo, "{host}");
        }
        assert_eq!(service_name("tempo"), None);
        assert_eq!(service_name("collector.example.com"), None);
    }
}
