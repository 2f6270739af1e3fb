//! One consistent read of the tables that changed.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the tokens, then the tables whose
//! tokens differ from those of the snapshot. The engine's connection and pooled connections run the
//! same statements.

use std::cell::RefCell;

use futures_util::future::join_all;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::encoded_texts::{decoder_of, is_undecodable};
use super::groups::GroupStep;
use super::read::{DOING, Read, commit};
use super::rows::{self, Sizes};
use super::tokens::{self, Tokens};
use crate::postgres::error::Error;
use crate::postgres::queries::{LoadQueries, SEND_ENCODED, TableQuery, WATCHED_TABLES};
use crate::postgres::tables::Slot;
use crate::postgres::text::Decoder;
use crate::snapshot::{Loaded, Snapshot};
use crate::token_set::TokenSet;

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
    /// All tables but those that may be large. The database has no change tokens.
    WithoutLargeTables,
}

impl Scope<'_> {
    /// The snapshot that the next one is built from, if the scope depends on it.
    fn base(&self) -> Option<&Snapshot> {
        match self {
            Self::ChangedSince(base) => Some(base),
            _ => None,
        }
    }

    /// Whether the load reads this table. `now` are the current change tokens.
    fn includes(self, table: &TableQuery, now: Option<&TokenSet>) -> bool {
        match self {
            Self::Everything { .. } => true,
            Self::ChangedSince(base) => match (base.token_set(), now) {
                (Some(before), Some(now)) => now.changed(before, table.relation),
                _ => true,
            },
            Self::WithoutLargeTables => !table.is_large,
        }
    }

    /// Whether the load may have to read groups: they, or the rules that refer to them, changed.
    fn may_need_groups(
        self,
        groups: &TableQuery,
        wanted: &[&TableQuery],
        now: Option<&TokenSet>,
    ) -> bool {
        let has_rules = |query: &&TableQuery| matches!(query.slot, Slot::Flags | Slot::Segments);
        wanted.iter().any(has_rules)
            || self.includes(groups, now)
            || self.base().is_some_and(Snapshot::must_read_groups)
    }

    /// The step that reads groups. `now` are the current change tokens.
    fn group_step<'a>(
        self,
        client: &'a Client,
        query: &'a TableQuery,
        now: Option<&TokenSet>,
    ) -> GroupStep<'a> {
        let retries = matches!(self, Self::Everything { .. });
        GroupStep { client, query, changed: self.includes(query, now), retries }
    }

    fn has_tokens(self) -> bool {
        matches!(self, Self::Everything { tokens: true } | Self::ChangedSince(_))
    }
}

/// Reads the tables of `scope`. `base` is the snapshot that the next one is built from.
pub(super) async fn load(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
    base: Option<&Snapshot>,
) -> Result<Read, Error> {
    let read = match read(client, queries, scope, base).await {
        Err(error) if is_undecodable(&error) => read_encoded(client, queries, scope, base).await,
        read => read,
    };
    read.map_err(|error| Error::driver(DOING, error))
}

async fn read(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
    base: Option<&Snapshot>,
) -> Result<Read, tokio_postgres::Error> {
    let (rows, decoder) = (RefCell::new(Rows::empty(queries)), Decoder::default());
    let keep = |slot, row| rows.borrow_mut().add(slot, &row, &decoder);
    let reading = async {
        let wanted = begin(client, queries, scope, &rows).await?;
        let may_need = |groups: &&TableQuery| {
            scope.may_need_groups(groups, &wanted, rows.borrow().loaded.token_set.as_ref())
        };
        let Some(query) = queries.groups.as_ref().filter(may_need) else {
            read_tables(client, &wanted, keep, commit(client)).await?;
            return Ok(rows.take().into_read(base));
        };
        read_tables(client, &wanted, keep, async { Ok(()) }).await?;
        let rows = rows.take();
        let step = scope.group_step(client, query, rows.loaded.token_set.as_ref());
        step.add_to(rows.into_read(base)).await
    };
    or_rollback(client, reading).await
}

/// Loads texts as they are stored, and decodes them afterwards: one that cannot be decoded fails
/// every query that sends it.
async fn read_encoded(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
    base: Option<&Snapshot>,
) -> Result<Read, tokio_postgres::Error> {
    let (read, rows) = (RefCell::new(Rows::empty(queries)), RefCell::new(Vec::new()));
    let reading = async {
        let wanted = begin(client, queries, scope, &read).await?;
        let mut statements: Vec<_> = wanted.iter().map(|query| query.declare()).collect();
        statements.push(SEND_ENCODED.into());
        client.batch_execute(&statements.join(";\n")).await?;
        let fetched: Vec<_> = wanted.iter().map(|query| query.fetched()).collect();
        let keep = |slot, row| {
            rows.borrow_mut().push((slot, row));
            Ok(())
        };
        read_tables(client, &fetched.iter().collect::<Vec<_>>(), keep, commit(client)).await
    };
    or_rollback(client, reading).await?;
    let (mut read, rows) = (read.into_inner(), rows.into_inner());
    let decoder = decoder_of(client, rows.iter().map(|(_, row)| row)).await?;
    for (slot, row) in &rows {
        read.add(*slot, row, &decoder)?;
    }
    match &queries.groups {
        None => Ok(read.into_read(base)),
        Some(query) => {
            let step = scope.group_step(client, query, read.loaded.token_set.as_ref());
            step.add_encoded_to(read.into_read(base)).await
        }
    }
}

/// The connection stays in use after a lock timeout, so the transaction must end.
async fn or_rollback<T>(
    client: &Client,
    reading: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let outcome = reading.await;
    if outcome.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    outcome
}

/// Locks the tables, then reads the tokens, and which tables inherit. Returns the queries of the
/// tables that the load reads.
async fn begin<'q>(
    client: &Client,
    queries: &'q LoadQueries,
    scope: Scope<'_>,
    rows: &RefCell<Rows>,
) -> Result<Vec<&'q TableQuery>, tokio_postgres::Error> {
    if scope.has_tokens() {
        let names = [(&queries.names as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
        // Pipelined: one round trip instead of three.
        let (locked, tokens, tables) = tokio::join!(
            client.batch_execute(&queries.lock),
            client.query_typed(&queries.token_set, &[]),
            client.query_typed_one(WATCHED_TABLES, &names),
        );
        locked?;
        let mut tokens = tokens::from_rows(&tokens?)?;
        tokens.token_set.set_tables(tables?.try_get("tables")?);
        rows.borrow_mut().take_tokens(tokens);
    } else {
        client.batch_execute(&queries.lock).await?;
    }
    Ok(rows.borrow_mut().open_slots(queries, scope))
}

/// Reads the rows of these tables, and ends with `last`, all in one round trip.
async fn read_tables(
    client: &Client,
    wanted: &[&TableQuery],
    keep: impl Fn(Slot, Row) -> Result<(), tokio_postgres::Error>,
    last: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<(), tokio_postgres::Error> {
    let reads = wanted.iter().map(|query| {
        let keep = &keep;
        rows::read(client, &query.text, &[], |row| keep(query.slot, row))
    });
    let (rows, ended) = tokio::join!(join_all(reads), last);
    rows.into_iter().collect::<Result<(), _>>()?;
    ended
}

/// What was read so far.
#[derive(Default)]
struct Rows {
    loaded: Loaded,
    standby: bool,
    sizes: Sizes,
}

impl Rows {
    fn empty(queries: &LoadQueries) -> Self {
        let opaque_values = queries.opaque_values;
        Self { loaded: Loaded { opaque_values, ..Loaded::default() }, ..Self::default() }
    }

    fn add(
        &mut self,
        slot: Slot,
        row: &Row,
        decoder: &Decoder,
    ) -> Result<(), tokio_postgres::Error> {
        slot.add(&mut self.loaded, &mut self.sizes, row, decoder)
    }

    /// Empties the slots of the tables that the load reads, and returns their queries.
    fn open_slots<'q>(
        &mut self,
        queries: &'q LoadQueries,
        scope: Scope<'_>,
    ) -> Vec<&'q TableQuery> {
        let now = self.loaded.token_set.as_ref();
        let all = queries.tables.iter();
        let wanted: Vec<_> = all.filter(|query| scope.includes(query, now)).collect();
        for query in &wanted {
            query.slot.begin(&mut self.loaded, scope.base());
        }
        wanted
    }

    fn take_tokens(&mut self, tokens: Tokens) {
        self.loaded.token_set = Some(tokens.token_set);
        self.standby = tokens.standby;
    }

    /// The next snapshot after `base`.
    fn into_read(self, base: Option<&Snapshot>) -> Read {
        let first = Snapshot::default();
        let snapshot = base.unwrap_or(&first).next(self.loaded);
        Read { snapshot, standby: self.standby, failed_groups: None }
    }
}
