//! How often flags were asked for, and how they were answered.
//!
//! A question adds one to a number, without a lock and without the clock. Whoever collects takes
//! from time to time what has come since.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;

use crate::snapshot::Snapshot;

/// How many keys without a flag are told apart in a process.
const MOST_UNKNOWN: usize = 1000;
/// The longest key without a flag that is told from others.
const LONGEST_UNKNOWN: usize = 100;
/// The most digits of one. More of them are somebody's number, not a name in the code.
const MOST_DIGITS: usize = 4;

/// What stands for all keys without a flag that are not told apart. No flag can be called so.
pub const OTHERS: &str = "(other keys)";

/// How often a flag was answered with no and with yes. It outlives the snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    answers: [AtomicU64; 2],
    /// Those of the answers that were taken already.
    taken: [AtomicU64; 2],
    /// Whether somebody takes them.
    watched: AtomicBool,
}

impl Counters {
    /// Counts an answer. One thread at a time: whoever asks holds the interpreter, so no locked
    /// instruction is needed for the count to be exact.
    #[inline]
    pub fn count(&self, answer: bool) {
        let answers = &self.answers[usize::from(answer)];
        answers.store(answers.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The answers that came since the last call: no, yes.
    fn take(&self) -> [u64; 2] {
        [0, 1].map(|answer| {
            let now = self.answers[answer].load(Ordering::Relaxed);
            now.wrapping_sub(self.taken[answer].swap(now, Ordering::Relaxed))
        })
    }

    /// Begins anew, in a forked child: what was counted so far is its parent's to tell.
    fn forget(&self) {
        for number in self.answers.iter().chain(&self.taken) {
            number.store(0, Ordering::Relaxed);
        }
        self.watched.store(false, Ordering::Relaxed);
    }
}

/// What was asked makes no flag another.
impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

type ByKey = HashMap<Box<str>, Arc<Counters>>;

/// The keys that were asked for and have no flag.
///
/// Code may make keys from data, so they are bounded in number and in length, and what does not
/// look like a name in the code is counted as [`OTHERS`].
#[derive(Debug)]
pub struct Unknown(ArcSwapOption<ByKey>);

impl Default for Unknown {
    fn default() -> Self {
        Self::new()
    }
}

impl Unknown {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(ArcSwapOption::const_empty())
    }

    /// Counts an answer, which is a default.
    #[cold]
    pub fn count(&self, key: &str, answer: bool) {
        let name = if looks_like_a_name(key) { key } else { OTHERS };
        for name in [name, OTHERS] {
            self.meet(name);
            if let Some(counters) = self.0.load().as_ref().and_then(|known| known.get(name)) {
                return counters.count(answer);
            }
        }
    }

    /// Makes room for a key that was never asked for, unless there are too many.
    fn meet(&self, name: &str) {
        let is_met = |known: &ByKey| {
            known.contains_key(name) || (known.len() >= MOST_UNKNOWN && name != OTHERS)
        };
        if self.0.load().as_deref().is_some_and(is_met) {
            return;
        }
        self.0.rcu(|known| {
            let mut known = known.as_deref().cloned().unwrap_or_default();
            known.entry(name.into()).or_default();
            Some(Arc::new(known))
        });
    }

    /// Begins anew, in a forked child.
    pub fn forget(&self) {
        self.0.store(None);
    }
}

fn looks_like_a_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    (1..=LONGEST_UNKNOWN).contains(&key.len())
        && digits <= MOST_DIGITS
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// How often one key was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The key.
    pub key: Box<str>,
    /// Whether there was a flag of this key.
    pub defined: bool,
    /// How often the answer was no.
    pub no: u64,
    /// How often it was yes.
    pub yes: u64,
}

/// The counters of all flags that this process has had, until nobody can count there any more.
#[derive(Debug, Default)]
pub struct Register(Mutex<Vec<(Box<str>, Arc<Counters>)>>);

impl Register {
    /// Takes the counters of a snapshot's flags into the register.
    pub fn watch(&self, snapshot: &Snapshot) {
        let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, flag) in snapshot.flags() {
            if !flag.asked.watched.swap(true, Ordering::Relaxed) {
                register.push((key.into(), flag.asked.clone()));
            }
        }
    }

    /// What was asked since the last call.
    #[must_use]
    pub fn take(&self, unknown: &Unknown) -> Vec<Asked> {
        let mut asked = Vec::new();
        let mut take = |key: &str, counters: &Counters, defined| {
            let [no, yes] = counters.take();
            if (no, yes) != (0, 0) {
                asked.push(Asked { key: key.into(), defined, no, yes });
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(key, counters)| {
            // Looked at first: nobody else has it, so nobody counts there any more.
            let is_in_use = Arc::strong_count(counters) > 1;
            take(key, counters, true);
            is_in_use
        });
        if let Some(unknown) = unknown.0.load().as_ref() {
            unknown.iter().for_each(|(key, counters)| take(key, counters, false));
        }
        asked
    }
}

/// Begins anew in a forked child, with the snapshot that it has of its parent.
pub fn forked(inherited: Option<&Snapshot>, unknown: &Unknown) {
    unknown.forget();
    for (_, flag) in inherited.into_iter().flat_map(Snapshot::flags) {
        flag.asked.forget();
    }
}
