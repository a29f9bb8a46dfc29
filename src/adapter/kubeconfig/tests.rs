use super::*;
use std::fs;

const CLUSTERS: &str = "
apiVersion: v1
kind: Config
current-context: prod
clusters:
- { name: safe, cluster: { server: 'https://127.0.0.1:6443' } }
- { name: open, cluster: { server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true } }
- { name: plain, cluster: { server: 'http://10.1.2.3:8080' } }
- { name: here, cluster: { server: 'http://127.0.0.1:8080' } }
- { name: none, cluster: { server: 'not an address' } }
users:
- { name: me, user: { token: a-token } }
- { name: broken, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never,
    args: [ '-c', 'echo secret-on-stdout; echo >&2 sign in again; exit 3' ] } } }
- { name: absent, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/plugin, interactiveMode: Never } } }
- { name: chatty, user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never,
    args: [ '-c', 'echo secret-on-stdout: [' ] } } }
contexts:
- { name: prod, context: { cluster: safe, user: me, namespace: monitoring } }
- { name: staging, context: { cluster: safe, user: me } }
- { name: open, context: { cluster: open, user: me } }
- { name: plain, context: { cluster: plain, user: me } }
- { name: here, context: { cluster: here, user: me } }
- { name: none, context: { cluster: none, user: me } }
- { name: broken, context: { cluster: here, user: broken } }
- { name: absent, context: { cluster: here, user: absent } }
- { name: chatty, context: { cluster: here, user: chatty } }
- { name: dangling, context: { cluster: nowhere, user: me } }
";

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

async fn open(context: Option<&str>) -> Result<Connection, ConnectError> {
    let home = Home::new();
    connect(Some(home.file("config", CLUSTERS)), context, false).await
}

fn error(result: Result<Connection, ConnectError>) -> ConnectError {
    match result {
        Err(error) => error,
        Ok(connection) => panic!("connected to {}", connection.context),
    }
}

#[tokio::test]
async fn a_context_becomes_a_connection() {
    let connection = open(None).await.unwrap();
    assert_eq!((connection.context.as_str(), connection.namespace.as_str()), ("prod", "monitoring"));
    assert_eq!(connection.server.as_str(), "https://127.0.0.1:6443");
    let connection = open(Some("staging")).await.unwrap();
    assert_eq!((connection.context.as_str(), connection.namespace.as_str()), ("staging", "default"));
}

#[tokio::test]
async fn an_unknown_context_is_a_usage_error_that_names_the_known() {
    let error = error(open(Some("stagin")).await);
    assert!(error.is_usage());
    assert_eq!(
        error.to_string(),
        "there is no context stagin; there is prod, staging, open, plain, here, none, broken, absent, chatty, dangling"
    );
    assert_eq!(error.hint().unwrap(), "did you mean staging?");
    let other = self::error(open(Some("completely-different")).await);
    assert_eq!(other.hint().unwrap(), "name one with --context");
}

#[tokio::test]
async fn no_current_context_is_a_usage_error_too() {
    let home = Home::new();
    let file = home
        .file("config", "{ apiVersion: v1, kind: Config, contexts: [{ name: a, context: { cluster: c } }] }");
    let error = error(connect(Some(file), None, false).await);
    assert!(error.is_usage());
    assert!(error.to_string().ends_with("; there is a"), "{error}");
    let empty = home.file("empty", "");
    assert!(matches!(connect(Some(empty), None, false).await, Err(ConnectError::NoCurrentContext { .. })));
}

#[tokio::test]
async fn a_server_that_anybody_could_play_is_refused() {
    for context in ["open", "plain"] {
        let error = error(open(Some(context)).await);
        assert!(matches!(error, ConnectError::Insecure { .. }), "{error:?}");
        assert!(error.hint().is_some());
        let home = Home::new();
        connect(Some(home.file("config", CLUSTERS)), Some(context), true).await.unwrap();
    }
    open(Some("here")).await.unwrap();
}

#[tokio::test]
async fn contexts_that_make_no_sense_say_why() {
    for (context, why) in [("none", "failed to parse cluster url"), ("dangling", "nowhere")] {
        let error = error(open(Some(context)).await);
        assert!(matches!(error, ConnectError::BadContext { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_credential_plugin_that_fails_shows_its_words_and_not_its_output() {
    let said: Vec<String> = [
        error(open(Some("broken")).await),
        error(open(Some("absent")).await),
        error(open(Some("chatty")).await),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    context broken has no usable credentials: the credential plugin failed (exit status: 3): sign in again
    context absent has no usable credentials: the credential plugin could not be started: No such file or directory (os error 2)
    context chatty has no usable credentials: the credential plugin did not answer with an ExecCredential
    ");
}

#[tokio::test]
async fn a_file_that_is_no_kubeconfig_is_not_shown() {
    let home = Home::new();
    for text in [
        "users: [ { name: a, user: { token: 'hunter2 } } ]\n",
        "contexts: hunter2",
        "- hunter2",
        "\u{0}hunter2",
    ] {
        let error = error(connect(Some(home.file("config", text)), None, false).await);
        let said = format!("{error} {error:?}");
        assert!(matches!(error, ConnectError::BadKubeconfig { .. }), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn where_kubeconfigs_are_looked_for() {
    let home = Home::new();
    let second = CLUSTERS.replace("current-context: prod", "current-context: staging");
    let (first, second) = (home.file("first", CLUSTERS), home.file("second", &second));
    let missing = home.folder.path().join("missing");
    let look = |kubeconfig: Option<PathBuf>, list: Vec<PathBuf>| {
        let list = std::env::join_paths(list).unwrap();
        let home = home.folder.path().as_os_str().to_owned();
        async move {
            let chosen = choose(kubeconfig, None, |name| match name {
                "KUBECONFIG" => Some(list.clone()),
                "HOME" => Some(home.clone()),
                _ => None,
            });
            chosen.await.map(|chosen| chosen.context.as_str().to_owned())
        }
    };
    assert_eq!(look(None, vec![first.clone(), second.clone()]).await.unwrap(), "prod");
    // kubectl passes over what is missing in the list, and so is it here.
    assert_eq!(look(None, vec![missing.clone(), second.clone()]).await.unwrap(), "staging");
    assert_eq!(look(Some(second.clone()), vec![first.clone()]).await.unwrap(), "staging");
    let error = look(Some(missing.clone()), vec![first]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no kubeconfig was found at {}", missing.display()));
    let error = look(None, vec![missing]).await.unwrap_err();
    assert!(error.hint().unwrap().contains("--kubeconfig"), "{error}");
    // The default place.
    assert!(matches!(look(None, vec![]).await, Err(ConnectError::NoKubeconfig(_))));
    fs::create_dir(home.folder.path().join(".kube")).unwrap();
    fs::copy(second, home.folder.path().join(".kube/config")).unwrap();
    assert_eq!(look(None, vec![]).await.unwrap(), "staging");
}

#[test]
fn similar_names() {
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("abc", ""), 3);
    assert_eq!(nearest("prdo", ["staging", "prod"].into_iter()), Some("prod"));
    assert_eq!(nearest("production-eu", ["production-us", "staging"].into_iter()), Some("production-us"));
    assert_eq!(nearest("x", ["staging"].into_iter()), None);
}
