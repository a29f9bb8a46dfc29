//! Waiting for a condition, never for a time.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Asks again and again until the question has an answer; after `seconds` it fails and says what was waited for and
/// what the last answer was.
pub async fn until<T>(what: &str, seconds: u64, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= end => {
                return Err(error.context(format!("waited {seconds} s in vain: {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
