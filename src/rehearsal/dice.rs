//! Randomness from a seed.

use crate::port::Entropy;
use std::sync::{Mutex, PoisonError};

/// A generator whose numbers follow from its seed (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014). For ids and faults, never for keys.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of a seed for one purpose: purposes do not disturb each other's numbers.
    pub fn of(seed: u64, purpose: &str) -> Self {
        let mixed = purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mixed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// A uid (RFC 9562, version 4).
    pub fn uid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// Five letters of the alphabet that generated names use (apimachinery pkg/util/rand/rand.go).
    pub fn suffix(&mut self) -> String {
        let letters = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5)
            .filter_map(|_| {
                let at = usize::try_from(self.below(letters.len() as u64)).ok()?;
                letters.get(at).map(|letter| char::from(*letter))
            })
            .collect()
    }
}

/// The entropy port of a rehearsal.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Dice>);

impl SeededEntropy {
    /// Bytes that follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Dice::of(seed, "entropy")))
    }
}

impl Entropy for SeededEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (u128::from(dice.draw()) << 64) | u128::from(dice.draw());
        number.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_sequence() {
        let (mut first, mut second) = (Dice::new(7), Dice::new(7));
        assert_eq!(first.uid(), second.uid());
        assert_eq!(first.suffix(), second.suffix());
        assert_ne!(Dice::of(7, "a").draw(), Dice::of(7, "b").draw());
    }

    #[test]
    fn uids_are_of_version_4() {
        let uid = Dice::new(1).uid();
        let parts: Vec<&str> = uid.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{uid}");
    }
}
