//! Kubeconfigs and API servers that are not there or not right: one sentence, a cause, a hint, and never an excerpt.

use crate::home::Home;
use std::time::{Duration, Instant};

/// Stands for a token; it must be seen nowhere.
const TOKEN: &str = "not-a-token-but-secret";

fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [ {{ name: c, cluster: {{ server: \"{server}\" }} }} ]\n\
         users: [ {{ name: u, user: {{ token: {TOKEN} }} }} ]\n\
         contexts:\n- {{ name: prod, context: {{ cluster: c, user: u }} }}\n- {{ name: torn, context: {{ cluster: gone, user: u }} }}\n\
         current-context: prod\n"
    )
}

/// A loopback port that nobody listens at.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn without_a_kubeconfig_the_hint_says_how_to_name_one() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["preview", "tracing"]).all(), @r"
    --- stderr
    error: no kubeconfig was found at ~/.kube/config
    hint: name one with --kubeconfig, or set KUBECONFIG
    exit 1
    ");
    insta::assert_snapshot!(home.run(&["preview", "tracing", "--kubeconfig", "nowhere"]).all());
}

#[test]
fn a_broken_kubeconfig_is_never_quoted() {
    let home = Home::new();
    let texts: [&[u8]; 9] = [
        b"users:\n- name: a\n  user: {token: not-a-token-but-secret\n",
        b"not-a-token-but-secret",
        b"users: [ { name: a, user: { token: [ not-a-token-but-secret ] } } ]",
        b"users: not-a-token-but-secret",
        b"clusters: [ { not-a-token-but-secret: 1 } ]",
        b"\xff\xfe\x00",
        b"\xfe\xffab\x01",
        b"apiVersion: v1\nnot-a-token-but-secret: \xff",
        b"\x1b[2J: [",
    ];
    for text in texts {
        home.file("broken", text);
        let said = home.run(&["preview", "tracing", "--kubeconfig", "broken"]);
        said.assert_harmless();
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.all());
        assert!(!said.err.contains(TOKEN), "{}", said.err);
        assert!(said.err.contains("broken") && said.err.contains("\nhint: "), "{}", said.err);
    }
    home.file(
        "laughs",
        format!(
            "a: &a [x,x,x,x,x,x,x,x]\n{}",
            (0..9)
                .map(|n| format!(
                    "{}: &{} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n",
                    char::from(b'b' + n),
                    char::from(b'b' + n),
                    p = char::from(b'a' + n)
                ))
                .collect::<String>()
        ),
    );
    home.file("deep", "[".repeat(100_000));
    for name in ["laughs", "deep"] {
        let said = home.run(&["preview", "tracing", "--kubeconfig", name]);
        assert!(matches!(said.code, 1 | 2), "{}", said.all());
    }
    home.file("broken", texts[2]);
    insta::assert_snapshot!(home.run(&["preview", "tracing", "--kubeconfig", "broken"]).all());
}

#[test]
fn an_unknown_context_is_answered_with_the_known_ones() {
    let home = Home::new();
    home.file(".kube/config", kubeconfig("https://127.0.0.1:1"));
    insta::assert_snapshot!(home.run(&["preview", "tracing", "--context", "prd"]).all());
    insta::assert_snapshot!(home.run(&["preview", "tracing", "--context", "torn"]).all());
    home.file("empty", "");
    insta::assert_snapshot!(home.run(&["preview", "tracing", "--kubeconfig", "empty"]).all());
    home.file(
        "wide",
        [
            b"\xff\xfe".as_slice(),
            &kubeconfig("https://127.0.0.1:1").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        ]
        .concat(),
    );
    let said = home.run(&["preview", "tracing", "--kubeconfig", "wide", "--context", "prd"]);
    assert!(said.code == 2 && said.err.contains("did you mean prod?"), "{}", said.all());
}

#[test]
fn an_unreachable_server_is_named_soon() {
    let home = Home::new();
    let port = closed_port();
    home.file(".kube/config", kubeconfig(&format!("http://127.0.0.1:{port}")));
    let begin = Instant::now();
    for arguments in [
        &["preview", "tracing"][..],
        &["run", "tracing", "--context", "prod", "--headless", "--yes", "--approve-unseen"],
        &["rollback", "--context", "prod", "--yes"],
    ] {
        let said = home.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.all());
        assert_eq!(
            said.err,
            format!(
                "error: context prod (http://127.0.0.1:{port}): the API server could not be reached: Connection refused (os error 111)\n\
                 hint: check that the API server can be reached from here\n"
            )
        );
    }
    // Some retries belong to it; the point is that nobody waits for minutes.
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!(home.run(&["runs"]).err, "no runs yet\n", "a run that reached no cluster is no run");
}

#[test]
fn a_server_that_is_not_proven_is_not_spoken_to() {
    let home = Home::new();
    home.file(".kube/config", kubeconfig("http://10.0.0.1:8080"));
    let said = home.run(&["preview", "tracing"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("is spoken to without TLS") && said.err.contains("hint: "), "{}", said.err);
}
