//! Short connections, for work that the engine's own connection must not wait for: `r2d2` pools
//! clients of `postgres`.
//!
//! A task runs in a thread of its own, and its caller waits for it until the deadline. A pool of which
//! a task has failed is replaced: its server may hang, and `r2d2` would go on connecting to it.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;
use r2d2::{ManageConnection, NopErrorHandler};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};
use tokio::sync::watch;

use crate::postgres::connect::guard::Guard;
use crate::postgres::connect::role;
use crate::postgres::connect::target::{Attempt, CurrentTarget, Target};
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::threads;

const CONNECTING: &str = "connect over the pool";
/// The longest pause after a failure to connect.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Tasks that follow each other within this time share a connection, where a log-in is far away.
const FREQUENT: Duration = Duration::from_secs(15);
/// The longest life of a connection: a server may keep memory for each.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A piece of work over a connection of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The name of its thread.
    pub thread: &'static str,
    /// What it does, in the words of an error.
    pub doing: &'static str,
    /// When it is given up, and its connection closed.
    pub until: Instant,
}

/// Connections to the current target, of which a number may be open at the same time.
#[derive(Debug)]
pub struct Pool {
    target: Arc<CurrentTarget>,
    size: u32,
    /// How long a connection is kept that nothing uses; zero if it is closed at once.
    idle: Duration,
    state: Mutex<State>,
    offered: Arc<Offered>,
}

/// Work that needs no connection of its own.
type Work = Box<dyn FnOnce(&mut Client) + Send>;

/// The work that the next task does over its connection.
#[derive(Default)]
struct Offered(Mutex<Option<Work>>);

impl Offered {
    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offered")
    }
}

#[derive(Debug)]
struct State {
    connections: Option<Arc<Connections>>,
    /// Whether connections are kept that nothing uses.
    keeps: bool,
    /// Whether they are kept at least while tasks follow each other soon: a log-in is far away.
    keeps_if_frequent: bool,
    /// When the last task has ended.
    last_used: Option<Instant>,
}

/// The connections to one target, until they are replaced.
#[derive(Debug)]
struct Connections {
    target: Arc<Target>,
    /// Built by the thread of the first task.
    pool: OnceLock<r2d2::Pool<Manager>>,
    last_error: LastError,
}

impl Pool {
    /// A pool of at most `size` connections, which keeps them for `idle`; zero keeps none. Does not
    /// connect yet.
    #[must_use]
    pub fn new(target: Arc<CurrentTarget>, size: u32, idle: Duration) -> Self {
        let state = State {
            connections: None,
            keeps: !idle.is_zero(),
            keeps_if_frequent: false,
            last_used: None,
        };
        Self { target, size, idle, state: Mutex::new(state), offered: Arc::default() }
    }

    /// Returns the result of `work` over a connection. Blocks, until `task.until` or until
    /// `interrupted` returns true; the work then goes on until `task.until`. Runs it twice if the
    /// connection is lost.
    ///
    /// # Errors
    /// The error of `work`, that of the last attempt to connect, or that the deadline has passed.
    pub fn run<T: Send + 'static>(
        &self,
        task: Task,
        interrupted: &mut dyn FnMut() -> bool,
        work: impl FnOnce(&mut Client) -> Result<T, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        match self.run_once(task, interrupted, work.clone()) {
            // A connection that was kept may have ended meanwhile.
            Err(error) if error.kind() == ErrorKind::Lost => self.run_once(task, interrupted, work),
            outcome => outcome,
        }
    }

    fn run_once<T: Send + 'static>(
        &self,
        task: Task,
        interrupted: &mut dyn FnMut() -> bool,
        work: impl FnOnce(&mut Client) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, result) = channel();
        let connections = self.connections();
        let least = if self.lock().keeps_if_frequent { FREQUENT } else { Duration::ZERO };
        let (used, size, idle) = (connections.clone(), self.size, self.idle.max(least));
        let offered = self.offered.clone();
        threads::spawn(task.thread, task.doing, move || {
            let outcome = used.run(size, idle, task, with_offered(work, offered));
            drop(used);
            // A caller that has gone needs no result.
            drop(sender.send(outcome));
        })?;
        let outcome = deadline::receive(&result, task.until, task.doing, interrupted);
        // The task may have got the connection of another one: `r2d2` then tries to connect forever.
        let is_ok = outcome.is_ok() && connections.last_error.read().is_none();
        self.release(connections, is_ok);
        outcome
    }

    /// Sets whether the connections to the next target are kept while tasks follow each other soon.
    pub fn keep_if_frequent(&self, keeps: bool) {
        self.lock().keeps_if_frequent = keeps;
    }

    /// Lets the next task that succeeds do this work, too, over its connection.
    pub fn offer(&self, work: impl FnOnce(&mut Client) + Send + 'static) {
        *self.offered.lock() = Some(Box::new(work));
    }

    /// Takes back the work that was offered. Returns false if a task does it, or has done it.
    pub fn take_back(&self) -> bool {
        self.offered.lock().take().is_some()
    }

    /// Keeps no unused connection from now on.
    pub fn keep_no_more(&self) {
        let mut state = self.lock();
        (state.keeps, state.keeps_if_frequent) = (false, false);
    }

    /// Closes the unused connections, and keeps none from now on. Does not wait.
    pub fn close(&self) {
        self.keep_no_more();
        drop(self.take_if(|_| true));
    }

    fn connections(&self) -> Arc<Connections> {
        let target = self.target.load_full();
        let replaced = self.take_if(|connections| !Arc::ptr_eq(&connections.target, &target));
        drop(replaced);
        let new =
            || Connections { target, pool: OnceLock::new(), last_error: LastError::default() };
        self.lock().connections.get_or_insert_with(|| Arc::new(new())).clone()
    }

    /// Closes the connections if they must not be used again, or if nothing uses them.
    fn release(&self, connections: Arc<Connections>, is_ok: bool) {
        let released = Arc::as_ptr(&connections);
        drop(connections);
        let keeps = self.lock().used_now();
        drop(self.take_if(|connections| {
            (!is_ok && Arc::as_ptr(connections) == released)
                || (!keeps && Arc::strong_count(connections) == 1)
        }));
    }

    /// Removes the connections. They are dropped without the lock, because this closes them.
    fn take_if(
        &self,
        is_wanted: impl FnOnce(&Arc<Connections>) -> bool,
    ) -> Option<Arc<Connections>> {
        self.lock().connections.take_if(|connections| is_wanted(connections))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes the end of a task. Returns whether its connection is kept.
    fn used_now(&mut self) -> bool {
        let before = self.last_used.replace(Instant::now());
        let is_frequent = before.is_some_and(|before| before.elapsed() < FREQUENT);
        self.keeps || (self.keeps_if_frequent && is_frequent)
    }
}

/// Work that does what was offered, too, if it has succeeded.
fn with_offered<T>(
    work: impl FnOnce(&mut Client) -> Result<T, Error>,
    offered: Arc<Offered>,
) -> impl FnOnce(&mut Client) -> Result<T, Error> {
    move |client| {
        let result = work(client)?;
        let also = offered.lock().take();
        if let Some(also) = also {
            also(client);
        }
        Ok(result)
    }
}

impl Connections {
    fn run<T>(
        &self,
        size: u32,
        idle: Duration,
        task: Task,
        work: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let pool = self.pool.get_or_init(|| self.build(size, idle));
        let left = task.until.saturating_duration_since(Instant::now());
        match pool.get_timeout(left) {
            Ok(mut connection) => connection.run(task, work),
            Err(_) => Err(self.last_error.read().unwrap_or_else(|| Error::deadline(CONNECTING))),
        }
    }

    /// A pool without a connection. Its thread inherits that this thread takes no signals.
    fn build(&self, size: u32, idle: Duration) -> r2d2::Pool<Manager> {
        let threads = ScheduledThreadPool::builder()
            .num_threads(1)
            .thread_name_pattern("flagstaff-pool")
            .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
            .build();
        r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .max_lifetime(Some(MAX_LIFETIME))
            .idle_timeout((!idle.is_zero()).then_some(idle))
            // Bounds the pause between two attempts to half of it.
            .connection_timeout(2 * MAX_PAUSE)
            .thread_pool(Arc::new(threads))
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Manager {
                target: self.target.clone(),
                last_error: self.last_error.clone(),
            })
    }
}

/// The error of the last attempt to connect, if it has failed: `r2d2` itself keeps only its text.
#[derive(Clone, Debug, Default)]
struct LastError(Arc<Mutex<Option<Error>>>);

impl LastError {
    fn read(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, error: Option<Error>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// An open connection.
struct Connection {
    client: Client,
    /// When its socket is shut down if the client waits for it.
    until: watch::Sender<Instant>,
    /// Whether the last task has succeeded. Otherwise a statement or a transaction may be unfinished,
    /// or the server may refuse all writes.
    is_clean: bool,
}

impl Connection {
    fn run<T>(
        &mut self,
        task: Task,
        work: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.is_clean = false;
        self.until.send_replace(task.until);
        let outcome = in_time(task.until, task.doing, work(&mut self.client));
        self.is_clean = outcome.is_ok();
        outcome
    }
}

/// The same outcome, but an error after the deadline is the deadline's: the socket was shut down.
fn in_time<T>(until: Instant, doing: &'static str, outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.map_err(|error| if Instant::now() < until { error } else { Error::deadline(doing) })
}

#[derive(Debug)]
struct Manager {
    target: Arc<Target>,
    last_error: LastError,
}

impl Manager {
    /// Tries each server once.
    fn try_servers(&self) -> Result<Connection, Error> {
        let mut attempts = self.target.attempts();
        loop {
            match connect(&attempts.current()) {
                Ok(connection) => return Ok(connection),
                Err(error) => attempts.after(error)?,
            }
        }
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = Error;

    fn connect(&self) -> Result<Connection, Error> {
        let outcome = self.try_servers();
        // A later caller that waits for a connection in use must not get this attempt's error.
        self.last_error.set(outcome.as_ref().err().cloned());
        outcome
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        let valid = connection.client.is_valid(deadline::STATEMENT);
        valid.map_err(|error| Error::driver("connect", error))
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_clean
    }
}

fn connect(attempt: &Attempt) -> Result<Connection, Error> {
    // The driver panics without a descriptor for its runtime.
    drop(threads::runtime("connect")?);
    let ends = Instant::now() + deadline::CONNECT;
    let (guard, until) = Guard::new(attempt.tls.clone(), ends);
    let mut config = postgres::Config::from(attempt.config.clone());
    // Notices are dropped: they may quote data.
    config.notice_callback(drop);
    let connecting = || {
        let mut client = config.connect(guard)?;
        let role = attempt.required_role.map(|_| client.query_typed_one(role::QUERY, &[]));
        Ok((client, role.transpose()?))
    };
    let connected = connecting().map_err(|error| Error::driver("connect", error));
    let (client, role) = in_time(ends, "connect", connected)?;
    if let Some((required, role)) = attempt.required_role.zip(role) {
        required.check(&role)?;
    }
    Ok(Connection { client, until, is_clean: true })
}
