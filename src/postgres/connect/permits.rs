//! Limits how many callers hold something at the same time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// A fixed number of permits.
#[derive(Debug)]
pub(super) struct Permits {
    free: Mutex<u32>,
    returned: Condvar,
}

/// One permit. Returns itself when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    pub(super) fn new(count: u32) -> Self {
        Self { free: Mutex::new(count), returned: Condvar::new() }
    }

    /// A permit, `None` if there is none until `until`. Blocks.
    pub(super) fn acquire(self: &Arc<Self>, until: Instant) -> Option<Permit> {
        let left = until.saturating_duration_since(Instant::now());
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_timeout_while(free, left, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn permit_is_available_again_after_its_drop() {
        let permits = Arc::new(Permits::new(1));
        let soon = || Instant::now() + Duration::from_millis(5);
        let first = permits.acquire(soon());
        assert!(first.is_some() && permits.acquire(soon()).is_none());
        drop(first);
        assert!(permits.acquire(soon()).is_some());
    }
}
