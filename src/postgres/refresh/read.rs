//! What the steps of a load share.

use std::time::Duration;

use tokio_postgres::Client;

use super::lost_changes::Answer;
use crate::snapshot::Snapshot;

pub(super) const DOING: &str = "load";

/// The snapshot of a load, and whether the server is a standby, which may be behind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) snapshot: Snapshot,
    pub(super) standby: bool,
    /// What the server has said about the changes before.
    pub(super) answer: Option<Answer>,
    pub(super) loaded: Loaded,
}

/// What a load has read, as far as it decides when the next one is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loaded {
    /// Whether it has read single rows.
    pub(super) by_rows: bool,
    /// How long it took to read all members of groups, if it has.
    pub(super) members: Option<Duration>,
    /// How long it took to find out that groups cannot be read.
    pub(super) failed_groups: Option<Duration>,
}

/// Whether a query of some rows may have failed because of the keys: the columns have other types
/// than the models say.
pub(super) fn is_of_keys(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(&code.code()[..2], "22" | "42"))
}

/// Ends the transaction of a load.
pub(super) async fn commit(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("COMMIT").await
}
