//! One consistent read of the tables that changed.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the tokens, then the tables whose
//! tokens differ from those of the snapshot. The engine's connection and pooled connections run the
//! same statements.

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::encoded_texts::{EncodedTexts, is_undecodable};
use super::rows::{self, Encoded, Keep, Rows};
use super::tokens::{self, Tokens};
use crate::postgres::error::Error;
use crate::postgres::queries::{DECODE_TEXTS, Queries, RowQueries};
use crate::postgres::text::Decoder;
use crate::snapshot::{Loaded, Snapshot};
use crate::token_set::{Relation, TokenSet};

/// The tables that a load reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// All tables.
    Everything {
        /// Whether the database has change tokens.
        tokens: bool,
    },
    /// The tables whose tokens differ from those of this snapshot.
    ChangedSince(&'a Snapshot),
    /// All tables but the allowed users, which may be many. The database has no change tokens.
    WithoutAllowedUsers,
}

impl Scope<'_> {
    /// The snapshot that the next one is built from, if the scope depends on it.
    fn base(&self) -> Option<&Snapshot> {
        match self {
            Self::ChangedSince(base) => Some(base),
            _ => None,
        }
    }

    fn has_tokens(self) -> bool {
        matches!(self, Self::Everything { tokens: true } | Self::ChangedSince(_))
    }
}

/// Which tables a load reads.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    flags: bool,
    allowed_users: bool,
    values: bool,
}

impl Wanted {
    fn of(scope: Scope<'_>, now: Option<&TokenSet>) -> Self {
        let before = match scope {
            Scope::Everything { .. } => None,
            Scope::ChangedSince(base) => base.token_set(),
            Scope::WithoutAllowedUsers => {
                return Self { flags: true, allowed_users: false, values: true };
            }
        };
        let changed = |relation| match (before, now) {
            (Some(before), Some(now)) => now.changed(before, relation),
            _ => true,
        };
        Self {
            flags: changed(Relation::FLAGS),
            allowed_users: changed(Relation::ALLOWED_USERS),
            values: changed(Relation::VALUES),
        }
    }
}

const DOING: &str = "load";

/// The rows of a load, and whether the server is a standby, which may be behind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) loaded: Loaded,
    pub(super) standby: bool,
}

/// Reads the tables of `scope`.
pub(super) async fn load(
    client: &Client,
    queries: &Queries,
    scope: Scope<'_>,
) -> Result<Read, Error> {
    let loaded = match read(client, queries, scope).await {
        Err(error) if is_undecodable(&error) => read_encoded(client, queries, scope).await,
        loaded => loaded,
    };
    loaded.map_err(|error| Error::driver(DOING, error))
}

async fn read(
    client: &Client,
    queries: &Queries,
    scope: Scope<'_>,
) -> Result<Read, tokio_postgres::Error> {
    let decoder = Decoder::default();
    let (mut read, rows) = transaction(client, queries, &queries.rows, &decoder, scope).await?;
    rows.fill(&mut read.loaded);
    Ok(read)
}

/// Loads texts as they are stored, and decodes them afterwards: one that cannot be decoded fails
/// every query that sends it.
async fn read_encoded(
    client: &Client,
    queries: &Queries,
    scope: Scope<'_>,
) -> Result<Read, tokio_postgres::Error> {
    let (mut read, rows) =
        transaction(client, queries, &queries.encoded_rows, &Encoded, scope).await?;
    let mut texts = EncodedTexts::new(rows.texts()?);
    while let Some(batch) = texts.next_batch() {
        let parameters = [(&batch as &(dyn ToSql + Sync), Type::BYTEA_ARRAY)];
        let decoded = client.query_typed(DECODE_TEXTS, &parameters).await;
        texts.add(batch, decoded)?;
    }
    let decoder = texts.into_decoder();
    rows.decoded(&decoder)?.fill(&mut read.loaded);
    Ok(read)
}

async fn transaction<K: Keep>(
    client: &Client,
    queries: &Queries,
    of_rows: &RowQueries,
    keep: &K,
    scope: Scope<'_>,
) -> Result<(Read, Rows<K>), tokio_postgres::Error> {
    let rows = read_rows(client, queries, of_rows, keep, scope).await;
    if rows.is_err() {
        // The connection stays in use after a lock timeout, so the transaction must end.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    rows
}

async fn read_rows<K: Keep>(
    client: &Client,
    queries: &Queries,
    of_rows: &RowQueries,
    keep: &K,
    scope: Scope<'_>,
) -> Result<(Read, Rows<K>), tokio_postgres::Error> {
    let mut read = Read::empty(queries);
    if scope.has_tokens() {
        // Pipelined: one round trip instead of two.
        let (locked, rows) = tokio::join!(
            client.batch_execute(&queries.lock),
            client.query_typed(&queries.token_set, &[]),
        );
        locked?;
        read.take_tokens(tokens::from_rows(&rows?)?);
    } else {
        client.batch_execute(&queries.lock).await?;
    }
    if let Some(preparation) = &of_rows.preparation {
        client.batch_execute(preparation).await?;
    }
    let wanted = Wanted::of(scope, read.loaded.token_set.as_ref());
    // A little more than before: a list that grows takes up to three times its size.
    let expected = |count: usize| count + count / 16;
    let base = scope.base();
    let expected_flags = expected(base.map_or(0, Snapshot::flag_count));
    let expected_values = expected(base.map_or(0, Snapshot::value_count));
    let flags = wanted.flags.then_some(&*of_rows.flags);
    let allowed_users = wanted.allowed_users.then_some(&*of_rows.allowed_users);
    let values = wanted.values.then_some(&*of_rows.values);
    let (flags, allowed_users, values, committed) = tokio::join!(
        rows::read(client, flags, expected_flags, |row| keep.flag(row)),
        rows::read(client, allowed_users, 0, |row| keep.allowed_users(row)),
        rows::read(client, values, expected_values, |row| keep.value(row)),
        client.batch_execute("COMMIT"),
    );
    let rows = Rows { flags: flags?, allowed_users: allowed_users?, values: values? };
    committed.map(|()| (read, rows))
}

impl Read {
    fn empty(queries: &Queries) -> Self {
        let opaque_values = queries.opaque_values;
        Self { loaded: Loaded { opaque_values, ..Loaded::default() }, standby: false }
    }

    fn take_tokens(&mut self, tokens: Tokens) {
        self.loaded.token_set = Some(tokens.token_set);
        self.standby = tokens.standby;
    }
}
