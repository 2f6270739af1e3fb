//! How often each key was evaluated, with which results, and which flags were served in bulk.
//!
//! An evaluation adds one to a counter, without a lock and without reading the clock. A registry
//! collects the differences from time to time.

use std::hash::BuildHasher;
use std::iter::successors;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hashbrown::DefaultHashBuilder;

use crate::counters::{Counters, ResultCounters};
use crate::flag::Identity;
use crate::snapshot::Snapshot;

/// The number of unknown keys that a process counts by name.
const MAX_UNKNOWN_KEYS: usize = 1000;
/// The length of an unknown key that is counted by name.
const MAX_UNKNOWN_LENGTH: usize = 100;
/// The number of digits in one. A key with more is made from data, such as a user's id.
const MAX_DIGITS: usize = 4;

/// Stands for all unknown keys that are not counted by name. No flag can have this key.
pub const OTHERS: &str = "(other keys)";

/// The number of chains. With the maximum of unknown keys, each has four.
const CHAINS: usize = 256;

/// The end of a chain, where the next unknown key is added.
type Link = OnceLock<Box<UnknownKey>>;

/// A key without a flag, its counts, and the next one of its chain.
#[derive(Debug)]
struct UnknownKey {
    key: Box<str>,
    counters: Counters,
    next: Link,
}

/// The keys that were evaluated without a flag.
///
/// Code may build keys from data, so their number and length are bounded. A key that does not look
/// like a name in the code is counted as [`OTHERS`].
///
/// Code is deployed before its flags, so such an evaluation is frequent: a key is added once, never
/// moved and never removed, and a reader needs neither a lock nor a reference count.
#[derive(Debug)]
pub struct UnknownKeys {
    chains: [Link; CHAINS],
    hasher: OnceLock<DefaultHashBuilder>,
    names: AtomicUsize,
    others: Counters,
}

impl Default for UnknownKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl UnknownKeys {
    /// No unknown keys so far.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chains: [const { OnceLock::new() }; CHAINS],
            hasher: OnceLock::new(),
            names: AtomicUsize::new(0),
            others: Counters::new(),
        }
    }

    /// Counts a result, which is the caller's default.
    #[inline]
    pub fn count(&self, key: &str, result: bool) {
        let mut link = self.chain(key);
        while let Some(known) = link.get() {
            if *known.key == *key {
                return known.counters.count(result);
            }
            link = &known.next;
        }
        self.added(link, key).count(result);
    }

    fn chain(&self, key: &str) -> &Link {
        let hash = self.hasher.get_or_init(DefaultHashBuilder::default).hash_one(key);
        // The lowest bits.
        &self.chains[usize::from(hash.to_le_bytes()[0])]
    }

    /// The counters of a new key, which is added at this end of its chain unless there are too
    /// many.
    #[cold]
    fn added<'a>(&'a self, mut link: &'a Link, key: &str) -> &'a Counters {
        if !looks_like_a_name(key) || self.names.load(Ordering::Relaxed) >= MAX_UNKNOWN_KEYS {
            return &self.others;
        }
        self.names.fetch_add(1, Ordering::Relaxed);
        let new = || {
            Box::new(UnknownKey { key: key.into(), counters: Counters::new(), next: Link::new() })
        };
        loop {
            let known = link.get_or_init(new);
            // Another thread may have added another key here.
            if *known.key == *key {
                return &known.counters;
            }
            link = &known.next;
        }
    }

    /// The counters of all keys, in no order.
    fn counters(&self) -> impl Iterator<Item = (&str, &Counters)> {
        let chains =
            self.chains.iter().flat_map(|link| successors(link.get(), |key| key.next.get()));
        chains.map(|known| (&*known.key, &known.counters)).chain([(OTHERS, &self.others)])
    }

    /// Drops all counts, in a forked child. The keys stay, without a count.
    pub fn reset(&self) {
        self.counters().for_each(|(_, counters)| counters.reset());
    }
}

fn looks_like_a_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    (1..=MAX_UNKNOWN_LENGTH).contains(&key.len())
        && digits <= MAX_DIGITS
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The evaluations of one key, and whether it was served in bulk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key.
    pub key: Box<str>,
    /// Whether a flag with this key existed.
    pub defined: bool,
    /// The number of results that were false.
    pub false_count: u64,
    /// The number of results that were true.
    pub true_count: u64,
    /// Whether it was served in bulk, and in bulk to a browser.
    pub served: [bool; 2],
}

/// How often one result of a value was returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultUsage {
    /// The key.
    pub key: Arc<str>,
    /// The number of the rule that gave it, 0 for the value itself.
    pub number: u8,
    /// How often it was returned.
    pub count: u64,
}

/// The counters of all flags of this process, and of the values with rules. Keeps the counters of
/// a deleted row until its last snapshot is dropped.
#[derive(Debug, Default)]
pub struct CounterRegistry {
    flags: Mutex<Vec<Arc<Identity>>>,
    values: Mutex<Vec<Arc<ResultCounters>>>,
}

impl CounterRegistry {
    /// Adds the counters of a snapshot's flags and values.
    pub fn add(&self, snapshot: &Snapshot) {
        let counters = snapshot.value_rules().map(|rules| &rules.counters);
        let added = counters.filter(|one| !one.registered.swap(true, Ordering::Relaxed));
        self.values.lock().unwrap_or_else(PoisonError::into_inner).extend(added.cloned());
        let mut registry = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = snapshot.flags().map(|(_, flag)| &flag.identity);
        let new = flags.filter(|one| !one.counters.registered.load(Ordering::Relaxed));
        let new: Vec<_> = new.collect();
        // Exact: growing by doubling would leave up to half of it unused.
        registry.reserve_exact(new.len());
        let added =
            new.into_iter().filter(|one| !one.counters.registered.swap(true, Ordering::Relaxed));
        registry.extend(added.cloned());
    }

    /// The results of values with rules since the last call.
    #[must_use]
    pub fn take_results(&self) -> Vec<ResultUsage> {
        let mut usage = Vec::new();
        self.values.lock().unwrap_or_else(PoisonError::into_inner).retain(|value| {
            // Read before taking, as below.
            let is_in_use = Arc::strong_count(value) > 1;
            let key = &value.key;
            usage.extend(value.take().map(|(number, count)| ResultUsage {
                key: key.clone(),
                number,
                count,
            }));
            is_in_use
        });
        usage
    }

    /// The usage since the last call, of flags and of unknown keys.
    #[must_use]
    pub fn take(&self, unknown_keys: &UnknownKeys) -> Vec<KeyUsage> {
        let mut usage = Vec::new();
        let mut take = |key: &str, counters: &Counters, defined| {
            let ([false_count, true_count], served) = (counters.take(), counters.take_served());
            if (false_count, true_count, served) != (0, 0, [false; 2]) {
                usage.push(KeyUsage { key: key.into(), defined, false_count, true_count, served });
            }
        };
        self.flags.lock().unwrap_or_else(PoisonError::into_inner).retain(|flag| {
            // Read before taking: without another owner, no count can follow the last one taken.
            let is_in_use = Arc::strong_count(flag) > 1;
            take(&flag.key, &flag.counters, true);
            is_in_use
        });
        unknown_keys.counters().for_each(|(key, counters)| take(key, counters, false));
        usage
    }
}

/// Drops all counts in a forked child, which inherits the snapshot of its parent.
pub fn reset_after_fork(inherited: Option<&Snapshot>, unknown_keys: &UnknownKeys) {
    unknown_keys.reset();
    for (_, flag) in inherited.into_iter().flat_map(Snapshot::flags) {
        flag.identity.counters.reset();
    }
    for rules in inherited.into_iter().flat_map(Snapshot::value_rules) {
        rules.counters.reset();
    }
}
