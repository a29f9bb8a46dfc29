//! A small plan on a bare control plane: what the tests of bad moments share.
//!
//! The plan makes two ConfigMaps, a Deployment and a StatefulSet; then it takes two fields of a ConfigMap that two others
//! own, and sets variables of a Deployment that is somebody else's. Each namespace is a place of its own: its objects,
//! its claim, and a state directory for each home.

use crate::api::Api;
use crate::cluster::Cluster;
use crate::condition::until;
use crate::snapshot;
use anyhow::{Context, Result, ensure};
use futures::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// The plan, with `${namespace}` as its only input.
const PLAN: &str = r#"plan: small
title: "A small stack, and two objects of somebody else"
claim: { names: [ "stack:${namespace}" ] }
inputs:
  namespace: { default: small, help: Namespace of everything }
phases:
  - phase: base
    steps:
      - apply: base
        after: [ rolled-out ]
        timeout: 3m
  - phase: others
    steps:
      - apply: shared
        take: [ "data['mode']", "data['size']" ]
      - env: { workload: deployment/app, namespace: "${namespace}", set: { COLOUR: blue, SHADE: dark } }
        after: [ rolled-out ]
        timeout: 3m
"#;

/// The manifests below `assets/`.
const ASSETS: [(&str, &str); 5] = [
    (
        "base/one.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: one, namespace: \"${namespace}\", labels: { part: one } }\ndata: { first: ant, second: bee }\n",
    ),
    (
        "base/two.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: two, namespace: \"${namespace}\" }\ndata: { third: cat }\n",
    ),
    (
        "base/web.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, namespace: \"${namespace}\" }\nspec:\n  replicas: 1\n  selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    spec: { containers: [ { name: web, image: registry.example.com/web:1 } ] }\n",
    ),
    (
        "base/store.yaml",
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: store, namespace: \"${namespace}\" }\nspec:\n  serviceName: store\n  replicas: 1\n  selector: { matchLabels: { app: store } }\n  template:\n    metadata: { labels: { app: store } }\n    spec: { containers: [ { name: store, image: registry.example.com/store:1 } ] }\n",
    ),
    (
        "shared/shared.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shared, namespace: \"${namespace}\" }\ndata: { mode: fast, size: \"2\" }\n",
    ),
];

/// Managers whose entries are the cluster's own housekeeping.
const HOUSEKEEPING: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kubelet", "kwok"];

/// What `run` takes besides the namespace to go through without anybody.
pub const UNSEEN: [&str; 4] = ["--context=real", "--headless", "--yes", "--approve-unseen"];

/// A control plane with the small plan beside it.
pub struct Sandbox {
    /// The control plane.
    pub cluster: Cluster,
}

impl Sandbox {
    /// Starts the control plane and writes plan and assets.
    pub async fn start() -> Result<Self> {
        let sandbox = Self { cluster: Cluster::start().await? };
        sandbox.plan("small", PLAN)?;
        for (name, text) in ASSETS {
            sandbox.asset(name, text)?;
        }
        Ok(sandbox)
    }

    /// Writes a plan beside the small one.
    pub fn plan(&self, name: &str, text: &str) -> Result<()> {
        write(&self.plans().join("plans").join(format!("{name}.yaml")), text)
    }

    /// Writes a manifest below `assets/`.
    pub fn asset(&self, name: &str, text: &str) -> Result<()> {
        write(&self.plans().join("assets").join(name), text)
    }

    /// Writes a plan that only makes one Deployment of its own name, with a memory limit and more pod settings.
    pub fn workload(&self, name: &str, more: &str) -> Result<()> {
        self.plan(name, &plan_of(name))?;
        self.asset(&format!("{name}/{name}.yaml"), &workload(name, more))
    }

    /// Writes the plan `homeless`, whose pod waits for a node with the label `home` of the namespace's name.
    pub fn homeless(&self) -> Result<()> {
        self.workload("homeless", "      nodeSelector: { home: \"${namespace}\" }\n")
    }

    /// The folder of plans and assets.
    pub fn plans(&self) -> PathBuf {
        self.cluster.folder().join("small")
    }

    /// Makes a namespace with what others have in it, and waits until their workload runs.
    pub async fn plant(&self, namespace: &str) -> Result<()> {
        let other = self.cluster.access("Terraform").await?;
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        other.create("/api/v1/namespaces", "other", &body).await?;
        let shared = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared", "namespace": namespace},
            "data": {"mode": "slow", "keep": "yes"},
        });
        other.create(&format!("/api/v1/namespaces/{namespace}/configmaps"), "other", &shared).await?;
        let size = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared", "namespace": namespace},
            "data": {"size": "1"},
        });
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/shared?fieldManager=chart");
        other.send("PATCH", &path, "application/apply-patch+yaml", &size).await?;
        let app = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": {"app": "app"}},
                "template": {
                    "metadata": {"labels": {"app": "app"}},
                    "spec": {"containers": [{
                        "name": "app", "image": "registry.example.com/app:1",
                        "env": [{"name": "KEEP", "value": "yes"}],
                    }]},
                },
            },
        });
        other.create(&format!("/apis/apps/v1/namespaces/{namespace}/deployments"), "other", &app).await?;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/app");
        until("the workload of somebody else runs", 60, async || {
            let live = self.api().get(&path).await?.context("it is not there")?;
            ensure!(live.pointer("/status/availableReplicas") == Some(&json!(1)), "{}", live["status"]);
            Ok(())
        })
        .await
    }

    /// The harness's own access to the API server.
    pub fn api(&self) -> &Api {
        self.cluster.api()
    }

    /// A command of the real binary; `home` names its home and state directory, and nothing else is inherited.
    pub fn command(&self, home: &str, arguments: &[&str]) -> Result<Command> {
        let home = self.home(home);
        std::fs::create_dir_all(&home)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &home)
            .env("USER", "tester")
            .env("FIRSTLIGHT_STATE_DIR", home.join("state"))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Where the home of that name is.
    pub fn home(&self, home: &str) -> PathBuf {
        self.cluster.folder().join("homes").join(home)
    }

    /// `run small` in a namespace, every gate approved unseen.
    pub fn run(&self, home: &str, namespace: &str) -> Result<Command> {
        self.run_with(home, namespace, &UNSEEN)
    }

    /// `run small` in a namespace.
    pub fn run_with(&self, home: &str, namespace: &str, options: &[&str]) -> Result<Command> {
        self.run_plan("small", home, namespace, options)
    }

    /// `run PLAN` in a namespace.
    pub fn run_plan(&self, plan: &str, home: &str, namespace: &str, options: &[&str]) -> Result<Command> {
        let plans = self.plans().display().to_string();
        let mut arguments = vec!["run", plan, "--plans", &plans, "--namespace", namespace];
        arguments.extend(options);
        self.command(home, &arguments)
    }

    /// `rollback` of the latest run of a home.
    pub fn rollback(&self, home: &str) -> Result<Command> {
        self.command(home, &["rollback", "--context=real", "--yes"])
    }

    /// What a namespace holds: content and ownership of every object, without what changes by itself. The namespace's
    /// name is left out, so that two can be compared.
    pub async fn state(&self, namespace: &str) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for collection in ["api/v1 configmaps", "apis/apps/v1 deployments", "apis/apps/v1 statefulsets"] {
            let (root, plural) = collection.split_once(' ').unwrap_or_default();
            for object in self.api().list(&format!("/{root}/namespaces/{namespace}/{plural}")).await? {
                let name =
                    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                if name == "kube-root-ca.crt" {
                    continue;
                }
                let owned = ownership(&object);
                let text = json!({"object": snapshot::normalised(object), "ownership": owned}).to_string();
                let text = text.replace(&format!("\"{namespace}\""), "\"NAMESPACE\"");
                all.insert(format!("{plural}/{name}"), serde_json::from_str(&text)?);
            }
        }
        Ok(all)
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// A plan of one folder and nothing else.
pub fn plan_of(folder: &str) -> String {
    format!(
        "plan: {folder}\ntitle: One workload\nclaim: {{ names: [ \"stack:${{namespace}}\" ] }}\n\
         inputs:\n  namespace: {{ default: small, help: Namespace of everything }}\n\
         phases:\n  - phase: only\n    steps:\n      - apply: {folder}\n        after: [ rolled-out ]\n        timeout: 3m\n"
    )
}

/// A Deployment with a memory limit and more pod settings.
fn workload(name: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name}, namespace: \"${{namespace}}\" }}\n\
         spec:\n  replicas: 1\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n\
         \x20   spec:\n{more}      containers:\n      - name: main\n        image: registry.example.com/{name}:1\n\
         \x20       resources: {{ limits: {{ memory: 64Mi }}, requests: {{ memory: 64Mi }} }}\n"
    )
}

/// Who owns what, apart from times and the cluster's housekeeping; sorted.
pub fn ownership(object: &Value) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut owned: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .filter(|entry| !HOUSEKEEPING.contains(&entry["manager"].as_str().unwrap_or_default()))
        .map(|entry| {
            format!(
                "{} {} {}",
                entry["manager"].as_str().unwrap_or_default(),
                entry["operation"],
                entry["fieldsV1"]
            )
        })
        .collect();
    owned.sort();
    owned
}

/// What the binary said, for a failure.
pub fn said(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What it said to people.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command to its end and expects an exit code.
pub async fn exits(mut command: Command, code: i32) -> Result<Output> {
    let output = command.output().await?;
    ensure!(output.status.code() == Some(code), "expected exit {code}: {}", said(&output));
    Ok(output)
}

/// Plays cases side by side, each in places of its own, and tells of every one that fails.
pub async fn together(cases: Vec<(&str, LocalBoxFuture<'_, Result<()>>)>) -> Result<()> {
    let results = join_all(cases.into_iter().map(|(name, case)| async move { (name, case.await) })).await;
    let failures: Vec<String> = results
        .into_iter()
        .filter_map(|(name, result)| Some(format!("{name}: {:?}", result.err()?)))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// The first objects that differ, for a failure.
pub fn difference(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> String {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name)).take(5);
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    differing
        .map(|name| {
            format!(
                "{name}\n  expected {}\n  found    {}\n",
                shown(expected.get(name)),
                shown(found.get(name))
            )
        })
        .collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, text)?)
}
