//! Writes `src/rehearsal/schema.json` to standard output, from the OpenAPI of a running kube-apiserver.
//!
//! ```sh
//! export KUBECONFIG=…
//! cargo run --example generate_schema -- kubectl > schema.json && mv schema.json src/rehearsal/schema.json
//! ```
//!
//! The argument is the kubectl to ask with. `tests/real/schema.rs` makes the same from the cluster that it starts.

use anyhow::{Context, Result, ensure};
use firstlight::rehearsal::schema::openapi;
use serde_json::Value;
use std::process::Command;

fn main() -> Result<()> {
    let kubectl = std::env::args().nth(1).context("which kubectl? (the first argument)")?;
    let raw = |path: &str| -> Result<Value> {
        let output = Command::new(&kubectl).args(["get", "--raw", path]).output()?;
        ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let version = raw("/version")?;
    let version = version["gitVersion"].as_str().context("the server does not tell its version")?;
    let documents: Vec<Value> =
        openapi::DOCUMENTS.iter().map(|path| raw(&format!("/openapi/v3/{path}"))).collect::<Result<_>>()?;
    let compact = openapi::compact(version, &documents).map_err(anyhow::Error::msg)?;
    print!("{}", openapi::text(&compact));
    Ok(())
}
