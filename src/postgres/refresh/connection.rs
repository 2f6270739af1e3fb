//! The connection of the engine's thread. Its notifications wake the thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::load::{Scope, load};
use super::lost_changes::{Question, ServerId};
use super::notifications::Notifications;
use super::read::Read;
use super::server_info::Identification;
use super::statements::{PreparedClient, Statements};
use super::subscription::Subscription;
use super::tokens::{self, Tokens};
use crate::postgres::connect::backend_pid;
use crate::postgres::connect::open::{Event, Opened, open};
use crate::postgres::connect::parameters::APPLICATION_NAME;
use crate::postgres::connect::target::{Attempt, Target};
use crate::postgres::deadline::{self, while_receiving, within};
use crate::postgres::error::Error;
use crate::postgres::queries::{LoadQueries, Queries, READ_POINT, SERVER, SUBSCRIPTION};
use crate::snapshot::Snapshot;

const PARAMETERS_OF_IDENTIFY: [Type; 3] = [Type::TEXT, Type::TEXT_ARRAY, Type::TEXT_ARRAY];
const PARAMETERS_OF_SUBSCRIPTION: [Type; 3] = [Type::TEXT, Type::TEXT_ARRAY, Type::TEXT];

/// The session may be idle. Plans do not depend on the parameters, so each statement is planned once.
const CONFIGURE: &str = "SET idle_session_timeout = 0; SET plan_cache_mode = force_generic_plan";

/// One connection to the server, driven by a task of the same runtime.
#[derive(Debug)]
pub(super) struct RefreshConnection {
    opened: Opened,
    /// The process id that the server announced.
    announced_pid: i32,
    /// The position of the server in the target.
    position: usize,
    notifications: Arc<Notifications>,
    statements: Statements,
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
        self.identify_with(&queries.identify, queries, doing).await
    }

    /// The same for a poll: without the catalog, if the statement is planned each time.
    pub(super) async fn identify_for_poll(
        &self,
        queries: &Queries,
    ) -> Result<Identification, Error> {
        let is_planned = self.statements.contain(&queries.identify);
        let text = if is_planned { &queries.identify } else { &queries.identify_briefly };
        self.identify_with(text, queries, "poll").await
    }

    async fn identify_with(
        &self,
        text: &str,
        queries: &Queries,
        doing: &'static str,
    ) -> Result<Identification, Error> {
        let identifying = async {
            let Queries { token_table, loaded_tables, all_tables, .. } = queries;
            let values: [&(dyn ToSql + Sync); 3] = [token_table, loaded_tables, all_tables];
            let parameters: Vec<_> = values.into_iter().zip(PARAMETERS_OF_IDENTIFY).collect();
            let rows = self.client().query(text, &parameters).await?;
            let row = rows.first();
            row.map(|row| Identification::from_row(row, self.announced_pid)).transpose()
        };
        let identifying = async {
            let identification = identifying.await.map_err(|error| Error::driver(doing, error));
            // A query without FROM a table returns a row.
            identification?.ok_or_else(|| Error::lost(doing))?.checked(doing)
        };
        let mut identification = within(deadline::STATEMENT, doing, identifying).await?;
        self.notifications.ignore(&identification.other_token_tables);
        if identification.subscribed {
            let subscription = self.subscription(queries, doing).await;
            identification.server.subscription = Some(subscription.or_else(Subscription::refused)?);
        }
        Ok(identification)
    }

    /// How the tables of a subscriber arrive.
    async fn subscription(
        &self,
        queries: &Queries,
        doing: &'static str,
    ) -> Result<Subscription, Error> {
        let Queries { token_table, loaded_tables, echo_table, .. } = queries;
        let values: [&(dyn ToSql + Sync); 3] = [token_table, loaded_tables, echo_table];
        let parameters: Vec<_> = values.into_iter().zip(PARAMETERS_OF_SUBSCRIPTION).collect();
        let reading = async {
            let rows = self.client().query(SUBSCRIPTION, &parameters).await;
            let subscription =
                rows.and_then(|rows| rows.first().map(Subscription::from_row).transpose());
            // Its first part has one row.
            subscription
                .map_err(|error| Error::driver(doing, error))?
                .ok_or_else(|| Error::lost(doing))
        };
        within(deadline::STATEMENT, doing, reading).await
    }

    /// Reads the row of the echo, if there is one.
    pub(super) async fn read_echo(&self, queries: &Queries) -> Result<Option<Row>, Error> {
        let reading = async {
            let rows = self.client().query(&queries.echo, &[]).await;
            rows.map(|rows| rows.into_iter().next()).map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", reading).await
    }

    /// Whether a condition about the server is true; false if the server cannot say it.
    pub(super) async fn holds(&self, condition: &str) -> bool {
        let asking = async {
            let rows = self.client().query(&format!("SELECT {condition}"), &[]).await;
            let holds = rows.and_then(|rows| rows.first().map(|row| row.try_get(0)).transpose());
            holds.map_err(|error| Error::driver("poll", error))
        };
        let holds: Option<Option<bool>> =
            within(deadline::STATEMENT, "poll", asking).await.unwrap_or_default();
        holds.flatten().unwrap_or_default()
    }

    /// Which server it is; `None` if it does not say it.
    pub(super) async fn server_id(&self) -> Option<ServerId> {
        let asking = async {
            let rows = self.client().query(SERVER, &[]).await;
            let server = rows.and_then(|rows| rows.first().map(ServerId::from_row).transpose());
            server.map_err(|error| Error::driver("identify", error))
        };
        within(deadline::STATEMENT, "identify", asking).await.unwrap_or_default()
    }

    fn client(&self) -> PreparedClient<'_> {
        PreparedClient { client: &self.opened.client, statements: &self.statements }
    }

    /// Prepares the session for a long life: it may be idle, and its statements are planned once.
    /// Not behind a pooler, which gives the session to other clients.
    pub(super) async fn configure_session(
        &self,
        queries: &Queries,
        has_tokens: bool,
    ) -> Result<(), Error> {
        let configuring = async {
            self.opened.client.batch_execute(CONFIGURE).await?;
            let names = [Type::TEXT_ARRAY, Type::TEXT_ARRAY];
            let texts: [(&str, &[Type]); 4] = [
                (&queries.identify, &PARAMETERS_OF_IDENTIFY),
                (&queries.token_set, &[]),
                (&queries.new_tokens, &[Type::TEXT]),
                (READ_POINT, &names),
            ];
            self.client().prepare(if has_tokens { &texts } else { &texts[..1] }).await
        };
        let doing = "configure the session";
        let configuring = async { configuring.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, configuring).await
    }

    /// Sets the `application_name`.
    pub(super) async fn set_name(&self, name: &str) -> Result<(), Error> {
        let set = "SELECT pg_catalog.set_config('application_name', $1, false)";
        self.execute("set the application name", set, &[(&name, Type::TEXT)], deadline::STATEMENT)
            .await
    }

    /// Subscribes to notifications. Comes before the first load, so that no change is missed.
    pub(super) async fn listen(&self) -> Result<(), Error> {
        self.execute("listen", "LISTEN flagstaff_v1", &[], deadline::STATEMENT).await
    }

    /// Runs one statement, whose rows are ignored, in a transaction that is READ COMMITTED whatever
    /// the role's default is.
    pub(super) async fn execute(
        &self,
        doing: &'static str,
        statement: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
        limit: Duration,
    ) -> Result<(), Error> {
        let client = &self.opened.client;
        let executing = async {
            // Pipelined: one round trip instead of three.
            let (begun, executed, committed) = tokio::join!(
                client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
                client.execute_typed(statement, values),
                client.batch_execute("COMMIT"),
            );
            begun
                .and(executed.map(drop))
                .and(committed)
                .map_err(|error| Error::driver(doing, error))
        };
        within(limit, doing, executing).await
    }

    /// Reads the change tokens.
    pub(super) async fn poll(&self, queries: &Queries) -> Result<Tokens, Error> {
        let polling = async {
            let rows = self.client().query(&queries.token_set, &[]).await;
            let tokens = rows.and_then(|rows| tokens::from_rows(&rows));
            tokens.map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", polling).await
    }

    /// Loads the tables of `scope`, all at the same point in time. Ends if nothing arrives for
    /// `limit`.
    pub(super) async fn load(
        &self,
        queries: &LoadQueries,
        scope: Scope<'_>,
        base: Option<&Snapshot>,
        question: Option<Question>,
        limit: Duration,
    ) -> Result<Read, Error> {
        // On the heap: the future is large, because a load may read in three ways.
        let loading = Box::pin(load(self.client(), queries, scope, base, question));
        while_receiving(&self.opened.last_byte, limit, "load", loading).await
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
        self.opened.is_lost()
    }

    /// Closes the connection, so that the server need not detect its end.
    pub(super) async fn close(self) {
        self.opened.close().await;
    }
}

async fn connect(mut attempt: Attempt, wake: Arc<Notify>) -> Result<RefreshConnection, Error> {
    // Overrides the parameters: the list of workers must show the session from the start.
    attempt.config.application_name(APPLICATION_NAME);
    let notifications = Arc::new(Notifications::new(wake));
    let received = notifications.clone();
    let opened = open(attempt, move |event| match event {
        Event::Notified(payload) => received.received(payload),
        Event::Ended => received.ended(),
    })
    .await?;
    let announced_pid = backend_pid::announced(&opened.client).await;
    let statements = Statements::default();
    Ok(RefreshConnection { opened, announced_pid, position: 0, notifications, statements })
}
