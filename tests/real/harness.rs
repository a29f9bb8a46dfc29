//! Tests of the harness itself.

use crate::cluster::Cluster;
use anyhow::Result;

/// A cluster starts, tells who wrote what, and leaves no process behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_and_ends() -> Result<()> {
    let begin = std::time::Instant::now();
    let cluster = Cluster::start().await?;
    eprintln!("{:?}", begin.elapsed());
    let ids = cluster.process_ids();
    assert_eq!(ids.len(), 5);
    cluster.stop().await;
    for id in ids {
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists(), "process {id} is left");
    }
    Ok(())
}
