//! Makes one attempt to connect. A task of the same runtime drives the connection.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::postgres::connect::role;
use crate::postgres::connect::target::Attempt;
use crate::postgres::deadline;
use crate::postgres::error::Error;

/// What happens to an open connection without a request.
pub(crate) enum Event {
    Notified,
    Ended,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
}

impl Opened {
    /// Whether the connection has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Closes the connection, so that the server need not detect its end.
    pub(crate) async fn close(self) {
        drop(self.client);
        let _ = timeout(deadline::CLOSE, self.driver).await;
    }
}

/// Connects, and checks the role of the server. Passes each event to `on_event`.
pub(crate) async fn open(
    attempt: Attempt,
    on_event: impl FnMut(Event) + Send + 'static,
) -> Result<Opened, Error> {
    let failed = |error| Error::driver("connect", error);
    let (client, connection) = attempt.config.connect(attempt.tls).await.map_err(failed)?;
    let driver = tokio::spawn(drive(connection, on_event));
    if let Some(required) = attempt.required_role {
        required.check(&client.query_typed_one(role::QUERY, &[]).await.map_err(failed)?)?;
    }
    Ok(Opened { client, driver })
}

async fn drive<S, T>(mut connection: Connection<S, T>, mut on_event: impl FnMut(Event))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            on_event(Event::Notified);
        }
    }
    on_event(Event::Ended);
}
