//! Services in memory, reached over duplex streams; URLs on loopback.

use super::*;
use crate::object::ObjectRef;
use crate::port::{Access, ClusterError, ClusterIdentity, ClusterResult, Selection, Stream, WatchEvent};
use futures::stream::BoxStream;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use serde_json::{Value, json};
use std::convert::Infallible;

/// A Service and its pods.
struct World {
    service: Value,
    pods: Vec<Value>,
}

#[async_trait]
impl Cluster for World {
    async fn get(&self, object: &ObjectRef) -> ClusterResult<Option<Value>> {
        assert_eq!((object.kind.as_str(), object.namespace.as_deref()), ("Service", Some("monitoring")));
        Ok((object.name == "tempo").then(|| self.service.clone()))
    }
    async fn list(&self, selection: &Selection) -> ClusterResult<Vec<Value>> {
        assert_eq!((selection.kind.as_str(), selection.labels.as_str()), ("Pod", "app=tempo,tier=x"));
        Ok(self.pods.clone())
    }
    async fn identity(&self) -> ClusterResult<ClusterIdentity> {
        unreachable!()
    }
    async fn create(&self, _: &ObjectRef, _: &Value, _: &str, _: bool) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn apply(&self, _: &ObjectRef, _: &Value, _: &str, _: bool, _: bool) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn patch(&self, _: &ObjectRef, _: &Value, _: &str, _: bool) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn replace(&self, _: &ObjectRef, _: &Value, _: &str) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn delete(&self, _: &ObjectRef, _: &str, _: Option<&str>) -> ClusterResult<()> {
        unreachable!()
    }
    fn watch(&self, _: &Selection) -> BoxStream<'static, WatchEvent> {
        unreachable!()
    }
    async fn logs(&self, _: &str, _: &str, _: &str, _: u32, _: bool) -> ClusterResult<String> {
        unreachable!()
    }
    async fn may(&self, _: &Access) -> ClusterResult<bool> {
        unreachable!()
    }
}

/// Pods that answer with what they were asked; a pod whose name says so does not.
#[derive(Default)]
struct Pods {
    dialled: Mutex<Vec<String>>,
}

#[async_trait]
impl Dial for Pods {
    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> ClusterResult<Box<dyn Stream>> {
        self.dialled.lock().unwrap().push(format!("{namespace}/{pod}:{port}"));
        if pod.contains("gone") {
            return Err(ClusterError::NotFound(Clean::new(format!("pods \"{pod}\" not found"))));
        }
        let (near, far) = tokio::io::duplex(4096);
        if pod.contains("silent") {
            tokio::spawn(async move {
                let _open = far;
                std::future::pending::<()>().await;
            });
            return Ok(Box::new(near));
        }
        if pod.contains("closed") {
            drop(far);
            return Ok(Box::new(near));
        }
        tokio::spawn(serve(far));
        Ok(Box::new(near))
    }
}

/// Answers every request with a description of it; `/huge` with more than anybody reads.
async fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(stream: S) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        let (parts, body) = request.into_parts();
        let header =
            |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let (host, kind) = (header("host"), header("content-type"));
        let length = header("content-length");
        let body = body.collect().await.unwrap().to_bytes();
        let text = if parts.uri.path() == "/huge" {
            "x".repeat(BODY_LIMIT + 1)
        } else {
            format!(
                "{} {} {host} {kind} {length} {}",
                parts.method,
                parts.uri,
                String::from_utf8_lossy(&body)
            )
        };
        let status = if parts.uri.path().ends_with("/missing") { 404 } else { 200 };
        Ok::<_, Infallible>(
            http::Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap(),
        )
    });
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn pod(name: &str, ready: bool) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "ports": [
            { "name": "http", "containerPort": 53, "protocol": "UDP" },
            { "name": "http", "containerPort": 3200 },
        ] }] },
        "status": { "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
    })
}

fn service_with(more: Value) -> Value {
    let mut spec = json!({
        "clusterIP": "10.0.0.7",
        "selector": { "app": "tempo", "tier": "x" },
        "ports": [
            { "port": 80, "targetPort": "http", "protocol": "TCP" },
            { "port": 4317, "targetPort": 14317 },
            { "port": 4318 },
            { "port": 9, "targetPort": "nowhere" },
            { "port": 514, "protocol": "UDP" },
        ],
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({ "metadata": { "name": "tempo" }, "spec": spec })
}

fn telemetry(service: Value, pods: Vec<Value>) -> (TelemetryHttp, Arc<Pods>) {
    let dial = Arc::new(Pods::default());
    (TelemetryHttp::new(Arc::new(World { service, pods }), Arc::clone(&dial) as Arc<dyn Dial>), dial)
}

fn at(name: &str, port: u16) -> Endpoint {
    Endpoint::Service { namespace: "monitoring".into(), name: name.into(), port }
}

async fn get(http: &TelemetryHttp, endpoint: &Endpoint) -> String {
    match http.request(endpoint, "GET", "/api?q=1", None).await {
        Ok(answer) => String::from_utf8(answer.body).unwrap(),
        Err(error) => format!("error: {error}"),
    }
}

#[tokio::test]
async fn a_service_is_reached_through_a_ready_pod() {
    let pods = vec![pod("tempo-1", true), pod("tempo-0", true), pod("tempo-a", false)];
    let (http, dial) = telemetry(service_with(json!({})), pods);
    let said = get(&http, &at("tempo", 80)).await;
    assert_eq!(said.trim(), "GET /api?q=1 tempo.monitoring.svc:80");
    let answer = http
        .request(&at("tempo", 80), "POST", "/v1/missing", Some(("text/plain", b"hello".to_vec())))
        .await
        .unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body, b"POST /v1/missing tempo.monitoring.svc:80 text/plain 5 hello");
    assert_eq!(*dial.dialled.lock().unwrap(), ["monitoring/tempo-0:3200", "monitoring/tempo-0:3200"]);
}

#[tokio::test]
async fn ports_of_services_are_not_ports_of_pods() {
    for (service, port, reached) in [
        (service_with(json!({})), 80, 3200),
        (service_with(json!({})), 4317, 14317),
        (service_with(json!({})), 4318, 4318),
        (service_with(json!({ "clusterIP": "None" })), 80, 80),
    ] {
        let (http, dial) = telemetry(service, vec![pod("p", true)]);
        get(&http, &at("tempo", port)).await;
        assert_eq!(*dial.dialled.lock().unwrap(), [format!("monitoring/p:{reached}")]);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_in_a_sentence() {
    let mut leaving = pod("p", true);
    leaving["metadata"]["deletionTimestamp"] = "2026-10-04T00:00:00Z".into();
    let external = json!({ "type": "ExternalName", "externalName": "tempo.example" });
    let mut said = Vec::new();
    for (service, pods, endpoint) in [
        (service_with(json!({})), vec![pod("p", true)], at("loki", 80)),
        (service_with(json!({})), vec![pod("p", true)], at("tempo", 3200)),
        (service_with(json!({})), vec![pod("p", true)], at("tempo", 9)),
        (service_with(json!({})), vec![], at("tempo", 80)),
        (service_with(json!({})), vec![pod("p", false)], at("tempo", 80)),
        (service_with(json!({})), vec![pod("p", false), leaving], at("tempo", 80)),
        (service_with(json!({ "selector": {} })), vec![], at("tempo", 80)),
        (service_with(external), vec![], at("tempo", 80)),
        (service_with(json!({})), vec![pod("gone", true)], at("tempo", 80)),
        (service_with(json!({})), vec![pod("closed", true)], at("tempo", 80)),
    ] {
        let (http, _) = telemetry(service, pods);
        said.push(get(&http, &endpoint).await);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    error: there is no service loki in monitoring
    error: port 3200 is not a port of service tempo in monitoring; it has 80, 4317, 4318, 9
    error: service tempo in monitoring leads to the port nowhere, which no ready pod of it has
    error: service tempo in monitoring has no ready pod
    error: service tempo in monitoring has no ready pod: its one pod is not ready
    error: service tempo in monitoring has no ready pod: none of its 2 pods is ready
    error: service tempo in monitoring has no selector, so its pods are not known; give its URL instead
    error: service tempo in monitoring is only a name for tempo.example, which port-forward cannot reach; give its URL instead
    error: service tempo in monitoring could not be reached through pod gone: not found: pods "gone" not found
    error: service tempo in monitoring did not answer at port 3200 of pod closed: connection closed before message completed
    "#);
}

#[tokio::test]
async fn a_pod_that_is_gone_is_passed_over_and_forgotten() {
    let (http, dial) = telemetry(service_with(json!({})), vec![pod("a-gone", true), pod("b", true)]);
    assert!(get(&http, &at("tempo", 80)).await.starts_with("GET"));
    assert!(get(&http, &at("tempo", 80)).await.starts_with("GET"));
    let dialled = dial.dialled.lock().unwrap();
    assert_eq!(*dialled, ["monitoring/a-gone:3200", "monitoring/b:3200", "monitoring/b:3200"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_answers_is_given_up() {
    let (http, _) = telemetry(service_with(json!({})), vec![pod("silent", true)]);
    assert_eq!(
        get(&http, &at("tempo", 80)).await,
        "error: service tempo in monitoring did not answer at port 3200 of pod silent: no answer within 15 s"
    );
}

#[tokio::test]
async fn answers_have_a_limit() {
    let (http, _) = telemetry(service_with(json!({})), vec![pod("p", true)]);
    let error = http.request(&at("tempo", 80), "GET", "/huge", None).await.unwrap_err();
    assert!(error.as_str().ends_with("its answer is longer than 64 MiB"), "{error}");
    let error = http.request(&Endpoint::Url(listening().await), "GET", "/huge", None).await.unwrap_err();
    assert!(error.as_str().ends_with("is longer than 64 MiB"), "{error}");
}

/// A server on loopback; its URL.
async fn listening() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn urls_keep_their_prefix() {
    let (http, _) = telemetry(json!({}), vec![]);
    let base = listening().await;
    for (base, path) in [
        (base.clone(), "/api?q=1"),
        (format!("{base}/"), "/api?q=1"),
        (format!("{base}/tempo/"), "/tempo/api?q=1"),
    ] {
        let said = get(&http, &Endpoint::Url(base)).await;
        assert!(said.starts_with(&format!("GET {path} 127.0.0.1:")), "{said}");
    }
    let answer =
        http.request(&Endpoint::Url(base), "PUT", "/x", Some(("a/b", b"hello".to_vec()))).await.unwrap();
    assert!(String::from_utf8(answer.body).unwrap().ends_with(" a/b 5 hello"));
}

#[tokio::test]
async fn urls_that_fail_show_no_password() {
    let (http, _) = telemetry(json!({}), vec![]);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = get(&http, &Endpoint::Url(format!("http://me:hunter2@{unused}/"))).await;
    assert!(said.starts_with(&format!("error: {unused} could not be reached: ")), "{said}");
    assert!(said.ends_with("(os error 111)") || said.contains("refused"), "{said}");
    for base in ["ftp://me:hunter2@x", "me:hunter2@x", "http://", "", "http://me:hunter2@a b"] {
        let said = get(&http, &Endpoint::Url(base.into())).await;
        assert!(said.starts_with("error: ") && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_reached() {
    let (http, dial) = telemetry(service_with(json!({})), vec![pod("p", true)]);
    for (method, path) in [("GE T", "/"), ("GET", "api"), ("GET", "/a b"), ("GET", "/a\nb")] {
        http.request(&at("tempo", 80), method, path, None).await.unwrap_err();
    }
    assert!(dial.dialled.lock().unwrap().is_empty());
}
