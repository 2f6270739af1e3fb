//! One consistent read of the tables that changed.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the tokens, then the tables whose
//! tokens differ from those of the snapshot. The engine's connection and pooled connections run the
//! same statements.

use std::cell::RefCell;

use futures_util::future::join_all;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::encoded_texts::{EncodedTexts, is_undecodable};
use super::rows::{self, Sizes};
use super::tokens::{self, Tokens};
use crate::postgres::error::Error;
use crate::postgres::queries::{
    DECODE_TEXTS, LoadQueries, SEND_ENCODED, TableQuery, WATCHED_TABLES,
};
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

    fn has_tokens(self) -> bool {
        matches!(self, Self::Everything { tokens: true } | Self::ChangedSince(_))
    }
}

const DOING: &str = "load";

/// The rows of a load, and whether the server is a standby, which may be behind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) loaded: Loaded,
    pub(super) standby: bool,
    sizes: Sizes,
}

/// Reads the tables of `scope`.
pub(super) async fn load(
    client: &Client,
    queries: &LoadQueries,
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
    queries: &LoadQueries,
    scope: Scope<'_>,
) -> Result<Read, tokio_postgres::Error> {
    let (read, decoder) = (RefCell::new(Read::empty(queries)), Decoder::default());
    transaction(client, queries, scope, Encoding::Client, &read, |slot, row| {
        read.borrow_mut().add(slot, &row, &decoder)
    })
    .await?;
    Ok(read.into_inner())
}

/// Loads texts as they are stored, and decodes them afterwards: one that cannot be decoded fails
/// every query that sends it.
async fn read_encoded(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
) -> Result<Read, tokio_postgres::Error> {
    let (read, rows) = (RefCell::new(Read::empty(queries)), RefCell::new(Vec::new()));
    transaction(client, queries, scope, Encoding::Database, &read, |slot, row| {
        rows.borrow_mut().push((slot, row));
        Ok(())
    })
    .await?;
    let (mut read, rows) = (read.into_inner(), rows.into_inner());
    let decoder = decoder_of(client, &rows).await?;
    for (slot, row) in &rows {
        read.add(*slot, row, &decoder)?;
    }
    Ok(read)
}

/// Lets the server decode the texts of these rows.
async fn decoder_of(
    client: &Client,
    rows: &[(Slot, Row)],
) -> Result<Decoder, tokio_postgres::Error> {
    let each = rows.iter().map(|(_, row)| rows::texts(row));
    let mut texts = EncodedTexts::new(each.collect::<Result<Vec<_>, _>>()?.concat());
    while let Some(batch) = texts.next_batch() {
        let parameters = [(&batch as &(dyn ToSql + Sync), Type::BYTEA_ARRAY)];
        let decoded = client.query_typed(DECODE_TEXTS, &parameters).await;
        texts.add(batch, decoded)?;
    }
    Ok(texts.into_decoder())
}

/// The encoding in which the server sends texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// UTF-8.
    Client,
    /// That of the database.
    Database,
}

async fn transaction(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
    encoding: Encoding,
    read: &RefCell<Read>,
    keep: impl Fn(Slot, Row) -> Result<(), tokio_postgres::Error>,
) -> Result<(), tokio_postgres::Error> {
    let reading = async {
        begin(client, queries, scope, read).await?;
        let wanted = read.borrow_mut().open_slots(queries, scope);
        read_tables(client, &wanted, encoding, keep).await
    };
    let outcome = reading.await;
    if outcome.is_err() {
        // The connection stays in use after a lock timeout, so the transaction must end.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    outcome
}

/// Locks the tables, then reads the tokens, and which tables inherit.
async fn begin(
    client: &Client,
    queries: &LoadQueries,
    scope: Scope<'_>,
    read: &RefCell<Read>,
) -> Result<(), tokio_postgres::Error> {
    if !scope.has_tokens() {
        return client.batch_execute(&queries.lock).await;
    }
    let names = [(&queries.names as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
    // Pipelined: one round trip instead of three.
    let (locked, rows, tables) = tokio::join!(
        client.batch_execute(&queries.lock),
        client.query_typed(&queries.token_set, &[]),
        client.query_typed_one(WATCHED_TABLES, &names),
    );
    locked?;
    let mut tokens = tokens::from_rows(&rows?)?;
    tokens.token_set.set_tables(tables?.try_get("tables")?);
    read.borrow_mut().take_tokens(tokens);
    Ok(())
}

/// Reads the rows of these tables and commits, all in one round trip.
async fn read_tables(
    client: &Client,
    wanted: &[&TableQuery],
    encoding: Encoding,
    keep: impl Fn(Slot, Row) -> Result<(), tokio_postgres::Error>,
) -> Result<(), tokio_postgres::Error> {
    let is_encoded = encoding == Encoding::Database;
    if is_encoded {
        let mut statements: Vec<_> = wanted.iter().map(|query| query.declare()).collect();
        statements.push(SEND_ENCODED.into());
        client.batch_execute(&statements.join(";\n")).await?;
    }
    let reads = wanted.iter().map(async |query| {
        let fetch = is_encoded.then(|| query.fetch());
        let text = fetch.as_deref().unwrap_or(&query.text);
        rows::read(client, text, |row| keep(query.slot, row)).await
    });
    let (rows, committed) = tokio::join!(join_all(reads), client.batch_execute("COMMIT"));
    rows.into_iter().collect::<Result<(), _>>()?;
    committed
}

impl Read {
    fn empty(queries: &LoadQueries) -> Self {
        let opaque_values = queries.opaque_values;
        let loaded = Loaded { opaque_values, ..Loaded::default() };
        Self { loaded, standby: false, sizes: Sizes::default() }
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
}
