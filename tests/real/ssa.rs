//! The rehearsal's server-side apply against the real one: random sequences of writes by several managers, step by step
//! on both, with the owners, the object, the conflicts and the "nothing changed" compared after each.

use crate::api::Api;
use crate::cluster::Cluster;
use anyhow::{Context, Result, ensure};
use firstlight::object::fields::Operation;
use firstlight::object::kind::{self, Kind};
use firstlight::rehearsal::apply::{self, ApplyError, Manager};
use firstlight::rehearsal::schema::Schema;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One write.
#[derive(Clone, Debug)]
enum Write {
    Apply {
        manager: &'static str,
        force: bool,
        intent: Value,
    },
    Merge {
        manager: &'static str,
        patch: Value,
    },
    /// The object as it is, put back with other `managedFields`.
    Reset {
        manager: &'static str,
        entries: Value,
    },
}

/// What the API server's defaulting and its strategies add, by field name.
const DEFAULTED: [&str; 28] = [
    "clusterIP",
    "clusterIPs",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "sessionAffinity",
    "type",
    "protocol",
    "targetPort",
    "replicas",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "rollingUpdate",
    "maxSurge",
    "maxUnavailable",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "dnsPolicy",
    "securityContext",
    "schedulerName",
    "generation",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "apiVersion",
];

/// Fields of a Service's spec that the API server fills in after it has settled the owners.
const LATE: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(select(values))
}

fn manager() -> impl Strategy<Value = &'static str> {
    select(&["ada", "bob", "eve"][..])
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

/// Some of the names, each with one of two values.
fn strings(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    (subsequence(names, 0..=names.len()), any::<bool>()).prop_map(|(names, flag)| {
        names
            .iter()
            .map(|name| ((*name).to_owned(), json!(if flag { "1" } else { "2" })))
            .collect::<Map<_, _>>()
            .into()
    })
}

fn metadata() -> impl Strategy<Value = Value> {
    (
        proptest::option::of(strings(&["l", "m"])),
        proptest::option::of(strings(&["a.b/n"])),
        proptest::option::of(subsequence(&["x.y/one", "x.y/two"][..], 0..=2)),
    )
        .prop_map(|(labels, annotations, finalizers)| {
            let mut map = Map::new();
            put(&mut map, "labels", labels);
            put(&mut map, "annotations", annotations);
            put(&mut map, "finalizers", finalizers.map(|all| json!(all)));
            map.into()
        })
}

fn config_map() -> impl Strategy<Value = Value> {
    (metadata(), proptest::option::of(strings(&["a", "b", "c"])), proptest::option::of(strings(&["d"])))
        .prop_map(|(metadata, data, labels)| {
            let mut map = Map::from_iter([("metadata".to_owned(), metadata)]);
            put(&mut map, "data", data);
            if let Some(labels) = labels {
                map["metadata"]["labels"] = labels;
            }
            map.into()
        })
}

fn service() -> impl Strategy<Value = Value> {
    let port = (select(&[80, 443][..]), maybe(&["TCP", "UDP"]), proptest::option::of(select(&[1, 2][..])))
        .prop_map(|(port, protocol, target)| {
            let name = format!("p{port}{}", protocol.unwrap_or("TCP").to_lowercase());
            let mut map =
                Map::from_iter([("port".to_owned(), json!(port)), ("name".to_owned(), json!(name))]);
            put(&mut map, "protocol", protocol);
            put(&mut map, "targetPort", target.map(|port| json!(port)));
            Value::from(map)
        });
    (
        metadata(),
        proptest::collection::vec(port, 0..3),
        proptest::option::of(strings(&["s", "t"])),
        maybe(&["None"]),
    )
        .prop_map(|(metadata, ports, selector, affinity)| {
            let mut spec = Map::new();
            if !ports.is_empty() {
                spec.insert("ports".to_owned(), ports.into());
            }
            put(&mut spec, "selector", selector);
            put(&mut spec, "sessionAffinity", affinity);
            json!({"metadata": metadata, "spec": spec})
        })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let env = (select(&["E", "F"][..]), maybe(&["1", "2"])).prop_map(|(name, value)| match value {
        Some(value) => json!({"name": name, "value": value}),
        None => json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    });
    (
        maybe(&["i:1", "i:2"]),
        proptest::option::of(proptest::collection::vec(env, 0..3)),
        proptest::option::of(subsequence(&["x", "y"][..], 0..=2)),
        proptest::option::of(subsequence(&[80, 90][..], 0..=2)),
        proptest::option::of(select(&["64Mi", "128Mi"][..])),
        proptest::option::of(subsequence(&["/m", "/n<&>"][..], 0..=2)),
    )
        .prop_map(move |(image, env, args, ports, memory, mounts)| {
            let mut map = Map::from_iter([("name".to_owned(), json!(name))]);
            put(&mut map, "image", image);
            put(&mut map, "env", env);
            put(&mut map, "args", args.map(|all| json!(all)));
            let ports =
                ports.map(|all| all.iter().map(|port| json!({"containerPort": port})).collect::<Vec<_>>());
            put(&mut map, "ports", ports);
            put(&mut map, "resources", memory.map(|memory| json!({"limits": {"memory": memory}})));
            let mounts = mounts
                .map(|all| all.iter().map(|at| json!({"name": "v", "mountPath": at})).collect::<Vec<_>>());
            put(&mut map, "volumeMounts", mounts);
            map.into()
        })
}

fn deployment() -> impl Strategy<Value = Value> {
    let pod = (
        proptest::option::of(container("one")),
        proptest::option::of(container("two")),
        any::<bool>(),
        proptest::option::of(strings(&["n"])),
        any::<bool>(),
    )
        .prop_map(|(one, two, swap, nodes, tolerates)| {
            let mut containers: Vec<Value> = one.into_iter().chain(two).collect();
            if swap {
                containers.reverse();
            }
            let mut spec = Map::new();
            if !containers.is_empty() {
                spec.insert("containers".to_owned(), containers.into());
            }
            spec.insert("volumes".to_owned(), json!([{"name": "v", "emptyDir": {}}]));
            put(&mut spec, "nodeSelector", nodes);
            put(&mut spec, "tolerations", tolerates.then(|| json!([{"key": "k", "operator": "Exists"}])));
            Value::from(spec)
        });
    let strategy = proptest::option::of(select(vec![
        json!({"type": "Recreate"}),
        json!({}),
        json!({"rollingUpdate": {"maxSurge": 2}}),
        json!({"rollingUpdate": {"maxSurge": "50%"}}),
    ]));
    (metadata(), proptest::option::of(0..3), strategy, pod, any::<bool>()).prop_map(
        |(metadata, replicas, strategy, pod, selects)| {
            let mut spec = Map::new();
            put(&mut spec, "replicas", replicas);
            put(&mut spec, "strategy", strategy);
            if selects {
                spec.insert("selector".to_owned(), json!({"matchLabels": {"app": "x"}}));
            }
            spec.insert("template".to_owned(), json!({"metadata": {"labels": {"app": "x"}}, "spec": pod}));
            json!({"metadata": metadata, "spec": spec})
        },
    )
}

fn writes(intent: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Vec<Write>> {
    let entries = select(vec![json!([]), json!([{}]), Value::Null]);
    let write = prop_oneof![
        6 => (manager(), any::<bool>(), intent.clone())
            .prop_map(|(manager, force, intent)| Write::Apply { manager, force, intent }),
        3 => (manager(), intent).prop_map(|(manager, patch)| Write::Merge { manager, patch }),
        1 => (manager(), entries).prop_map(|(manager, entries)| Write::Reset { manager, entries }),
    ];
    proptest::collection::vec(write, 2..9)
}

/// The answer of the API server: an object, or what its Status says.
async fn send(
    api: &Api,
    method: &str,
    path: &str,
    content: &str,
    body: &Value,
) -> Result<Result<Value, kube::core::Status>> {
    match api.send(method, path, content, body).await {
        Ok(object) => Ok(Ok(object)),
        Err(error) => match error.downcast::<kube::Error>() {
            Ok(kube::Error::Api(status)) => Ok(Err(*status)),
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        },
    }
}

/// Everything in `ours` is in `theirs`, which has nothing else but what the API server fills in.
fn same(ours: &Value, theirs: &Value, at: &str) -> Result<()> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, theirs) in theirs {
                match ours.get(name) {
                    Some(ours) => same(ours, theirs, &format!("{at}.{name}"))?,
                    None => ensure!(
                        DEFAULTED.contains(&name.as_str()),
                        "{at}.{name} is only on the server: {theirs}"
                    ),
                }
            }
            let extra = ours.iter().find(|(name, value)| !theirs.contains_key(*name) && !value.is_null());
            ensure!(extra.is_none(), "{at} has more in the rehearsal: {extra:?}");
            Ok(())
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ensure!(ours.len() == theirs.len(), "{at}: {ours:?} and {theirs:?}");
            ours.iter().zip(theirs).enumerate().try_for_each(|(n, (a, b))| same(a, b, &format!("{at}[{n}]")))
        }
        _ => {
            ensure!(ours == theirs, "{at}: {ours} in the rehearsal, {theirs} on the server");
            Ok(())
        }
    }
}

fn entries(object: &Value) -> Value {
    object.pointer("/metadata/managedFields").cloned().unwrap_or_default()
}

/// What the API server's answer tells of the time of this write.
fn time_of(object: &Value, manager: &str, operation: Operation) -> String {
    let entries = entries(object);
    let found = entries.as_array().into_iter().flatten().find(|entry| {
        entry["manager"] == manager && entry["operation"] == operation.as_str() && entry.get("time").is_some()
    });
    let newest = || {
        let times = entries.as_array().into_iter().flatten().filter_map(|entry| entry["time"].as_str());
        times.max().map(str::to_owned)
    };
    found.and_then(|entry| entry["time"].as_str().map(str::to_owned)).or_else(newest).unwrap_or_default()
}

struct Twin<'a> {
    api: &'a Api,
    kind: Kind,
    path: String,
    name: String,
}

impl Twin<'_> {
    fn dressed(&self, body: &Value) -> Value {
        let mut body = body.clone();
        let slash = if self.kind.group.is_empty() { "" } else { "/" };
        body["apiVersion"] = json!(format!("{}{slash}{}", self.kind.group, self.kind.version));
        body["kind"] = json!(self.kind.kind);
        body["metadata"]["name"] = json!(self.name);
        body["metadata"]["namespace"] = json!("default");
        body
    }

    fn manager(&self, name: &str, operation: Operation, time: String) -> Manager {
        let slash = if self.kind.group.is_empty() { "" } else { "/" };
        Manager {
            name: name.to_owned(),
            operation,
            subresource: None,
            api_version: format!("{}{slash}{}", self.kind.group, self.kind.version),
            time,
        }
    }

    /// One write on both; says what differs.
    async fn step(&self, live: Option<&Value>, write: &Write) -> Result<Option<Value>> {
        let one = format!("{}/{}", self.path, self.name);
        match write {
            Write::Apply { manager, force, intent } => {
                let intent = self.dressed(intent);
                let query = format!("{one}?fieldManager={manager}&force={force}");
                let theirs = send(self.api, "PATCH", &query, "application/apply-patch+yaml", &intent).await?;
                let time = theirs
                    .as_ref()
                    .map(|object| time_of(object, manager, Operation::Apply))
                    .unwrap_or_default();
                let writer = self.manager(manager, Operation::Apply, time);
                let ours = apply::apply(Schema::embedded(), &self.kind, live, &intent, &writer, *force);
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => {
                        same(&content(&ours.object), &content(&theirs), "")?;
                        self.compare(live, &ours.object, &theirs)?;
                        Ok(Some(theirs))
                    }
                    // The rules of the kind itself are not the engine's.
                    (Ok(_), Err(status)) if status.code == 422 => Ok(live.cloned()),
                    (Err(ours), Err(theirs)) => {
                        same_refusal(&ours, &theirs)?;
                        Ok(live.cloned())
                    }
                    (ours, theirs) => anyhow::bail!("rehearsal: {ours:?}\nserver: {theirs:?}"),
                }
            }
            Write::Merge { manager, patch } => {
                let patched = match live {
                    Some(_) => {
                        let query = format!("{one}?fieldManager={manager}");
                        send(self.api, "PATCH", &query, "application/merge-patch+json", patch).await?
                    }
                    None => {
                        let query = format!("{}?fieldManager={manager}", self.path);
                        send(self.api, "POST", &query, "application/json", &self.dressed(patch)).await?
                    }
                };
                self.updated(live, manager, patched, None)
            }
            Write::Reset { manager, entries } => {
                let Some(live) = live else { return Ok(None) };
                let mut body = live.clone();
                body["metadata"]["managedFields"] = entries.clone();
                let query = format!("{one}?fieldManager={manager}");
                let theirs = send(self.api, "PUT", &query, "application/json", &body).await?;
                self.updated(Some(live), manager, theirs, Some(entries))
            }
        }
    }

    /// An update on the server, repeated on its own result: what is compared are the owners.
    fn updated(
        &self,
        live: Option<&Value>,
        manager: &str,
        theirs: Result<Value, kube::core::Status>,
        entries: Option<&Value>,
    ) -> Result<Option<Value>> {
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(status) if status.code == 422 => return Ok(live.cloned()),
            Err(status) => anyhow::bail!("the server refuses: {status:?}"),
        };
        let mut new = without_entries(&theirs);
        for field in LATE {
            if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove(field);
                put(spec, field, live.and_then(|live| live["spec"].get(field)).cloned());
            }
        }
        if let Some(entries) = entries {
            new["metadata"]["managedFields"] = entries.clone();
        }
        let writer = self.manager(manager, Operation::Update, time_of(&theirs, manager, Operation::Update));
        let ours = apply::updated(Schema::embedded(), &self.kind, live, new, &writer);
        self.compare(live, &ours, &theirs)?;
        Ok(Some(theirs))
    }

    fn compare(&self, live: Option<&Value>, ours: &Value, theirs: &Value) -> Result<()> {
        // As the API server does after defaulting.
        let mut stored = without_entries(theirs);
        if !entries(ours).is_null() {
            stored["metadata"]["managedFields"] = entries(ours);
        }
        if let Some(live) = live {
            let versions = |object: &Value| {
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = Value::Null;
                object
            };
            apply::keep_times(&versions(live), &mut stored.clone());
            let mut kept = versions(&stored);
            apply::keep_times(&versions(live), &mut kept);
            let changed = kept != versions(live);
            let written = live["metadata"]["resourceVersion"] != theirs["metadata"]["resourceVersion"];
            ensure!(changed == written, "changed in the rehearsal: {changed}, on the server: {written}");
            stored["metadata"]["managedFields"] = entries(&kept);
        }
        // The API server reads its clock a second time for what was there before the first apply.
        let all = stored.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
        for entry in all.into_iter().flatten().filter(|entry| entry["manager"] == "before-first-apply") {
            entry["time"] = json!(time_of(theirs, "before-first-apply", Operation::Update));
        }
        ensure!(
            entries(&stored) == entries(theirs),
            "owners in the rehearsal\n{:#}\non the server\n{:#}",
            entries(&stored),
            entries(theirs)
        );
        Ok(())
    }
}

fn without_entries(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// The object without what the API server counts.
fn content(object: &Value) -> Value {
    let mut object = without_entries(object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !["resourceVersion", "generation"].contains(&name.as_str()));
    }
    object
}

fn same_refusal(ours: &ApplyError, theirs: &kube::core::Status) -> Result<()> {
    ensure!(ours.status().0 == theirs.code, "{ours}\n{theirs:?}");
    // The API server has no order for what is wrong with members of one map.
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    ensure!(
        lines(&ours.to_string()) == lines(&theirs.message),
        "rehearsal: {ours}\nserver: {}",
        theirs.message
    );
    if let ApplyError::Conflicts(causes) = ours {
        let mut ours: Vec<(String, String)> =
            causes.iter().map(|cause| (cause.field.clone(), cause.message.clone())).collect();
        let details = theirs.details.as_ref().context("no details")?;
        let mut theirs: Vec<(String, String)> =
            details.causes.iter().map(|cause| (cause.field.clone(), cause.message.clone())).collect();
        ours.sort();
        theirs.sort();
        ensure!(ours == theirs, "rehearsal: {ours:?}\nserver: {theirs:?}");
    }
    Ok(())
}

static OBJECTS: AtomicUsize = AtomicUsize::new(0);

/// Runs random sequences on one kind; proptest shrinks what differs.
fn run(
    api: &Api,
    kind: &Kind,
    path: &str,
    cases: u32,
    sequence: impl Strategy<Value = Vec<Write>>,
) -> Result<()> {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    });
    let outcome = runner.run(&sequence, |writes| {
        let name = format!("twin-{}", OBJECTS.fetch_add(1, Ordering::Relaxed));
        let twin = Twin { api, kind: kind.clone(), path: path.to_owned(), name };
        let story = async {
            let mut live = None;
            for (number, write) in writes.iter().enumerate() {
                live =
                    twin.step(live.as_ref(), write).await.with_context(|| format!("write {}", number + 1))?;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(story))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    outcome.map_err(|failure| anyhow::anyhow!("{failure}"))
}

fn kind_of(api_version: &str, kind: &str) -> Result<Kind> {
    kind::known(api_version, kind).context("the kind is not known")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rehearsal_applies_as_the_api_server_does() -> Result<()> {
    let cluster = Cluster::without_controllers().await?;
    let api = cluster.access("real").await?;
    let core = "/api/v1/namespaces/default";
    run(
        &api,
        &kind_of("v1", "ConfigMap")?,
        &format!("{core}/configmaps"),
        150,
        writes(config_map().boxed()),
    )?;
    run(&api, &kind_of("v1", "Service")?, &format!("{core}/services"), 120, writes(service().boxed()))?;
    let apps = "/apis/apps/v1/namespaces/default/deployments";
    run(&api, &kind_of("apps/v1", "Deployment")?, apps, 150, writes(deployment().boxed()))?;
    cluster.stop().await;
    Ok(())
}
