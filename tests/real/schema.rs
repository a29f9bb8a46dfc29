//! The rehearsal's schema is the one of the API server that the tests run on.

use crate::cluster::Cluster;
use anyhow::{Context, Result, ensure};
use firstlight::rehearsal::schema::openapi;
use serde_json::Value;

/// Generated anew from the running API server, the committed tables are the same to the letter.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_that_of_the_api_server() -> Result<()> {
    let cluster = Cluster::without_controllers().await?;
    let version = cluster.api().get("/version").await?.context("no version")?;
    let mut documents: Vec<Value> = Vec::new();
    for path in openapi::DOCUMENTS {
        documents.push(cluster.api().get(&format!("/openapi/v3/{path}")).await?.context(path)?);
    }
    let version = version["gitVersion"].as_str().context("no gitVersion")?;
    let compact = openapi::compact(version, &documents).map_err(anyhow::Error::msg)?;
    let committed = include_str!("../../src/rehearsal/schema.json");
    let generated = openapi::text(&compact);
    let differs = generated.lines().zip(committed.lines()).find(|(new, old)| new != old);
    ensure!(generated == committed, "generate it anew (examples/generate_schema.rs): {differs:#?}");
    cluster.stop().await;
    Ok(())
}
