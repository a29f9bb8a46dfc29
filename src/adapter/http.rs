//! HTTP to telemetry services: at a URL, or at a Service by port-forward.

mod service;

use crate::adapter::cluster::root_cause;
use crate::adapter::kubeconfig::{install_tls, is_loopback};
use crate::port::{Cluster, Dial, Endpoint, Http, HttpAnswer};
use crate::text::Clean;
use async_trait::async_trait;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use service::{Place, resolve, shown};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest body of an answer.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// For one request with its answer.
const ANSWER: Duration = Duration::from_secs(15);

/// For a connection to a URL.
const CONNECT: Duration = Duration::from_secs(10);

/// For finding a Service's pod and dialling it.
const REACH: Duration = Duration::from_secs(30);

/// How long it is remembered which pod stands behind a Service; a failure forgets it at once.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Pods of one Service that are tried before giving up.
const PODS: usize = 3;

/// The Http port for the real world.
///
/// Requests to a Service each get a connection of their own: the far side's close does not arrive through a
/// port-forward, so a kept connection could be dead without anybody knowing.
pub struct TelemetryHttp {
    cluster: Arc<dyn Cluster>,
    dial: Arc<dyn Dial>,
    /// Through the proxy of the environment, if there is one.
    proxied: Result<reqwest::Client, Clean>,
    /// Without, for this machine.
    direct: Result<reqwest::Client, Clean>,
    places: Mutex<BTreeMap<Endpoint, (Place, Instant)>>,
}

impl TelemetryHttp {
    /// Reaches Services through this API server.
    pub fn new(cluster: Arc<dyn Cluster>, dial: Arc<dyn Dial>) -> Self {
        install_tls();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("firstlight/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .timeout(ANSWER)
                .redirect(reqwest::redirect::Policy::limited(5))
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder
                .build()
                .map_err(|cause| Clean::new(format!("TLS could not be set up: {}", root_cause(&cause))))
        };
        Self {
            cluster,
            dial,
            proxied: built(builder()),
            direct: built(builder().no_proxy()),
            places: Mutex::default(),
        }
    }

    async fn at_url(
        &self,
        base: &str,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<HttpAnswer, Clean> {
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let uri: Uri = url.parse().map_err(|_| not_a_url(base))?;
        let host = match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) => host.to_owned(),
            _ => return Err(not_a_url(base)),
        };
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let subject = format!("{host}{port}");
        let client = if is_loopback(&uri) { &self.direct } else { &self.proxied };
        let mut request = client.as_ref().map_err(Clone::clone)?.request(method, url);
        if let Some((content_type, bytes)) = body {
            request = request.header(header::CONTENT_TYPE, content_type).body(bytes);
        }
        // Never the URL itself: it may hold a password.
        let failed = |cause: reqwest::Error| {
            let what = if cause.is_timeout() { "did not answer in time" } else { "could not be reached" };
            Clean::new(format!("{subject} {what}: {}", root_cause(&cause.without_url())))
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > BODY_LIMIT {
                return Err(too_long(&subject));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, body })
    }

    async fn at_service(
        &self,
        endpoint: &Endpoint,
        (namespace, name, port): (&str, &str, u16),
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<HttpAnswer, Clean> {
        let subject = shown(namespace, name);
        let host = format!("{name}.{namespace}.svc:{port}");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("firstlight/", env!("CARGO_PKG_VERSION")));
        let mut bytes = Bytes::new();
        if let Some((content_type, body)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = Bytes::from(body);
        }
        let request = request
            .body(Full::new(bytes))
            .map_err(|cause| Clean::new(format!("the request to {subject} makes no sense: {cause}")))?;

        let reached = tokio::time::timeout(REACH, self.reach(endpoint, namespace, name, port)).await;
        let (place, stream) = match reached {
            Ok(reached) => reached?,
            Err(_) => {
                return Err(Clean::new(format!(
                    "{subject} could not be reached within {} s",
                    REACH.as_secs()
                )));
            }
        };
        let answer = match tokio::time::timeout(ANSWER, exchange(stream, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        };
        answer.map_err(|cause| {
            self.forget(endpoint);
            Clean::new(format!(
                "{subject} did not answer at port {} of pod {}: {cause}",
                place.port, place.pod
            ))
        })
    }

    /// A stream to a ready pod of the Service.
    async fn reach(
        &self,
        endpoint: &Endpoint,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<(Place, Box<dyn crate::port::Stream>), Clean> {
        if let Some(place) = self.remembered(endpoint) {
            match self.dial.dial(namespace, &place.pod, place.port).await {
                Ok(stream) => return Ok((place, stream)),
                // The pod may be gone; look again.
                Err(_) => self.forget(endpoint),
            }
        }
        let mut last = None;
        for place in resolve(self.cluster.as_ref(), namespace, name, port).await?.into_iter().take(PODS) {
            match self.dial.dial(namespace, &place.pod, place.port).await {
                Ok(stream) => {
                    let until = Instant::now() + REMEMBERED;
                    self.places().insert(endpoint.clone(), (place.clone(), until));
                    return Ok((place, stream));
                }
                Err(error) => last = Some((place, error)),
            }
        }
        let subject = shown(namespace, name);
        Err(match last {
            Some((place, error)) => {
                Clean::new(format!("{subject} could not be reached through pod {}: {error}", place.pod))
            }
            None => Clean::new(format!("{subject} has no ready pod")),
        })
    }

    fn places(&self) -> std::sync::MutexGuard<'_, BTreeMap<Endpoint, (Place, Instant)>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, endpoint: &Endpoint) -> Option<Place> {
        let places = self.places();
        let (place, until) = places.get(endpoint)?;
        (Instant::now() < *until).then(|| place.clone())
    }

    fn forget(&self, endpoint: &Endpoint) {
        self.places().remove(endpoint);
    }
}

/// One request over a stream of its own.
async fn exchange(
    stream: Box<dyn crate::port::Stream>,
    request: Request<Full<Bytes>>,
) -> Result<HttpAnswer, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|cause| root_cause(&cause))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|cause| root_cause(&cause))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await.map_err(|cause| {
            match cause.downcast_ref::<LengthLimitError>() {
                Some(_) => format!("its answer is longer than {} MiB", BODY_LIMIT / 1024 / 1024),
                None => root_cause(cause.as_ref()),
            }
        })?;
        Ok(HttpAnswer { status, body: body.to_bytes().to_vec() })
    };
    // The connection is driven here and dropped with the answer, so nothing is left running.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match (exchange.await, ended) {
            // The sender only knows that the connection is no more; the connection knows why.
            (Err(_), Err(cause)) => Err(root_cause(&cause)),
            (answer, _) => answer,
        },
    }
}

fn not_a_url(base: &str) -> Clean {
    // Without the part that could hold a password.
    let shown = base.rsplit_once('@').map_or(base, |(_, host)| host);
    Clean::new(format!("{shown} is not an http or https URL"))
}

fn too_long(subject: &str) -> Clean {
    Clean::new(format!("the answer of {subject} is longer than {} MiB", BODY_LIMIT / 1024 / 1024))
}

#[async_trait]
impl Http for TelemetryHttp {
    async fn request(
        &self,
        endpoint: &Endpoint,
        method: &str,
        path_and_query: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<HttpAnswer, Clean> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Clean::new(format!("{} is not a method of HTTP", Clean::new(method))))?;
        if !path_and_query.starts_with('/') {
            return Err(Clean::new(format!("{} is not a path", Clean::new(path_and_query))));
        }
        match endpoint {
            Endpoint::Url(base) => self.at_url(base, method, path_and_query, body).await,
            Endpoint::Service { namespace, name, port } => {
                self.at_service(endpoint, (namespace, name, *port), method, path_and_query, body).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
