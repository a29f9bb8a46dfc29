//! What a secret is, how it is masked, and keyed fingerprints.
//!
//! A value is secret by its place (a Secret's data, a telling key name, the value of a telling env entry) or by its form
//! (private keys, JWTs, bearer tokens, URLs with a password). Everything that a person or a file gets to see goes through
//! a [`Masker`]; comparisons and hashes that leave the process are keyed.

mod known;
mod lines;
pub mod mask;
pub mod name;
mod pattern;
mod place;
mod text;

pub use mask::Masker;
pub use name::is_secret_key;
pub use place::{holds_secret, secret_paths};

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;

/// The key of this installation's fingerprints. It lives in the state directory, readable by its owner alone.
#[derive(Clone)]
pub struct StateKey([u8; 32]);

impl StateKey {
    /// A key from its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA256 of `bytes`. Equal bytes in different domains have different fingerprints.
    pub fn keyed(&self, domain: &str, bytes: &[u8]) -> Fingerprint {
        use fmt::Write;
        // RFC 2104 pads a short key with zeros to the block; doing so here leaves no error to handle.
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(self.0) {
            *to = from;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(&(domain.len() as u64).to_be_bytes());
        mac.update(domain.as_bytes());
        mac.update(bytes);
        let mut hex = String::with_capacity(64);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        Fingerprint(hex)
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(…)")
    }
}

/// A keyed hash: 64 lower-case hexadecimal digits. Without the key it says nothing about what was hashed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests;
