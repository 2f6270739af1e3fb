//! Signals from the owner of an engine to its thread: wake up, stop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::postgres::error::Error;

/// Signals from the owner of an engine to its thread.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    wake: Arc<Notify>,
    stop: AtomicBool,
    stopping: Notify,
    has_tokens: AtomicBool,
}

impl Signals {
    /// Wakes the thread: it connects without further delay, or loads what changed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Stops the thread, whatever it waits for.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.stopping.notify_one();
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Wakes the thread through a clone, such as that of a connection.
    pub(crate) fn notifier(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Waits for [`wake`](Self::wake).
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The result of `work`, or an error as soon as the thread must stop.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stopping.notified() => Err(Error::lost("stop")),
            outcome = work => outcome,
        }
    }

    /// Whether the database has change tokens, as the thread found it.
    pub(crate) fn has_tokens(&self) -> bool {
        self.has_tokens.load(Ordering::Acquire)
    }

    pub(crate) fn set_has_tokens(&self, has_tokens: bool) {
        self.has_tokens.store(has_tokens, Ordering::Release);
    }
}
