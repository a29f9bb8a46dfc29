//! Tests of the harness itself: the shipped assets, applied by kubectl, on everything that is real.

use crate::cluster::{Cluster, random_hex};
use crate::condition::until;
use crate::kwok::Fault;
use crate::process::program;
use crate::world::World;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// The inputs of the assets, in values that suit the harness.
const INPUTS: [(&str, &str); 8] = [
    ("namespace", "monitoring"),
    ("storage_class", "proxmox-lvm"),
    ("storage_size", "20Gi"),
    ("retention", "720h"),
    ("app", "tripit"),
    ("app_namespace", "tripit"),
    ("tempo_image", "docker.io/grafana/tempo:2.8.2"),
    ("collector_image", "docker.io/otel/opentelemetry-collector-contrib:0.145.0"),
];

/// One folder of assets as one text, its inputs filled in; `$${…}` and `${…}` of other words stay.
fn assets(folder: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut text = String::new();
    for file in files {
        text.push_str("---\n");
        text.push_str(&std::fs::read_to_string(file)?);
    }
    for (name, value) in INPUTS {
        let kept = text.replace(&format!("$${{{name}}}"), "\u{0}");
        text = kept.replace(&format!("${{{name}}}"), value).replace('\u{0}', &format!("$${{{name}}}"));
    }
    Ok(text)
}

/// Server-side apply (or delete) by kubectl, as the operator.
async fn kubectl(world: &World, arguments: &[&str], input: &str) -> Result<()> {
    let file = world.cluster.folder().join("input.yaml");
    std::fs::write(&file, input)?;
    let output = tokio::process::Command::new(program("kubectl")?)
        .args(arguments)
        .arg("--filename")
        .arg(&file)
        .arg("--kubeconfig")
        .arg(world.cluster.kubeconfig())
        .arg("--context=real")
        .env("HOME", world.cluster.folder())
        .output()
        .await?;
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whether the process is there.
fn exists(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

/// A cluster starts, tells who wrote what, plays faults, and leaves no process behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_audits_plays_faults_and_ends() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let operator = cluster.access("real").await?;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}});
    operator.create("/api/v1/namespaces/default/configmaps", "test&dryRun=All", &map).await?;
    ensure!(operator.get("/api/v1/namespaces/default/configmaps/one").await?.is_none(), "a dry run wrote");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]});
    operator.create("/api/v1/namespaces/default/configmaps", "test", &map).await?;
    operator
        .send("DELETE", "/api/v1/namespaces/default/configmaps/one", "application/json", &options)
        .await?;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    });
    let reader = cluster.access("reader").await?;
    reader.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "test", &review).await?;
    ensure!(reader.get("/api/v1/namespaces/default/configmaps/one").await?.is_some(), "a dry run deleted");
    ensure!(
        reader.create("/api/v1/namespaces/default/configmaps", "test", &map).await.is_err(),
        "a reader wrote"
    );
    ensure!(
        cluster.access("expired").await?.get("/api/v1/namespaces").await.is_err(),
        "an unknown token was taken"
    );

    let audit = cluster.audit().await?;
    let writes: Vec<String> = audit
        .iter()
        .filter(|request| request.writes())
        .map(|request| {
            format!(
                "{} {} {} {} {}",
                request.user, request.verb, request.resource, request.object, request.code
            )
        })
        .collect();
    assert_eq!(
        writes,
        ["operator create configmaps default/one 201", "reader create configmaps default/ 403"],
        "{audit:#?}"
    );

    cluster
        .play(&[(Fault::OomKilled, "^oom".to_owned()), (Fault::ImagePullBackOff, "^pull".to_owned())])
        .await?;
    for (name, pointer, expected) in [
        ("oom", "/status/containerStatuses/0/lastState/terminated/reason", "OOMKilled"),
        ("pull", "/status/containerStatuses/0/state/waiting/reason", "ImagePullBackOff"),
        ("well", "/status/phase", "Running"),
    ] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "main", "image": "registry.example.com/main:1"}]},
        });
        operator.create("/api/v1/namespaces/default/pods", "test", &pod).await?;
        until(&format!("{name} is {expected}"), 20, async || {
            let pod =
                operator.get(&format!("/api/v1/namespaces/default/pods/{name}")).await?.context("gone")?;
            ensure!(pod.pointer(pointer).and_then(Value::as_str) == Some(expected), "{}", pod["status"]);
            Ok(())
        })
        .await?;
    }

    let ids = cluster.process_ids();
    assert_eq!(ids.len(), 5);
    cluster.stop().await;
    assert_eq!(ids.into_iter().filter(|id| exists(*id)).count(), 0, "processes are left");
    Ok(())
}

/// The whole stack without the engine: assets in, spans and logs found, secrets masked, assets out, nothing left.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_assets_work_on_real_components() -> Result<()> {
    let world = World::start().await?;
    let before = world.snapshot().await?;

    kubectl(&world, &["apply", "--server-side", "--field-manager=test"], &assets("tempo")?).await?;
    world.rolled_out("/apis/apps/v1/namespaces/monitoring/statefulsets/tempo", 90).await?;
    kubectl(&world, &["apply", "--server-side", "--field-manager=test"], &assets("collector")?).await?;
    let collector = "otel-collector-opentelemetry-collector";
    world.rolled_out(&format!("/apis/apps/v1/namespaces/monitoring/deployments/{collector}"), 60).await?;
    kubectl(&world, &["apply", "--server-side", "--field-manager=test"], &assets("grafana")?).await?;
    let (status, config) = world.forwarded_get("monitoring", "tempo-0", 3200, "/status/config").await?;
    let config = String::from_utf8_lossy(&config).into_owned();
    ensure!(
        status == 200 && config.contains("block_retention: 720h0m0s"),
        "the retention is not in effect: {config}"
    );

    // Wrong first, as in the change's own history: a name that does not exist, then the traces path twice.
    let env = |endpoint: &str| {
        json!({"spec": {"template": {"spec": {"containers": [{"name": "tripit", "env": [
            {"name": "LOG_FORMAT", "value": "json"},
            {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": endpoint},
        ]}]}}}})
    };
    let deployment = "/apis/apps/v1/namespaces/tripit/deployments/tripit";
    let operator = world.cluster.access("real").await?;
    let strategic = "application/strategic-merge-patch+json";
    for (endpoint, failure) in [
        ("http://otel-collector.monitoring.svc:4318".to_owned(), "no such host"),
        (format!("http://{collector}.monitoring.svc:4318/v1/traces"), "404"),
    ] {
        operator.send("PATCH", deployment, strategic, &env(&endpoint)).await?;
        until(&format!("the export to {endpoint} fails"), 30, async || {
            let exports = world.application.exports();
            let failed =
                |outcome: &Result<(), String>| outcome.as_ref().is_err_and(|text| text.contains(failure));
            ensure!(exports.iter().any(|one| failed(&one.outcome)), "{:?}", exports.last());
            Ok(())
        })
        .await?;
    }
    operator
        .send("PATCH", deployment, strategic, &env(&format!("http://{collector}.monitoring.svc:4318")))
        .await?;

    let trace = until("a trace of the application is in Tempo", 60, async || {
        let exports = world.application.exports();
        let sent = exports.iter().find(|one| one.outcome.is_ok()).context("nothing was exported")?;
        let path = format!("/api/v2/traces/{}", sent.trace);
        let (status, body) = world.forwarded_get("monitoring", "tempo-0", 3200, &path).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(status == 200 && body.matches("\"spanId\"").count() == 3, "{status} {body}");
        Ok(sent.trace.clone())
    })
    .await
    .with_context(|| format!("{:?} {:?}", world.network.refused(), world.kubelet.log()))?;
    until("its log line is in Loki", 30, async || {
        let path =
            format!("/loki/api/v1/query_range?since=1h&query=%7Bapp%3D%22tripit%22%7D%7C%3D%22{trace}%22");
        let (status, body) = world.forwarded_get("monitoring", "loki-0", 3100, &path).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(status == 200 && body.contains("GET /trips 200"), "{status} {body}");
        Ok(())
    })
    .await
    .with_context(|| format!("{:?}", world.application.lost_lines()))?;
    secrets_are_masked(&world).await?;
    until("search finds a trace", 60, async || {
        let (_, body) = world
            .forwarded_get("monitoring", "tempo-0", 3200, "/api/search?tags=service.name%3Dtripit")
            .await?;
        let found: Value = serde_json::from_slice(&body)?;
        ensure!(found["traces"].as_array().is_some_and(|traces| !traces.is_empty()), "{found}");
        Ok(())
    })
    .await?;

    let undo = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/env", "value":
        before.get("/apis/apps/v1/deployments tripit/tripit").and_then(|one| one.pointer("/spec/template/spec/containers/0/env"))
    }]);
    operator.send("PATCH", deployment, "application/json-patch+json", &undo).await?;
    for folder in ["grafana", "collector", "tempo"] {
        kubectl(&world, &["delete", "--wait=true", "--cascade=foreground"], &assets(folder)?).await?;
    }
    world.rolled_out(deployment, 60).await?;
    until("the programs have ended", 30, async || {
        let left = world.network.pods();
        ensure!(left.iter().all(|(_, pod)| pod == "loki-0" || pod.starts_with("tripit-")), "{left:?}");
        Ok(())
    })
    .await?;
    assert_eq!(world.snapshot().await?, before);
    ensure!(world.firstlight(&["--version"]).await?.status.success(), "the binary does not start here");
    let ids = world.cluster.process_ids();
    world.stop().await;
    assert_eq!(ids.into_iter().filter(|id| exists(*id)).count(), 0, "processes are left");
    Ok(())
}

/// A configuration that Tempo refuses shows as a crash loop and never as ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_is_a_crash_loop() -> Result<()> {
    let world = World::start().await?;
    // Tempo's durations know no days.
    let broken = assets("tempo")?.replace("block_retention: 720h", "block_retention: 30d");
    kubectl(&world, &["apply", "--server-side", "--field-manager=test"], &broken).await?;
    until("tempo-0 is in a crash loop", 30, async || {
        let pod =
            world.api().get("/api/v1/namespaces/monitoring/pods/tempo-0").await?.context("no pod yet")?;
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting/reason").and_then(Value::as_str);
        ensure!(waiting == Some("CrashLoopBackOff"), "{}", pod["status"]);
        ensure!(
            pod.pointer("/status/containerStatuses/0/ready") == Some(&json!(false)),
            "ready all the same"
        );
        Ok(())
    })
    .await
    .with_context(|| format!("{:?}", world.kubelet.log()))?;
    let log = world.kubelet.log().join("\n");
    ensure!(log.contains("cannot unmarshal !!str `30d`"), "it ended for another reason: {log}");
    ensure!(
        world.network.resolve("tempo.monitoring.svc", 3200).await.is_err(),
        "a Service leads to a dead pod"
    );
    world.stop().await;
    Ok(())
}

/// Sends a span with a made-up secret of each kind in each place, and reads it back from Tempo.
async fn secrets_are_masked(world: &World) -> Result<()> {
    let random = || -> Result<String> { Ok(format!("{}{}", random_hex()?, random_hex()?)) };
    let core = random()?;
    let dashes = "-".repeat(5);
    let begin = format!("{dashes}BEGIN PRIVATE {}{dashes}", "KEY");
    let end = format!("{dashes}END PRIVATE {}{dashes}", "KEY");
    let upper: String = core.to_uppercase().chars().take(16).collect();
    let secrets = [
        ("bearer", format!("Authorization: Bearer {core}")),
        ("basic", format!("Basic {core}==")),
        ("jwt", format!("token eyJ{core}.eyJ{core}.{core}")),
        ("pem", format!("{begin}\n{core}\n{core}\n{end}\nafter")),
        ("pem without its end", format!("{begin}\n{core}\n{core}")),
        ("pem without its beginning", format!("{core}\n{end}")),
        ("aws", format!("key AKIA{upper} used")),
        ("github", format!("ghp_{core}")),
        ("url", format!("postgres://user:{core}@db/trips")),
        ("query", format!("https://example.com/?a=1&access_token={core}&b=2")),
    ];
    let mut spans = Vec::new();
    let trace = random_hex()?;
    let text = |value: &str| json!({"stringValue": value});
    let attribute = |key: &str, value: Value| json!({"key": key, "value": value});
    for (place, (_, secret)) in secrets.iter().enumerate() {
        spans.push(json!({
            "traceId": trace, "spanId": format!("{:016x}", place + 1), "name": format!("name {secret}"), "kind": 2,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
            "attributes": [
                attribute("plain", text(secret)),
                attribute("http.request.header.x", json!({"arrayValue": {"values": [text("kept"), text(secret)]}})),
                attribute("http.request.header.authorization", text(&core)),
                attribute("harmless", text("basic authentication of the bearer of tokens")),
            ],
            "events": [{"timeUnixNano": "1700000000500000000", "name": format!("event {secret}"),
                "attributes": [attribute("exception.message", text(secret))]}],
            "status": {"code": 2, "message": format!("status {secret}")},
        }));
    }
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", text("canary")), attribute("resource.secret.kind", text(&secrets[0].1)),
        ]},
        "scopeSpans": [{"spans": spans}],
    }]});
    let pods = world.pods("monitoring", "app.kubernetes.io/name=opentelemetry-collector").await?;
    let pod = pods.first().context("there is no Collector pod")?;
    let (status, answer) = world.forwarded_post("monitoring", pod, 4318, "/v1/traces", &body).await?;
    ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&answer));
    let stored = until("the canary is in Tempo", 30, async || {
        let path = format!("/api/v2/traces/{trace}");
        let (_, body) = world.forwarded_get("monitoring", "tempo-0", 3200, &path).await?;
        let body: Value = serde_json::from_slice(&body)?;
        let spans = body.pointer("/trace/resourceSpans/0/scopeSpans/0/spans").and_then(Value::as_array);
        ensure!(spans.is_some_and(|spans| spans.len() == secrets.len()), "{body}");
        Ok(body)
    })
    .await?;
    let mut leaks = Vec::new();
    let spans = stored.pointer("/trace/resourceSpans/0/scopeSpans/0/spans").and_then(Value::as_array);
    for span in spans.context("no spans")? {
        let shown = span.to_string();
        for part in [&core, &upper] {
            if shown.contains(part.as_str()) {
                leaks.push(shown.clone());
            }
        }
        ensure!(
            shown.contains("basic authentication of the bearer of tokens"),
            "a harmless value was masked: {shown}"
        );
    }
    ensure!(leaks.is_empty(), "secrets are readable: {leaks:#?}");
    let resource =
        stored.pointer("/trace/resourceSpans/0/resource").map(Value::to_string).unwrap_or_default();
    ensure!(!resource.contains(&core), "the resource keeps a secret: {resource}");
    stored
        .to_string()
        .contains("****")
        .then_some(())
        .ok_or_else(|| anyhow!("nothing was masked, so nothing was proven: {stored}"))
}
