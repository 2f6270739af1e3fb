//! What the engine's owner tells its thread: wake up, stop; and what the thread knows of the tokens.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::error::Error;

/// What the engine's owner tells its thread.
#[derive(Debug, Default)]
pub(super) struct Signals {
    wake: Arc<Notify>,
    stop: AtomicBool,
    stopping: Notify,
    tokens: AtomicBool,
}

impl Signals {
    /// Wakes the thread: a rest ends, a served link loads what moved.
    pub(super) fn kick(&self) {
        self.wake.notify_one();
    }

    /// Ends the thread, whatever it waits for.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.stopping.notify_one();
        self.kick();
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What `work` gives, or that it is to stop, whichever comes first.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stopping.notified() => Err(Error::lost("stop")),
            outcome = work => outcome,
        }
    }

    pub(super) fn set_tokens(&self, tokens: bool) {
        self.tokens.store(tokens, Ordering::Release);
    }

    pub(super) fn tokens(&self) -> bool {
        self.tokens.load(Ordering::Acquire)
    }
}
