//! How often each key was evaluated, with which results, and which flags were served in bulk.
//!
//! An evaluation adds one to a counter, without a lock and without reading the clock. A registry
//! collects the differences from time to time.

use std::hash::BuildHasher;
use std::iter::successors;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hashbrown::DefaultHashBuilder;

use crate::counters::{Bulk, ResultCounters, Tally};
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

/// A key without a flag, how often it was evaluated, and the next one of its chain.
#[derive(Debug)]
struct UnknownKey {
    key: Box<str>,
    tally: Tally,
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
    others: Tally,
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
            others: Tally::new(),
        }
    }

    /// Counts an evaluation, which returned the caller's default.
    #[inline]
    pub fn count(&self, key: &str) {
        let mut link = self.chain(key);
        while let Some(known) = link.get() {
            if *known.key == *key {
                return known.tally.count();
            }
            link = &known.next;
        }
        self.added(link, key).count();
    }

    fn chain(&self, key: &str) -> &Link {
        let hash = self.hasher.get_or_init(DefaultHashBuilder::default).hash_one(key);
        // The lowest bits.
        &self.chains[usize::from(hash.to_le_bytes()[0])]
    }

    /// The tally of a new key, which is added at this end of its chain unless there are too many.
    #[cold]
    fn added<'a>(&'a self, mut link: &'a Link, key: &str) -> &'a Tally {
        if !looks_like_a_name(key) || self.names.load(Ordering::Relaxed) >= MAX_UNKNOWN_KEYS {
            return &self.others;
        }
        self.names.fetch_add(1, Ordering::Relaxed);
        let new =
            || Box::new(UnknownKey { key: key.into(), tally: Tally::new(), next: Link::new() });
        loop {
            let known = link.get_or_init(new);
            // Another thread may have added another key here.
            if *known.key == *key {
                return &known.tally;
            }
            link = &known.next;
        }
    }

    /// The tallies of all keys, in no order.
    fn tallies(&self) -> impl Iterator<Item = (&str, &Tally)> {
        let chains =
            self.chains.iter().flat_map(|link| successors(link.get(), |key| key.next.get()));
        chains.map(|known| (&*known.key, &known.tally)).chain([(OTHERS, &self.others)])
    }

    /// Drops all counts, in a forked child. The keys stay, without a count.
    pub fn reset(&self) {
        self.tallies().for_each(|(_, tally)| tally.reset());
    }
}

fn looks_like_a_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    (1..=MAX_UNKNOWN_LENGTH).contains(&key.len())
        && digits <= MAX_DIGITS
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// What is counted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// A result of a flag.
    Flag(bool),
    /// An evaluation without a flag.
    Unknown,
    /// A result of a value: the number of the rule that gave it, 0 for the value itself.
    Value(u8),
    /// That a flag was served in bulk, which has no number.
    Served(Bulk),
}

/// How often one of these happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key.
    pub key: Box<str>,
    /// What happened.
    pub counted: Counted,
    /// How often; 0 if it has no number.
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

    /// The usage since the last call, of flags, values with rules and unknown keys.
    #[must_use]
    pub fn take(&self, unknown_keys: &UnknownKeys) -> Vec<KeyUsage> {
        let mut usage = Vec::new();
        let mut add = |key: &str, counted, count| {
            if count > 0 || matches!(counted, Counted::Served(_)) {
                usage.push(KeyUsage { key: key.into(), counted, count });
            }
        };
        self.flags.lock().unwrap_or_else(PoisonError::into_inner).retain(|flag| {
            // Read before taking: without another owner, no count can follow the last one taken.
            let is_in_use = Arc::strong_count(flag) > 1;
            for (result, count) in [false, true].into_iter().zip(flag.counters.take()) {
                add(&flag.key, Counted::Flag(result), count);
            }
            flag.counters.take_served().for_each(|bulk| add(&flag.key, Counted::Served(bulk), 0));
            is_in_use
        });
        self.values.lock().unwrap_or_else(PoisonError::into_inner).retain(|value| {
            let is_in_use = Arc::strong_count(value) > 1;
            value.take().for_each(|(number, count)| add(&value.key, Counted::Value(number), count));
            is_in_use
        });
        unknown_keys.tallies().for_each(|(key, tally)| add(key, Counted::Unknown, tally.take()));
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
