//! The telemetry services of the rehearsal: a Collector, Tempo, Loki and Grafana, as plain values without sockets.
//!
//! Each is a [`Service`]: it answers requests at its ports, reads the time from a clock that it is given, and reaches
//! the others through a [`Network`]. Their behaviour is that of the real programs, as the tests here and the comparison
//! in `tests/real/telemetry.rs` show; what a configuration asks for beyond that is listed as [`Unrehearsed`] and never
//! passed over.

pub mod collector;
mod duration;
mod form;
pub mod grafana;
pub mod loki;
pub mod otlp;
mod pattern;
pub mod tempo;
#[cfg(test)]
pub(in crate::rehearsal) mod testing;

use crate::text::Clean;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Bytes;
use otlp::Traces;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

pub use pattern::PatternError;

/// A request with its whole body.
pub type Request = http::Request<Bytes>;
/// An answer with its whole body.
pub type Response = http::Response<Bytes>;

/// A program that answers at ports of its pod. Nothing in it waits, so a caller in async code simply calls it.
pub trait Service: Send + Sync {
    /// The container ports that it listens at.
    fn ports(&self) -> Vec<u16>;
    /// Answers one HTTP request at one of its ports.
    fn handle(&self, port: u16, request: &Request) -> Response;
    /// Takes spans by OTLP over gRPC at one of its ports.
    ///
    /// # Errors
    /// What a gRPC client would be told.
    fn export(&self, port: u16, traces: &Arc<Traces>) -> Result<(), Refusal> {
        let _ = traces;
        Err(Refusal::unavailable(format!("port {port} speaks no gRPC")))
    }
    /// Does what is due by now and nobody asked for: batches that leave, retries.
    fn advance(&self) {}
    /// When [`Service::advance`] has something to do, in milliseconds since the Unix epoch.
    fn due_ms(&self) -> Option<u64> {
        None
    }
    /// Whether others than the pod itself reach a port; a port-forward arrives inside the pod.
    fn listens_outside(&self, port: u16) -> bool {
        self.ports().contains(&port)
    }
}

/// Why spans were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whether the sender may send the same again.
    pub retryable: bool,
    /// `rpc error: code = … desc = …`
    pub message: Clean,
}

impl Refusal {
    /// Code Unavailable: to be tried again.
    pub fn unavailable(cause: impl fmt::Display) -> Self {
        Self { retryable: true, message: Clean::new(format!("rpc error: code = Unavailable desc = {cause}")) }
    }

    /// Code InvalidArgument: never to be tried again.
    pub fn invalid(cause: impl fmt::Display) -> Self {
        let message = Clean::new(format!("rpc error: code = InvalidArgument desc = {cause}"));
        Self { retryable: false, message }
    }
}

/// The network inside the cluster.
pub trait Network: Send + Sync {
    /// The program behind a host name and port, and the container port that they lead to.
    ///
    /// # Errors
    /// In the words of a resolver or a kernel: `lookup x: no such host`, `connection refused`.
    fn reach(&self, host: &str, port: u16) -> Result<(Arc<dyn Service>, u16), Clean>;
}

/// Something in a configuration that the real program takes and the rehearsal does not play.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unrehearsed {
    /// Where: `processors::redaction::hash_function`.
    pub place: Clean,
    /// What the rehearsal does instead, in words.
    pub instead: Clean,
}

impl fmt::Display for Unrehearsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not rehearsed: {}", self.place, self.instead)
    }
}

/// Why a program does not start, in the words of its log; the pod ends in a crash loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub Clean);

impl StartError {
    fn new(message: impl AsRef<str>) -> Self {
        Self(Clean::new(message))
    }
}

/// Host, port and path of an `http` URL. Without a port it is 80, as the URL standard has it.
///
/// # Errors
/// What a client's library would say of another URL.
pub fn http_url(url: &str) -> Result<(&str, u16, &str), Clean> {
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| Clean::new(format!("{url}: unsupported protocol scheme")))?;
    match scheme {
        "http" => {}
        "https" => {
            return Err(Clean::new("tls: first record does not look like a TLS handshake"));
        }
        _ => return Err(Clean::new(format!("unsupported protocol scheme {scheme:?}"))),
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| Clean::new(format!("{url}: invalid port {port:?}")))?;
            (host, port)
        }
        None => (authority, 80),
    };
    if host.is_empty() {
        return Err(Clean::new(format!("{url}: no host in the URL")));
    }
    Ok((host, port, if path.is_empty() { "/" } else { path }))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if !content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

fn json(status: StatusCode, body: &Value) -> Response {
    respond(status, "application/json", body.to_string())
}

/// As Go's `http.Error` writes it.
fn text(status: StatusCode, body: impl Into<String>) -> Response {
    respond(status, "text/plain; charset=utf-8", body.into())
}

fn page_not_found() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Something that the real service answers and the rehearsal does not play.
fn unrehearsed(what: impl fmt::Display) -> Response {
    text(StatusCode::BAD_REQUEST, format!("{what} is not rehearsed\n"))
}
