//! The notifications of a connection: which wake the thread, and how many came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// The notifications of a connection.
#[derive(Debug)]
pub(super) struct Notifications {
    wake: Arc<Notify>,
    /// How many came since the last call of `take`.
    count: AtomicU32,
    /// The oids of the token tables of other projects in this database.
    others: ArcSwap<Vec<u32>>,
}

impl Notifications {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { wake, count: AtomicU32::default(), others: ArcSwap::default() }
    }

    /// Ignores the notifications of these token tables from now on.
    pub(super) fn ignore(&self, others: &[u32]) {
        if **self.others.load() != others {
            self.others.store(Arc::new(others.to_vec()));
        }
    }

    /// Wakes the thread, unless the payload is the oid of another project's token table. Any other
    /// payload wakes it: older functions send none, and the token table may have been replaced.
    pub(super) fn received(&self, payload: &str) {
        if payload.parse().is_ok_and(|table| self.others.load().contains(&table)) {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Wakes the thread because the connection has ended.
    pub(super) fn ended(&self) {
        self.wake.notify_one();
    }

    /// The number of notifications since the last call.
    pub(super) fn take(&self) -> u32 {
        self.count.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tables_of_other_projects_are_ignored() {
        let notifications = Notifications::new(Arc::default());
        notifications.ignore(&[16_404, 4_294_967_295]);
        for payload in ["16404", "4294967295"] {
            notifications.received(payload);
        }
        assert_eq!(notifications.take(), 0);
        for payload in ["16405", "", "x", "-1", "4294967296"] {
            notifications.received(payload);
        }
        assert_eq!(notifications.take(), 5);
    }

    #[test]
    fn table_that_is_another_projects_no_longer_wakes_again() {
        let notifications = Notifications::new(Arc::default());
        notifications.ignore(&[16_404]);
        notifications.ignore(&[]);
        notifications.received("16404");
        assert_eq!((notifications.take(), notifications.take()), (1, 0));
    }
}
