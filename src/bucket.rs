//! The bucket of a subject for a key: `sha256("key:subject")` as one number, modulo 100 for a flag
//! and modulo 10,000 for an experiment and for a condition.
//!
//! The result must never change: a user keeps the bucket while a rollout grows, and other systems
//! compute the same one as `int(sha256(f"{key}:{pk}".encode()).hexdigest(), 16) % 100`.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// The longest message that fits one block: 64 bytes less the end mark and the 64-bit length.
const ONE_BLOCK: usize = 55;

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// `(2^32)^(7 - i) mod 100` for the word `i` of the digest, most significant first. The weighted
/// sum stays below 2^41, so the whole 256-bit digest is reduced by one division.
const WEIGHTS: [u64; 8] = [16, 96, 76, 56, 36, 16, 96, 1];

/// The number of buckets of an experiment.
pub const POSITIONS: u16 = 10_000;

/// The same weights modulo 10,000. The sum stays below 2^48.
const POSITION_WEIGHTS: [u64; 8] = [9_216, 2_896, 2_976, 1_456, 336, 1_616, 7_296, 1];

/// Where a unit is in an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The bucket, 0 to 9,999.
    pub bucket: u16,
    /// The first 64 bits of the digest, which identify the unit and the experiment.
    pub fingerprint: u64,
}

/// The bucket, 0 to 99, of `subject` for `key`.
#[must_use]
pub fn bucket(key: &str, subject: &str) -> u8 {
    fold(digest(key.as_bytes(), subject.as_bytes()))
}

/// The bucket of `unit` for a condition on the bucket with this name, in hundredths: 0 to 9,999.
///
/// The hundreds are the [`bucket`] of a flag with the name as its key, so a percentage without a
/// fraction selects the units of that flag.
#[must_use]
pub fn hundredths(name: &str, unit: &str) -> u16 {
    let bucket = fold_position(digest(name.as_bytes(), unit.as_bytes()));
    bucket % 100 * 100 + bucket / 100
}

/// The position of `unit` for the seed of an experiment.
#[must_use]
pub fn position(seed: &str, unit: &str) -> Position {
    let words = digest(seed.as_bytes(), unit.as_bytes());
    Position {
        bucket: fold_position(words),
        fingerprint: u64::from(words[0]) << 32 | u64::from(words[1]),
    }
}

fn digest(key: &[u8], subject: &[u8]) -> [u32; 8] {
    let length = key.len() + 1 + subject.len();
    if length <= ONE_BLOCK { one_block(key, subject, length) } else { many_blocks(key, subject) }
}

/// Nearly every pair fits one block: compressing it directly saves the hasher's buffering.
fn one_block(key: &[u8], subject: &[u8], length: usize) -> [u32; 8] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    block[key.len()] = b':';
    block[key.len() + 1..length].copy_from_slice(subject);
    block[length] = 0x80;
    block[56..].copy_from_slice(&(8 * length as u64).to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    state
}

fn many_blocks(key: &[u8], subject: &[u8]) -> [u32; 8] {
    let bytes = Sha256::new().chain_update(key).chain_update(b":").chain_update(subject).finalize();
    let mut words = [0; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*chunk);
    }
    words
}

fn fold(words: [u32; 8]) -> u8 {
    u8::try_from(weighted(words, &WEIGHTS) % 100).expect("a remainder of 100 fits")
}

fn fold_position(words: [u32; 8]) -> u16 {
    let bucket = weighted(words, &POSITION_WEIGHTS) % u64::from(POSITIONS);
    u16::try_from(bucket).expect("a remainder of 10,000 fits")
}

fn weighted(words: [u32; 8], weights: &[u64; 8]) -> u64 {
    words.iter().zip(weights).map(|(word, weight)| u64::from(*word) * weight).sum()
}
