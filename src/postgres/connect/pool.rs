//! A pool of short connections, for work that the engine's own connection must not wait for.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use postgres::Client;
use r2d2::{HandleError, ManageConnection, PooledConnection};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};

use crate::postgres::connect::permits::{Permit, Permits};
use crate::postgres::connect::role;
use crate::postgres::connect::target::{Attempt, CurrentTarget};
use crate::postgres::deadline;
use crate::postgres::error::Error;

/// Connections to the current target. None is kept idle, so a quiet process has only the connection
/// of its engine.
#[derive(Debug)]
pub(crate) struct Pool {
    target: Arc<CurrentTarget>,
    size: u32,
    /// Created on first use, and again after a failure to connect.
    inner: Mutex<Option<Arc<Inner>>>,
}

impl Pool {
    /// A pool of at most `size` connections. Does not connect yet.
    pub(crate) fn new(target: Arc<CurrentTarget>, size: u32) -> Self {
        Self { target, size, inner: Mutex::default() }
    }

    /// A connection. Blocks until `until` at most.
    ///
    /// # Errors
    /// The error of the last attempt to connect, or that the deadline has passed.
    pub(crate) fn connection(&self, until: Instant) -> Result<Pooled, Error> {
        let inner = self.inner();
        let connection = inner.connection(until);
        if connection.is_err() {
            self.discard(&inner);
        }
        connection
    }

    fn inner(&self) -> Arc<Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let create = || Arc::new(Inner::new(self.target.clone(), self.size));
        inner.get_or_insert_with(create).clone()
    }

    /// Drops a pool that cannot connect: r2d2 would continue to connect in the background.
    fn discard(&self, failed: &Arc<Inner>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.take_if(|inner| Arc::ptr_eq(inner, failed));
    }
}

/// A connection of the pool. It is closed when it is dropped.
pub(crate) struct Pooled {
    connection: PooledConnection<Manager>,
    /// Dropped last, so that the next caller finds room in the pool.
    _permit: Permit,
}

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.connection
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.connection
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pooled")
    }
}

struct Inner {
    pool: r2d2::Pool<Manager>,
    /// One for each caller that has a connection or waits for one. r2d2 does not wake a caller when
    /// a connection is closed on return, and a caller that polls would open a connection each time.
    permits: Arc<Permits>,
    last_error: LastError,
}

impl Inner {
    fn new(target: Arc<CurrentTarget>, size: u32) -> Self {
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
        Self { pool, permits: Arc::new(Permits::new(size)), last_error }
    }

    fn connection(&self, until: Instant) -> Result<Pooled, Error> {
        self.last_error.take();
        if let Some(permit) = self.permits.acquire(until) {
            let left = until.saturating_duration_since(Instant::now());
            if let Ok(connection) = self.pool.get_timeout(left) {
                return Ok(Pooled { connection, _permit: permit });
            }
        }
        // r2d2 keeps the last error as text only, so the handler keeps the typed one.
        Err(self.last_error.take().unwrap_or_else(|| Error::deadline("connect over the pool")))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("state", &self.pool.state()).finish_non_exhaustive()
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
            let attempt = attempts.current();
            // The driver's own timeout ends with the TCP connection: a server that hangs after it
            // would block the only thread of the pool forever.
            let connected =
                deadline::on_thread("flagstaff-connect", deadline::CONNECT, "connect", move || {
                    connect(&attempt)
                });
            match connected {
                Ok(client) => return Ok(client),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), Error> {
        if client.is_closed() { Err(Error::lost("connect")) } else { Ok(()) }
    }

    /// Always true: a returned connection is closed, because none is kept idle.
    fn has_broken(&self, _: &mut Client) -> bool {
        true
    }
}

fn connect(attempt: &Attempt) -> Result<Client, Error> {
    let failed = |error| Error::driver("connect", error);
    let config = postgres::Config::from(attempt.config.clone());
    let mut client = config.connect(attempt.tls.clone()).map_err(failed)?;
    if let Some(required) = attempt.required_role {
        for row in client.query_typed(role::QUERY, &[]).map_err(failed)? {
            required.check(&row)?;
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
