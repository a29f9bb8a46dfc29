//! Kubeconfigs: from a context's name to a connection.

mod proxy;

pub(super) use proxy::is_loopback;

use crate::adapter::cluster::KubeCluster;
use crate::adapter::dial::KubeDial;
use crate::adapter::entropy::SystemEntropy;
use crate::port::{Cluster, Dial};
use crate::text::Clean;
use http::{HeaderValue, header};
use kube::client::{AuthError, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::error::Error;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// For TCP and TLS to the API server.
const CONNECT: Duration = Duration::from_secs(10);

/// The largest kubeconfig that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The context's name where a pod's own service account is used.
pub const IN_CLUSTER: &str = "in-cluster";

/// An open door to one cluster.
#[derive(Clone)]
pub struct Connection {
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// Port-forward through it.
    pub dial: Arc<dyn Dial>,
    /// The context's name.
    pub context: Clean,
    /// The API server's address.
    pub server: Clean,
    /// The namespace that the context names, `default` if it names none.
    pub namespace: String,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig, and this is no pod.
    #[error("no kubeconfig was found{}", if .0.as_str().is_empty() { String::new() } else { format!(" at {}", .0) })]
    NoKubeconfig(Clean),
    /// It cannot be read or understood.
    #[error("the kubeconfig {path} {what}")]
    BadKubeconfig {
        /// The file.
        path: Clean,
        /// What is wrong with it; never an excerpt, which could hold a token.
        what: Clean,
    },
    /// No context of that name: a usage error.
    #[error("there is no context {name}{}", listed(.known))]
    UnknownContext {
        /// The name asked for.
        name: Clean,
        /// The names that there are.
        known: Vec<Clean>,
        /// The most similar of them.
        nearest: Option<Clean>,
    },
    /// None was asked for, and the kubeconfig has no current one: a usage error.
    #[error("no context was named, and the kubeconfig has no current one{}", listed(.known))]
    NoCurrentContext {
        /// The names that there are.
        known: Vec<Clean>,
    },
    /// The context does not prove who the server is, or sends credentials in the clear.
    #[error("context {context} is not safe: {what}")]
    Insecure {
        /// The context.
        context: Clean,
        /// What is missing.
        what: Clean,
    },
    /// The credentials could not be had.
    #[error("context {context} has no usable credentials: {cause}")]
    Credentials {
        /// The context.
        context: Clean,
        /// Why.
        cause: Clean,
    },
    /// The context is there and makes no sense: an address that is none, a certificate that cannot be read.
    #[error("context {context} cannot be used: {cause}")]
    BadContext {
        /// The context.
        context: Clean,
        /// Why.
        cause: Clean,
    },
}

fn listed(names: &[Clean]) -> String {
    if names.is_empty() {
        return "; it has none at all".to_owned();
    }
    let names: Vec<&str> = names.iter().map(Clean::as_str).collect();
    format!("; there is {}", names.join(", "))
}

impl ConnectError {
    /// Whether the command line is what is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownContext { .. } | Self::NoCurrentContext { .. })
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKubeconfig(_) => Some("name one with --kubeconfig, or set KUBECONFIG".to_owned()),
            Self::UnknownContext { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            Self::UnknownContext { known, .. } | Self::NoCurrentContext { known } if known.is_empty() => {
                Some("name a kubeconfig that has contexts with --kubeconfig, or set KUBECONFIG".to_owned())
            }
            Self::UnknownContext { .. } | Self::NoCurrentContext { .. } => {
                Some("name one with --context".to_owned())
            }
            Self::Insecure { .. } => Some(
                "give the context the cluster's certificate authority (certificate-authority-data)"
                    .to_owned(),
            ),
            Self::Credentials { .. } => Some("renew the credentials of this context".to_owned()),
            Self::BadKubeconfig { .. } => Some("repair it, or name another one with --kubeconfig".to_owned()),
            Self::BadContext { .. } => {
                Some("repair it in the kubeconfig, or name another one with --context".to_owned())
            }
        }
    }
}

/// Makes ring the process's TLS provider, for kube and reqwest alike; without a choice rustls panics when two are
/// compiled in.
pub fn install_tls() {
    // Fails when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Opens a context: the one asked for, else the kubeconfig's current one, else a pod's own service account.
///
/// The kubeconfig is `kubeconfig`, else the files of `$KUBECONFIG`, else `~/.kube/config`. A credential plugin (`exec`)
/// runs here, with the terminal's stdin and stderr unless it says that it is not interactive. Nothing is sent yet.
///
/// # Errors
/// [`ConnectError`]. With `allow_insecure`, contexts that do not verify the server or do not encrypt are taken.
pub async fn connect(
    kubeconfig: Option<PathBuf>,
    context: Option<&str>,
    allow_insecure: bool,
) -> Result<Connection, ConnectError> {
    install_tls();
    let chosen = choose(kubeconfig, context, |name| std::env::var_os(name)).await?;
    let Chosen { context, mut config } = chosen;
    let server = Clean::new(config.cluster_url.to_string().trim_end_matches('/'));
    if !allow_insecure {
        refuse_insecure(&context, &config)?;
    }
    config.connect_timeout = Some(CONNECT);
    // One retry layer is enough, and it has to know what may be sent twice: adapter/cluster/send.rs.
    config.default_retry = false;
    config.headers.push((
        header::USER_AGENT,
        HeaderValue::from_static(concat!("firstlight/", env!("CARGO_PKG_VERSION"))),
    ));
    let namespace = config.default_namespace.clone();
    let client = client(&context, config).await?;
    let cluster = KubeCluster::new(client.clone(), context.clone(), server.clone(), Arc::new(SystemEntropy));
    Ok(Connection {
        cluster: Arc::new(cluster),
        dial: Arc::new(KubeDial::new(client)),
        context,
        server,
        namespace,
    })
}

struct Chosen {
    context: Clean,
    config: Config,
}

async fn choose(
    kubeconfig: Option<PathBuf>,
    context: Option<&str>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Chosen, ConnectError> {
    let explicit = kubeconfig.is_some();
    let paths = paths(kubeconfig, &variable);
    let loaded = read(&paths, explicit)?;
    let Some(loaded) = loaded else {
        if context.is_none() && variable("KUBERNETES_SERVICE_HOST").is_some() {
            let context = Clean::new(IN_CLUSTER);
            let config = Config::incluster().map_err(|cause| ConnectError::BadContext {
                context: context.clone(),
                cause: sentence(&cause),
            })?;
            return Ok(Chosen { context, config });
        }
        return Err(ConnectError::NoKubeconfig(shown(&paths)));
    };
    let known: Vec<Clean> = loaded.contexts.iter().map(|named| Clean::new(&named.name)).collect();
    let name = match context.map(str::to_owned).or_else(|| loaded.current_context.clone()) {
        Some(name) if !name.is_empty() => name,
        _ => return Err(ConnectError::NoCurrentContext { known }),
    };
    if !loaded.contexts.iter().any(|named| named.name == name) {
        let nearest = nearest(&name, loaded.contexts.iter().map(|named| named.name.as_str())).map(Clean::new);
        return Err(ConnectError::UnknownContext { name: Clean::new(name), known, nearest });
    }
    let explicit_proxy = proxy_of(&loaded, &name);
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let context = Clean::new(&name);
    let mut config = Config::from_custom_kubeconfig(loaded, &options)
        .await
        .map_err(|cause| ConnectError::BadContext { context: context.clone(), cause: sentence(&cause) })?;
    // kube compares the proxy, not the server, with NO_PROXY, and proxies loopback too (kube-client 5.0.0
    // src/config/file_loader.rs): client-go's rules are applied here instead.
    config.proxy_url = match explicit_proxy {
        Some(_) => config.proxy_url,
        None => proxy::for_server(&config.cluster_url, |name| variable(name)?.into_string().ok())
            .map_err(|cause| ConnectError::BadContext { context: context.clone(), cause })?,
    };
    Ok(Chosen { context, config })
}

/// `proxy-url` of the context's cluster.
fn proxy_of(kubeconfig: &Kubeconfig, context: &str) -> Option<String> {
    let cluster =
        kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?.cluster.as_str();
    let named = kubeconfig.clusters.iter().find(|named| named.name == cluster)?;
    named.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The files to read, in order.
fn paths(kubeconfig: Option<PathBuf>, variable: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(path) = kubeconfig {
        return vec![path];
    }
    if let Some(list) = variable("KUBECONFIG").filter(|list| !list.is_empty()) {
        let paths: Vec<PathBuf> =
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        if !paths.is_empty() {
            return paths;
        }
    }
    variable("HOME").map(|home| PathBuf::from(home).join(".kube/config")).into_iter().collect()
}

/// Reads and merges them. A file that is missing is passed over, as kubectl does, unless it was named on the command
/// line; `None` when all are missing.
fn read(paths: &[PathBuf], explicit: bool) -> Result<Option<Kubeconfig>, ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let bad = |what: String| ConnectError::BadKubeconfig {
            path: Clean::new(path.to_string_lossy()),
            what: Clean::new(what),
        };
        let text = match text(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                if explicit {
                    return Err(ConnectError::NoKubeconfig(shown(paths)));
                }
                continue;
            }
            Err(cause) => return Err(bad(format!("could not be read: {cause}"))),
        };
        let next = match Kubeconfig::from_yaml(&text) {
            Ok(mut next) => {
                if let Some(folder) = path.parent() {
                    beside(folder, &mut next);
                }
                next
            }
            Err(KubeconfigError::Parse(cause)) => {
                let place = cause
                    .location()
                    .map(|at| format!(" at line {}, column {}", at.line(), at.column()))
                    .unwrap_or_default();
                return Err(bad(format!("is not a kubeconfig: it cannot be understood{place}")));
            }
            Err(cause) => return Err(bad(format!("is not a kubeconfig: {cause}"))),
        };
        merged = Some(match merged {
            None => next,
            Some(first) => {
                first.merge(next).map_err(|cause| bad(format!("does not go with the others: {cause}")))?
            }
        });
    }
    Ok(merged)
}

/// The text of a kubeconfig: UTF-8, or UTF-16 with its mark, as kubectl reads it. kube's own reader panics at UTF-16 of
/// an odd length (kube-client 5.0.0 src/config/file_config.rs) and reads without a limit.
fn text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    let invalid = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(invalid("it is too large for a kubeconfig"));
    }
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Option<Vec<u16>> =
            bytes.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).ok().map(unit)).collect();
        units.and_then(|units| String::from_utf16(&units).ok()).ok_or_else(|| invalid("it is not UTF-16"))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| invalid("it is not UTF-8"))
        }
        _ => String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8")),
    }
}

/// Makes relative paths start at the kubeconfig's folder, as client-go does (`GetClusterFileReferences`,
/// `GetAuthInfoFileReferences` in client-go tools/clientcmd/loader.go); a plugin's command only if it has a `/`.
fn beside(folder: &Path, kubeconfig: &mut Kubeconfig) {
    let absolute = |path: &mut Option<String>| {
        if let Some(text) = path
            && !text.is_empty()
            && Path::new(text.as_str()).is_relative()
            && let Some(joined) = folder.join(text.as_str()).to_str()
        {
            *path = Some(joined.to_owned());
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            absolute(&mut exec.command);
        }
    }
}

fn shown(paths: &[PathBuf]) -> Clean {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    Clean::new(paths.join(", "))
}

/// Refuses servers that anybody could play.
fn refuse_insecure(context: &Clean, config: &Config) -> Result<(), ConnectError> {
    let insecure = |what: &str| ConnectError::Insecure { context: context.clone(), what: Clean::new(what) };
    if config.accept_invalid_certs {
        return Err(insecure(
            "insecure-skip-tls-verify is set, so any server could answer in the cluster's name",
        ));
    }
    if config.cluster_url.scheme_str() == Some("http") && !is_loopback(&config.cluster_url) {
        return Err(insecure("its server is spoken to without TLS"));
    }
    Ok(())
}

/// Builds the client. Credential plugins run in here, and block.
async fn client(context: &Clean, config: Config) -> Result<Client, ConnectError> {
    let built =
        tokio::task::spawn_blocking(move || ClientBuilder::try_from(config).map(ClientBuilder::build)).await;
    match built {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(kube::Error::Auth(cause))) => {
            Err(ConnectError::Credentials { context: context.clone(), cause: credential_failure(&cause) })
        }
        Ok(Err(cause)) => Err(ConnectError::BadContext { context: context.clone(), cause: sentence(&cause) }),
        Err(_) => {
            let cause = Clean::new("its credentials made the client fail");
            Err(ConnectError::BadContext { context: context.clone(), cause })
        }
    }
}

/// Why there are no credentials, without the credentials: kube's own message for a failed plugin shows the plugin's
/// environment and its whole output, which may hold a token.
pub(super) fn credential_failure(error: &AuthError) -> Clean {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            let separator = if line.is_empty() { "" } else { ": " };
            Clean::new(format!("the credential plugin failed ({}){separator}{line}", out.status))
        }
        AuthError::AuthExecStart(cause) => {
            Clean::new(format!("the credential plugin could not be started: {cause}"))
        }
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            Clean::new("the credential plugin did not answer with an ExecCredential")
        }
        AuthError::ReadTokenFile(cause, path) => {
            Clean::new(format!("the token file {} could not be read: {cause}", path.display()))
        }
        AuthError::InvalidBearerToken(_) => Clean::new("the token has characters that no header may have"),
        AuthError::MissingCommand => Clean::new("the credential plugin has no command"),
        other => Clean::new(other.to_string()),
    }
}

/// An error's message, and the innermost cause where that says more.
fn sentence(error: &(dyn Error + 'static)) -> Clean {
    let outer = error.to_string();
    let inner = super::cluster::root_cause(error);
    if outer.contains(&inner) { Clean::new(outer) } else { Clean::new(format!("{outer}: {inner}")) }
}

/// The most similar name, if one is similar at all: about a third of its letters may differ, two swapped ones always.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|other| (distance(name, other), other))
        .filter(|(distance, other)| *distance * 3 <= other.chars().count() + 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Levenshtein's distance, in characters, of names as short as contexts are.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(256).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().take(256).enumerate() {
        let mut diagonal = index;
        let mut last = index + 1;
        let mut next = vec![last];
        for (to, above) in right.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            last = replaced.min(above + 1).min(last + 1);
            next.push(last);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
