//! The engine's link: one connection whose notifications wake the machine.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection};

use super::error::Error;
use super::queries::Queries;
use super::refresh::deadline::{self, within};
use super::refresh::fingerprint;
use super::target::Target;
use crate::fingerprint::Fingerprint;
use crate::postgres::load::load;
use crate::snapshot::{Loaded, Snapshot};

/// The channel that the triggers notify.
const CHANNEL: &str = "flagstaff_v1";

/// What kind of server the link leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// A standby takes no LISTEN.
    pub(super) standby: bool,
    /// Whether every watched table leaves tokens.
    pub(super) tokens: bool,
}

/// One connection to the server, driven by a task beside the machine.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    driver: JoinHandle<()>,
}

impl Link {
    /// Connects. Each notification, and the end of the link, wakes `wake`.
    pub(super) async fn open(target: &Target, wake: Arc<Notify>) -> Result<Self, Error> {
        // On the heap: with the buffers of a handshake it is large.
        within(deadline::CONNECT, "connect", Box::pin(connect(target, wake))).await
    }

    /// Asks what kind of server this is.
    pub(super) async fn identify(&self, queries: &Queries) -> Result<Nature, Error> {
        let tables = queries.tables.each_ref();
        let parameters = tables.map(|table| (table as _, Type::TEXT));
        let asking = async {
            let row = self.client.query_typed_one(queries.identify, &parameters).await?;
            Ok(Nature { standby: row.try_get("standby")?, tokens: row.try_get("tokens")? })
        };
        let doing = "identify";
        let asking = async { asking.await.map_err(|error| Error::driver(doing, error)) };
        within(deadline::STATEMENT, doing, asking).await
    }

    /// Asks for notifications. Comes before the first load, so that no change falls in between.
    pub(super) async fn listen(&self) -> Result<(), Error> {
        let statement = format!("LISTEN {CHANNEL}");
        let asking = async {
            let answer = self.client.batch_execute(&statement).await;
            answer.map_err(|error| Error::driver("listen", error))
        };
        within(deadline::STATEMENT, "listen", asking).await
    }

    /// The token table at this moment.
    pub(super) async fn poll(&self, queries: &Queries) -> Result<Fingerprint, Error> {
        let asking = async {
            let rows = self.client.query_typed(&queries.fingerprint, &[]).await;
            let answer = rows.and_then(|rows| fingerprint::from_rows(&rows));
            answer.map_err(|error| Error::driver("poll", error))
        };
        within(deadline::STATEMENT, "poll", asking).await
    }

    /// What moved since `base`.
    pub(super) async fn load(
        &self,
        queries: &Queries,
        base: Option<&Snapshot>,
        tokens: bool,
    ) -> Result<Loaded, Error> {
        within(deadline::LOAD, "load", load(&self.client, queries, base, tokens)).await
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

async fn connect(target: &Target, wake: Arc<Notify>) -> Result<Link, Error> {
    let mut ways = target.ways();
    loop {
        let (config, tls) = ways.current();
        match config.connect(tls).await {
            Ok((client, connection)) => {
                return Ok(Link { client, driver: tokio::spawn(drive(connection, wake)) });
            }
            Err(error) => ways.after(Error::driver("connect", error))?,
        }
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>, wake: Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data, and nobody would read them.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            wake.notify_one();
        }
    }
    wake.notify_one();
}
