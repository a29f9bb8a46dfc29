//! Randomness of the operating system.

use crate::port::Entropy;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => distinct(),
        }
    }
}

/// Bytes that differ from call to call and process to process, for systems whose generator fails (getrandom(2) cannot
/// on a Linux since 3.17). Enough for ids and jitter, which is all that this port is for; keys are made by
/// [`super::store::StateDir::key`], which fails instead.
fn distinct() -> [u8; 16] {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut hash = Sha256::new();
    hash.update(now.to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    hash.update(CALLS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(byte, from)| *byte = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_differ() {
        assert_ne!(SystemEntropy.bytes(), SystemEntropy.bytes());
        assert_ne!(distinct(), distinct());
    }
}
