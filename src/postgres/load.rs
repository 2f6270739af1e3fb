//! One consistent read of the tables that moved.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the fingerprint, then only those
//! tables whose fingerprint differs from the snapshot before. The same statements run over the
//! engine's link and over a pooled one.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::error::Error;
use super::queries::Queries;
use super::refresh::fingerprint;
use crate::fingerprint::{Fingerprint, Source};
use crate::row::{AllowRow, FlagRow, Users, ValueRow};
use crate::snapshot::{Loaded, Snapshot};

/// Which tables a load must read.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    flags: bool,
    allow_lists: bool,
    values: bool,
}

impl Wanted {
    /// Those that moved since `base`, or all where that is not known.
    fn since(base: Option<&Snapshot>, now: Option<&Fingerprint>) -> Self {
        let before = base.and_then(Snapshot::fingerprint);
        let moved = |source| match (before, now) {
            (Some(before), Some(now)) => now.moved(before, source),
            _ => true,
        };
        Self {
            flags: moved(Source::Flags),
            allow_lists: moved(Source::AllowLists),
            values: moved(Source::Values),
        }
    }
}

const DOING: &str = "load";

/// Loads what moved since `base` over the engine's link. `tokens` says whether there is a token
/// table to go by.
pub(super) async fn load(
    client: &Client,
    queries: &Queries,
    base: Option<&Snapshot>,
    tokens: bool,
) -> Result<Loaded, Error> {
    let loaded = read(client, queries, base, tokens).await;
    if loaded.is_err() {
        // The link may be used again (a lock was in the way), but not inside a failed transaction.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    loaded.map_err(|error| Error::driver(DOING, error))
}

async fn read(
    client: &Client,
    queries: &Queries,
    base: Option<&Snapshot>,
    tokens: bool,
) -> Result<Loaded, tokio_postgres::Error> {
    let mut loaded = Loaded { opaque_values: queries.opaque_values, ..Loaded::default() };
    if tokens {
        // Both are sent before the first is answered: one round trip instead of two.
        let (locked, rows) = tokio::join!(
            client.batch_execute(&queries.lock),
            client.query_typed(&queries.fingerprint, &[]),
        );
        locked?;
        loaded.fingerprint = Some(fingerprint::from_rows(&rows?)?);
    } else {
        client.batch_execute(&queries.lock).await?;
    }
    let wanted = Wanted::since(base, loaded.fingerprint.as_ref());
    let rows = async |wanted: bool, query: &str| {
        if wanted { client.query_typed(query, &[]).await.map(Some) } else { Ok(None) }
    };
    let (flags, allow_lists, values, committed) = tokio::join!(
        rows(wanted.flags, &queries.flags),
        rows(wanted.allow_lists, &queries.allow_lists),
        rows(wanted.values, &queries.values),
        client.batch_execute("COMMIT"),
    );
    let loaded = fill(loaded, flags?, allow_lists?, values?)?;
    committed.map(|()| loaded)
}

/// Loads everything over a pooled connection. Blocks.
pub(super) fn load_blocking(
    client: &mut postgres::Client,
    queries: &Queries,
    tokens: bool,
) -> Result<Loaded, Error> {
    read_blocking(client, queries, tokens).map_err(|error| Error::driver(DOING, error))
}

fn read_blocking(
    client: &mut postgres::Client,
    queries: &Queries,
    tokens: bool,
) -> Result<Loaded, tokio_postgres::Error> {
    let mut loaded = Loaded { opaque_values: queries.opaque_values, ..Loaded::default() };
    client.batch_execute(&queries.lock)?;
    if tokens {
        let rows = client.query_typed(&queries.fingerprint, &[])?;
        loaded.fingerprint = Some(fingerprint::from_rows(&rows)?);
    }
    let flags = client.query_typed(&queries.flags, &[])?;
    let allow_lists = client.query_typed(&queries.allow_lists, &[])?;
    let values = client.query_typed(&queries.values, &[])?;
    client.batch_execute("COMMIT")?;
    fill(loaded, Some(flags), Some(allow_lists), Some(values))
}

fn fill(
    loaded: Loaded,
    flags: Option<Vec<Row>>,
    allow_lists: Option<Vec<Row>>,
    values: Option<Vec<Row>>,
) -> Result<Loaded, tokio_postgres::Error> {
    Ok(Loaded {
        flags: decoded(flags, flag_row)?,
        allow_lists: decoded(allow_lists, allow_row)?,
        values: decoded(values, value_row)?,
        ..loaded
    })
}

fn decoded<T>(
    rows: Option<Vec<Row>>,
    decode: fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Option<Vec<T>>, tokio_postgres::Error> {
    rows.map(|rows| rows.iter().map(decode).collect()).transpose()
}

fn flag_row(row: &Row) -> Result<FlagRow, tokio_postgres::Error> {
    Ok(FlagRow {
        pk: row.try_get("pk")?,
        key: row.try_get("key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
    })
}

fn allow_row(row: &Row) -> Result<AllowRow, tokio_postgres::Error> {
    let integers = row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY);
    let users = if integers {
        Users::Integers(row.try_get("users")?)
    } else {
        Users::Texts(row.try_get("users")?)
    };
    Ok(AllowRow { flag_pk: row.try_get("flag_pk")?, users })
}

fn value_row(row: &Row) -> Result<ValueRow, tokio_postgres::Error> {
    Ok(ValueRow { pk: row.try_get("pk")?, key: row.try_get("key")?, value: row.try_get("value")? })
}
