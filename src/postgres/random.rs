//! Random numbers for waits and names. The keys of a hasher are random, which is enough here.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// 64 random bits.
pub(crate) fn bits() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random number between 0 and 1.
pub(crate) fn fraction() -> f64 {
    let bits = u32::try_from(bits() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

/// 90 to 110 % of an interval, so that the workers of a cluster drift apart.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fraction())
}
