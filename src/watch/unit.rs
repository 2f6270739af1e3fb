//! A user, or another bucketing unit, without its identity.

use sha2::{Digest, Sha256};

/// The first 64 bits of the salted SHA-256 of a bucketing unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit(pub(super) u64);

impl Unit {
    /// The unit with this text.
    pub(super) fn new(salt: &[u8], text: &str) -> Self {
        let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
        let [first, ..] = digest.as_chunks().0 else { return Self(0) };
        Self(u64::from_be_bytes(*first))
    }
}
