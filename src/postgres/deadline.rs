//! Every wait for the server has a deadline.
//!
//! `connect_timeout` covers the TCP connection only: a stopped server would block the rest of the
//! handshake, and every query, forever. A wait that is over is dropped, which closes its socket.

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};

use crate::postgres::error::Error;

/// Name look-up, TCP, log-in.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// One address of a host: less than half of [`CONNECT`], so that a host with a dead address of one
/// family is reached at the other.
pub(crate) const ADDRESS: Duration = Duration::from_millis(1400);
/// A poll, or another statement that is cheap for the server.
pub(crate) const STATEMENT: Duration = Duration::from_secs(2);
/// A load, which may read millions of allowed users.
pub(crate) const LOAD: Duration = Duration::from_secs(15);
/// Closing a connection.
pub(crate) const CLOSE: Duration = Duration::from_millis(200);

/// How much longer a caller waits than its work: the work's own error says more.
const GRACE: Duration = Duration::from_millis(100);
/// The time between two checks whether a caller is interrupted.
const SLICE: Duration = Duration::from_millis(50);

/// Waits for `future`, at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(Error::deadline(doing)))
}

/// Waits for `future` until `until`.
pub(crate) async fn before<T>(
    until: Instant,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout_at(until.into(), future).await.unwrap_or_else(|_| Err(Error::deadline(doing)))
}

/// Waits for what a thread sends, until a little after `until` or until `interrupted` returns true.
/// Blocks.
pub(crate) fn receive<T>(
    result: &Receiver<Result<T, Error>>,
    until: Instant,
    doing: &'static str,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<T, Error> {
    let until = until + GRACE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match result.recv_timeout(left.min(SLICE)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::lost(doing)),
            Err(RecvTimeoutError::Timeout) if left > SLICE && !interrupted() => {}
            Err(RecvTimeoutError::Timeout) => return Err(Error::deadline(doing)),
        }
    }
}
