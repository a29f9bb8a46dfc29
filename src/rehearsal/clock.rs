//! The clock that the engine and the simulated servers share.

use crate::port::Clock;
use async_trait::async_trait;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// Wall time at the start of a rehearsal on paused time, in milliseconds since the Unix epoch: 2026-11-23T03:15:00Z.
pub const PAUSED_EPOCH: u64 = 1_795_403_700_000;

/// Virtual time over tokio's clock.
///
/// On a runtime with paused time ([`SimClock::runtime`]) tokio moves its clock to the next timer as soon as no task can
/// run, so a wait costs nothing and every run sees the same times. Otherwise time is real time × speed.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    started: Instant,
    epoch: u64,
    speed: f64,
}

impl SimClock {
    /// For a runtime whose time is paused: wall time begins at [`PAUSED_EPOCH`].
    pub fn paused() -> Self {
        Self { started: Instant::now(), epoch: PAUSED_EPOCH, speed: 1.0 }
    }

    /// Real time × `speed`, beginning now; a speed that is not a positive number counts as 1.
    pub fn scaled(speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        let epoch = crate::adapter::clock::SystemClock.wall();
        Self { started: Instant::now(), epoch, speed }
    }

    /// A runtime of one thread with paused time.
    ///
    /// # Errors
    /// The operating system gave no resources for it.
    pub fn runtime() -> std::io::Result<Runtime> {
        Builder::new_current_thread().enable_time().start_paused(true).build()
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().mul_f64(self.speed)
    }

    /// The wall time as the API writes it: RFC 3339 in UTC with seconds.
    pub fn timestamp(&self) -> String {
        timestamp(self.wall())
    }

    /// Waits until so much virtual time has passed since the start.
    pub async fn sleep_until(&self, elapsed: Duration) {
        tokio::time::sleep_until(self.started + elapsed.div_f64(self.speed)).await;
    }
}

/// Milliseconds since the epoch as the API writes times.
pub fn timestamp(wall: u64) -> String {
    let milliseconds = i64::try_from(wall).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

#[async_trait]
impl Clock for SimClock {
    fn wall(&self) -> u64 {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.epoch.saturating_add(elapsed)
    }

    fn boot(&self) -> Duration {
        // The machine was not started this instant.
        Duration::from_secs(3600) + self.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.div_f64(self.speed)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paused_time_runs_only_while_somebody_waits() {
        SimClock::runtime().unwrap().block_on(async {
            let clock = SimClock::paused();
            assert_eq!(clock.timestamp(), "2026-11-23T03:15:00Z");
            clock.sleep(Duration::from_secs(3600)).await;
            assert_eq!(clock.wall(), PAUSED_EPOCH + 3_600_000);
            assert_eq!(clock.timestamp(), "2026-11-23T04:15:00Z");
        });
    }

    #[test]
    fn speed_divides_the_wait() {
        SimClock::runtime().unwrap().block_on(async {
            let clock = SimClock::scaled(10.0);
            let before = Instant::now();
            clock.sleep(Duration::from_secs(100)).await;
            assert_eq!(before.elapsed(), Duration::from_secs(10));
            assert_eq!(clock.elapsed(), Duration::from_secs(100));
        });
    }
}
