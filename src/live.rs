//! The current snapshot of a process: every evaluation reads it, every load replaces it.
//!
//! Readers make one atomic load and never wait. Nothing here is guarded by a lock, because a fork
//! may happen while another thread holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};

use crate::boot_time::since_boot;
use crate::declared::Declared;
use crate::exposures::Exposures;
use crate::overrides::Overrides;
use crate::snapshot::Snapshot;
use crate::usage::UnknownKeys;

/// Where evaluations are served from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvaluationMode {
    /// The process has evaluated nothing yet.
    #[default]
    NotStarted,
    /// The process waits for its first load.
    Starting,
    /// The snapshot in memory, if there is one.
    Memory,
    /// The snapshot that a forked child has inherited, until its own engine runs.
    Inherited,
    /// The database, through the caller's connection.
    Direct,
}

/// Everything that an evaluation needs, so that one atomic load reaches it.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Where evaluations are served from.
    pub mode: EvaluationMode,
    /// Whether an evaluation of an unknown key is reported.
    pub report_unknown: bool,
    /// Whether a caller may want to read what its own transaction has written.
    pub own_writes: bool,
    /// The current snapshot, `None` before the first load.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What tests and the environment have set, and whether there are listeners or previews; `None`
    /// if there is nothing of this, so that evaluations check one field.
    pub overrides: Option<Arc<Overrides>>,
}

impl State {
    /// Whether all callers evaluate the snapshot in memory.
    #[must_use]
    #[inline]
    pub fn is_in_memory(&self) -> bool {
        self.mode == EvaluationMode::Memory && !self.own_writes
    }
}

/// The current state of a process, and the age of its snapshot.
#[derive(Debug)]
pub struct Live {
    state: ArcSwapOption<State>,
    declared: ArcSwapOption<Declared>,
    unknown_keys: UnknownKeys,
    exposures: Exposures,
    swaps: AtomicU64,
    /// When the snapshot last equalled the database: nanoseconds since boot, plus one; 0 before the
    /// first load.
    confirmed: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// A process that has evaluated nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: ArcSwapOption::const_empty(),
            declared: ArcSwapOption::const_empty(),
            unknown_keys: UnknownKeys::new(),
            exposures: Exposures::new(),
            swaps: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        }
    }

    /// The current state, `None` until something is set.
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

    /// Sets what code declares, also in the current snapshot.
    pub fn declare(&self, declared: Declared) {
        let declared = Arc::new(declared);
        self.declared.store(Some(declared.clone()));
        self.change(|state| {
            let declaring = |snapshot: &Arc<Snapshot>| {
                Arc::new(Snapshot::clone(snapshot).with_declared(&declared))
            };
            state.snapshot = state.snapshot.as_ref().map(declaring);
        });
    }

    /// What code declares.
    #[must_use]
    pub fn declared(&self) -> Arc<Declared> {
        self.declared.load_full().unwrap_or_default()
    }

    /// The keys that were evaluated without a flag.
    #[must_use]
    pub fn unknown_keys(&self) -> &UnknownKeys {
        &self.unknown_keys
    }

    /// The exposures of experiments that are not written yet.
    #[must_use]
    pub fn exposures(&self) -> &Exposures {
        &self.exposures
    }

    /// Serves evaluations in this mode from now on. Keeps the snapshot.
    pub fn set_mode(&self, mode: EvaluationMode, report_unknown: bool) {
        self.state.rcu(|state| {
            let kept = state.as_deref().cloned().unwrap_or_default();
            Some(Arc::new(State { mode, report_unknown, ..kept }))
        });
    }

    /// Replaces what tests have set. Keeps the keys that are forced off and on, and previews.
    pub fn set_overrides(&self, overrides: &Overrides) {
        self.override_with(|current| overrides.clone().with_process_of(current));
    }

    /// Forces the flags and experiments with these keys off from now on, and no others. Keeps what
    /// tests have set.
    pub fn set_forced_off(&self, keys: &[String]) {
        self.override_with(|current| current.clone().with_forced_off(keys.iter().cloned()));
    }

    /// Forces the flags with these keys on from now on, and no others. Keeps what tests have set.
    pub fn set_forced_on(&self, keys: &[String]) {
        self.override_with(|current| current.clone().with_forced_on(keys.iter().cloned()));
    }

    /// Sets whether evaluations call listeners. Snapshots that were taken before keep theirs.
    pub fn set_listeners(&self, has_listeners: bool) {
        self.override_with(|current| current.clone().with_listeners(has_listeners));
    }

    /// Notes that so many more requests have previews, or fewer. Snapshots that were taken before keep
    /// theirs.
    pub fn count_previews(&self, change: i32) {
        self.override_with(|current| current.clone().with_more_previews(change));
    }

    fn override_with(&self, next: impl Fn(&Overrides) -> Overrides) {
        self.change(|state| {
            let overrides = next(state.overrides.as_deref().unwrap_or(&Overrides::default()));
            state.overrides = (!overrides.is_empty()).then(|| Arc::new(overrides));
        });
    }

    /// Sets whether a caller may want to read what its own transaction has written.
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

    /// Drops the snapshot and returns to [`EvaluationMode::NotStarted`]. Keeps overrides and
    /// own writes.
    pub fn reset(&self) {
        self.change(|state| {
            let State { own_writes, ref overrides, .. } = *state;
            *state = State { own_writes, overrides: overrides.clone(), ..State::default() };
        });
        self.confirmed.store(0, Ordering::Release);
    }

    /// Swaps in the snapshot that was built from `base`. `read_at` is when its load began, by
    /// [`since_boot`].
    ///
    /// Returns false, and changes nothing, if `base` is no longer the current snapshot: the load
    /// may have read an older state than the one published meanwhile.
    pub fn publish(&self, base: Option<&Arc<Snapshot>>, next: Snapshot, read_at: Duration) -> bool {
        let next = Arc::new(next);
        loop {
            let current = self.state.load();
            let Some(state) = current.as_ref() else { return false };
            if state.mode == EvaluationMode::NotStarted {
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
        // After the swap: a reader must never see the new age with the old snapshot.
        self.swaps.fetch_add(1, Ordering::Release);
        self.confirm(read_at);
        true
    }

    /// Notes that the current snapshot equalled the database at `read_at`.
    pub fn confirm(&self, read_at: Duration) {
        let confirmed = u64::try_from(read_at.as_nanos()).unwrap_or(u64::MAX - 1) + 1;
        self.confirmed.fetch_max(confirmed, Ordering::AcqRel);
    }

    /// Whether the snapshot equalled the database at this time since boot or later.
    #[must_use]
    pub fn is_current_since(&self, time: Duration) -> bool {
        u128::from(self.confirmed.load(Ordering::Acquire)) > time.as_nanos()
    }

    /// The time since the snapshot last equalled the database, `None` before the first load.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        Some(since_boot().saturating_sub(Duration::from_nanos(confirmed)))
    }

    /// The number of snapshots that were published in this process.
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
