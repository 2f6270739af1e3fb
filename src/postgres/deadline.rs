//! Every wait for the server has a deadline.
//!
//! `connect_timeout` covers the TCP connection only: a stopped server would block the rest of the
//! handshake, and every query, forever.

use std::future::Future;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tokio::time::timeout;

use crate::postgres::error::Error;

/// Name look-up, TCP, log-in.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// A poll, or another statement that is cheap for the server.
pub(crate) const STATEMENT: Duration = Duration::from_secs(2);
/// A load, which may read millions of allowed users.
pub(crate) const LOAD: Duration = Duration::from_secs(15);
/// Closing a connection.
pub(crate) const CLOSE: Duration = Duration::from_millis(200);

/// Waits for `future`, at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(Error::deadline(doing)))
}

/// Runs `work` on a thread of this name and waits for it, at most `limit`. Blocks.
///
/// The blocking driver has no deadline: a server that hangs blocks that thread, not the caller.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    limit: Duration,
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = channel();
    let thread = thread::Builder::new().name(name.into());
    thread.spawn(move || drop(sender.send(work()))).map_err(Error::connect)?;
    receiver.recv_timeout(limit).unwrap_or_else(|_| Err(Error::deadline(doing)))
}
