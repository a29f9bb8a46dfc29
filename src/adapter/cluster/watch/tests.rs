use super::super::tests::{End, Reply, Server, ok, refusal};
use super::*;
use crate::port::Cluster;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

fn selection() -> Selection {
    Selection {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: Some("n".into()),
        labels: String::new(),
        fields: String::new(),
    }
}

fn object(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "n", "resourceVersion": version },
    })
}

fn list(version: &str, names: &[&str]) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| object(name, version)).collect();
    ok(json!({ "kind": "ConfigMapList", "metadata": { "resourceVersion": version }, "items": items }))
}

fn event(kind: &str, object: Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn stream(events: Vec<String>, end: End) -> Reply {
    Reply::Stream(events, end)
}

/// `+a@1` present, `-a` gone, `=` listed, `!cause` lost.
async fn next(events: &mut BoxStream<'static, WatchEvent>) -> String {
    match events.next().await.unwrap() {
        WatchEvent::Present(object) => format!(
            "+{}@{}",
            object["metadata"]["name"].as_str().unwrap(),
            object["metadata"]["resourceVersion"].as_str().unwrap()
        ),
        WatchEvent::Gone(reference) => format!("-{}", reference.name),
        WatchEvent::Listed => "=".to_owned(),
        WatchEvent::Lost(cause) => format!("!{cause}"),
    }
}

async fn expect(server: &Server, expected: &[&str]) {
    let mut events = server.cluster().watch(&selection());
    let mut seen = Vec::new();
    for _ in expected {
        seen.push(next(&mut events).await);
    }
    assert_eq!(seen, expected);
    // Polls on to what follows the last event, so that its request is seen.
    let rest = tokio::time::timeout(Duration::from_secs(1), next(&mut events)).await;
    assert!(rest.is_err(), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_then_events() {
    let server = Server::new([
        list("5", &["a", "b"]),
        stream(
            vec![
                event("ADDED", object("c", "6")),
                event("MODIFIED", object("a", "7")),
                event("BOOKMARK", json!({ "metadata": { "resourceVersion": "8" } })),
                event("DELETED", object("b", "9")),
            ],
            End::Silent,
        ),
    ]);
    expect(&server, &["+a@5", "+b@5", "=", "+c@6", "+a@7", "-b"]).await;
    assert_eq!(
        server.seen()[1].uri,
        "/api/v1/namespaces/n/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=60"
    );
}

#[tokio::test(start_paused = true)]
async fn events_may_be_cut_anywhere() {
    let whole = event("ADDED", object("c", "6")) + &event("ADDED", object("d", "7"));
    for cut in [1, 20, whole.len() / 2, whole.len() - 1] {
        let (head, tail) = whole.split_at(cut);
        let server = Server::new([list("5", &[]), stream(vec![head.into(), tail.into()], End::Silent)]);
        expect(&server, &["=", "+c@6", "+d@7"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_watch_is_no_loss_and_goes_on_from_the_last_version() {
    let server = Server::new([
        list("5", &[]),
        stream(vec![event("BOOKMARK", json!({ "metadata": { "resourceVersion": "11" } }))], End::Ends),
        stream(vec![event("ADDED", object("c", "12"))], End::Silent),
    ]);
    expect(&server, &["=", "+c@12"]).await;
    assert!(server.seen()[2].uri.contains("resourceVersion=11"), "{:?}", server.seen());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_means_a_new_list() {
    let gone =
        json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version" });
    for expired in
        [refusal(410, "Expired", "too old resource version"), stream(vec![event("ERROR", gone)], End::Ends)]
    {
        let server = Server::new([
            list("5", &["a"]),
            expired,
            list("9", &["b"]),
            stream(vec![event("MODIFIED", object("b", "10"))], End::Silent),
        ]);
        expect(&server, &["+a@5", "=", "-a", "+b@9", "=", "+b@10"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_once_and_ends_with_a_list() {
    let server = Server::new([
        list("5", &["a"]),
        stream(vec![], End::Breaks),
        Reply::Break,
        refusal(503, "ServiceUnavailable", "etcd is away"),
        Reply::Break,
        list("9", &["a"]),
        stream(vec![], End::Silent),
    ]);
    expect(&server, &["+a@5", "=", "!the watch broke off: connection reset", "+a@9", "="]).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_at_first_is_a_loss_too() {
    let server = Server::new([refusal(403, "Forbidden", "no"), list("5", &[]), stream(vec![], End::Silent)]);
    expect(&server, &["!forbidden: no", "="]).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up() {
    let server = Server::new([
        list("5", &[]),
        stream(vec![], End::Silent),
        list("9", &[]),
        stream(vec![], End::Silent),
    ]);
    let mut events = server.cluster().watch(&selection());
    assert_eq!(next(&mut events).await, "=");
    let before = Instant::now();
    assert_eq!(next(&mut events).await, "!nothing was heard from the watch for too long");
    assert_eq!(before.elapsed().as_secs(), SILENCE.as_secs());
    assert_eq!(next(&mut events).await, "=");
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_a_loss_and_not_an_event() {
    for nonsense in [
        "nonsense\n".to_owned(),
        event("DELETED", json!({})),
        event("ERROR", json!({ "code": 500, "message": "m" })),
        "{\"type\":\"ADD".to_owned(),
    ] {
        let server = Server::new([
            list("5", &[]),
            stream(vec![nonsense], End::Ends),
            list("9", &[]),
            stream(vec![], End::Silent),
        ]);
        let mut events = server.cluster().watch(&selection());
        assert_eq!(next(&mut events).await, "=");
        assert!(next(&mut events).await.starts_with('!'));
        assert_eq!(next(&mut events).await, "=");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_in_a_tight_loop() {
    let server = Server::new(
        std::iter::once(list("5", &[]))
            .chain((0..10_000).map(|_| stream(vec![], End::Ends)))
            .collect::<Vec<_>>(),
    );
    let mut events = server.cluster().watch(&selection());
    assert_eq!(next(&mut events).await, "=");
    let waited = tokio::time::timeout(Duration::from_secs(100), next(&mut events)).await;
    assert!(waited.is_err());
    let asked = server.seen().len();
    assert!((10..60).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn versions_that_expire_at_once_are_not_asked_in_a_tight_loop() {
    let server = Server::new(
        (0..10_000).flat_map(|_| [list("5", &[]), refusal(410, "Expired", "too old")]).collect::<Vec<_>>(),
    );
    let mut events = server.cluster().watch(&selection());
    let listed = async {
        loop {
            assert_eq!(next(&mut events).await, "=");
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(100), listed).await.is_err());
    let asked = server.seen().len();
    assert!((10..80).contains(&asked), "{asked}");
}

#[test]
fn lines_have_a_limit() {
    let mut lines = Lines::default();
    let chunk = vec![b'x'; 1024 * 1024];
    assert!((0..64).any(|_| lines.push(&chunk).is_err()));
}
