//! Collects what all watches of this process have measured.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::snapshot::Snapshot;
use crate::watch::{Measured, Watch};

/// The watches of this process. Keeps that of a run that has ended until nothing uses it.
#[derive(Debug, Default)]
pub struct WatchRegistry(Mutex<Vec<Arc<Watch>>>);

impl WatchRegistry {
    /// Adds the watches of a snapshot.
    pub fn add(&self, snapshot: &Snapshot) {
        let is_new = |watch: &&Arc<Watch>| !watch.registered.swap(true, Ordering::Relaxed);
        let new = snapshot.watches().filter(is_new).cloned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    /// Whether many failing users wait for a flush.
    #[must_use]
    pub fn have_many(&self) -> bool {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().any(|watch| watch.has_many())
    }

    /// What was measured since the last call, by run.
    #[must_use]
    pub fn take(&self) -> Vec<Measured> {
        let mut measured = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|watch| {
            // Read before taking: without another owner, no count can follow the last one taken.
            let is_in_use = Arc::strong_count(watch) > 1;
            measured.push(watch.take());
            is_in_use
        });
        measured.retain(|one| *one != Measured { run: one.run, ..Measured::default() });
        measured
    }
}

/// Drops all counts in a forked child, which inherits the snapshot of its parent.
pub fn reset_after_fork(inherited: Option<&Snapshot>) {
    inherited.into_iter().flat_map(Snapshot::watches).for_each(|watch| watch.reset());
}
