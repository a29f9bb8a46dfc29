//! A Kubernetes control plane on loopback: etcd, API server, controller-manager, scheduler, and kwok for the nodes.

use crate::api::Api;
use crate::audit;
use crate::condition::until;
use crate::kwok::{self, Fault, Forward};
use crate::process::{Process, free_port, program};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Users that the control plane acts as; what they do is not in the audit log.
const CONTROL_PLANE: [&str; 7] = [
    "harness",
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "kwok",
    "kubelet",
    "Terraform",
];

/// A running control plane. Dropping it ends every process; after a panic its logs are printed.
pub struct Cluster {
    processes: Vec<Process>,
    kwok: Option<Process>,
    folder: TempDir,
    forwards: Vec<Forward>,
    real_programs: bool,
    kubelet_port: u16,
    api: Api,
}

impl Cluster {
    /// A control plane with one node; every pod becomes Ready at once.
    pub async fn start() -> Result<Self> {
        Self::start_with(Vec::new(), false).await
    }

    /// etcd and the API server alone: nothing changes objects but their writers, and no pod ever starts.
    pub async fn without_controllers() -> Result<Self> {
        let ControlPlane { processes, folder, api } = ControlPlane::new().await?;
        Ok(Self {
            processes,
            kwok: None,
            folder,
            forwards: Vec::new(),
            real_programs: false,
            kubelet_port: 0,
            api,
        })
    }

    /// The same with port-forwards; with `real_programs` the pods of the known images wait for their probes.
    pub async fn start_with(forwards: Vec<Forward>, real_programs: bool) -> Result<Self> {
        ControlPlane::new().await?.finish(forwards, real_programs).await
    }

    /// The kubeconfig file: contexts `real` (an operator who may do everything), `reader` (may only read) and `expired`
    /// (a token that the API server does not know).
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The folder of this cluster; it goes when the cluster goes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The harness's own access, absent from the audit log.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The access of one user of the token file, for example `Terraform`.
    pub async fn access(&self, context: &str) -> Result<Api> {
        Api::from_kubeconfig(&self.kubeconfig(), context).await
    }

    /// The requests so far of everybody but the control plane; waits for the entries of those just answered.
    pub async fn audit(&self) -> Result<Vec<audit::Request>> {
        until("every request in the audit log has its outcome", 20, async || {
            let requests = self.audit_so_far()?;
            let open = requests.iter().find(|request| request.code == 0 && !request.lasts());
            ensure!(open.is_none(), "open: {open:?}");
            Ok(requests)
        })
        .await
    }

    /// The same without waiting: while others are at work, something is always open.
    pub fn audit_so_far(&self) -> Result<Vec<audit::Request>> {
        Ok(audit::read(&std::fs::read_to_string(self.folder.path().join("audit.log"))?))
    }

    /// Plays faults from now on, on pods that are started from now on; an empty list ends them.
    pub async fn play(&mut self, faults: &[(Fault, String)]) -> Result<()> {
        let file = self.folder.path().join("kwok.yaml");
        std::fs::write(&file, kwok::configuration(&self.forwards, faults, self.real_programs))?;
        if let Some(mut old) = self.kwok.take() {
            old.stop().await;
        }
        let certificate = |name: &str| self.folder.path().join("certs").join(name).display().to_string();
        let arguments = [
            format!("--kubeconfig={}", kubeconfig_of(self.folder.path(), "kwok").display()),
            "--manage-all-nodes".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            // A successor would wait for the lease of a killed predecessor; the controllers are patient instead.
            "--node-lease-duration-seconds=0".to_owned(),
            format!("--node-port={}", self.kubelet_port),
            format!("--server-address=127.0.0.1:{}", self.kubelet_port),
            format!("--tls-cert-file={}", certificate("apiserver.crt")),
            format!("--tls-private-key-file={}", certificate("apiserver.key")),
            format!("--config={}", file.display()),
        ];
        let kwok =
            self.kwok.insert(Process::start("kwok", &program("kwok")?, &arguments, &[], self.folder.path())?);
        let address = ("127.0.0.1", self.kubelet_port);
        until("kwok serves", 20, async || {
            if kwok.ended().is_some() {
                return Err(anyhow!("kwok has ended\n{}", kwok.tail()));
            }
            Ok(tokio::net::TcpStream::connect(address).await.map(drop)?)
        })
        .await
    }

    /// Ends every process and waits for each.
    pub async fn stop(mut self) {
        for process in self.kwok.iter_mut().chain(self.processes.iter_mut().rev()) {
            process.stop().await;
        }
    }

    /// Process ids of everything that runs.
    pub fn process_ids(&self) -> Vec<u32> {
        self.kwok.iter().chain(&self.processes).filter_map(Process::id).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.processes.iter().chain(&self.kwok) {
                eprintln!("{}", process.tail());
            }
        }
    }
}

/// Where the kubeconfig of a user of the control plane lies.
fn kubeconfig_of(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("kubeconfig-{user}"))
}

/// The part whose ports may be taken by somebody else, so that it is tried again as a whole.
struct ControlPlane {
    processes: Vec<Process>,
    folder: TempDir,
    api: Api,
}

impl ControlPlane {
    /// Starts it, at most three times, as long as somebody else takes its ports.
    async fn new() -> Result<Self> {
        // A second installation in one process is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut failure = anyhow!("no attempt was made");
        for _ in 0..3 {
            match Self::start().await {
                Ok(plane) => return Ok(plane),
                Err((error, port_taken)) => {
                    failure = error;
                    if !port_taken {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    /// Starts etcd and the API server and waits until it is ready. The error says whether a port was taken.
    async fn start() -> Result<Self, (anyhow::Error, bool)> {
        let mut processes = Vec::new();
        // Outlives a start that fails: the logs in it say whether a port was taken.
        let folder = tempfile::Builder::new().prefix("firstlight-real-").tempdir();
        let folder = folder.map_err(|error| (error.into(), false))?;
        match Self::try_start(&mut processes, &folder).await {
            Ok(api) => Ok(Self { processes, folder, api }),
            Err(error) => {
                let taken = processes.iter().any(Process::lost_its_port);
                let logs: String = processes.iter().map(Process::tail).collect();
                Err((error.context(logs), taken))
            }
        }
    }

    async fn try_start(processes: &mut Vec<Process>, folder: &TempDir) -> Result<Api> {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (client, peer, secure) = (free_port()?, free_port()?, free_port()?);
        let users = users()?;
        let tokens: String =
            users.iter().map(|(name, token, group)| format!("{token},{name},{name},\"{group}\"\n")).collect();
        std::fs::write(path("tokens.csv"), tokens)?;
        std::fs::write(path("audit-policy.yaml"), audit::policy(&CONTROL_PLANE))?;
        std::fs::write(path("audit.log"), "")?;
        let etcd = [
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls=http://127.0.0.1:{client}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            // The data are thrown away with the folder.
            "--unsafe-no-fsync".to_owned(),
        ];
        processes.push(Process::start("etcd", &program("etcd")?, &etcd, &[], folder.path())?);
        let server = [
            format!("--etcd-servers=http://127.0.0.1:{client}"),
            format!("--cert-dir={}", path("certs")),
            format!("--secure-port={secure}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            // The key that the API server makes for its own certificate serves for the tokens as well.
            format!("--service-account-key-file={}", path("certs/apiserver.key")),
            format!("--service-account-signing-key-file={}", path("certs/apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", path("audit-policy.yaml")),
            format!("--audit-log-path={}", path("audit.log")),
        ];
        processes.push(Process::start(
            "kube-apiserver",
            &program("kube-apiserver")?,
            &server,
            &[],
            folder.path(),
        )?);
        let authority = PathBuf::from(path("certs/apiserver.crt"));
        until("the API server makes its certificate", 60, async || {
            // One that has ended will not come: no need to wait for it.
            if let Err(ended) = alive(processes) {
                return Ok(Err(ended));
            }
            ensure!(std::fs::metadata(&authority)?.len() > 0, "the certificate is empty");
            Ok(Ok(()))
        })
        .await??;
        write_kubeconfigs(folder.path(), secure, &users)?;
        let api = Api::from_kubeconfig(&kubeconfig_of(folder.path(), "harness"), "harness").await?;
        until("the API server is ready", 60, async || {
            if let Err(ended) = alive(processes) {
                return Ok(Err(ended));
            }
            ensure!(api.text("/readyz").await? == "ok", "not ready");
            Ok(Ok(()))
        })
        .await??;
        Ok(api)
    }

    /// Adds controllers, node and scheduler, and waits until pods can be scheduled.
    async fn finish(mut self, forwards: Vec<Forward>, real_programs: bool) -> Result<Cluster> {
        let folder = self.folder.path().to_owned();
        let path = |name: &str| folder.join(name).display().to_string();
        let kubeconfig = |user: &str| format!("--kubeconfig={}", kubeconfig_of(&folder, user).display());
        let controllers = [
            kubeconfig("system:kube-controller-manager"),
            format!("--service-account-private-key-file={}", path("certs/apiserver.key")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // kwok plays no heartbeat.
            "--node-monitor-grace-period=24h".to_owned(),
        ];
        let scheduler = [
            kubeconfig("system:kube-scheduler"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        for (name, arguments) in
            [("kube-controller-manager", &controllers[..]), ("kube-scheduler", &scheduler[..])]
        {
            self.processes.push(Process::start(name, &program(name)?, arguments, &[], &folder)?);
        }
        let reader = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
        });
        self.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "harness", &reader).await?;
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux"}},
        });
        self.api.create("/api/v1/nodes", "harness", &node).await?;
        let (processes, api, kubelet_port) = (self.processes, self.api, free_port()?);
        let mut cluster = Cluster {
            processes,
            kwok: None,
            folder: self.folder,
            forwards,
            real_programs,
            kubelet_port,
            api,
        };
        cluster.play(&[]).await?;
        let Cluster { processes, api, .. } = &mut cluster;
        until("the node is ready and the controllers work", 60, async || {
            alive(processes)?;
            let node = api.get("/api/v1/nodes/node-1").await?.context("the node is gone")?;
            let ready = node
                .pointer("/status/conditions")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
            ensure!(ready, "the node is not ready");
            ensure!(node.pointer("/spec/taints").is_none(), "the node is still tainted");
            let account = api.get("/api/v1/namespaces/default/serviceaccounts/default").await?;
            ensure!(account.is_some(), "the default service account is missing");
            Ok(())
        })
        .await?;
        Ok(cluster)
    }
}

/// Fails with the log of the first process that has ended.
fn alive(processes: &mut [Process]) -> Result<()> {
    for process in processes {
        if let Some(status) = process.ended() {
            return Err(anyhow!("ended with {status}\n{}", process.tail()));
        }
    }
    Ok(())
}

/// The users: name, token (random, for this cluster only) and group.
fn users() -> Result<Vec<(String, String, &'static str)>> {
    let mut users = Vec::new();
    for (name, group) in [("operator", "system:masters"), ("reader", "people")]
        .into_iter()
        .chain(CONTROL_PLANE.iter().map(|name| (*name, "system:masters")))
    {
        users.push((name.to_owned(), random_hex()?, group));
    }
    Ok(users)
}

/// 16 random bytes in hexadecimal digits.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One file for the people, and one for each user of the control plane.
fn write_kubeconfigs(folder: &Path, port: u16, users: &[(String, String, &str)]) -> Result<()> {
    let file = |contexts: &[(&str, &str)]| {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": folder.join("certs/apiserver.crt"),
            }}],
            "users": contexts.iter().map(|(name, token)| json!({"name": name, "user": {"token": token}})).collect::<Vec<_>>(),
            "contexts": contexts.iter().map(|(name, _)| {
                json!({"name": name, "context": {"cluster": "real", "user": name, "namespace": "default"}})
            }).collect::<Vec<_>>(),
            "current-context": contexts.first().map(|(name, _)| name),
        })
    };
    let token = |user: &str| {
        users.iter().find(|(name, ..)| name == user).map_or_else(String::new, |(_, token, _)| token.clone())
    };
    let unknown = random_hex()?;
    let (operator, reader, terraform) = (token("operator"), token("reader"), token("Terraform"));
    let people =
        [("real", &*operator), ("reader", &*reader), ("expired", &*unknown), ("Terraform", &*terraform)];
    std::fs::write(folder.join("kubeconfig"), file(&people).to_string())?;
    for (name, token, _) in users {
        std::fs::write(kubeconfig_of(folder, name), file(&[(name, token)]).to_string())?;
    }
    Ok(())
}
