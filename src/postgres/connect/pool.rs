//! Short connections, for work that the engine's own connection must not wait for.
//!
//! Each connection has a thread and a runtime, which end with it. The thread keeps the connection
//! for a time if the next task of a kind that recurs can use it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::postgres::connect::job::Job;
pub(crate) use crate::postgres::connect::job::Task;
use crate::postgres::connect::open::{Opened, open};
use crate::postgres::connect::permits::Permits;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::deadline::{self, before, within};
use crate::postgres::error::Error;
use crate::postgres::threads;

const CONNECTING: &str = "connect over the pool";
/// The pause after the first failure to connect. It doubles with each further one, up to the bound.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Connections to the current target, of which a number may be open at the same time. At most one
/// is kept, so a quiet process has only the connection of its engine.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    target: Arc<CurrentTarget>,
    /// One for each connection.
    permits: Arc<Permits<Kept>>,
    /// How long a connection is kept that nothing uses.
    idle: Duration,
}

/// A connection that its thread keeps. Dropping it closes the connection.
#[derive(Debug)]
struct Kept {
    target: Arc<Target>,
    next: oneshot::Sender<Job>,
}

/// An open connection, and the target that it was opened to.
struct Pooled {
    opened: Opened,
    target: Arc<Target>,
}

impl Pool {
    /// A pool of at most `size` connections, which keeps one of them for `idle`; zero keeps none.
    /// Does not connect yet.
    pub(crate) fn new(target: Arc<CurrentTarget>, size: u32, idle: Duration) -> Self {
        Self { target, permits: Arc::new(Permits::new(size)), idle }
    }

    /// Whether a connection is kept until the next task, if there is one in each interval.
    pub(crate) fn keeps_for(&self, interval: Duration) -> bool {
        interval < self.idle
    }

    /// Returns the result of `work` over a connection. Blocks, until `task.until` or until
    /// `interrupted` returns true; either closes the connection.
    ///
    /// # Errors
    /// The error of `work`, that of the last attempt to connect, or that the deadline has passed.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        task: Task,
        interrupted: &mut dyn FnMut() -> bool,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, result) = channel();
        let (caller, gone) = oneshot::channel::<()>();
        if let Some(job) = self.pass_to_kept(Job::new(task, gone, sender, work)) {
            let pool = self.clone();
            // A thread, because a caller that is interrupted must not wait for the server.
            threads::spawn(task.thread, task.doing, move || pool.serve(job))?;
        }
        let outcome = deadline::receive(&result, task.until, task.doing, interrupted);
        drop(caller);
        outcome
    }

    /// Keeps no connection from now on. The one that is kept stays for the next task.
    pub(crate) fn keep_no_more(&self) {
        self.permits.keep_no_more();
    }

    /// Closes the connection that is kept, and keeps none from now on. Does not wait.
    pub(crate) fn close(&self) {
        self.keep_no_more();
        drop(self.permits.take());
    }

    /// Passes the job to the connection that is kept. Returns the job if there is none.
    fn pass_to_kept(&self, job: Job) -> Option<Job> {
        let kept = if job.task.keeps { self.permits.take() } else { None };
        let is_current = |kept: &Kept| Arc::ptr_eq(&kept.target, &self.target.load());
        match kept.filter(is_current) {
            Some(kept) => kept.next.send(job).err(),
            None => Some(job),
        }
    }

    /// The body of the thread of a connection.
    fn serve(&self, job: Job) {
        // Before the runtime, whose descriptors a caller that waits for its turn does not need.
        let Some(_permit) = self.permits.acquire(job.task.until) else {
            return (job.fail)(Error::deadline(CONNECTING));
        };
        match threads::runtime(job.task.doing) {
            Err(error) => (job.fail)(error),
            Ok(runtime) => {
                runtime.block_on(self.work(job));
                runtime.shutdown_background();
            }
        }
    }

    /// Connects, and works until no task comes in time.
    async fn work(&self, job: Job) {
        let mut kept = self.run_job(job, None).await;
        while let Some((mut pooled, next)) = kept {
            kept = match next_job(next, self.idle, &mut pooled.opened).await {
                None => return pooled.opened.close().await,
                Some(job) if pooled.opened.is_lost() => self.run_job(job, None).await,
                Some(job) => self.run_job(job, Some(pooled)).await,
            };
        }
    }

    /// Runs a job. Returns its connection if it is kept.
    async fn run_job(
        &self,
        job: Job,
        pooled: Option<Pooled>,
    ) -> Option<(Pooled, oneshot::Receiver<Job>)> {
        let Job { task, gone, fail, work } = job;
        let working = async {
            let connected = match pooled {
                Some(pooled) => Ok(pooled),
                None => connect(&self.target, task.until).await,
            };
            let pooled = connected.map_err(fail).ok()?;
            let done = work(&pooled.opened.client).await;
            Some((pooled, done))
        };
        let (pooled, done) = tokio::select! {
            biased;
            _ = gone => return None,
            worked = working => worked?,
        };
        if done.is_ok && task.keeps {
            let (sender, next) = oneshot::channel();
            if self.permits.keep(Kept { target: pooled.target.clone(), next: sender }) {
                (done.reply)();
                return Some((pooled, next));
            }
        }
        if !done.is_over {
            pooled.opened.close().await;
        }
        (done.reply)();
        None
    }
}

/// The next job of a connection. `None` if there is none in time, or if the connection is lost.
async fn next_job(
    mut next: oneshot::Receiver<Job>,
    idle: Duration,
    opened: &mut Opened,
) -> Option<Job> {
    tokio::select! {
        job = &mut next => return job.ok(),
        () = sleep(idle) => {}
        () = opened.lost() => {}
    }
    // A job may have come meanwhile.
    next.close();
    next.try_recv().ok()
}

/// Connects to an acceptable server. Tries again as long as there is time: it may be restarting.
async fn connect(target: &CurrentTarget, until: Instant) -> Result<Pooled, Error> {
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        let target = target.load_full();
        let connected = before(until, CONNECTING, async { Ok(attempt(&target).await) }).await;
        match connected {
            Ok(Ok(opened)) => return Ok(Pooled { opened, target }),
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

#[cfg(test)]
mod tests;
