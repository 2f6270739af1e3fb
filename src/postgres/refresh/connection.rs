//! The connection of the engine's thread. Its notifications wake the thread.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Statement};

use super::load::{Read, Scope, load};
use super::notifications::Notifications;
use super::server_info::Identification;
use super::tokens::{self, Tokens};
use crate::postgres::connect::parameters::APPLICATION_NAME;
use crate::postgres::connect::target::{Attempt, Target};
use crate::postgres::connect::{backend_pid, role};
use crate::postgres::deadline::{self, within};
use crate::postgres::error::Error;
use crate::postgres::queries::Queries;

/// One connection to the server, driven by a task of the same runtime.
#[derive(Debug)]
pub(super) struct RefreshConnection {
    client: Client,
    driver: JoinHandle<()>,
    /// The process id that the server announced.
    announced_pid: i32,
    /// The position of the server in the target.
    position: usize,
    notifications: Arc<Notifications>,
    /// The prepared `identify`, if the session is not shared.
    identify: OnceCell<Statement>,
}

impl RefreshConnection {
    /// Connects to the first acceptable server, from the position `first` on. Each notification of
    /// this project, and the end of the connection, notifies `wake`.
    pub(super) async fn open(
        target: &Target,
        first: usize,
        wake: Arc<Notify>,
    ) -> Result<Self, Error> {
        let mut attempts = target.attempts_from(first);
        loop {
            // On the heap: the future is large, because it holds the buffers of a handshake.
            let connecting = Box::pin(connect(attempts.current(), wake.clone()));
            match within(deadline::CONNECT, "connect", connecting).await {
                Ok(connection) => return Ok(Self { position: attempts.position(), ..connection }),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    /// What the server says about itself. `doing` is part of the error.
    pub(super) async fn identify(
        &self,
        queries: &Queries,
        doing: &'static str,
    ) -> Result<Identification, Error> {
        let identifying = async {
            let row = if let Some(statement) = self.identify.get() {
                let [tokens, flags, allowed_users, values] = &queries.tables;
                self.client.query_one(statement, &[tokens, flags, allowed_users, values]).await?
            } else {
                let parameters = queries.tables.each_ref().map(|table| (table as _, Type::TEXT));
                self.client.query_typed_one(queries.identify, &parameters).await?
            };
            Identification::from_row(&row, self.announced_pid)
        };
        let identifying = async {
            let identification = identifying.await.map_err(|error| Error::driver(doing, error));
            identification.and_then(|identification| identification.checked(doing))
        };
        let identification = within(deadline::STATEMENT, doing, identifying).await?;
        self.notifications.ignore(&identification.other_token_tables);
        Ok(identification)
    }

    /// Prepares the session for a long life: it may be idle, and `identify` is planned once. Not
    /// behind a pooler, which gives the session to other clients.
    pub(super) async fn configure_session(&self, queries: &Queries) -> Result<(), Error> {
        let configuring = async {
            self.client.batch_execute("SET idle_session_timeout = 0").await?;
            let statement = self.client.prepare_typed(queries.identify, &[Type::TEXT; 4]).await?;
            let _ = self.identify.set(statement);
            Ok(())
        };
        let doing = "configure the session";
        let configuring = async { configuring.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, configuring).await
    }

    /// Sets the `application_name`.
    pub(super) async fn set_name(&self, name: &str) -> Result<(), Error> {
        let statement = format!("SET application_name = '{name}'");
        self.execute("set the application name", &statement).await
    }

    /// Subscribes to notifications. Comes before the first load, so that no change is missed.
    pub(super) async fn listen(&self) -> Result<(), Error> {
        self.execute("listen", "LISTEN flagstaff_v1").await
    }

    async fn execute(&self, doing: &'static str, statement: &str) -> Result<(), Error> {
        let executing = async {
            let executed = self.client.batch_execute(statement).await;
            executed.map_err(|error| Error::driver(doing, error))
        };
        within(deadline::STATEMENT, doing, executing).await
    }

    /// Reads the change tokens.
    pub(super) async fn poll(&self, queries: &Queries) -> Result<Tokens, Error> {
        let polling = async {
            let rows = self.client.query_typed(&queries.token_set, &[]).await;
            let tokens = rows.and_then(|rows| tokens::from_rows(&rows));
            tokens.map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", polling).await
    }

    /// Loads the tables of `scope`, all at the same point in time.
    pub(super) async fn load(&self, queries: &Queries, scope: Scope<'_>) -> Result<Read, Error> {
        within(deadline::LOAD, "load", load(&self.client, queries, scope)).await
    }

    /// The position of the server in the target.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The number of notifications since the last call.
    pub(super) fn notifications(&self) -> u32 {
        self.notifications.take()
    }

    /// Whether the connection has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Closes the connection, so that the server need not detect its end.
    pub(super) async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(deadline::CLOSE, self.driver).await;
    }
}

async fn connect(mut attempt: Attempt, wake: Arc<Notify>) -> Result<RefreshConnection, Error> {
    let failed = |error| Error::driver("connect", error);
    // Overrides the parameters: the list of workers must show the session from the start.
    attempt.config.application_name(APPLICATION_NAME);
    let (client, connection) = attempt.config.connect(attempt.tls.clone()).await.map_err(failed)?;
    let notifications = Arc::new(Notifications::new(wake));
    let driver = tokio::spawn(drive(connection, notifications.clone()));
    if let Some(required) = attempt.required_role {
        required.check(&client.query_typed_one(role::QUERY, &[]).await.map_err(failed)?)?;
    }
    let announced_pid = backend_pid::announced(&client).await;
    let identify = OnceCell::new();
    Ok(RefreshConnection { client, driver, announced_pid, position: 0, notifications, identify })
}

async fn drive<S, T>(mut connection: Connection<S, T>, notifications: Arc<Notifications>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            notifications.received(notification.payload());
        }
    }
    notifications.ended();
}
