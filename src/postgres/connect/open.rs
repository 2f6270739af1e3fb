//! Makes one attempt to connect. A task of the same runtime drives the connection.

use std::future::poll_fn;
use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::postgres::connect::role;
use crate::postgres::connect::servers::Address;
use crate::postgres::connect::stream::Stream;
use crate::postgres::connect::target::Attempt;
use crate::postgres::connect::tls::Handshake;
use crate::postgres::deadline::{self, LastByte};
use crate::postgres::error::Error;

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

/// A connection that nothing drives yet.
struct Connected {
    client: Client,
    connection: Connection<Stream, <Handshake as TlsConnect<Stream>>::Stream>,
    last_byte: LastByte,
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
    let Connected { client, connection, last_byte } = connect(&attempt).await?;
    let driver = tokio::spawn(drive(connection, on_event));
    if let Some(required) = attempt.required_role {
        let failed = |error| Error::driver("connect", error);
        required.check(&client.query_typed_one(role::QUERY, &[]).await.map_err(failed)?)?;
    }
    Ok(Opened { client, last_byte, driver })
}

/// Connects to the first address of the server that accepts.
async fn connect(attempt: &Attempt) -> Result<Connected, Error> {
    let mut last = None;
    for address in attempt.server.addresses().await.map_err(Error::socket)? {
        match connect_to(&address, attempt).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::socket(ErrorKind::NotFound.into())))
}

async fn connect_to(address: &Address, attempt: &Attempt) -> Result<Connected, Error> {
    let stream = Stream::connect(address, &attempt.config).await.map_err(Error::socket)?;
    let last_byte = stream.last_byte();
    let handshake = attempt.tls.handshake(attempt.server.host());
    let connected = attempt.config.connect_raw(stream, handshake).await;
    let (client, connection) = connected.map_err(|error| Error::driver("connect", error))?;
    Ok(Connected { client, connection, last_byte })
}

async fn drive<S, T>(mut connection: Connection<S, T>, mut on_event: impl FnMut(Event<'_>))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Notices are dropped: they may quote data.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            on_event(Event::Notified(notification.payload()));
        }
    }
    on_event(Event::Ended);
}
