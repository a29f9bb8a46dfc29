//! The adapter against a server in this process: a tower service that answers from a list.

use super::*;
use crate::adapter::entropy::SystemEntropy;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) content_type: String,
    pub(super) body: Value,
    pub(super) at: Instant,
}

/// What the server does with one request.
pub(super) enum Reply {
    /// It answers.
    Answer(u16, &'static [(&'static str, &'static str)], Value),
    /// It never answers.
    Silence,
    /// The connection breaks.
    Break,
    /// It answers with a body of these chunks, which then ends, breaks or stays silent.
    Stream(Vec<String>, End),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Ends,
    Breaks,
    Silent,
}

/// A server that gives its replies in order; after the last it is silent.
#[derive(Clone)]
pub(super) struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Arc::new(Mutex::new(replies.into_iter().collect())), seen: Arc::default() }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn cluster(&self) -> KubeCluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        let client = Client::new(service, "default");
        KubeCluster::new(client, "test".into(), "https://test".into(), Arc::new(SystemEntropy))
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> Result<Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>, std::io::Error>
    {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        self.seen.lock().unwrap().push(Seen {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            content_type: parts
                .headers
                .get("content-type")
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            at: Instant::now(),
        });
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Silence);
        match reply {
            Reply::Answer(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(*name, *value);
                }
                let body = http_body_util::Full::new(Bytes::from(body.to_string()));
                let body = body.map_err(|never: Infallible| match never {}).boxed_unsync();
                Ok(response.body(body).unwrap())
            }
            Reply::Silence => std::future::pending().await,
            Reply::Break => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
            Reply::Stream(chunks, end) => {
                let chunks = futures::stream::iter(
                    chunks.into_iter().map(|chunk| Ok(hyper::body::Frame::data(Bytes::from(chunk)))),
                );
                let tail = futures::stream::once(async move {
                    match end {
                        End::Ends => None,
                        End::Breaks => Some(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))),
                        End::Silent => std::future::pending().await,
                    }
                });
                let body =
                    http_body_util::StreamBody::new(chunks.chain(tail.filter_map(futures::future::ready)));
                Ok(Response::new(BodyExt::boxed_unsync(body)))
            }
        }
    }
}

pub(super) fn ok(body: Value) -> Reply {
    Reply::Answer(200, &[], body)
}

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Answer(code, &[], json!({ "kind": "Status", "code": code, "reason": reason, "message": message }))
}

fn map() -> ObjectRef {
    ObjectRef::new("v1", "ConfigMap", Some("n"), "a")
}

fn body() -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "n" }, "data": { "x": "1" } })
}

#[tokio::test]
async fn requests_are_what_the_api_server_expects() {
    let server = Server::new((0..6).map(|_| ok(body())));
    let cluster = server.cluster();
    cluster.get(&map()).await.unwrap();
    cluster.create(&map(), &body(), "firstlight:p:s", true).await.unwrap();
    cluster.apply(&map(), &body(), "m", true, false).await.unwrap();
    cluster.patch(&map(), &json!([{ "op": "remove", "path": "/data" }]), "m", true).await.unwrap();
    cluster.replace(&map(), &body(), "m").await.unwrap();
    cluster.delete(&map(), "u", Some("7")).await.unwrap();
    let seen: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| format!("{} {} {}", seen.method, seen.uri, seen.content_type).trim().to_owned())
        .collect();
    insta::assert_snapshot!(seen.join("\n"), @r"
    GET /api/v1/namespaces/n/configmaps/a
    POST /api/v1/namespaces/n/configmaps?fieldManager=firstlight%3Ap%3As&fieldValidation=Strict&dryRun=All application/json
    PATCH /api/v1/namespaces/n/configmaps/a?fieldManager=m&fieldValidation=Strict&force=true application/apply-patch+yaml
    PATCH /api/v1/namespaces/n/configmaps/a?fieldManager=m&dryRun=All application/json-patch+json
    PUT /api/v1/namespaces/n/configmaps/a?fieldManager=m application/json
    DELETE /api/v1/namespaces/n/configmaps/a application/json
    ");
    assert_eq!(
        server.seen().last().unwrap().body,
        json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
            "preconditions": { "uid": "u", "resourceVersion": "7" },
        })
    );
}

#[tokio::test]
async fn a_body_of_another_name_is_not_created() {
    let server = Server::new([ok(body())]);
    let other = ObjectRef::new("v1", "ConfigMap", Some("n"), "b");
    let error = server.cluster().create(&other, &body(), "m", false).await.unwrap_err();
    assert!(matches!(error, ClusterError::Invalid(_)), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_absent_object_is_none_and_an_absent_api_is_an_error() {
    let missing = json!({
        "kind": "Status", "code": 404, "reason": "NotFound", "message": "configmaps \"a\" not found",
        "details": { "name": "a", "kind": "configmaps" },
    });
    let server = Server::new([
        Reply::Answer(404, &[], missing),
        refusal(404, "NotFound", "the server could not find the requested resource"),
    ]);
    let cluster = server.cluster();
    assert!(cluster.get(&map()).await.unwrap().is_none());
    assert!(matches!(cluster.get(&map()).await, Err(ClusterError::NotFound(_))));
}

#[tokio::test]
async fn kinds_of_others_are_discovered_once_and_misses_every_time() {
    let resources = json!({ "resources": [
        { "name": "things/status", "kind": "Thing", "namespaced": true },
        { "name": "things", "kind": "Thing", "namespaced": true },
    ] });
    let server = Server::new([
        refusal(404, "", "404 page not found"),
        ok(json!({ "resources": [] })),
        ok(resources),
        ok(json!({ "metadata": {} })),
        ok(json!({ "metadata": {} })),
    ]);
    let cluster = server.cluster();
    let thing = ObjectRef::new("example.com/v1", "Thing", Some("n"), "a");
    for _ in 0..2 {
        let error = cluster.get(&thing).await.unwrap_err();
        assert_eq!(error.to_string(), "refused: the API server does not serve Thing of example.com/v1");
    }
    cluster.get(&thing).await.unwrap();
    cluster.get(&thing).await.unwrap();
    let uris: Vec<String> = server.seen().into_iter().map(|seen| seen.uri).collect();
    let object = "/apis/example.com/v1/namespaces/n/things/a";
    assert_eq!(
        uris,
        ["/apis/example.com/v1", "/apis/example.com/v1", "/apis/example.com/v1", object, object]
    );
}

#[tokio::test]
async fn items_of_lists_can_be_referred_to() {
    let server = Server::new([ok(json!({
        "kind": "ConfigMapList", "metadata": { "resourceVersion": "9" },
        "items": [{ "metadata": { "name": "a", "namespace": "n" } }],
    }))]);
    let found = server.cluster().list(&Selection::one(&map())).await.unwrap();
    assert_eq!(ObjectRef::of(&found[0]), Some(map()));
}

#[tokio::test]
async fn an_answer_without_items_is_not_an_empty_list() {
    let server = Server::new([ok(json!({ "kind": "Status", "status": "Success" }))]);
    let error = server.cluster().list(&Selection::one(&map())).await.unwrap_err();
    assert!(matches!(error, ClusterError::Unavailable { sent: false, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_and_dry_runs_are_tried_again_after_anything() {
    for reply in [
        || refusal(500, "", "m"),
        || refusal(503, "", "m"),
        || refusal(429, "", "m"),
        || Reply::Break,
        || Reply::Silence,
        || Reply::Stream(vec!["{".to_owned()], End::Breaks),
    ] {
        let server = Server::new([reply(), reply(), reply(), reply(), ok(body())]);
        server.cluster().get(&map()).await.unwrap();
        let server = Server::new([reply(), ok(body())]);
        server.cluster().apply(&map(), &body(), "m", false, true).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn patience_has_an_end() {
    let server = Server::new((0..9).map(|_| refusal(503, "ServiceUnavailable", "etcd is away")));
    let error = server.cluster().get(&map()).await.unwrap_err();
    assert_eq!(error.to_string(), "etcd is away");
    assert_eq!(server.seen().len(), 5);
    // The waits grow.
    let seen = server.seen();
    let waits: Vec<Duration> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (wait, longest) in waits.iter().zip([200, 400, 800, 1600]) {
        let longest = Duration::from_millis(longest);
        // Tokio's clock rounds up to a millisecond.
        assert!(*wait >= longest / 2 && *wait <= longest + Duration::from_millis(2), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_not_sent_twice_where_it_may_have_happened() {
    for reply in [
        || refusal(500, "InternalError", "m"),
        || refusal(503, "ServiceUnavailable", "m"),
        || refusal(504, "Timeout", "m"),
        || Reply::Break,
        || Reply::Silence,
        || Reply::Stream(vec!["{".to_owned()], End::Breaks),
        || Reply::Stream(vec!["this is not JSON".to_owned()], End::Ends),
    ] {
        let server = Server::new([reply(), ok(body())]);
        let error = server.cluster().apply(&map(), &body(), "m", false, false).await.unwrap_err();
        assert!(error.outcome_unknown(), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_not_taken_is_sent_again_when_the_server_says() {
    let busy = || Reply::Answer(429, &[("retry-after", "3")], json!({}));
    let server = Server::new([busy(), ok(body())]);
    server.cluster().create(&map(), &body(), "m", false).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[1].at - seen[0].at).as_secs(), 3);

    let in_body = json!({ "kind": "Status", "details": { "retryAfterSeconds": 2 } });
    let server = Server::new([Reply::Answer(429, &[], in_body), ok(body())]);
    server.cluster().delete(&map(), "u", None).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[1].at - seen[0].at).as_secs(), 2);

    // Nobody waits for an hour.
    let server = Server::new([Reply::Answer(429, &[("retry-after", "3600")], json!({})), ok(body())]);
    server.cluster().create(&map(), &body(), "m", false).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[1].at - seen[0].at).as_secs(), 20);

    let server = Server::new((0..9).map(|_| busy()));
    let error = server.cluster().create(&map(), &body(), "m", false).await.unwrap_err();
    assert!(matches!(error, ClusterError::Unavailable { sent: false, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_is_asked_once() {
    for code in [400, 401, 403, 404, 409, 415, 422] {
        let server = Server::new([refusal(code, "", "no"), ok(body())]);
        server.cluster().get(&map()).await.unwrap_err();
        assert_eq!(server.seen().len(), 1, "{code}");
    }
    let mismatch =
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .x: field not declared in schema";
    let server = Server::new([refusal(500, "", mismatch), ok(body())]);
    let error = server.cluster().apply(&map(), &body(), "m", false, true).await.unwrap_err();
    assert!(matches!(error, ClusterError::Invalid(_)), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn nobody_at_the_address_means_nothing_was_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    crate::adapter::kubeconfig::install_tls();
    let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    let patience = Patience { first_wait: Duration::from_millis(1), ..Patience::default() };
    let cluster =
        KubeCluster::with_patience(client, "test".into(), "x".into(), Arc::new(SystemEntropy), patience);
    let error = cluster.apply(&map(), &body(), "m", false, false).await.unwrap_err();
    assert!(!error.outcome_unknown());
    assert!(
        error.to_string().starts_with("the API server could not be reached: Connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn identity_needs_the_uid_and_not_the_version() {
    let forbidden = || refusal(403, "Forbidden", "forbidden: User \"v\" cannot get path \"/version\"");
    let server = Server::new([forbidden(), ok(json!({ "metadata": { "uid": "u" } }))]);
    let identity = server.cluster().identity().await.unwrap();
    assert_eq!((identity.uid.as_str(), identity.version.as_str()), ("u", "unknown"));
    let server = Server::new([ok(json!({ "gitVersion": "v1.34.4" })), forbidden()]);
    let error = server.cluster().identity().await.unwrap_err();
    assert!(error.to_string().contains("without `get` on the namespace kube-system"), "{error}");
}

#[tokio::test]
async fn a_review_without_an_answer_is_no_permission() {
    let access = Access {
        verb: "create".into(),
        group: String::new(),
        resource: "pods/portforward".into(),
        namespace: Some("n".into()),
        name: String::new(),
    };
    let server = Server::new([
        ok(json!({ "status": { "allowed": true } })),
        ok(json!({ "status": { "allowed": false, "evaluationError": "x" } })),
        ok(json!({ "status": {} })),
    ]);
    let cluster = server.cluster();
    assert!(cluster.may(&access).await.unwrap());
    assert!(!cluster.may(&access).await.unwrap());
    cluster.may(&access).await.unwrap_err();
    let attributes = &server.seen()[0].body["spec"]["resourceAttributes"];
    assert_eq!(
        (&attributes["resource"], &attributes["subresource"]),
        (&json!("pods"), &json!("portforward"))
    );
}

#[tokio::test]
async fn logs_are_asked_for_by_container() {
    let server = Server::new([Reply::Stream(vec!["one\n".into(), "two\n".into()], End::Ends)]);
    assert_eq!(server.cluster().logs("n", "p", "c", 20, true).await.unwrap(), "one\ntwo\n");
    assert_eq!(
        server.seen()[0].uri,
        "/api/v1/namespaces/n/pods/p/log?container=c&tailLines=20&limitBytes=4194304&previous=true"
    );
}
