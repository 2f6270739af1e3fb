//! Limits how many callers hold something at the same time, and keeps one such thing for a caller.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A fixed number of permits, and a thing that is kept with its permit until another caller needs
/// the permit.
#[derive(Debug)]
pub(super) struct Permits<K> {
    state: Mutex<State<K>>,
    returned: Condvar,
}

#[derive(Debug)]
struct State<K> {
    free: u32,
    /// The number of callers that wait.
    waiting: u32,
    /// Dropped, it makes the thread that holds its permit return it.
    kept: Option<K>,
    keeps: bool,
}

/// One permit. Returns itself when it is dropped.
#[derive(Debug)]
pub(super) struct Permit<K>(Arc<Permits<K>>);

impl<K> Permits<K> {
    pub(super) fn new(count: u32) -> Self {
        let state = State { free: count, waiting: 0, kept: None, keeps: true };
        Self { state: Mutex::new(state), returned: Condvar::new() }
    }

    /// A permit, `None` if there is none until `until`. Blocks.
    pub(super) fn acquire(self: &Arc<Self>, until: Instant) -> Option<Permit<K>> {
        let left = until.saturating_duration_since(Instant::now());
        let mut state = self.lock();
        if state.free == 0 {
            state.kept = None;
        }
        state.waiting += 1;
        let waited = self.returned.wait_timeout_while(state, left, |state| state.free == 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.free = state.free.checked_sub(1)?;
        drop(state);
        Some(Permit(self.clone()))
    }

    /// Keeps a thing in place of an earlier one. Returns false if another caller needs its permit.
    pub(super) fn keep(&self, thing: K) -> bool {
        let mut state = self.lock();
        let keeps = state.keeps && state.waiting == 0;
        if keeps {
            state.kept = Some(thing);
        }
        keeps
    }

    /// Returns the thing that is kept.
    pub(super) fn take(&self) -> Option<K> {
        self.lock().kept.take()
    }

    /// Keeps nothing from now on. What is kept already stays until it is taken.
    pub(super) fn keep_no_more(&self) {
        self.lock().keeps = false;
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Drop for Permit<K> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(5)
    }

    #[test]
    fn permit_is_available_again_after_its_drop() {
        let permits = Arc::new(Permits::<()>::new(1));
        let first = permits.acquire(soon());
        assert!(first.is_some() && permits.acquire(soon()).is_none());
        drop(first);
        assert!(permits.acquire(soon()).is_some());
    }

    #[test]
    fn kept_thing_is_dropped_for_a_caller_without_a_permit() {
        let (permits, thing) = (Arc::new(Permits::new(2)), Arc::new(()));
        let _first = permits.acquire(soon());
        assert!(permits.keep(thing.clone()));
        let _second = permits.acquire(soon());
        assert_eq!(Arc::strong_count(&thing), 2);
        assert!(permits.acquire(soon()).is_none());
        assert_eq!(Arc::strong_count(&thing), 1);
    }

    #[test]
    fn nothing_is_kept_while_a_caller_waits() {
        let permits = Arc::new(Permits::new(1));
        let first = permits.acquire(soon());
        let waiter = {
            let permits = permits.clone();
            std::thread::spawn(move || permits.acquire(soon() + Duration::from_secs(10)).is_some())
        };
        while permits.lock().waiting == 0 {
            std::thread::yield_now();
        }
        assert!(!permits.keep(()));
        drop(first);
        assert!(waiter.join().is_ok_and(|acquired| acquired));
        assert!(permits.keep(()));
        permits.keep_no_more();
        assert!(permits.take().is_some() && !permits.keep(()));
    }
}
