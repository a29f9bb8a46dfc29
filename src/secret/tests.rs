//! Nothing secret comes out, and nothing else is hidden. Every secret here is made up on the spot.

use super::*;
use crate::diff::{render, to_text};
use crate::object::ObjectRef;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

fn config_map(text: String) -> (&'static str, Value) {
    (
        "ConfigMap",
        json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"config.yaml": text, "note": "shown"}}),
    )
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

fn json_text(text: &str) -> String {
    Value::from(text).to_string()
}

fn pem(body: &str) -> String {
    let label = "PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{body}\n{body}\n-----END {label}-----\n")
}

type Planter = fn(&str) -> (&'static str, Value);

/// Places for a secret of any printable characters.
const ANY: &[(&str, Planter)] = &[
    ("secret data", |s| ("Secret", json!({"kind": "Secret", "data": {"x": STANDARD.encode(s)}}))),
    ("secret stringData", |s| ("Secret", json!({"kind": "Secret", "stringData": {"user": s}}))),
    ("last applied", |s| {
        let object = json!({"kind": "Secret", "stringData": {"a": s}}).to_string();
        (
            "Secret",
            json!({"kind": "Secret", "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": object, "a": "b"}}}),
        )
    }),
    ("env", |s| {
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a", "env": [{"name": "DB_PASSWORD", "value": s}, {"name": "A", "value": "b"}]}]}}),
        )
    }),
    ("config map key", |s| ("ConfigMap", json!({"data": {"admin-password": s}}))),
    ("custom resource", |s| ("Widget", json!({"spec": {"auth": {"basicAuthPassword": s, "user": "shown"}}}))),
    ("container", |s| ("Widget", json!({"spec": {"secureJsonData": {"anything": s, "list": [s]}}}))),
    ("args", |s| ("Pod", json!({"spec": {"containers": [{"name": "a", "args": ["--password", s, "-v"]}]}}))),
    ("flag", |s| {
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a", "args": [format!("--db-password={s}"), "-v"]}]}}),
        )
    }),
    ("http header", |s| {
        ("Widget", json!({"spec": {"httpHeaders": [{"name": "Authorization", "value": s}]}}))
    }),
    ("compact JSON", |s| config_map(json!({"user": "shown", "password": s, "port": 1}).to_string())),
    ("pretty JSON", |s| {
        config_map(serde_json::to_string_pretty(&json!({"a": [{"apiKey": s}], "port": 1})).unwrap())
    }),
    ("JSON entry", |s| config_map(json!([{"value": s, "name": "API_TOKEN"}]).to_string())),
    ("double quoted", |s| config_map(format!("user: shown\npassword: {}\nport: 1\n", json_text(s)))),
    ("single quoted", |s| {
        config_map(format!("user: shown\npassword: '{}'\nport: 1\n", s.replace('\'', "''")))
    }),
    ("literal", |s| config_map(format!("password: |2\n  {s}\n  {s}\nport: 1\n"))),
    ("literal in a list", |s| config_map(format!("tokens:\n- |2\n    {s}\n- x\nport: 1\n"))),
    ("folded", |s| config_map(format!("a:\n  password: >2\n    {s}\n\n    {s}\nport: 1\n"))),
    ("flow", |s| config_map(format!("a: {{ user: shown, password: {}, port: 1 }}\n", json_text(s)))),
    ("flow over lines", |s| {
        config_map(format!("secrets: [\n  {},\n{}\n]\nport: 1\n", json_text(s), json_text(s)))
    }),
    ("entry", |s| {
        config_map(format!(
            "env:\n- value: {}\n  name: DB_PASSWORD\n- name: A\n  value: shown\n",
            json_text(s)
        ))
    }),
    ("document in a document", |s| {
        config_map(format!(
            "outer: |\n  inner: |\n    user: shown\n    password: {}\n  port: 1\n",
            json_text(s)
        ))
    }),
    ("document in a quoted scalar", |s| {
        config_map(format!("outer: {}\n", json_text(&format!("password: {}\nport: 1\n", json_text(s)))))
    }),
    ("several documents", |s| config_map(format!("a: 1\n---\npassword: {}\n", json_text(s)))),
    ("broken YAML", |s| config_map(format!("a: [\nb:\n  password: {}\n  port: 1\n}}\n", json_text(s)))),
    ("broken literal", |s| {
        config_map(format!("a: [\nb:\n  password: |2\n    {s}\n\n    {s}\n  port: 1\n}}\n"))
    }),
    ("comment", |s| config_map(format!("a: 1\n# password: {}\nb: 2\n", json_text(s)))),
    ("tagged", |s| config_map(format!("a: 1\npassword: !!str {}\nb: 2\n", json_text(s)))),
    ("anchored", |s| config_map(format!("plain: &x {}\npassword: *x\nb: 2\n", json_text(s)))),
    ("INI", |s| {
        config_map(format!("[security]\nadmin_user = shown\nadmin_password = \"\"\"{s}\"\"\"\nport = 1\n"))
    }),
    ("INI without quotes", |s| config_map(format!("[security]\nadmin_password = {s}\nport = 1\n"))),
    ("properties", |s| config_map(format!("spring.datasource.password={s}\nspring.datasource.user=shown\n"))),
    ("env file", |s| config_map(format!("export DB_PASSWORD={s}\nA=b\n"))),
    ("HCL", |s| config_map(format!("auth {{\n  token = {}\n}}\n", json_text(s)))),
    ("heredoc", |s| config_map(format!("auth {{\n  token = <<EOT\n{s}\n{s}\nEOT\n  a = 1\n}}\n"))),
    ("URL", |s| config_map(format!("url: postgres://user:{}@host:5432/db\nport: 1\n", percent(s)))),
    ("encoded text", |s| {
        config_map(format!("blob: {}\n", STANDARD.encode(format!("password: {}\n", json_text(s)))))
    }),
    ("binary data", |s| {
        ("ConfigMap", json!({"binaryData": {"x": STANDARD.encode(format!("password={s}"))}}))
    }),
    ("XML", |s| config_map(format!("<a>\n  <password>{}</password>\n</a>\n", s.replace('<', "&lt;")))),
];

/// Places for a secret of letters and digits.
const PLAIN: &[(&str, Planter)] = &[
    ("plain scalar", |s| config_map(format!("user: shown\npassword: {s}\nport: 1\n"))),
    ("plain over lines", |s| config_map(format!("password: {s}\n  {s}\n\n  {s}\nport: 1\n"))),
    ("plain in flow", |s| config_map(format!("a: {{user: shown, password: {s}, port: 1}}\n"))),
    ("list", |s| config_map(format!("passwords:\n- {s}\n- {s}\nport: 1\n"))),
    ("broken list", |s| config_map(format!("a: [\npasswords:\n- {s}\n-   {s}\nport: 1\n"))),
    ("broken block", |s| {
        config_map(format!("a: [\ncredentials:\n  first: {s}\n  second:\n    third: {s}\nport: 1\n"))
    }),
    ("broken entry", |s| {
        config_map(format!(
            "a: [\nenv:\n- name: API_TOKEN\n  value: {s}\n- value: {s}\n  name: API_TOKEN\nport: 1\n"
        ))
    }),
    ("logfmt", |s| config_map(format!("level=info password={s} user=shown\nlevel=warn msg=\"token={s}\"\n"))),
    ("query", |s| config_map(format!("GET /x?user=shown&token={s}&a=b HTTP/1.1\nhost: x\n"))),
    ("bearer", |s| {
        config_map(format!("# curl -H 'Authorization: Bearer {s}1' x\ncall: sent Bearer {s}1 twice\n"))
    }),
    ("key block", |s| config_map(format!("other: 1\nca: |\n  {}", pem(s).replace('\n', "\n  ")))),
    ("key in one line", |s| config_map(format!("ca: {}\n", json_text(&pem(s))))),
    ("key that was cut off", |s| {
        config_map(format!("some text\n{}", pem(s).split("-----END").next().unwrap()))
    }),
    ("basic", |s| config_map(format!("call: sent Basic {} twice\n", STANDARD.encode(format!("user:{s}"))))),
    ("docker config", |s| {
        config_map(json!({"auths": {"host": {"auth": STANDARD.encode(format!("user:{s}"))}}}).to_string())
    }),
];

/// Every form in which the secret, or a distinctive part of it, could still be read.
fn leaks(text: &str, secret: &str) -> Option<String> {
    let parts: Vec<String> =
        secret.chars().collect::<Vec<char>>().windows(8).map(|part| part.iter().collect()).collect();
    let mut forms: Vec<String> = parts.iter().filter(|part| part.trim() == part.as_str()).cloned().collect();
    forms.push(STANDARD_NO_PAD.encode(secret));
    forms.push(URL_SAFE_NO_PAD.encode(secret));
    forms.push(percent(secret));
    forms.push(percent(secret).to_lowercase());
    forms.push(secret.to_owned());
    forms.into_iter().find(|form| text.contains(form.as_str()))
}

fn planted(kind: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let object = ObjectRef::new("v1", kind, Some("ns"), "x");
    to_text(&render(&object, before, after, &mut Masker::new()), false)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_planted_secret_is_shown(one in "[!-~][ -~]{10,20}[!-~]", other in "[a-zA-Z0-9]{12,24}") {
        for (place, plant) in ANY.iter().chain(PLAIN) {
            let any = ANY.iter().any(|(name, _)| name == place);
            let secrets = if any { [one.clone(), other.clone()] } else { [format!("q{other}"), other.clone()] };
            let (kind, before) = plant(&secrets[0]);
            let (_, after) = plant(&secrets[1]);
            for (before, after) in [(Some(&before), Some(&after)), (None, Some(&before)), (Some(&after), None)] {
                let text = planted(kind, before, after);
                for secret in &secrets {
                    let leak = leaks(&text, secret);
                    prop_assert!(leak.is_none(), "{place}: {secret:?} can be read as {leak:?} in\n{text}");
                }
                prop_assert!(*place == "last applied" || text.contains("‹secret #"), "{place}: nothing is masked in\n{text}");
            }
            for (kind, object) in [(kind, &before), (kind, &after)] {
                prop_assert!(!secret_paths(kind, object).is_empty(), "{place}: no path");
            }
        }
    }

    #[test]
    fn a_known_secret_is_found_in_other_text(secret in "[a-zA-Z0-9+/ ]{4}[a-zA-Z0-9&?%'\"]{12,20}") {
        let mut masker = Masker::new();
        masker.learn("Secret", &json!({"data": {"x": STANDARD.encode(&secret)}}));
        for text in [
            format!("it said {secret} and ended"),
            format!("it said {} and ended", STANDARD.encode(&secret)),
            format!("it said {} and ended", percent(&secret)),
            format!("it said {} and ended", json_text(&secret)),
            format!("it said {} and ended", STANDARD.encode(format!("ab{secret}cd"))),
        ] {
            let masked = masker.mask_text(&text);
            prop_assert!(leaks(&masked, &secret).is_none(), "{secret:?} in {masked}");
            prop_assert!(masked.starts_with("it said "), "{}", masked);
        }
    }

    #[test]
    fn masking_is_its_own_fixed_point(text in "([a-z]{1,8}|password|token|[ :=\n{}\\[\\]\"'|>-]|[a-zA-Z0-9]{12}){0,20}") {
        let mut masker = Masker::new();
        let once = masker.mask_text(&text);
        prop_assert_eq!(masker.mask_text(&once), once);
    }

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        let _ = Masker::new().mask_text(&text);
    }

    #[test]
    fn awkward_text_is_taken(text in "([ \t\n\r:='\"\\\\|>{}\\[\\]#<>&%@/-]|password|‹|é|://|-----BEGIN |<<|--token ){0,40}") {
        let mut masker = Masker::new();
        let _ = masker.mask_text(&text);
        let _ = masker.mask_value("ConfigMap", &json!({"data": {"a": text, "b": [text]}}));
    }
}

#[test]
fn equal_secrets_have_equal_numbers_however_they_are_written() {
    let secret = format!("{}-{}", "made", "up-4711");
    let mut masker = Masker::new();
    let masked = masker.mask_value(
        "Secret",
        &json!({"data": {"a": STANDARD.encode(&secret), "b": STANDARD.encode("other")}}),
    );
    assert_eq!(masked, json!({"data": {"a": "‹secret #1›", "b": "‹secret #2›"}}));
    assert_eq!(masker.mask_text(&format!("password: \"{secret}\"")), "password: \"‹secret #1›\"");
    assert_eq!(masker.mask_text("password: another"), "password: ‹secret #3›");
    assert_eq!(format!("{masker:?}"), "Masker(3 secrets)");
}

#[test]
fn what_is_no_secret_stays_readable() {
    let mut masker = Masker::new();
    for text in [
        "secretName: tls\nsecretKeyRef:\n  name: db\n  key: password\n",
        "volumes:\n- name: a\n  secret:\n    secretName: a\n    defaultMode: 420\n    items:\n    - key: a\n      path: b\n",
        "- projected:\n    sources:\n    - serviceAccountToken:\n        path: token\n        expirationSeconds: 3600\n",
        "password: ${DB_PASSWORD}\ntoken: $__file{/etc/token}\napi_key: $(API_KEY)\nsecret: ''\npasswd: null\n",
        "image: ghcr.io/x/secret-reader:v1.2\nurl: http://token-server:8080/x\naddr: vault-secrets.ns.svc:8200\n",
        "bearer_token_file: /var/run/token\ntoken_url: https://x/token\nautomountServiceAccountToken: true\n",
        "blocked_values:\n- '(?i)bearer [a-z0-9._~+/-]+=*'\n- '-----BEGIN [A-Z ]*PRIVATE KEY-----.*'\n- 'eyJ[A-Za-z0-9_-]+\\.eyJ[A-Za-z0-9_-]+'\n",
        "derivedFields:\n- name: TraceID\n  matcherRegex: '\"trace_id\":\"(\\w+)\"'\n  url: $${__value.raw}\n  datasourceUid: tempo\n",
        "level=info msg=\"secret tempo/x was created\" trace_id=0af7651916cd43dd8448eb211c80319c\n",
        "secrets \"x\" is forbidden: User \"system:serviceaccount:a:b\" cannot get resource \"secrets\" in API group \"\"",
        "MountVolume.SetUp failed for volume \"x\" : secret \"y\" not found",
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 0.0.0.0:4317\n",
        "passwordPolicy:\n  minLength: 8\nmax_tokens: 4096\n",
        "client_key: /etc/tls/tls.key\nGOOGLE_APPLICATION_CREDENTIALS: /var/secrets/account.json\n",
    ] {
        assert_eq!(masker.mask_text(text), text);
    }
    let pod = json!({"spec": {
        "imagePullSecrets": [{"name": "regcred"}], "serviceAccountName": "x",
        "volumes": [{"name": "a", "secret": {"secretName": "tls", "items": [{"key": "tls.key", "path": "tls.key"}], "optional": true}}],
        "containers": [{"name": "a", "args": ["--token-file", "/x", "--config=/y"],
            "env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}, {"name": "LOG_FORMAT", "value": "json"}]}]}});
    assert_eq!(masker.mask_value("Pod", &pod), pod);
    assert_eq!(secret_paths("Pod", &pod), []);
}

#[test]
fn the_text_around_a_secret_stays() {
    let mut masker = Masker::new();
    let text = "user: a\npassword: |\n  made-up-one\n  made-up-two\nport: 1\nlist:\n- token: made-up-three # why\n  name: b\n";
    insta::assert_snapshot!(masker.mask_text(text), @r"
    user: a
    password: |
      ‹secret #1›
    port: 1
    list:
    - token: ‹secret #2› # why
      name: b
    ");
    insta::assert_snapshot!(masker.mask_text("GET /x?token=made-up&b=c postgres://me:made-up-4@host/db?x=y (password: made up)"), @"GET /x?token=‹secret #3›&b=c postgres://me:‹secret #4›@host/db?x=y (password: ‹secret #5›");
}

#[test]
fn a_change_that_holds_a_secret_is_named() {
    let pod = |value: &str| json!({"spec": {"containers": [{"name": "a", "env": [{"name": "DB_PASSWORD", "value": value}]}]}});
    let changes = crate::diff::changes("Pod", Some(&pod("made-up-one")), Some(&pod("made-up-two")));
    assert_eq!(
        holds_secret("Pod", &changes).unwrap().to_string(),
        "spec.containers[name=a].env[name=DB_PASSWORD].value"
    );
    let added =
        crate::diff::changes("Pod", Some(&json!({"spec": {"containers": [{"name": "a"}]}})), Some(&pod("x")));
    assert_eq!(holds_secret("Pod", &added), None, "there was nothing before");
    let secret = |value: &str| json!({"data": {"a": STANDARD.encode(value)}, "type": "Opaque"});
    let changes = crate::diff::changes("Secret", Some(&secret("one")), Some(&secret("two")));
    assert_eq!(holds_secret("Secret", &changes).unwrap().to_string(), "data.a");
    let config = |value: &str| json!({"data": {"x.yaml": format!("a: 1\npassword: {value}\n")}});
    let changes = crate::diff::changes("ConfigMap", Some(&config("made-up")), Some(&config("other")));
    assert!(holds_secret("ConfigMap", &changes).is_some());
    let plain = |value: &str| json!({"data": {"x.yaml": format!("a: {value}\n")}});
    let changes = crate::diff::changes("ConfigMap", Some(&plain("1")), Some(&plain("2")));
    assert_eq!(holds_secret("ConfigMap", &changes), None);
}

#[test]
fn fingerprints_are_keyed() {
    let (one, other) = (StateKey::new([1; 32]), StateKey::new([2; 32]));
    let print = one.keyed("a", b"x");
    assert_eq!(print.as_str().len(), 64);
    assert_eq!(print, one.keyed("a", b"x"));
    for different in
        [one.keyed("b", b"x"), one.keyed("a", b"y"), other.keyed("a", b"x"), one.keyed("ax", b"")]
    {
        assert_ne!(print, different);
    }
    assert_eq!(format!("{one:?}"), "StateKey(…)");
}

#[test]
fn the_hash_is_hmac_sha256() {
    // HMAC-SHA256 with 32 bytes 0x01 over the domain's length, the domain and the bytes, computed with Python's hmac.
    let print = StateKey::new([1; 32]).keyed("d", b"x");
    assert_eq!(print.as_str(), "58b1359254f1172d0e0650b5d170f6a4db3248701c16bf4490859dfe0b48039c");
}
