//! SIGKILL at every boundary: the process is stopped before and after each write of its journal and each request that
//! changes something, killed there, and a new process has to find its way.

use crate::sandbox::{Sandbox, difference, exits, said, stderr};
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How many places are in use at once.
const PLACES: usize = 6;

/// How long a process may take to its boundary.
const PATIENCE: Duration = Duration::from_secs(120);

type State = BTreeMap<String, Value>;

/// What became of a process that was to be killed at a boundary.
enum End {
    /// It was killed there; this is what it had said.
    Killed(String),
    /// It ended by itself before.
    Ended(Output),
}

/// Starts a command that stops at a boundary, and kills it there.
async fn kill_at(mut command: Command, boundary: u64) -> Result<End> {
    let mut child = command.env("FIRSTLIGHT_STOP_AT", boundary.to_string()).spawn()?;
    let mut pipe = child.stderr.take().context("there is no stderr")?;
    let mut told = Vec::new();
    let last = format!("stopped at boundary {boundary}\n");
    let reading = async {
        let mut chunk = [0; 4096];
        loop {
            let count = pipe.read(&mut chunk).await?;
            told.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if count == 0 || told.ends_with(last.as_bytes()) {
                return Ok::<_, anyhow::Error>(count > 0);
            }
        }
    };
    let parked = tokio::time::timeout(PATIENCE, reading).await;
    let text = String::from_utf8_lossy(&told).into_owned();
    match parked.with_context(|| format!("boundary {boundary} was not reached: {text}"))?? {
        true => {
            child.kill().await?;
            Ok(End::Killed(text))
        }
        false => {
            let output = child.wait_with_output().await?;
            Ok(End::Ended(Output { stderr: told, ..output }))
        }
    }
}

/// Counts for the record.
#[derive(Default)]
struct Counts {
    kills: AtomicU64,
    settled: AtomicU64,
}

impl Counts {
    /// Checks what the next process says after a kill: a dead holder is taken over at once, and what it settles counts.
    fn read(&self, output: &Output) -> Result<()> {
        let text = stderr(output);
        ensure!(!text.contains("watching for"), "the dead holder was waited for: {}", said(output));
        let settled = text.lines().filter(|line| line.trim_start().starts_with("settled")).count();
        self.settled.fetch_add(settled as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Everything that a scenario needs.
struct Drill {
    sandbox: Sandbox,
    /// What a place holds before anything, and after an undisturbed run.
    before: State,
    after: State,
    counts: Counts,
}

impl Drill {
    async fn start() -> Result<Self> {
        let sandbox = Sandbox::start().await?;
        try_join_all((0..PLACES).map(|place| {
            let sandbox = &sandbox;
            async move { sandbox.plant(&format!("place-{place}")).await }
        }))
        .await?;
        let before = sandbox.state("place-0").await?;
        exits(sandbox.run("undisturbed", "place-0")?, 0).await?;
        let after = sandbox.state("place-0").await?;
        let again = exits(sandbox.run("undisturbed", "place-0")?, 0).await?;
        ensure!(stderr(&again).contains("nothing to do"), "{}", said(&again));
        exits(sandbox.rollback("undisturbed")?, 0).await?;
        let drill = Self { sandbox, before, after, counts: Counts::default() };
        drill.is("place-0", &drill.before).await?;
        Ok(drill)
    }

    async fn is(&self, place: &str, expected: &State) -> Result<()> {
        let found = self.sandbox.state(place).await?;
        ensure!(found == *expected, "{}", difference(expected, &found));
        Ok(())
    }

    /// Kills a run at a boundary and runs again. `None` when the boundary is beyond the run's end.
    async fn run_again(&self, place: &str, boundary: u64) -> Result<Option<()>> {
        let home = format!("again-{boundary}");
        let killed = kill_at(self.sandbox.run(&home, place)?, boundary).await?;
        if let End::Killed(told) = &killed {
            self.counts.kills.fetch_add(1, Ordering::Relaxed);
            let again = exits(self.sandbox.run(&home, place)?, 0).await.context(told.clone())?;
            self.counts.read(&again).context(told.clone())?;
            self.is(place, &self.after).await.with_context(|| format!("{told}\n{}", said(&again)))?;
        }
        // The killed run and the new one both go back, the latest first.
        for _ in 0..2 {
            exits(self.sandbox.rollback(&home)?, 0).await?;
        }
        self.is(place, &self.before).await.context("after both runs were rolled back")?;
        self.done(killed)
    }

    /// Kills a run at a boundary and rolls back.
    async fn go_back(&self, place: &str, boundary: u64) -> Result<Option<()>> {
        let home = format!("back-{boundary}");
        let killed = kill_at(self.sandbox.run(&home, place)?, boundary).await?;
        let back = exits(self.sandbox.rollback(&home)?, 0).await?;
        if let End::Killed(told) = &killed {
            self.counts.kills.fetch_add(1, Ordering::Relaxed);
            self.counts.read(&back).context(told.clone())?;
            self.is(place, &self.before).await.with_context(|| format!("{told}\n{}", said(&back)))?;
        }
        self.done(killed)
    }

    /// Rolls back a whole run, kills that at a boundary, and rolls back again.
    async fn back_again(&self, place: &str, boundary: u64) -> Result<Option<()>> {
        let home = format!("twice-{boundary}");
        exits(self.sandbox.run(&home, place)?, 0).await?;
        let killed = kill_at(self.sandbox.rollback(&home)?, boundary).await?;
        let told = match &killed {
            End::Killed(told) => told.clone(),
            End::Ended(_) => String::new(),
        };
        let back = exits(self.sandbox.rollback(&home)?, 0).await.context(told.clone())?;
        self.counts.read(&back).context(told.clone())?;
        self.is(place, &self.before).await.with_context(|| format!("{told}\n{}", said(&back)))?;
        let nothing = exits(self.sandbox.rollback(&home)?, 0).await?;
        ensure!(stderr(&nothing).contains("no run of this machine left anything"), "{}", said(&nothing));
        if matches!(killed, End::Killed(_)) {
            self.counts.kills.fetch_add(1, Ordering::Relaxed);
        }
        self.done(killed)
    }

    fn done(&self, end: End) -> Result<Option<()>> {
        match end {
            End::Killed(_) => Ok(Some(())),
            End::Ended(output) => {
                ensure!(output.status.success(), "undisturbed, it failed: {}", said(&output));
                Ok(None)
            }
        }
    }

    /// Plays a scenario at boundary 1, 2, … until the process ends by itself; returns how many boundaries there are.
    async fn everywhere(
        &self,
        name: &str,
        scenario: impl AsyncFn(&str, u64) -> Result<Option<()>>,
    ) -> Result<u64> {
        let started = Instant::now();
        let (next, end) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
        try_join_all((0..PLACES).map(|place| {
            let (next, end, scenario) = (&next, &end, &scenario);
            let place = format!("place-{place}");
            async move {
                loop {
                    let boundary = next.fetch_add(1, Ordering::Relaxed);
                    if boundary >= end.load(Ordering::Relaxed) {
                        return Ok::<_, anyhow::Error>(());
                    }
                    let went = scenario(&place, boundary).await;
                    if went.with_context(|| format!("{name}, boundary {boundary}"))?.is_none() {
                        end.fetch_min(boundary, Ordering::Relaxed);
                    }
                }
            }
        }))
        .await?;
        let boundaries = end.load(Ordering::Relaxed).saturating_sub(1);
        println!("{name}: {boundaries} boundaries in {} s", started.elapsed().as_secs());
        Ok(boundaries)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_boundary_a_new_process_finds_its_way() -> Result<()> {
    let drill = Drill::start().await?;
    let of_run =
        drill.everywhere("killed run, run again", async |place, at| drill.run_again(place, at).await).await?;
    let of_same =
        drill.everywhere("killed run, rolled back", async |place, at| drill.go_back(place, at).await).await?;
    let of_rollback = drill
        .everywhere("killed rollback, rolled back again", async |place, at| drill.back_again(place, at).await)
        .await?;
    let (kills, settled) =
        (drill.counts.kills.load(Ordering::Relaxed), drill.counts.settled.load(Ordering::Relaxed));
    println!("{kills} kills, {settled} effects settled");
    // Six objects by ten requests, a claim taken and given back, and the journal around them.
    ensure!(
        of_run >= 60 && of_same >= 60 && of_rollback >= 40,
        "{of_run}, {of_same} and {of_rollback} boundaries"
    );
    ensure!(settled > 0, "no kill left an effect unknown");
    drill.sandbox.stop().await;
    Ok(())
}
