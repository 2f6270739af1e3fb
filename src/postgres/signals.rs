//! Signals from the owner of an engine to its thread: wake up, load everything, stop.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::postgres::error::Error;

/// Signals from the owner of an engine to its thread.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    wake: Arc<Notify>,
    stop: AtomicBool,
    stopping: Notify,
    requests: Mutex<Vec<Request>>,
}

/// A caller that waits for a load of everything.
#[derive(Debug)]
pub(crate) struct Request {
    caller: Weak<()>,
    reply: Sender<Result<(), Error>>,
    /// Whether an attempt to connect has failed since.
    has_waited: bool,
}

/// The result of a request, for its caller.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) result: Receiver<Result<(), Error>>,
    _caller: Arc<()>,
}

impl Request {
    pub(crate) fn reply(self, outcome: Result<(), Error>) {
        // A caller that has gone needs no result.
        let _ = self.reply.send(outcome);
    }
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

    /// Asks for a load of everything that begins after this call.
    pub(crate) fn request_load(&self) -> Requested {
        let ((reply, result), caller) = (channel(), Arc::new(()));
        let request = Request { caller: Arc::downgrade(&caller), reply, has_waited: false };
        self.return_requests(vec![request]);
        self.wake();
        Requested { result, _caller: caller }
    }

    pub(crate) fn is_load_requested(&self) -> bool {
        !self.requests().is_empty()
    }

    /// Whether a request came during the attempt to connect that has failed now. It deserves another
    /// attempt at once.
    pub(crate) fn is_attempt_requested(&self) -> bool {
        let mut requests = self.requests();
        let is_requested = requests.iter().any(|request| !request.has_waited);
        requests.iter_mut().for_each(|request| request.has_waited = true);
        is_requested
    }

    /// Removes and returns the requests, which the load that begins now answers.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests())
    }

    /// Adds requests that another load must answer, and forgets those whose caller has gone.
    pub(crate) fn return_requests(&self, requests: Vec<Request>) {
        let mut all = self.requests();
        all.extend(requests);
        all.retain(|request| request.caller.strong_count() > 0);
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
