//! One consistent read of the tables that changed.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the tokens, then the tables whose
//! tokens differ from those of the snapshot. The engine's connection and pooled connections run the
//! same statements.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::tokens::{self, Tokens};
use crate::postgres::error::Error;
use crate::postgres::queries::Queries;
use crate::postgres::text::{self, Text};
use crate::row::{AllowedUsersRow, Fault, FlagRow, Users, ValueRow};
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
            flags: changed(Relation::Flags),
            allowed_users: changed(Relation::AllowedUsers),
            values: changed(Relation::Values),
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
    let loaded = read(client, queries, scope).await;
    if loaded.is_err() {
        // The connection stays in use after a lock timeout, so the transaction must end.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    loaded.map_err(|error| Error::driver(DOING, error))
}

async fn read(
    client: &Client,
    queries: &Queries,
    scope: Scope<'_>,
) -> Result<Read, tokio_postgres::Error> {
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
    let wanted = Wanted::of(scope, read.loaded.token_set.as_ref());
    let rows = async |wanted: bool, query: &str| {
        if wanted { client.query_typed(query, &[]).await.map(Some) } else { Ok(None) }
    };
    let (flags, allowed_users, values, committed) = tokio::join!(
        rows(wanted.flags, &queries.flags),
        rows(wanted.allowed_users, &queries.allowed_users),
        rows(wanted.values, &queries.values),
        client.batch_execute("COMMIT"),
    );
    read.fill(flags?, allowed_users?, values?)?;
    committed.map(|()| read)
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

    fn fill(
        &mut self,
        flags: Option<Vec<Row>>,
        allowed_users: Option<Vec<Row>>,
        values: Option<Vec<Row>>,
    ) -> Result<(), tokio_postgres::Error> {
        self.loaded.flags = decoded(flags, flag_row)?;
        self.loaded.allowed_users = decoded(allowed_users, allowed_users_row)?;
        self.loaded.values = decoded(values, value_row)?;
        Ok(())
    }
}

fn decoded<T>(
    rows: Option<Vec<Row>>,
    decode: fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Option<Vec<T>>, tokio_postgres::Error> {
    rows.map(|rows| rows.iter().map(decode).collect()).transpose()
}

fn flag_row(row: &Row) -> Result<FlagRow, tokio_postgres::Error> {
    Ok(FlagRow {
        pk: text::shown(row, "pk")?,
        key: text::required(row, "key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
    })
}

fn allowed_users_row(row: &Row) -> Result<AllowedUsersRow, tokio_postgres::Error> {
    let flag_pk = text::shown(row, "flag_pk")?;
    if row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY) {
        return Ok(AllowedUsersRow::new(flag_pk, Users::Integers(row.try_get("users")?)));
    }
    let read: Vec<Text<'_>> = row.try_get("users")?;
    let users: Vec<_> = read.iter().filter_map(|user| user.valid()).map(Into::into).collect();
    let undecodable = users.len() < read.len();
    Ok(AllowedUsersRow { flag_pk, users: Users::Texts(users), undecodable })
}

fn value_row(row: &Row) -> Result<ValueRow, tokio_postgres::Error> {
    let read: Option<Text<'_>> = row.try_get("value")?;
    let value = if row.try_get("too_large")? {
        Err(Fault::TooLarge)
    } else {
        read.map(Text::checked).transpose()
    };
    Ok(ValueRow { pk: text::shown(row, "pk")?, key: text::required(row, "key")?, value })
}
