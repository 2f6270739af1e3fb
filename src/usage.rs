//! How often each key was evaluated, and with which results.
//!
//! An evaluation adds one to a counter, without a lock and without reading the clock. A registry
//! collects the differences from time to time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;

use crate::counters::Counters;
use crate::flag::Flag;
use crate::snapshot::Snapshot;

/// The number of unknown keys that a process counts by name.
const MAX_UNKNOWN_KEYS: usize = 1000;
/// The length of an unknown key that is counted by name.
const MAX_UNKNOWN_LENGTH: usize = 100;
/// The number of digits in one. A key with more is made from data, such as a user's id.
const MAX_DIGITS: usize = 4;

/// Stands for all unknown keys that are not counted by name. No flag can have this key.
pub const OTHERS: &str = "(other keys)";

type ByKey = HashMap<Box<str>, Arc<Counters>>;

/// The keys that were evaluated without a flag.
///
/// Code may build keys from data, so their number and length are bounded. A key that does not look
/// like a name in the code is counted as [`OTHERS`].
#[derive(Debug)]
pub struct UnknownKeys(ArcSwapOption<ByKey>);

impl Default for UnknownKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl UnknownKeys {
    /// No unknown keys so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(ArcSwapOption::const_empty())
    }

    /// Counts a result, which is the caller's default.
    #[cold]
    pub fn count(&self, key: &str, result: bool) {
        let name = if looks_like_a_name(key) { key } else { OTHERS };
        for name in [name, OTHERS] {
            self.add(name);
            if let Some(counters) = self.0.load().as_ref().and_then(|known| known.get(name)) {
                return counters.count(result);
            }
        }
    }

    /// Adds counters for a new key, unless there are too many.
    fn add(&self, name: &str) {
        let is_settled = |known: &ByKey| {
            known.contains_key(name) || (known.len() >= MAX_UNKNOWN_KEYS && name != OTHERS)
        };
        if self.0.load().as_deref().is_some_and(is_settled) {
            return;
        }
        self.0.rcu(|known| {
            let mut known = known.as_deref().cloned().unwrap_or_default();
            known.entry(name.into()).or_default();
            Some(Arc::new(known))
        });
    }

    /// Drops all counts, in a forked child.
    pub fn reset(&self) {
        self.0.store(None);
    }
}

fn looks_like_a_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    (1..=MAX_UNKNOWN_LENGTH).contains(&key.len())
        && digits <= MAX_DIGITS
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The evaluations of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key.
    pub key: Box<str>,
    /// Whether a flag with this key existed.
    pub defined: bool,
    /// The number of results that were false.
    pub false_count: u64,
    /// The number of results that were true.
    pub true_count: u64,
}

/// The counters of all flags of this process. Keeps the counters of a deleted flag until its last
/// snapshot is dropped.
#[derive(Debug, Default)]
pub struct CounterRegistry(Mutex<Vec<(Arc<str>, Arc<Counters>)>>);

impl CounterRegistry {
    /// Adds the counters of a snapshot's flags.
    pub fn add(&self, snapshot: &Snapshot) {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |flag: &Flag| !flag.counters.registered.load(Ordering::Relaxed);
        let new = snapshot.shared_flags().filter(|(_, flag)| is_new(flag));
        // Exact: growing by doubling would leave up to half of it unused.
        registry.reserve_exact(new.count());
        for (key, flag) in snapshot.shared_flags() {
            if !flag.counters.registered.swap(true, Ordering::Relaxed) {
                registry.push((key.clone(), flag.counters.clone()));
            }
        }
    }

    /// The usage since the last call, of flags and of unknown keys.
    #[must_use]
    pub fn take(&self, unknown_keys: &UnknownKeys) -> Vec<KeyUsage> {
        let mut usage = Vec::new();
        let mut take = |key: &str, counters: &Counters, defined| {
            let [false_count, true_count] = counters.take();
            if (false_count, true_count) != (0, 0) {
                usage.push(KeyUsage { key: key.into(), defined, false_count, true_count });
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(key, counters)| {
            // Read before taking: without another owner, no count can follow the last one taken.
            let is_in_use = Arc::strong_count(counters) > 1;
            take(key, counters, true);
            is_in_use
        });
        if let Some(unknown) = unknown_keys.0.load().as_ref() {
            unknown.iter().for_each(|(key, counters)| take(key, counters, false));
        }
        usage
    }
}

/// Drops all counts in a forked child, which inherits the snapshot of its parent.
pub fn reset_after_fork(inherited: Option<&Snapshot>, unknown_keys: &UnknownKeys) {
    unknown_keys.reset();
    for (_, flag) in inherited.into_iter().flat_map(Snapshot::flags) {
        flag.counters.reset();
    }
}
