//! The problems of a table of a snapshot, with a number that identifies them.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::row::Problem;

/// The version of the newest problems; 0 while there were none.
static LAST_VERSION: AtomicU64 = AtomicU64::new(0);

/// Problems in their order. Snapshots share them until a load finds other ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems {
    list: Arc<[Problem]>,
    version: u64,
}

impl Problems {
    /// These problems, with a new version unless they are the same.
    pub(super) fn next(&self, problems: Vec<Problem>) -> Self {
        if *self.list == *problems {
            return self.clone();
        }
        let version = 1 + LAST_VERSION.fetch_add(1, Ordering::Relaxed);
        Self { list: problems.into(), version }
    }

    /// Identifies the problems in this process; later ones have a higher version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

impl Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.list
    }
}
