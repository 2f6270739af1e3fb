//! Every wait for the server has an end.
//!
//! `connect_timeout` covers the TCP connection only: a stopped server would hang the rest of the
//! handshake, and every query, for ever.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::postgres::error::Error;

/// Name look-up, TCP, log-in.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// A poll or another statement that costs the server next to nothing.
pub(crate) const STATEMENT: Duration = Duration::from_secs(2);
/// A load, which may have to bring millions of allow-list entries.
pub(crate) const LOAD: Duration = Duration::from_secs(15);
/// Saying shutdown.
pub(crate) const CLOSE: Duration = Duration::from_millis(200);

/// Waits for `future`, but not longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(Error::deadline(doing)))
}
