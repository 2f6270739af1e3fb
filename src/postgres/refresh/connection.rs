//! The engine's connection: one connection whose notifications wake the machine.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Statement};

use crate::postgres::connect::backend_pid;
use crate::postgres::connect::target::{Attempt, ROLE, Target};
use crate::postgres::deadline::{self, within};
use crate::postgres::error::Error;
use crate::postgres::queries::Queries;
use crate::postgres::refresh::load::{Read, Scope, load};
use crate::postgres::refresh::server_info::Identification;
use crate::postgres::refresh::tokens::{self, Tokens};
use crate::postgres::refresh::worker_name::ANONYMOUS;

/// One connection to the server, driven by a task beside the machine.
#[derive(Debug)]
pub(crate) struct RefreshConnection {
    client: Client,
    driver: JoinHandle<()>,
    /// The process of the server that the client was told of.
    backend_pid: i32,
    /// The position of the server among those of the target.
    position: usize,
    /// The notifications that have come and were not counted yet.
    notifications: Arc<AtomicU32>,
    /// The question of each poll that is worth a plan of its own, where the session is ours.
    identify: OnceCell<Statement>,
}

impl RefreshConnection {
    /// Connects, with the server at the position `first` if it will do. Each notification, and the
    /// end of the connection, wakes `wake`.
    pub(crate) async fn open(
        target: &Target,
        first: usize,
        wake: Arc<Notify>,
    ) -> Result<Self, Error> {
        let mut attempts = target.attempts_from(first);
        loop {
            // On the heap: with the buffers of a handshake it is large.
            let connecting = Box::pin(connect(attempts.current(), wake.clone()));
            match within(deadline::CONNECT, "connect", connecting).await {
                Ok(connection) => return Ok(Self { position: attempts.position(), ..connection }),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    /// Asks what kind of server this is, while `doing` something.
    pub(crate) async fn identify(
        &self,
        queries: &Queries,
        doing: &'static str,
    ) -> Result<Identification, Error> {
        let asking = async {
            let row = if let Some(statement) = self.identify.get() {
                let [tokens, flags, lists, values] = &queries.tables;
                self.client.query_one(statement, &[tokens, flags, lists, values]).await?
            } else {
                let parameters = queries.tables.each_ref().map(|table| (table as _, Type::TEXT));
                self.client.query_typed_one(queries.identify, &parameters).await?
            };
            Identification::from_row(&row, self.backend_pid)
        };
        let asking = async { asking.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, asking).await
    }

    /// Makes the session ours: it may be idle for as long as the poll wants, and what is asked at
    /// each poll is planned once. Not behind a pooler, where it would be somebody else's next.
    pub(crate) async fn configure_session(&self, queries: &Queries) -> Result<(), Error> {
        let settling = async {
            self.client.batch_execute("SET idle_session_timeout = 0").await?;
            let statement = self.client.prepare_typed(queries.identify, &[Type::TEXT; 4]).await?;
            let _ = self.identify.set(statement);
            Ok(())
        };
        let doing = "settle";
        let settling = async { settling.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, settling).await
    }

    /// Says what this worker has applied, to whoever reads the names of the sessions.
    pub(crate) async fn announce(&self, name: &str) -> Result<(), Error> {
        let statement = format!("SET application_name = '{name}'");
        self.execute("announce", &statement).await
    }

    /// Asks for notifications. Comes before the first load, so that no change falls in between.
    pub(crate) async fn listen(&self) -> Result<(), Error> {
        self.execute("listen", "LISTEN flagstaff_v1").await
    }

    async fn execute(&self, doing: &'static str, statement: &str) -> Result<(), Error> {
        let asking = async {
            let answer = self.client.batch_execute(statement).await;
            answer.map_err(|error| Error::driver(doing, error))
        };
        within(deadline::STATEMENT, doing, asking).await
    }

    /// The token table at this moment.
    pub(crate) async fn poll(&self, queries: &Queries) -> Result<Tokens, Error> {
        let asking = async {
            let rows = self.client.query_typed(&queries.token_set, &[]).await;
            let answer = rows.and_then(|rows| tokens::from_rows(&rows));
            answer.map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", asking).await
    }

    /// What `scope` asks for, all of one moment.
    pub(crate) async fn load(&self, queries: &Queries, scope: Scope<'_>) -> Result<Read, Error> {
        within(deadline::LOAD, "load", load(&self.client, queries, scope)).await
    }

    /// The position of the server among those of the target.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// How many notifications have come since this was asked last.
    pub(crate) fn notifications(&self) -> u32 {
        self.notifications.swap(0, Ordering::Relaxed)
    }

    /// Whether the connection has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Says shutdown, so that the server need not find out.
    pub(crate) async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(deadline::CLOSE, self.driver).await;
    }
}

async fn connect(mut attempt: Attempt, wake: Arc<Notify>) -> Result<RefreshConnection, Error> {
    let failed = |error| Error::driver("connect", error);
    // Whoever counts the workers must see it from the start, also where the parameters have a name.
    attempt.config.application_name(ANONYMOUS);
    let (client, connection) = attempt.config.connect(attempt.tls.clone()).await.map_err(failed)?;
    let notifications = Arc::<AtomicU32>::default();
    let driver = tokio::spawn(drive(connection, wake, notifications.clone()));
    if attempt.requires_role() {
        attempt.check_role(&client.query_typed_one(ROLE, &[]).await.map_err(failed)?)?;
    }
    let backend_pid = backend_pid::process(&client).await;
    Ok(RefreshConnection {
        client,
        driver,
        backend_pid,
        position: 0,
        notifications,
        identify: OnceCell::new(),
    })
}

async fn drive<S, T>(
    mut connection: Connection<S, T>,
    wake: Arc<Notify>,
    notifications: Arc<AtomicU32>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data, and nobody would read them.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            notifications.fetch_add(1, Ordering::Relaxed);
            wake.notify_one();
        }
    }
    wake.notify_one();
}
