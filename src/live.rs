//! The current snapshot: asked by every question, swapped by every load.
//!
//! Readers take one atomic load and never wait. Nothing here is guarded by a lock, because a fork
//! may happen while another thread would hold it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};

use crate::overrides::Overrides;
use crate::snapshot::Snapshot;
use crate::usage::Unknown;

/// Where a question is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// Nobody has asked yet.
    #[default]
    Unasked,
    /// Nowhere yet: the process waits for its first load.
    Starting,
    /// From the snapshot in memory, where there is one.
    Memory,
    /// From the snapshot that a forked child has of its parent, until it has its own engine.
    Inherited,
    /// From the database, by whoever asks.
    Direct,
}

/// Everything that a question needs, so that one atomic load reaches it.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Where questions are answered.
    pub door: Door,
    /// Whether a question for an unknown key must be told of.
    pub tell_unknown: bool,
    /// Whether somebody may want to read what their own transaction has written.
    pub own_writes: bool,
    /// The current snapshot, `None` before the first load.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What tests have set, `None` where that is nothing.
    pub overrides: Option<Arc<Overrides>>,
}

/// The current state of a process, and how old it is.
#[derive(Debug)]
pub struct Live {
    state: ArcSwapOption<State>,
    unknown: Unknown,
    swaps: AtomicU64,
    epoch: OnceLock<Instant>,
    /// Nanoseconds after `epoch`, plus one; 0 where nothing is known yet.
    known_at: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// A process that nobody has asked anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: ArcSwapOption::const_empty(),
            unknown: Unknown::new(),
            swaps: AtomicU64::new(0),
            epoch: OnceLock::new(),
            known_at: AtomicU64::new(0),
        }
    }

    /// The current state, `None` before [`open`](Self::open).
    #[must_use]
    #[inline]
    pub fn current(&self) -> Guard<Option<Arc<State>>> {
        self.state.load()
    }

    /// The current snapshot, `None` before the first load.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current().as_ref().and_then(|state| state.snapshot.clone())
    }

    /// The keys that were asked for and have no flag.
    #[must_use]
    pub fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    /// Answers questions at `door` from now on. Keeps the snapshot that there is.
    pub fn open(&self, door: Door, tell_unknown: bool) {
        self.epoch.get_or_init(Instant::now);
        self.state.rcu(|state| {
            let kept = state.as_deref().cloned().unwrap_or_default();
            Some(Arc::new(State { door, tell_unknown, ..kept }))
        });
    }

    /// Answers as tests have set it from now on, instead of what they had set before.
    pub fn set_overrides(&self, overrides: Overrides) {
        let overrides = (!overrides.is_empty()).then(|| Arc::new(overrides));
        self.change(|state| state.overrides.clone_from(&overrides));
    }

    /// Says whether somebody may want to read what their own transaction has written.
    pub fn set_own_writes(&self, own_writes: bool) {
        self.change(|state| state.own_writes = own_writes);
    }

    fn change(&self, change: impl Fn(&mut State)) {
        self.state.rcu(|state| {
            let mut state = state.as_deref().cloned().unwrap_or_default();
            change(&mut state);
            Some(Arc::new(state))
        });
    }

    /// Forgets the snapshot, as if nobody had asked anything yet. What tests have set stays, and
    /// so does that somebody reads their own writes.
    pub fn forget(&self) {
        self.change(|state| {
            let State { own_writes, ref overrides, .. } = *state;
            *state = State { own_writes, overrides: overrides.clone(), ..State::default() };
        });
        self.known_at.store(0, Ordering::Release);
    }

    /// Swaps in the snapshot that was made from `base`; `asked` is when its load began.
    ///
    /// Gives false, and changes nothing, where `base` is no longer the current snapshot: the load
    /// may then have seen an older moment than what others have published meanwhile.
    pub fn publish(&self, base: Option<&Arc<Snapshot>>, next: Snapshot, asked: Instant) -> bool {
        let next = Arc::new(next);
        loop {
            let current = self.state.load();
            let Some(state) = current.as_ref() else { return false };
            if state.door == Door::Unasked {
                return false;
            }
            if !same(state.snapshot.as_ref(), base) {
                return false;
            }
            let swapped = Arc::new(State { snapshot: Some(next.clone()), ..State::clone(state) });
            let found = self.state.compare_and_swap(&*current, Some(swapped));
            if same(found.as_ref(), current.as_ref()) {
                break;
            }
        }
        // The swap comes first. In the other order a reader could see the new age beside the old
        // snapshot, and take stale answers for fresh ones.
        self.swaps.fetch_add(1, Ordering::Release);
        self.confirm(asked);
        true
    }

    /// Notes that the current snapshot equalled the database at `asked`.
    pub fn confirm(&self, asked: Instant) {
        let epoch = *self.epoch.get_or_init(|| asked);
        let nanoseconds = asked.saturating_duration_since(epoch).as_nanos();
        let known_at = u64::try_from(nanoseconds).unwrap_or(u64::MAX - 1) + 1;
        self.known_at.fetch_max(known_at, Ordering::AcqRel);
    }

    /// Whether the snapshot is known to equal the database at `moment`, or later.
    #[must_use]
    pub fn is_known_since(&self, moment: Instant) -> bool {
        let since_epoch = self.epoch.get().map(|epoch| moment.saturating_duration_since(*epoch));
        let known_at = self.known_at.load(Ordering::Acquire);
        since_epoch.is_some_and(|asked| u128::from(known_at) > asked.as_nanos())
    }

    /// Whether questions are answered here, so that a snapshot can be published.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.current().as_ref().is_some_and(|state| state.door != Door::Unasked)
    }

    /// How long ago the snapshot was last known to equal the database, `None` before the first
    /// load.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let known_at = self.known_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.epoch.get()?.elapsed().saturating_sub(Duration::from_nanos(known_at)))
    }

    /// How many snapshots this process has had.
    #[must_use]
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Acquire)
    }
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
