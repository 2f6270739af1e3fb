//! The engine's link: one connection whose notifications wake the machine.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Statement};

use super::announced;
use super::error::Error;
use super::load::{Read, Scope, load};
use super::name::ANONYMOUS;
use super::nature::Identity;
use super::queries::Queries;
use super::refresh::deadline::{self, within};
use super::refresh::fingerprint::{self, Tokens};
use super::target::{ROLE, Target, Way};

/// One connection to the server, driven by a task beside the machine.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    driver: JoinHandle<()>,
    /// The process of the server that the client was told of.
    announced: i32,
    /// The position of the server among those of the target.
    position: usize,
    /// The notifications that have come and were not counted yet.
    heard: Arc<AtomicU32>,
    /// The question of each poll that is worth a plan of its own, where the session is ours.
    identify: OnceCell<Statement>,
}

impl Link {
    /// Connects, with the server at the position `first` if it will do. Each notification, and the
    /// end of the link, wakes `wake`.
    pub(super) async fn open(
        target: &Target,
        first: usize,
        wake: Arc<Notify>,
    ) -> Result<Self, Error> {
        let mut ways = target.ways_from(first);
        loop {
            // On the heap: with the buffers of a handshake it is large.
            let connecting = Box::pin(connect(ways.current(), wake.clone()));
            match within(deadline::CONNECT, "connect", connecting).await {
                Ok(link) => return Ok(Self { position: ways.position(), ..link }),
                Err(error) => ways.after(error)?,
            }
        }
    }

    /// Asks what kind of server this is, while `doing` something.
    pub(super) async fn identify(
        &self,
        queries: &Queries,
        doing: &'static str,
    ) -> Result<Identity, Error> {
        let asking = async {
            let row = if let Some(statement) = self.identify.get() {
                let [tokens, flags, lists, values] = &queries.tables;
                self.client.query_one(statement, &[tokens, flags, lists, values]).await?
            } else {
                let parameters = queries.tables.each_ref().map(|table| (table as _, Type::TEXT));
                self.client.query_typed_one(queries.identify, &parameters).await?
            };
            Identity::from_row(&row, self.announced)
        };
        let asking = async { asking.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, asking).await
    }

    /// Makes the session ours: it may be idle for as long as the poll wants, and what is asked at
    /// each poll is planned once. Not behind a pooler, where it would be somebody else's next.
    pub(super) async fn settle(&self, queries: &Queries) -> Result<(), Error> {
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
    pub(super) async fn announce(&self, name: &str) -> Result<(), Error> {
        let statement = format!("SET application_name = '{name}'");
        self.execute("announce", &statement).await
    }

    /// Asks for notifications. Comes before the first load, so that no change falls in between.
    pub(super) async fn listen(&self) -> Result<(), Error> {
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
    pub(super) async fn poll(&self, queries: &Queries) -> Result<Tokens, Error> {
        let asking = async {
            let rows = self.client.query_typed(&queries.fingerprint, &[]).await;
            let answer = rows.and_then(|rows| fingerprint::from_rows(&rows));
            answer.map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", asking).await
    }

    /// What `scope` asks for, all of one moment.
    pub(super) async fn load(&self, queries: &Queries, scope: Scope<'_>) -> Result<Read, Error> {
        within(deadline::LOAD, "load", load(&self.client, queries, scope)).await
    }

    /// The position of the server among those of the target.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// How many notifications have come since this was asked last.
    pub(super) fn heard(&self) -> u32 {
        self.heard.swap(0, Ordering::Relaxed)
    }

    /// Whether the connection has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Says farewell, so that the server need not find out.
    pub(super) async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(deadline::CLOSE, self.driver).await;
    }
}

async fn connect(mut way: Way, wake: Arc<Notify>) -> Result<Link, Error> {
    let failed = |error| Error::driver("connect", error);
    // Whoever counts the workers must see it from the start, also where the settings have a name.
    way.config.application_name(ANONYMOUS);
    let (client, connection) = way.config.connect(way.tls.clone()).await.map_err(failed)?;
    let heard = Arc::<AtomicU32>::default();
    let driver = tokio::spawn(drive(connection, wake, heard.clone()));
    if way.is_choosy() {
        way.judge(&client.query_typed_one(ROLE, &[]).await.map_err(failed)?)?;
    }
    let announced = announced::process(&client).await;
    Ok(Link { client, driver, announced, position: 0, heard, identify: OnceCell::new() })
}

async fn drive<S, T>(mut connection: Connection<S, T>, wake: Arc<Notify>, heard: Arc<AtomicU32>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data, and nobody would read them.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            heard.fetch_add(1, Ordering::Relaxed);
            wake.notify_one();
        }
    }
    wake.notify_one();
}
