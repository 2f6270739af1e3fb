//! What the engine's owner tells its thread: wake up, stop; and what the thread knows of the tokens.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::postgres::error::Error;

/// What the engine's owner tells its thread.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    wake: Arc<Notify>,
    stop: AtomicBool,
    stopping: Notify,
    tokens: AtomicBool,
}

impl Signals {
    /// Wakes the thread: a rest ends, a served connection loads what moved.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends the thread, whatever it waits for.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.stopping.notify_one();
        self.wake();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn notifier(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What `work` gives, or that it is to stop, whichever comes first.
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

    pub(crate) fn set_tokens(&self, tokens: bool) {
        self.tokens.store(tokens, Ordering::Release);
    }

    pub(crate) fn tokens(&self) -> bool {
        self.tokens.load(Ordering::Acquire)
    }
}
