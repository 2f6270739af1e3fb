//! Short connections, for work that the engine's own connection must not wait for.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use crate::postgres::connect::open::{Opened, open};
use crate::postgres::connect::permits::Permits;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::deadline::{self, before, within};
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::threads;

const CONNECTING: &str = "connect over the pool";
/// The pause after the first failure to connect. It doubles with each further one, up to the bound.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Connections to the current target, of which a number may be open at the same time. None is kept,
/// so a quiet process has only the connection of its engine.
#[derive(Debug)]
pub(crate) struct Pool {
    target: Arc<CurrentTarget>,
    /// One for each connection.
    permits: Arc<Permits>,
}

/// A piece of work over a connection of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// The name of its thread.
    pub(crate) thread: &'static str,
    /// What it does, in the words of an error.
    pub(crate) doing: &'static str,
    /// When it is given up, and its connection closed.
    pub(crate) until: Instant,
}

impl Pool {
    /// A pool of at most `size` connections. Does not connect yet.
    pub(crate) fn new(target: Arc<CurrentTarget>, size: u32) -> Self {
        Self { target, permits: Arc::new(Permits::new(size)) }
    }

    /// Connects, and returns the result of `work`. Blocks, until `task.until` or until
    /// `interrupted` returns true. Either way the connection is closed.
    ///
    /// # Errors
    /// The error of `work`, that of the last attempt to connect, or that the deadline has passed.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        task: Task,
        interrupted: &mut dyn FnMut() -> bool,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (permits, target) = (self.permits.clone(), self.target.clone());
        let (sender, result) = channel();
        let (caller, gone) = tokio::sync::oneshot::channel::<()>();
        // A thread, because a caller that is interrupted must not wait for the server.
        threads::spawn(task.thread, task.doing, move || {
            // Before the runtime, whose descriptors a caller that waits for its turn does not need.
            let Some(_permit) = permits.acquire(task.until) else {
                let _ = sender.send(Err(Error::deadline(CONNECTING)));
                return;
            };
            let ended = threads::block_on(task.doing, async {
                tokio::select! {
                    biased;
                    _ = gone => Err(Error::deadline(task.doing)),
                    outcome = connect_and_work(&target, task, work) => outcome,
                }
            });
            let _ = sender.send(ended);
        })?;
        let outcome = deadline::receive(&result, task.until, task.doing, interrupted);
        drop(caller);
        outcome
    }
}

async fn connect_and_work<T>(
    target: &CurrentTarget,
    task: Task,
    work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
) -> Result<T, Error> {
    let connection = connect(target, task.until).await?;
    let outcome = before(task.until, task.doing, work(&connection.client)).await;
    if !is_over(&outcome) {
        connection.close().await;
    }
    outcome
}

/// Whether the time was not enough. A server that hangs would delay the close, too.
fn is_over<T>(outcome: &Result<T, Error>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Deadline)
}

/// Connects to an acceptable server. Tries again as long as there is time: it may be restarting.
async fn connect(target: &CurrentTarget, until: Instant) -> Result<Opened, Error> {
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        let target = target.load_full();
        let connected = before(until, CONNECTING, async { Ok(attempt(&target).await) }).await;
        match connected {
            Ok(Ok(connection)) => return Ok(connection),
            // The error of an attempt says more than that the time is over.
            Ok(Err(error)) if Instant::now() + pause >= until => return Err(error),
            Ok(Err(error)) => last = Some(error),
            Err(error) => return Err(last.unwrap_or(error)),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Tries each server once.
async fn attempt(target: &Target) -> Result<Opened, Error> {
    let mut attempts = target.attempts();
    loop {
        let opening = Box::pin(open(attempts.current(), |_| ()));
        match within(deadline::CONNECT, "connect", opening).await {
            Ok(connection) => return Ok(connection),
            Err(error) => attempts.after(error)?,
        }
    }
}
