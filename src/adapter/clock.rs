//! The real clock.

use crate::port::Clock;
use async_trait::async_trait;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time of the system, and the time since boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn wall(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot(&self) -> Duration {
        since_boot()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it runs on while the machine is suspended (clock_gettime(2)), so that a
/// laptop that slept through its claim's expiry notices.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Duration {
    duration(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// On Apple systems CLOCK_MONOTONIC includes sleep (mach_continuous_time); elsewhere it may not, and then a gap by
/// suspension is seen only when the API server refuses the stale Lease.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Duration {
    duration(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn duration(time: rustix::time::Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0).min(999_999_999);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_milliseconds_of_this_century() {
        let wall = SystemClock.wall();
        assert!(wall > 1_700_000_000_000, "{wall}");
        assert!(wall < 4_102_444_800_000, "{wall}");
    }

    #[test]
    fn boot_time_never_goes_back() {
        let first = SystemClock.boot();
        let second = SystemClock.boot();
        assert!(second >= first);
        assert!(first > Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn boot_time_is_the_time_since_boot() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let difference = SystemClock.boot().as_secs_f64() - seconds;
        assert!((-1.0..60.0).contains(&difference), "{difference}");
    }
}
