//! A bad line to the API server: a proxy that refuses, loses, cuts and holds requests as a test says.
//!
//! It speaks plain HTTP on loopback to the program and is an operator to the API server, so what gets through is in the
//! audit log under that name. A fault strikes a number of requests; every other request passes.

use crate::api::Api;
use crate::cluster::Cluster;
use anyhow::{Context, Result};
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

type Problem = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Problem>>;

/// What happens to a request.
#[derive(Clone)]
pub enum Fault {
    /// It is answered with this status, headers and body; the API server never sees it.
    Refuse(u16, Vec<(&'static str, String)>, String),
    /// It is carried out, and its answer is thrown away for this status.
    Lose(u16),
    /// The connection is reset; the API server never sees it.
    ResetBefore,
    /// It is carried out, and then the connection is reset.
    ResetAfter,
    /// It waits until the test lets it go, and is carried out then.
    Hold,
    /// It waits until the test lets it go, is carried out, and its answer is thrown away for this status.
    HoldAndLose(u16),
    /// It is answered as ever, and the answer's stream is cut when the test lets it go.
    Cut,
}

/// A fault, whom it strikes, and how often.
pub struct Trap {
    method: Method,
    part: &'static str,
    fault: Fault,
    left: AtomicU32,
    struck: AtomicU32,
    /// One permit for each request that may go on.
    release: Semaphore,
}

impl Trap {
    /// How many requests it struck.
    pub fn struck(&self) -> u32 {
        self.struck.load(Ordering::SeqCst)
    }

    /// Lets everything go that it holds, or will hold.
    pub fn let_go(&self) {
        self.release.close();
    }

    fn strikes(&self, request: &Request<Incoming>) -> bool {
        let uri = request.uri().to_string();
        // A dry run is no effect, so it is never what a test means by a method and a path.
        let meant = request.method() == self.method && uri.contains(self.part) && !uri.contains("dryRun=");
        meant
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

/// The proxy. Dropping it ends it.
pub struct Proxy {
    kubeconfig: PathBuf,
    traps: Arc<Mutex<Vec<Arc<Trap>>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Starts one in front of a cluster.
    pub async fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = Arc::new(cluster.access("real").await?);
        let traps: Arc<Mutex<Vec<Arc<Trap>>>> = Arc::default();
        let kubeconfig = cluster.folder().join(format!("kubeconfig-proxy-{name}"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "real",
            "clusters": [{"name": "real", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "real", "user": {}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "real"}}],
        });
        std::fs::write(&kubeconfig, config.to_string())?;
        let all = Arc::clone(&traps);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Dropped unread, a connection is then reset and not closed.
                let _ = stream.set_zero_linger();
                let (server, traps) = (Arc::clone(&server), Arc::clone(&all));
                let service = hyper::service::service_fn(move |request| {
                    let (server, traps) = (Arc::clone(&server), Arc::clone(&traps));
                    async move { answer(&server, &traps, request).await }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { kubeconfig, traps, accepting })
    }

    /// The kubeconfig that leads through it, with the context `real`.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// Lets a fault strike the next `times` requests of this method whose path and query hold `part`.
    pub fn set(&self, method: Method, part: &'static str, times: u32, fault: Fault) -> Arc<Trap> {
        let trap = Arc::new(Trap {
            method,
            part,
            fault,
            left: AtomicU32::new(times),
            struck: AtomicU32::new(0),
            release: Semaphore::new(0),
        });
        if let Ok(mut traps) = self.traps.lock() {
            traps.push(Arc::clone(&trap));
        }
        trap
    }
}

async fn answer(
    server: &Api,
    traps: &Mutex<Vec<Arc<Trap>>>,
    request: Request<Incoming>,
) -> Result<Answer, Problem> {
    let trap = traps.lock().ok().and_then(|traps| traps.iter().find(|trap| trap.strikes(&request)).cloned());
    let Some(trap) = trap else { return forward(server, request).await };
    trap.struck.fetch_add(1, Ordering::SeqCst);
    match &trap.fault {
        Fault::Refuse(status, headers, body) => {
            // The request is read to its end, as a server would.
            request.into_body().collect().await?;
            let mut answer = said(*status, body.clone())?;
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse()?);
            }
            Ok(answer)
        }
        Fault::Lose(status) => {
            forward(server, request).await?.into_body().collect().await?;
            said(*status, "the answer was lost".to_owned())
        }
        Fault::ResetBefore => Err("reset".into()),
        Fault::ResetAfter => {
            forward(server, request).await?.into_body().collect().await?;
            Err("reset".into())
        }
        Fault::Hold => {
            // An error says that it was let go.
            let _ = trap.release.acquire().await;
            forward(server, request).await
        }
        Fault::HoldAndLose(status) => {
            let _ = trap.release.acquire().await;
            forward(server, request).await?.into_body().collect().await?;
            said(*status, "the answer was lost".to_owned())
        }
        Fault::Cut => {
            let (parts, body) = forward(server, request).await?.into_parts();
            let cut = {
                let trap = Arc::clone(&trap);
                async move {
                    let _ = trap.release.acquire().await;
                    Err::<Frame<Bytes>, Problem>("cut".into())
                }
            };
            let frames = http_body_util::BodyStream::new(body).take_until(Box::pin({
                let trap = Arc::clone(&trap);
                async move { drop(trap.release.acquire().await) }
            }));
            let body = StreamBody::new(frames.chain(futures::stream::once(cut)));
            Ok(Response::from_parts(parts, BodyExt::boxed_unsync(body)))
        }
    }
}

/// The API server's own answer.
async fn forward(server: &Api, request: Request<Incoming>) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let mut passed = Request::builder()
        .method(parts.method)
        .uri(parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string));
    let kept: HeaderMap = parts
        .headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .filter(|(name, _)| [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT].contains(name))
        .collect();
    if let Some(headers) = passed.headers_mut() {
        headers.extend(kept);
    }
    let response = server.client().send(passed.body(kube::client::Body::from(bytes))?).await?;
    let (mut parts, body) = response.into_parts();
    for name in [header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::CONNECTION] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(parts, BodyExt::boxed_unsync(body.map_err(Into::into))))
}

fn said(status: u16, body: String) -> Result<Answer, Problem> {
    let mut answer =
        Response::new(BodyExt::boxed_unsync(Full::new(Bytes::from(body)).map_err(|never| match never {})));
    *answer.status_mut() = StatusCode::from_u16(status).context("no such status")?;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(answer)
}
