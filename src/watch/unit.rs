//! A user, or another bucketing unit, and the network of a client, without their identities.

use sha2::{Digest, Sha256};

/// The first 64 bits of the salted SHA-256 of a bucketing unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit(pub(super) u64);

/// The first 32 bits of the salted SHA-256 of a network. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub(super) u32);

/// A user of a request or task, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The user.
    pub unit: Unit,
    /// Whether the user is inside of the rollout.
    pub inside: bool,
    /// The network of the client; `None` if the number of users per network is not limited.
    pub network: Option<Network>,
    /// When the id of the visitor was drawn, in seconds since 1970; `None` for other units.
    pub drawn_at: Option<u32>,
}

impl Unit {
    /// The unit with this text.
    pub(super) fn new(salt: &[u8], text: &str) -> Self {
        Self(first_bits(salt, text.as_bytes()))
    }
}

impl Network {
    /// The network with this name.
    pub(super) fn new(salt: &[u8], name: &[u8]) -> Self {
        let bits = first_bits(salt, name) >> u32::BITS;
        Self(u32::try_from(bits).expect("32 bits").max(1))
    }

    /// Both halves of the hash.
    pub(super) fn halves(self) -> [u16; 2] {
        let [a, b, c, d] = self.0.to_be_bytes();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    }
}

fn first_bits(salt: &[u8], name: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(salt).chain_update(name).finalize();
    let [first, ..] = digest.as_chunks().0 else { return 0 };
    u64::from_be_bytes(*first)
}
