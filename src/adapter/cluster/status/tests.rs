use super::*;
use serde_json::{Value, json};

fn status(code: u16, reason: &str, message: &str, details: Value) -> (StatusCode, Vec<u8>) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    (StatusCode::from_u16(code).unwrap(), body.to_string().into_bytes())
}

fn error((code, body): (StatusCode, Vec<u8>)) -> ClusterError {
    Refusal::read(code, &body).error(code, true)
}

/// The variant and the message, for snapshots.
fn said(answer: (StatusCode, Vec<u8>)) -> String {
    let error = error(answer);
    let debug = format!("{error:?}");
    let variant: String = debug.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    format!("{variant}: {error}")
}

#[test]
fn what_a_real_api_server_says() {
    // Bodies of kube-apiserver 1.34.4.
    let answers = [
        status(401, "Unauthorized", "Unauthorized", json!({})),
        status(
            403,
            "Forbidden",
            "configmaps \"a\" is forbidden: User \"v\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"n\"",
            json!({ "name": "a", "kind": "configmaps" }),
        ),
        status(403, "Forbidden", "forbidden: User \"v\" cannot get path \"/version\"", json!({})),
        status(
            403,
            "Forbidden",
            "pods \"p\" is forbidden: maximum memory usage per Container is 10Mi, but limit is 20Mi",
            json!({ "name": "p", "kind": "pods" }),
        ),
        status(
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
            json!({ "name": "nowhere", "kind": "namespaces" }),
        ),
        status(
            409,
            "AlreadyExists",
            "configmaps \"a\" already exists",
            json!({ "name": "a", "kind": "configmaps" }),
        ),
        status(
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
            json!({ "name": "a", "kind": "configmaps" }),
        ),
        status(
            422,
            "Invalid",
            "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"0\": field is immutable",
            json!({ "name": "a", "kind": "ConfigMap", "causes": [
                { "reason": "FieldValueInvalid", "message": "Invalid value: \"0\": field is immutable", "field": "metadata.uid" },
            ] }),
        ),
        status(422, "Invalid", "the server rejected our request due to an error in our request", json!({})),
        status(
            500,
            "",
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dataa: field not declared in schema",
            json!({}),
        ),
        status(
            429,
            "TooManyRequests",
            "too many requests, please try again later",
            json!({ "retryAfterSeconds": 1 }),
        ),
        status(503, "ServiceUnavailable", "apiserver is shutting down", json!({})),
    ];
    let said: Vec<String> = answers.into_iter().map(said).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    Unauthorized: the credentials were not accepted: Unauthorized
    Forbidden: forbidden: configmaps "a" is forbidden: User "v" cannot get resource "configmaps" in API group "" in the namespace "n"
    Forbidden: forbidden: User "v" cannot get path "/version"
    Invalid: refused: pods "p" is forbidden: maximum memory usage per Container is 10Mi, but limit is 20Mi
    NotFound: not found: namespaces "nowhere" not found
    AlreadyExists: already exists: configmaps "a" already exists
    Stale: the object changed meanwhile: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again
    Stale: the object changed meanwhile: ConfigMap "a" is invalid: metadata.uid: Invalid value: "0": field is immutable
    Invalid: refused: the patch does not fit the object: one of its tests does not hold, or a path is not there
    Invalid: refused: failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dataa: field not declared in schema
    Unavailable: too many requests, please try again later
    Unavailable: apiserver is shutting down
    "#);
}

#[test]
fn causes_of_a_conflict_are_kept_and_the_rest_is_not_one() {
    let causes = json!({ "causes": [
        { "reason": "FieldManagerConflict", "message": "conflict with \"helm\" using v1", "field": ".data.x" },
        { "reason": "FieldManagerConflict", "message": "conflict with \"kubectl\x1b[2J\" using v1", "field": ".data.y" },
        { "reason": "SomethingElse", "message": "m", "field": "f" },
    ] });
    let ClusterError::Owned(causes) = error(status(409, "Conflict", "Apply failed with 2 conflicts", causes))
    else {
        panic!("not a conflict of owners");
    };
    let causes: Vec<_> = causes.iter().map(|cause| (cause.field.as_str(), cause.message.as_str())).collect();
    assert_eq!(
        causes,
        [
            (".data.x", "conflict with \"helm\" using v1"),
            (".data.y", "conflict with \"kubectl\\x1b[2J\" using v1")
        ]
    );
}

#[test]
fn only_a_change_leaves_doubt() {
    for code in [500, 502, 503, 504] {
        let (code, body) = status(code, "", "m", json!({}));
        assert!(Refusal::read(code, &body).error(code, true).outcome_unknown());
        assert!(!Refusal::read(code, &body).error(code, false).outcome_unknown());
    }
    assert!(!error(status(429, "TooManyRequests", "m", json!({}))).outcome_unknown());
}

#[test]
fn admission_is_not_a_missing_permission() {
    for message in [
        "admission webhook \"policy.example\" denied the request: no",
        "secrets \"s\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=0, limited: count/secrets=0",
        "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
        "deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    ] {
        assert!(
            matches!(error(status(403, "Forbidden", message, json!({}))), ClusterError::Invalid(_)),
            "{message}"
        );
    }
    // What is not a Status comes from a proxy, and its 403 is about access.
    let page = (StatusCode::FORBIDDEN, b"no admission webhook here".to_vec());
    assert!(matches!(error(page), ClusterError::Forbidden(_)));
}

#[test]
fn answers_of_proxies_are_said_by_their_status() {
    let page = b"<html>\n<body>oh no</body></html>".to_vec();
    assert_eq!(said((StatusCode::BAD_GATEWAY, page)), "Unavailable: HTTP status 502 Bad Gateway");
    let text = b"\n  404 page not found\n".to_vec();
    assert_eq!(
        said((StatusCode::NOT_FOUND, text)),
        "NotFound: not found: HTTP status 404 Not Found: 404 page not found"
    );
    assert_eq!(said((StatusCode::FOUND, Vec::new())), "Invalid: refused: HTTP status 302 Found");
    // JSON, but no Status.
    let other = b"{\"message\":\"x\",\"kind\":3}".to_vec();
    assert!(
        said((StatusCode::BAD_REQUEST, other))
            .starts_with("Invalid: refused: HTTP status 400 Bad Request: {")
    );
}

#[test]
fn a_404_is_an_absence_only_of_what_was_asked_for() {
    let absence =
        |answer: (StatusCode, Vec<u8>)| Refusal::read(answer.0, &answer.1).is_absence_of("configmaps", "a");
    assert!(absence(status(404, "NotFound", "m", json!({ "name": "a", "kind": "configmaps" }))));
    assert!(absence(status(404, "NotFound", "m", json!({ "name": "a" }))));
    assert!(!absence(status(404, "NotFound", "m", json!({ "name": "a", "kind": "namespaces" }))));
    assert!(!absence(status(404, "NotFound", "m", json!({ "name": "b", "kind": "configmaps" }))));
    assert!(!absence(status(404, "NotFound", "the server could not find the requested resource", json!({}))));
    assert!(!absence((StatusCode::NOT_FOUND, b"404 page not found".to_vec())));
}

#[test]
fn secrets_of_terminals_do_not_pass() {
    let error = error(status(400, "BadRequest", "a\x1b]52;c;x\x07b\nc", json!({})));
    assert_eq!(error.to_string(), "refused: a\\x1b]52;c;x\\x07b\\nc");
}
