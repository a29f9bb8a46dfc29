//! Crash points: where a test can stop the process dead and kill it.
//!
//! Every append of the journal and every request that changes something passes two boundaries, one before and one after.
//! With the feature `real`, a process whose
//! environment says `FIRSTLIGHT_STOP_AT=N` stops at the N-th boundary (counted from 1), all threads at once, after the
//! line `stopped at boundary N` on stderr. A test then kills it there and looks at what a crash at that point leaves.
//! Without the feature nothing of this is compiled.

/// Passes a boundary; does nothing.
#[cfg(not(feature = "real"))]
#[expect(clippy::unused_async, reason = "with the feature `real` it may wait")]
pub async fn boundary() {}

/// Passes a boundary, or stops the process at it.
#[cfg(feature = "real")]
pub async fn boundary() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PASSED: AtomicU64 = AtomicU64::new(0);
    static STOP_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("FIRSTLIGHT_STOP_AT").ok().and_then(|text| text.parse().ok()));

    let here = PASSED.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    if *STOP_AT != Some(here) {
        return;
    }
    stop(here);
    // Reached only if someone continued the process: it must still not go on.
    std::future::pending::<()>().await;
}

/// SIGSTOP stops every thread, as a crash would: a renewal or a request in flight on another thread does not go on.
#[cfg(feature = "real")]
fn stop(here: u64) {
    use std::io::Write;

    let mut stderr = std::io::stderr().lock();
    // Nobody may be reading; the process stops all the same.
    let _ = writeln!(stderr, "stopped at boundary {here}");
    let _ = stderr.flush();
    drop(stderr);
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}
