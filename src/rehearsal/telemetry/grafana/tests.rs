use super::*;
use crate::rehearsal::telemetry::loki::{Loki, Volume};
use crate::rehearsal::telemetry::testing::{Names, SetClock, get, post, read, said};

const LOKI: &str = "\
apiVersion: 1
datasources:
  - name: Loki
    type: loki
    access: proxy
    url: http://loki.monitoring.svc:3100
    isDefault: true
    jsonData:
      maxLines: 1000
      derivedFields:
        - name: request_id
          matcherRegex: 'request_id=(\\w+)'
          url: 'https://requests.example.com/$${__value.raw}'
        - name: dead
          url: '${__value.raw}'
";

fn folder(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn grafana(files: &[(&str, &str)]) -> (Arc<Names>, Grafana) {
    let names = Arc::new(Names::default());
    let grafana = Grafana::start(folder(files), names.clone(), &Database::default()).unwrap();
    (names, grafana)
}

fn ask(grafana: &Grafana, request: &Request) -> String {
    let (status, text) = said(&grafana.handle(3000, request));
    format!("{status} {text}")
}

#[test]
fn a_data_source_is_provisioned_as_grafana_reads_it() {
    let (_, grafana) = grafana(&[("loki-datasource.yaml", LOKI), ("readme.txt", "no: [")]);
    let loki = read(&grafana.handle(3000, &get("/api/datasources/name/Loki")));
    assert_eq!((loki["uid"].as_str(), loki["readOnly"].as_bool()), (Some("P8E80F9AEF21F6940"), Some(true)));
    assert_eq!(loki["jsonData"]["derivedFields"][0]["url"], "https://requests.example.com/${__value.raw}");
    // Not escaped, so it is gone without a word.
    assert_eq!(loki["jsonData"]["derivedFields"][1]["url"], "");
    for path in ["/api/datasources/uid/P8E80F9AEF21F6940", "/api/datasources/1"] {
        assert_eq!(read(&grafana.handle(3000, &get(path))), loki, "{path}");
    }
    assert_eq!(read(&grafana.handle(3000, &get("/api/datasources"))), json!([loki]));
    assert_eq!(grafana.handle(3000, &get("/api/datasources/name/Tempo")).status(), 404);
}

#[test]
fn an_update_replaces_the_record_and_keeps_the_uid() {
    let (_, grafana) = grafana(&[("a.yaml", LOKI)]);
    let shorter = "apiVersion: 1\ndatasources: [{name: Loki, type: loki, url: http://x}]\n";
    grafana.reload(folder(&[("a.yaml", shorter)])).unwrap();
    let loki = read(&grafana.handle(3000, &get("/api/datasources/name/Loki")));
    assert_eq!(
        (
            loki["uid"].as_str(),
            &loki["jsonData"],
            loki["version"].as_u64(),
            loki["url"].as_str(),
            loki["access"].as_str()
        ),
        (Some("P8E80F9AEF21F6940"), &json!({}), Some(2), Some("http://x"), Some("proxy"))
    );
    // The file goes, the data source stays; a deletion by name removes it.
    grafana.reload(BTreeMap::new()).unwrap();
    assert_eq!(grafana.handle(3000, &get("/api/datasources/name/Loki")).status(), 200);
    grafana
        .reload(folder(&[("a.yaml", "apiVersion: 1\ndeleteDatasources: [{name: Loki, orgId: 1}]\n")]))
        .unwrap();
    assert_eq!(grafana.handle(3000, &get("/api/datasources/name/Loki")).status(), 404);
}

#[test]
fn pruned_data_sources_go_with_their_file() {
    let (_, grafana) = grafana(&[("a.yaml", &format!("prune: true\n{LOKI}"))]);
    grafana.reload(BTreeMap::new()).unwrap();
    assert_eq!(read(&grafana.handle(3000, &get("/api/datasources"))), json!([]));
}

#[test]
fn the_first_error_ends_provisioning() {
    let one = |name: &str, uid: &str| {
        format!("apiVersion: 1\ndatasources: [{{name: {name}, type: tempo, uid: {uid}}}]\n")
    };
    let failing = |files: &[(&str, &str)], then: &[(&str, &str)]| {
        let (_, grafana) = grafana(files);
        let why = grafana.reload(folder(then)).unwrap_err().to_string();
        let status =
            grafana.handle(3000, &post("/api/admin/provisioning/datasources/reload", &json!({}))).status();
        assert_eq!(status, 500);
        let names: Vec<String> = read(&grafana.handle(3000, &get("/api/datasources")))
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect();
        format!("{why} ({})", names.join(", "))
    };
    let (a, b, c) = (one("A", "a"), one("B", "b"), one("C", "a"));
    let told = [
        // A uid that differs from the stored one; what comes behind it is not reached.
        failing(&[("a.yaml", &a)], &[("a.yaml", &one("A", "z")), ("b.yaml", &b)]),
        failing(&[("a.yaml", LOKI)], &[("a.yaml", &LOKI.replace("type: loki", "type: loki\n    uid: loki"))]),
        failing(&[("a.yaml", &a)], &[("b.yaml", &b), ("c.yaml", &c)]),
        failing(
            &[("a.yaml", LOKI)],
            &[("a.yaml", LOKI), ("b.yaml", &LOKI.replace("name: Loki", "name: Second"))],
        ),
        failing(&[("a.yaml", &a)], &[("a.yaml", "apiVersion: ["), ("b.yaml", &b)]),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    Datasource provisioning error: a.yaml: data source not found (A)
    Datasource provisioning error: a.yaml: data source not found (Loki)
    Datasource provisioning error: c.yaml: data source with the same uid already exists (A, B)
    Datasource provisioning error: datasource.yaml config is invalid. Only one datasource per organization can be marked as default (Loki)
    Datasource provisioning error: a.yaml: yaml: a.yaml:1:13: this `[` is never closed (A)
    "#);
    // With a deletion before it the uid may change.
    let (_, grafana) = grafana(&[("a.yaml", &a)]);
    let again = format!("{}deleteDatasources: [{{name: A}}]\n", one("A", "z"));
    grafana.reload(folder(&[("a.yaml", &again)])).unwrap();
    // At the start the same error ends Grafana.
    let database = grafana.database.clone();
    let error =
        Grafana::start(folder(&[("a.yaml", &a)]), Arc::new(Names::default()), &database).err().unwrap();
    insta::assert_snapshot!(error, @"Datasource provisioning error: a.yaml: data source not found");
}

#[test]
fn what_depends_on_the_environment_is_said() {
    let (_, grafana) = grafana(&[
        ("a.yaml", "apiVersion: 1\ndatasources: [{name: A, type: loki, url: $LOKI_URL}]\n"),
        ("b.yaml", "datasources: []\n"),
    ]);
    let told: Vec<String> = grafana.unrehearsed().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    a.yaml.datasources.0.url: $LOKI_URL is not rehearsed: it stands for nothing: Grafana's environment and files are not known
    b.yaml: apiVersion 0 is not rehearsed: the file is left out
    "#);
}

#[test]
fn requests_pass_to_the_data_source() {
    let (names, grafana) = grafana(&[
        ("a.yaml", LOKI),
        (
            "b.yaml",
            "apiVersion: 1\ndatasources: [{name: Tempo, uid: tempo, type: tempo, url: 'https://x'}]\n",
        ),
    ]);
    let uid = "P8E80F9AEF21F6940";
    let health = get(&format!("/api/datasources/uid/{uid}/health"));
    let proxied = get(&format!("/api/datasources/proxy/uid/{uid}/loki/api/v1/labels?start=1"));
    let before = [ask(&grafana, &health), ask(&grafana, &proxied)];
    let config = "auth_enabled: false\ningester: {lifecycler: {min_ready_duration: 0s}}\n";
    let loki = Loki::start(config, SetClock::new(), &Volume::default()).unwrap();
    names.put("loki.monitoring.svc", Arc::new(loki));
    let after = [
        ask(&grafana, &health),
        ask(&grafana, &proxied),
        ask(&grafana, &get("/api/datasources/proxy/uid/none/api/echo")),
        ask(&grafana, &get("/api/datasources/uid/tempo/health")),
        ask(&grafana, &get("/api/datasources/proxy/uid/tempo/api/echo")),
        ask(&grafana, &get("/api/health")),
        ask(&grafana, &post("/api/admin/provisioning/datasources/reload", &json!({}))),
        ask(&grafana, &post("/api/datasources", &json!({}))),
        ask(&grafana, &get("/api/datasourcesx")),
    ];
    insta::assert_snapshot!([before.as_slice(), after.as_slice()].concat().join("\n"), @r#"
    400 {"message":"Unable to connect with Loki. Please check the server logs for more details. lookup loki.monitoring.svc: no such host","status":"ERROR"}
    502 
    200 {"message":"Data source successfully connected.","status":"OK"}
    200 {"status":"success"}
    404 {"message":"Unable to find datasource","traceID":""}
    404 {"message":"Not found","messageId":"plugin.notImplemented","statusCode":404,"traceID":""}
    502 
    200 {"commit":"","database":"ok","version":"13.2.0"}
    200 {"message":"Datasources config reloaded"}
    400 a change of a data source by the API is not rehearsed

    404 {"message":"Not found","traceID":""}
    "#);
}

#[test]
fn equal_keys_overwrite_each_other() {
    let map = |name: &str, key: &str, labelled: bool| {
        let labels = if labelled { json!({ "grafana_datasource": "1" }) } else { json!({}) };
        json!({ "metadata": { "name": name, "namespace": "m", "labels": labels }, "data": { key: name } })
    };
    let maps = [map("a", "x.yaml", true), map("b", "x.yaml", true), map("c", "y.yaml", false), json!({})];
    let files = files(&maps);
    assert_eq!(files.folder, folder(&[("x.yaml", "b")]));
    insta::assert_snapshot!(files.overwritten[0], @"x.yaml of m/a was overwritten by m/b");
}
