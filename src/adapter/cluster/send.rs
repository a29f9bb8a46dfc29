//! Sending: one request with its bounded retries.
//!
//! What is sent again, and when:
//!
//! | happened | changes nothing | changes something |
//! | --- | --- | --- |
//! | the connection could not be made | again | again |
//! | 429 | again | again: the server did not take it |
//! | 5xx | again | no: it may have happened |
//! | the connection broke, or no answer came in time | again | no: it may have happened |
//!
//! kube's own retry layer would send a change again after 503 and 504 (kube-client src/client/retry.rs), so it is off.

use super::request::{Ask, Effect};
use super::status::Refusal;
use crate::port::{ClusterError, ClusterResult, Entropy};
use crate::text::Clean;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use std::error::Error;
use std::time::Duration;

/// The longest body that is read; a list of some ten thousand objects.
const BODY_LIMIT: usize = 256 * 1024 * 1024;

/// How often and how long to try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Requests in all, the first one counted.
    pub(super) tries: u32,
    /// The first wait; it doubles.
    pub(super) first_wait: Duration,
    /// The longest wait, also when the server asks for a longer one.
    pub(super) longest_wait: Duration,
    /// For one request with its answer.
    pub(super) answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
            answer: Duration::from_secs(30),
        }
    }
}

/// An answer that is not a success, or none at all.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered.
    Refused(StatusCode, Refusal),
    /// It did not.
    Broken(ClusterError),
}

impl Failure {
    /// As the port's error.
    pub(super) fn error(self, effect: Effect) -> ClusterError {
        match self {
            Self::Refused(status, refusal) => refusal.error(status, effect == Effect::Change),
            Self::Broken(error) => error,
        }
    }
}

/// Sends a request until it succeeds, fails for good, or patience ends.
pub(super) async fn send(
    client: &Client,
    entropy: &dyn Entropy,
    patience: Patience,
    ask: &Ask,
) -> Result<Bytes, Failure> {
    let mut wait = patience.first_wait;
    for attempt in 1.. {
        let (failure, retry) = match once(client, patience, ask).await {
            Ok(bytes) => return Ok(bytes),
            Err(outcome) => outcome,
        };
        let pause = match retry {
            Retry::No => return Err(failure),
            _ if attempt >= patience.tries => return Err(failure),
            Retry::After(asked) => asked.min(patience.longest_wait),
            Retry::Soon => jittered(wait, entropy),
        };
        tokio::time::sleep(pause).await;
        wait = wait.saturating_mul(2).min(patience.longest_wait);
    }
    Err(Failure::Broken(unavailable("no attempt was made", false)))
}

enum Retry {
    No,
    Soon,
    After(Duration),
}

async fn once(client: &Client, patience: Patience, ask: &Ask) -> Result<Bytes, (Failure, Retry)> {
    let change = ask.effect == Effect::Change;
    let again = if change { Retry::No } else { Retry::Soon };
    let request = built(ask).map_err(|error| (Failure::Broken(error), Retry::No))?;
    let exchange = async {
        let response = client.send(request).await.map_err(|error| {
            let lost = Lost::of(&error, change);
            let retry = match lost.nature {
                Nature::NotSent => Retry::Soon,
                Nature::Broken if change => Retry::No,
                Nature::Broken => Retry::Soon,
                Nature::Hopeless => Retry::No,
            };
            (Failure::Broken(lost.error), retry)
        })?;
        read(response).await.map_err(|cause| {
            let error = unavailable(&format!("the answer of the API server broke off: {cause}"), change);
            (Failure::Broken(error), if change { Retry::No } else { Retry::Soon })
        })
    };
    let (status, headers, body) = match tokio::time::timeout(patience.answer, exchange).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            let text = format!("the API server did not answer within {} s", patience.answer.as_secs());
            return Err((Failure::Broken(unavailable(&text, change)), again));
        }
    };
    if status.is_success() {
        return Ok(body);
    }
    let refusal = Refusal::read(status, &body);
    let asked = retry_after(&headers).or_else(|| refusal.retry_after());
    let retry = match status.as_u16() {
        429 => asked.map_or(Retry::Soon, Retry::After),
        500..=599 if !change && !refusal.is_schema_mismatch() => asked.map_or(Retry::Soon, Retry::After),
        _ => Retry::No,
    };
    Err((Failure::Refused(status, refusal), retry))
}

/// The request as kube's client takes it; it adds server address, credentials and user agent.
pub(super) fn built(ask: &Ask) -> ClusterResult<Request<Body>> {
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&ask.uri)
        .header(header::ACCEPT, super::request::JSON);
    if let Some(content_type) = ask.content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request
        .body(Body::from(ask.body.clone()))
        .map_err(|cause| super::request::invalid(format!("{} is not a request: {cause}", ask.uri)))
}

async fn read(response: Response<Body>) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|cause| root_cause(cause.as_ref()))?;
    Ok((parts.status, parts.headers, body.to_bytes()))
}

/// Reads an answer's status and, if it is no success, its refusal.
pub(super) async fn refused(response: Response<Body>) -> Failure {
    match read(response).await {
        Ok((status, _, body)) => Failure::Refused(status, Refusal::read(status, &body)),
        Err(cause) => {
            Failure::Broken(unavailable(&format!("the answer of the API server broke off: {cause}"), false))
        }
    }
}

/// Seconds of a Retry-After header; its other form, a date, is not used by API servers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Between half of it and all of it.
pub(super) fn jittered(wait: Duration, entropy: &dyn Entropy) -> Duration {
    let [first, ..] = entropy.bytes();
    wait.mul_f64(0.5 + f64::from(first) / 510.0)
}

fn unavailable(text: &str, sent: bool) -> ClusterError {
    ClusterError::Unavailable { message: Clean::new(text), sent }
}

/// What kind of loss it was.
enum Nature {
    /// No byte of the request has left: trying again is safe.
    NotSent,
    /// It was, or may have been, on its way.
    Broken,
    /// Trying again will not help: no credentials, a certificate that is not trusted.
    Hopeless,
}

/// A request that got no answer.
pub(super) struct Lost {
    nature: Nature,
    /// As the port's error.
    pub(super) error: ClusterError,
}

impl Lost {
    /// Judges an error of kube's client by the errors that it wraps.
    pub(super) fn of(error: &kube::Error, change: bool) -> Self {
        let mut connect = false;
        for cause in chain(error) {
            if let Some(auth) = cause.downcast_ref::<kube::client::AuthError>() {
                return Self {
                    nature: Nature::Hopeless,
                    error: ClusterError::Unauthorized(crate::adapter::kubeconfig::credential_failure(auth)),
                };
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>()
                && matches!(tls, rustls::Error::InvalidCertificate(_))
            {
                let text = format!("the API server's certificate is not trusted: {tls}");
                return Self { nature: Nature::Hopeless, error: unavailable(&text, false) };
            }
            if let Some(client) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
                connect = client.is_connect();
            }
        }
        let cause = root_cause(error);
        if connect {
            let text = format!("the API server could not be reached: {cause}");
            return Self { nature: Nature::NotSent, error: unavailable(&text, false) };
        }
        let text = format!("the connection to the API server was lost: {cause}");
        Self { nature: Nature::Broken, error: unavailable(&text, change) }
    }
}

/// An error and everything that it wraps. An `io::Error` hides its own content from `source()`.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    }
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = wrapped(current);
        Some(current)
    })
    .take(16)
}

/// The innermost error says most: `Connection refused (os error 111)`.
pub(in crate::adapter) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let closed = chain(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::UnexpectedEof);
    if closed {
        // rustls says it with a link to its manual.
        return "the connection was closed".to_owned();
    }
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_innermost_cause_is_the_one_that_is_said() {
        let refused = io::Error::from_raw_os_error(111);
        let wrapped = io::Error::other(io::Error::other(refused));
        assert!(root_cause(&wrapped).starts_with("Connection refused"), "{}", root_cause(&wrapped));
        let closed = io::Error::other(io::Error::new(io::ErrorKind::UnexpectedEof, "see https://example"));
        assert_eq!(root_cause(&closed), "the connection was closed");
    }

    #[test]
    fn retry_after_is_seconds() {
        let after = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(after("-1"), None);
    }
}
