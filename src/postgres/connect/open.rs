//! Makes one attempt to connect. A task of the same runtime drives the connection.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::postgres::connect::guard::Guard;
use crate::postgres::connect::role;
use crate::postgres::connect::target::Attempt;
use crate::postgres::deadline::{self, LastByte};
use crate::postgres::error::Error;

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What happens to an open connection without a request.
pub(crate) enum Event<'a> {
    /// A notification, with its payload.
    Notified(&'a str),
    Ended,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) client: Client,
    /// When the server last sent a byte.
    pub(crate) last_byte: LastByte,
    driver: JoinHandle<()>,
}

impl Opened {
    /// Whether the connection has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Closes the connection, so that the server need not detect its end.
    pub(crate) async fn close(self) {
        if self.is_lost() {
            return;
        }
        drop(self.client);
        let _ = timeout(deadline::CLOSE, self.driver).await;
    }
}

/// Connects, and checks the role of the server. Passes each event to `on_event`.
pub(crate) async fn open(
    attempt: Attempt,
    on_event: impl FnMut(Event<'_>) + Send + 'static,
) -> Result<Opened, Error> {
    let failed = |error| Error::driver("connect", error);
    // The waits for the connection have deadlines of their own.
    let (guard, until) = Guard::new(attempt.tls, Instant::now() + NEVER);
    let (client, connection) = attempt.config.connect(guard).await.map_err(failed)?;
    let last_byte = LastByte::now();
    let driver = tokio::spawn(drive(connection, until, last_byte.clone(), on_event));
    if let Some(required) = attempt.required_role {
        required.check(&client.query_typed_one(role::QUERY, &[]).await.map_err(failed)?)?;
    }
    Ok(Opened { client, last_byte, driver })
}

async fn drive<S, T>(
    mut connection: Connection<S, T>,
    _guard: watch::Sender<Instant>,
    last_byte: LastByte,
    mut on_event: impl FnMut(Event<'_>),
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data.
    let mut next = async || {
        let polled = poll_fn(|context| {
            // Bytes have arrived, or a request was made.
            last_byte.arrived();
            connection.poll_message(context)
        });
        polled.await
    };
    while let Some(Ok(message)) = next().await {
        if let AsyncMessage::Notification(notification) = message {
            on_event(Event::Notified(notification.payload()));
        }
    }
    on_event(Event::Ended);
}
