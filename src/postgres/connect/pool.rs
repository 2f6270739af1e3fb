//! Short links for what the engine's one long connection must not wait for.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use r2d2::{HandleError, ManageConnection, PooledConnection};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};

use crate::postgres::connect::target::{Attempt, CurrentTarget, ROLE};
use crate::postgres::deadline;
use crate::postgres::error::Error;

/// The longest wait for a connection before another look whether there is room for one.
const SLICE: Duration = Duration::from_millis(20);

/// A pool of short links: none is kept idle, so a quiet process has only the engine's connection.
pub(crate) struct Pool {
    pool: r2d2::Pool<Manager>,
    last_error: LastError,
}

impl Pool {
    /// A pool of at most `size` connections. Connects nowhere yet.
    pub(crate) fn new(target: Arc<CurrentTarget>, size: u32) -> Self {
        let last_error = LastError::default();
        let threads = ScheduledThreadPool::builder()
            .num_threads(1)
            .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
            .build();
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            .thread_pool(Arc::new(threads))
            .error_handler(Box::new(last_error.clone()))
            .build_unchecked(Manager { target });
        Self { pool, last_error }
    }

    /// A connection. Blocks for at most `limit`.
    ///
    /// # Errors
    /// What went wrong when connecting, with its cause, or that there was not enough time.
    pub(crate) fn get(&self, limit: Duration) -> Result<Pooled, Error> {
        let until = Instant::now() + limit;
        self.last_error.take();
        loop {
            // In slices: a connection that is closed on its return wakes nobody who waits for one.
            let left = until.saturating_duration_since(Instant::now());
            if let Ok(client) = self.pool.get_timeout(left.min(SLICE)) {
                return Ok(Pooled(client));
            }
            if Instant::now() >= until {
                break;
            }
        }
        // r2d2 keeps the last error as text only, so the typed one is taken from the handler.
        Err(self.last_error.take().unwrap_or_else(|| Error::deadline("connect over the pool")))
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("state", &self.pool.state()).finish_non_exhaustive()
    }
}

/// A connection of the pool; dropping it gives it back.
pub(crate) struct Pooled(PooledConnection<Manager>);

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}

impl std::fmt::Debug for Pooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pooled")
    }
}

struct Manager {
    target: Arc<CurrentTarget>,
}

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = Error;

    fn connect(&self) -> Result<Client, Error> {
        let target = self.target.load_full();
        let mut attempts = target.attempts();
        loop {
            match attempt(attempts.current()) {
                Ok(client) => return Ok(client),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), Error> {
        if client.is_closed() { Err(Error::lost("connect")) } else { Ok(()) }
    }

    /// Always: a connection that comes back is closed, none is kept idle.
    fn has_broken(&self, _: &mut Client) -> bool {
        true
    }
}

fn attempt(attempt: Attempt) -> Result<Client, Error> {
    let (answer, answered) = channel();
    // The blocking driver's deadline ends with the TCP connection. Without one of ours, a server
    // that hangs after that would keep the pool's only thread for ever.
    let work = move || drop(answer.send(connect(&attempt)));
    let thread = thread::Builder::new().name("flagstaff-connect".into());
    thread.spawn(work).map_err(Error::connect)?;
    match answered.recv_timeout(deadline::CONNECT) {
        Ok(client) => client,
        Err(_) => Err(Error::deadline("connect")),
    }
}

fn connect(attempt: &Attempt) -> Result<Client, Error> {
    let failed = |error| Error::driver("connect", error);
    let config = postgres::Config::from(attempt.config.clone());
    let mut client = config.connect(attempt.tls.clone()).map_err(failed)?;
    if attempt.requires_role() {
        for row in client.query_typed(ROLE, &[]).map_err(failed)? {
            attempt.check_role(&row)?;
        }
    }
    Ok(client)
}

#[derive(Clone, Debug, Default)]
struct LastError(Arc<Mutex<Option<Error>>>);

impl LastError {
    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HandleError<Error> for LastError {
    fn handle_error(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
