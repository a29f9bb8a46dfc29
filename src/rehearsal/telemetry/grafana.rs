//! A Grafana: provisioned data sources, their API, and its proxy to Tempo and Loki.
//!
//! Provisioning is that of grafana/grafana pkg/services/provisioning/datasources/datasources.go: pruning, then for each
//! file in the order of their names its deletions and its data sources; one is looked up by organisation and name, never
//! by uid; the first error ends the whole of it. At the start such an error ends Grafana itself.

mod file;
mod provision;

pub use file::{Files, files};

use super::form::decoded;
use super::{
    Network, Request, Response, Service, StartError, Unrehearsed, http_url, json, page_not_found, text,
    unrehearsed,
};
use crate::text::Clean;
use http::{Method, StatusCode, header};
use hyper::body::Bytes;
use provision::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The port that it listens at.
const PORT: u16 = 3000;

/// Grafana's database; it outlives the pod where its volume does.
#[derive(Clone, Default)]
pub struct Database(Arc<Mutex<Vec<Record>>>);

/// A running Grafana.
pub struct Grafana {
    network: Arc<dyn Network>,
    database: Database,
    folder: Mutex<BTreeMap<String, String>>,
    unrehearsed: Mutex<Vec<Unrehearsed>>,
}

impl Grafana {
    /// Starts one with what lies in its folder of data sources: file names with texts.
    ///
    /// # Errors
    /// What it says before it ends: an error of provisioning is fatal at the start.
    pub fn start(
        folder: BTreeMap<String, String>,
        network: Arc<dyn Network>,
        database: &Database,
    ) -> Result<Self, StartError> {
        let grafana = Self {
            network,
            database: database.clone(),
            folder: Mutex::new(folder),
            unrehearsed: Mutex::default(),
        };
        grafana
            .provision()
            .map_err(|why| StartError::new(format!("Datasource provisioning error: {why}")))?;
        Ok(grafana)
    }

    /// What the sidecar does when a ConfigMap came, changed or went: it writes the folder anew and asks for a reload.
    ///
    /// # Errors
    /// What Grafana's log says; data sources behind the error are as they were.
    pub fn reload(&self, folder: BTreeMap<String, String>) -> Result<(), Clean> {
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = folder;
        self.provision().map_err(|why| Clean::new(format!("Datasource provisioning error: {why}")))
    }

    /// What its files ask for and the rehearsal does not play, as of the last provisioning.
    pub fn unrehearsed(&self) -> Vec<Unrehearsed> {
        self.unrehearsed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn provision(&self) -> Result<(), String> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = Vec::new();
        let outcome = provision::provision(&folder, &mut self.records(), &mut notes);
        *self.unrehearsed.lock().unwrap_or_else(PoisonError::into_inner) = notes;
        outcome
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.database.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, by: impl Fn(&Record) -> bool) -> Option<Record> {
        // Requests without an organisation are those of the first one.
        self.records().iter().find(|record| record.org == 1 && by(record)).cloned()
    }

    /// A request to a data source as Grafana's back end sends it.
    fn ask(&self, record: &Record, path: &str, from: &Request) -> Result<Response, Clean> {
        let (host, port, prefix) = http_url(&record.url)?;
        let (service, port) = self.network.reach(host, port)?;
        let mut request = http::Request::builder().method(from.method().clone()).uri(format!(
            "{}/{}",
            prefix.trim_end_matches('/'),
            path.trim_start_matches('/')
        ));
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            if let Some(value) = from.headers().get(&name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(from.body().clone()).map_err(|error| Clean::new(error.to_string()))?;
        Ok(service.handle(port, &request))
    }

    fn health(&self, record: &Record) -> Response {
        if record.kind != "loki" {
            // No back end of this kind has a check: no word on whether it is well.
            let body = json!({ "message": "Not found", "messageId": "plugin.notImplemented", "statusCode": 404, "traceID": "" });
            return json(StatusCode::NOT_FOUND, &body);
        }
        let failed = |why: String| {
            json(
                StatusCode::BAD_REQUEST,
                &json!({ "status": "ERROR", "message": format!("Unable to connect with Loki. Please check the server logs for more details. {why}").trim() }),
            )
        };
        match self.ask(
            record,
            "/loki/api/v1/query?query=vector(1)%2Bvector(1)",
            &http::Request::new(Bytes::new()),
        ) {
            Ok(answer) if answer.status().is_success() => json(
                StatusCode::OK,
                &json!({ "status": "OK", "message": "Data source successfully connected." }),
            ),
            Ok(answer) => failed(answer.status().to_string()),
            Err(why) => failed(why.to_string()),
        }
    }

    fn proxy(&self, rest: &str, request: &Request) -> Response {
        let (uid, path) = rest.split_once('/').unwrap_or((rest, ""));
        let uid = decoded(uid);
        let Some(record) = self.found(|record| record.uid == *uid) else {
            return json(
                StatusCode::NOT_FOUND,
                &json!({ "message": "Unable to find datasource", "traceID": "" }),
            );
        };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        match self.ask(&record, &format!("{path}{query}"), request) {
            Ok(answer) => answer,
            Err(_) => text(StatusCode::BAD_GATEWAY, ""),
        }
    }

    fn datasources(&self, rest: &str, request: &Request) -> Response {
        if let Some(rest) = rest.strip_prefix("/proxy/uid/") {
            return self.proxy(rest, request);
        }
        if request.method() != Method::GET {
            return unrehearsed("a change of a data source by the API");
        }
        let one = |record: Option<Record>, answer: &dyn Fn(&Record) -> Response| match record {
            Some(record) => answer(&record),
            None => {
                json(StatusCode::NOT_FOUND, &json!({ "message": "Data source not found", "traceID": "" }))
            }
        };
        let whole = |record: &Record| json(StatusCode::OK, &record.to_json());
        if rest.is_empty() || rest == "/" {
            let mut all: Vec<Record> =
                self.records().iter().filter(|record| record.org == 1).cloned().collect();
            all.sort_by_key(|record| record.name.to_lowercase());
            return json(StatusCode::OK, &all.iter().map(Record::to_json).collect::<Value>());
        }
        if let Some(name) = rest.strip_prefix("/name/") {
            let name = decoded(name);
            return one(self.found(|record| record.name == *name), &whole);
        }
        if let Some(uid) = rest.strip_prefix("/uid/") {
            let (uid, health) = uid.strip_suffix("/health").map_or((uid, false), |uid| (uid, true));
            let uid = decoded(uid);
            let record = self.found(|record| record.uid == *uid);
            return if health { one(record, &|record| self.health(record)) } else { one(record, &whole) };
        }
        match rest.trim_start_matches('/').parse::<u64>() {
            Ok(id) => one(self.found(|record| record.id == id), &whole),
            Err(_) => unrehearsed(format!("/api/datasources{rest}")),
        }
    }
}

impl Service for Grafana {
    fn ports(&self) -> Vec<u16> {
        vec![PORT]
    }

    fn handle(&self, port: u16, request: &Request) -> Response {
        if port != PORT {
            return page_not_found();
        }
        let path = request.uri().path();
        match path {
            "/api/health" => {
                let body = json!({ "database": "ok", "version": "13.2.0", "commit": "" });
                json(StatusCode::OK, &body)
            }
            "/api/admin/provisioning/datasources/reload" if request.method() == Method::POST => {
                match self.provision() {
                    Ok(()) => json(StatusCode::OK, &json!({ "message": "Datasources config reloaded" })),
                    // The reason is in the log alone.
                    Err(_) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": "" })),
                }
            }
            _ => match path.strip_prefix("/api/datasources") {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => self.datasources(rest, request),
                _ => json(StatusCode::NOT_FOUND, &json!({ "message": "Not found", "traceID": "" })),
            },
        }
    }
}

#[cfg(test)]
mod tests;
