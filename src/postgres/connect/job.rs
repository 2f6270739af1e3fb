//! Work for a connection of the pool, and the caller that waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tokio::sync::oneshot::Receiver;
use tokio_postgres::Client;

use crate::postgres::deadline::before;
use crate::postgres::error::{Error, ErrorKind};

/// A piece of work over a connection of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// The name of its thread.
    pub(crate) thread: &'static str,
    /// What it does, in the words of an error.
    pub(crate) doing: &'static str,
    /// When it is given up, and its connection closed.
    pub(crate) until: Instant,
    /// Whether it may use the connection that is kept, and leave its own.
    pub(crate) keeps: bool,
}

/// A task with its work and its caller.
pub(super) struct Job {
    pub(super) task: Task,
    /// Ends when the caller no longer waits.
    pub(super) gone: Receiver<()>,
    /// Passes the error that prevents the work to the caller.
    pub(super) fail: Box<dyn FnOnce(Error) + Send>,
    pub(super) work: Work,
}

type Work = Box<dyn for<'a> FnOnce(&'a Client) -> Pin<Box<dyn Future<Output = Done> + 'a>> + Send>;

/// How the work of a job has ended.
pub(super) struct Done {
    /// Whether it has succeeded. Otherwise a statement or a transaction may be unfinished, or the
    /// server may refuse all writes.
    pub(super) is_ok: bool,
    /// Whether the time was not enough. A server that hangs would delay the close, too.
    pub(super) is_over: bool,
    /// Passes the result to the caller.
    pub(super) reply: Box<dyn FnOnce()>,
}

impl Job {
    pub(super) fn new<T: Send + 'static>(
        task: Task,
        gone: Receiver<()>,
        result: Sender<Result<T, Error>>,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        let failed = result.clone();
        // A caller that has gone needs no result.
        let fail = Box::new(move |error| drop(failed.send(Err(error))));
        let work: Work = Box::new(move |client| {
            Box::pin(async move {
                let outcome = before(task.until, task.doing, work(client)).await;
                let error = outcome.as_ref().err().map(Error::kind);
                Done {
                    is_ok: error.is_none(),
                    is_over: error == Some(ErrorKind::Deadline),
                    reply: Box::new(move || drop(result.send(outcome))),
                }
            })
        });
        Self { task, gone, fail, work }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}
