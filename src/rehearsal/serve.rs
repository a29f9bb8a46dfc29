//! The simulated API server on loopback, for clients in other processes.
//!
//! Plain HTTP: nothing leaves the machine, and the bearer token, new for every run, keeps other users of it out.

use super::answer::{Body, Refusal};
use super::api::{Reset, Server};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The longest body that is read, as the real server's limit for a request.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// A listening server; dropping it ends it.
pub struct Served {
    address: SocketAddr,
    token: String,
    task: AbortHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    /// Listens on a free port of 127.0.0.1, and answers who knows the token.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn listen(server: Arc<Server>, token: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let expected: Arc<str> = format!("Bearer {token}").into();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, mostly: it passes when connections end.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                };
                let (server, expected) = (server.clone(), expected.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request: Request<Incoming>| {
                        let (server, expected) = (server.clone(), expected.clone());
                        async move { answer(server, &expected, request).await }
                    });
                    // A client may go at any time; there is nobody to tell.
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Ok(Self { address, token, task: task.abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for it, as JSON, with the one context `rehearsal`.
    pub fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "rehearsal",
            "clusters": [{"name": "rehearsal", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "rehearsal", "user": {"token": self.token}}],
            "contexts": [{
                "name": "rehearsal",
                "context": {"cluster": "rehearsal", "user": "rehearsal", "namespace": "default"},
            }],
        })
    }
}

async fn answer(
    server: Arc<Server>,
    expected: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Reset> {
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    if given != Some(expected.as_bytes()) {
        return Ok(Refusal::new(401, "Unauthorized", "Unauthorized").response());
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        let message = format!("the request is longer than {BODY_LIMIT} bytes");
        return Ok(Refusal::new(413, "RequestEntityTooLarge", message).response());
    };
    let body: Bytes = body.to_bytes();
    server.handle(Request::from_parts(parts, body)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::clock::SimClock;
    use crate::rehearsal::{Options, Rehearsal};

    #[tokio::test]
    async fn only_who_knows_the_token_is_answered() {
        let rehearsal = Rehearsal::new(Options::new(1, SimClock::scaled(1000.0)));
        let served = Served::listen(rehearsal.server().clone(), "fake".to_owned()).await.unwrap();
        let url = format!("http://{}/version", served.address());
        crate::adapter::kubeconfig::install_tls();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let refused = client.get(&url).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 401);
        let answered = client.get(&url).header("authorization", "Bearer fake").send().await.unwrap();
        let body: Value = serde_json::from_slice(&answered.bytes().await.unwrap()).unwrap();
        assert_eq!(body["gitVersion"], crate::rehearsal::api::VERSION);
    }
}
