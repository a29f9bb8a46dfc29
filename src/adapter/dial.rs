//! Byte streams into pods: port-forward through the API server, over a websocket.

use crate::adapter::cluster::connection_error;
use crate::port::{ClusterError, ClusterResult, Dial, Stream};
use crate::text::Clean;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// For the handshake with the API server.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What a forward may still take to say goodbye after it was dropped.
const GOODBYE: Duration = Duration::from_secs(5);

/// Port-forward by kube's client.
#[derive(Clone)]
pub struct KubeDial {
    client: Client,
}

impl KubeDial {
    /// Dials with the credentials of this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Dial for KubeDial {
    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> ClusterResult<Box<dyn Stream>> {
        // They become part of a path; kube takes them as they are.
        for (name, what) in [(namespace, "namespace"), (pod, "name")] {
            if name.is_empty()
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
                || name.contains("..")
            {
                let text =
                    format!("{:?} is not a {what} that the API server can take", Clean::new(name).as_str());
                return Err(ClusterError::Invalid(Clean::new(text)));
            }
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let ports = [port];
        let mut forwarder = match tokio::time::timeout(HANDSHAKE, pods.portforward(pod, &ports)).await {
            Ok(Ok(forwarder)) => forwarder,
            Ok(Err(error)) => return Err(connection_error(&error)),
            Err(_) => {
                let text = format!(
                    "port-forward to pod {} did not begin within {} s",
                    Clean::new(pod),
                    HANDSHAKE.as_secs()
                );
                return Err(ClusterError::Unavailable { message: Clean::new(text), sent: false });
            }
        };
        match (forwarder.take_stream(port), forwarder.take_error(port)) {
            (Some(stream), Some(failure)) => {
                Ok(Box::new(Forwarded { stream, failure: Some(failure.boxed()), forwarder: Some(forwarder) }))
            }
            _ => Err(ClusterError::Invalid(Clean::new(format!("port {port} could not be forwarded")))),
        }
    }
}

/// One forwarded connection.
///
/// The far side's close does not arrive as end of stream (seen with API server 1.34): whoever reads must know from the
/// protocol where the answer ends. What does arrive is the node's word that it could not connect, as an error.
struct Forwarded {
    stream: DuplexStream,
    failure: Option<BoxFuture<'static, Option<String>>>,
    forwarder: Option<Portforwarder>,
}

impl Forwarded {
    /// The node's word that the connection failed, if it came.
    fn failed(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        let Poll::Ready(said) = self.failure.as_mut()?.as_mut().poll(context) else { return None };
        self.failure = None;
        // Without a word the forward has ended; the stream itself will say so.
        said.map(|message| io::Error::other(Clean::new(message.trim()).as_str().to_owned()))
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.failed(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let Some(forwarder) = self.forwarder.take() else { return };
        // Dropping the stream makes the forward close the websocket in good order; a server that does not answer to
        // that must not keep the connection for ever.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    tokio::time::sleep(GOODBYE).await;
                    forwarder.abort();
                });
            }
            Err(_) => forwarder.abort(),
        }
    }
}
