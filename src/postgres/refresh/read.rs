//! What the steps of a load share.

use std::time::Duration;

use tokio_postgres::Client;

use crate::snapshot::Snapshot;

pub(super) const DOING: &str = "load";

/// The snapshot of a load, and whether the server is a standby, which may be behind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) snapshot: Snapshot,
    pub(super) standby: bool,
    /// How long it took to find out that groups cannot be read.
    pub(super) failed_groups: Option<Duration>,
}

/// Ends the transaction of a load.
pub(super) async fn commit(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("COMMIT").await
}
