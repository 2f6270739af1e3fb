//! What waits to be written.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// The most items that wait. At some 200 bytes each they take 20 MB.
pub(super) const MAX_WAITING: usize = 100_000;

/// A queue that evaluations add to without a lock, and one thread reads.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: Sender<T>,
    /// Only the thread that writes locks it.
    receiver: Mutex<Receiver<T>>,
    waiting: AtomicUsize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver: Mutex::new(receiver), waiting: AtomicUsize::new(0) }
    }

    /// Adds an item. Returns false if the queue is full. The caller holds the GIL, so that only
    /// one thread adds at a time.
    pub(super) fn add(&self, item: impl FnOnce() -> T) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The receiver is in the same queue, so it is never gone.
        self.sender.send(item()).is_ok()
    }

    /// Removes and returns what was added before the call, the first `limit` items of it.
    pub(super) fn take(&self, limit: usize) -> Vec<T> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting.load(Ordering::Relaxed);
        let taken: Vec<_> = receiver.try_iter().take(waiting.min(limit)).collect();
        self.waiting.fetch_sub(taken.len(), Ordering::Relaxed);
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
