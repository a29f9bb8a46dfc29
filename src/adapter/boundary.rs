//! Crash points: where a test can stop the process dead and kill it.
//!
//! Every append of the journal and every request that changes something passes two boundaries, one before and one after.
//! With the feature `real`, a process whose
//! environment says `FIRSTLIGHT_STOP_AT=N` stops at the N-th boundary (counted from 1), all threads at once, after the
//! line `stopped at boundary N` on stderr. A test then kills it there and looks at what a crash at that point leaves.
//! Without the feature nothing of this is compiled.

/// Passes a boundary; does nothing.
#[cfg(not(feature = "real"))]
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

#[cfg(test)]
#[cfg(all(feature = "real", target_os = "linux"))]
mod tests {
    use super::boundary;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    /// Not a test: what the child of the test below runs.
    #[tokio::test]
    #[ignore = "run by the test of this module, in a process of its own"]
    async fn child() {
        for _ in 0..5 {
            boundary().await;
            eprintln!("passed");
        }
    }

    fn run(stop_at: &str) -> (Vec<String>, bool) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "adapter::boundary::tests::child"])
            .env("FIRSTLIGHT_STOP_AT", stop_at)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        let mut stopped = false;
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with("stopped at boundary") {
                // The line comes just before the stop; the kernel says when it has happened.
                let stat = format!("/proc/{}/stat", child.id());
                while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
                    std::thread::yield_now();
                }
                stopped = true;
                child.kill().unwrap();
            }
            lines.push(line);
        }
        child.wait().unwrap();
        (lines, stopped)
    }

    #[test]
    fn the_process_stops_dead_at_the_boundary_that_is_named() {
        assert_eq!(run("3"), (vec!["passed".into(), "passed".into(), "stopped at boundary 3".into()], true));
        let (lines, stopped) = run("6");
        assert_eq!((lines.len(), stopped), (5, false));
    }
}
