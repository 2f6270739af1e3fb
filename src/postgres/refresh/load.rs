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
use crate::groups::GroupReferences;
use crate::postgres::error::Error;
use crate::postgres::queries::{
    DECODE_TEXTS, LoadQueries, SEND_ENCODED, TableQuery, WATCHED_TABLES,
};
use crate::postgres::tables::Slot;
use crate::postgres::text::Decoder;
use crate::row::GroupRow;
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

    fn has_tokens(self) -> bool {
        matches!(self, Self::Everything { tokens: true } | Self::ChangedSince(_))
    }
}

const DOING: &str = "load";

/// A lock on a table of the project must not keep a change of a flag for long.
const SHORT_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

/// The snapshot of a load, and whether the server is a standby, which may be behind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) snapshot: Snapshot,
    pub(super) standby: bool,
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
        let changed = scope.includes(query, rows.loaded.token_set.as_ref());
        let read = rows.into_read(base);
        Groups { client, query, decoder: &decoder }.add_to(read, changed).await
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
        let mut wanted = begin(client, queries, scope, &read).await?;
        // Rules are not decoded yet, so all groups are read.
        wanted.extend(&queries.groups);
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
    let decoder = decoder_of(client, &rows).await?;
    for (slot, row) in &rows {
        read.add(*slot, row, &decoder)?;
    }
    let groups = read.loaded.groups.take();
    let Read { snapshot, standby } = read.into_read(base);
    Ok(Read { snapshot: with_groups(snapshot, GroupReferences::All, groups), standby })
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

async fn commit(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("COMMIT").await
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

/// The second step of a load: the groups that the rules of the first step refer to.
struct Groups<'a> {
    client: &'a Client,
    query: &'a TableQuery,
    decoder: &'a Decoder,
}

impl Groups<'_> {
    /// Adds the groups to what was read, and commits. `changed` is whether they may have changed
    /// since the base of the snapshot.
    ///
    /// A fault of the project's own tables never fails the load: a kill arrives without them.
    async fn add_to(&self, read: Read, changed: bool) -> Result<Read, tokio_postgres::Error> {
        let Read { snapshot, standby } = read;
        let Some(references) = snapshot.wanted_groups(changed) else {
            commit(self.client).await?;
            return Ok(Read { snapshot, standby });
        };
        let snapshot = match self.read(&references).await {
            Ok(groups) => with_groups(snapshot, references, Some(groups)),
            Err(error) if self.client.is_closed() || is_undecodable(&error) => return Err(error),
            Err(error) => {
                let _ = self.client.batch_execute("ROLLBACK").await;
                snapshot.with_unreadable_groups(&Error::driver(DOING, error).to_string())
            }
        };
        Ok(Read { snapshot, standby })
    }

    async fn read(
        &self,
        references: &GroupReferences,
    ) -> Result<Vec<GroupRow>, tokio_postgres::Error> {
        let loaded = RefCell::new(Loaded::default());
        let keep = |row| {
            let (mut loaded, mut sizes) = (loaded.borrow_mut(), Sizes::default());
            self.query.slot.add(&mut loaded, &mut sizes, &row, self.decoder)
        };
        let names = references.names();
        let names = [(&names as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
        if references.is_empty() {
            commit(self.client).await?;
        } else {
            let (limited, read, committed) = tokio::join!(
                self.client.batch_execute(SHORT_LOCK_TIMEOUT),
                rows::read(self.client, &self.query.text, &names, keep),
                commit(self.client),
            );
            limited.and(read).and(committed)?;
        }
        Ok(loaded.into_inner().groups.unwrap_or_default())
    }
}

/// The snapshot with these groups; as it is if the project offers none.
fn with_groups(
    snapshot: Snapshot,
    references: GroupReferences,
    groups: Option<Vec<GroupRow>>,
) -> Snapshot {
    match groups {
        Some(groups) => snapshot.with_groups(references, groups),
        None => snapshot,
    }
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
        Read { snapshot, standby: self.standby }
    }
}
