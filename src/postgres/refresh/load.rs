//! One consistent read of what changed.
//!
//! A load is one `REPEATABLE READ` transaction: the locks, then the tokens, then the rows that the new
//! tokens name, or the tables whose tokens differ from those of the snapshot. The engine's connection
//! and pooled connections run the same statements.

use std::cell::RefCell;

use futures_util::future::join_all;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::groups::GroupStep;
use super::lost_changes::{Answer, Question, ServerId};
use super::read::{self, DOING, Read, commit, is_of_keys};
use super::rows;
use super::statements::PreparedClient;
use super::tokens::{self, Tokens};
use crate::postgres::error::Error;
use crate::postgres::queries::{LoadQueries, READ_POINT, SERVER, TableQuery};
use crate::postgres::tables::Slot;
use crate::primary_key::PrimaryKey;
use crate::snapshot::{Loaded, Snapshot};
use crate::token_set::changes::{Change, NewToken};
use crate::token_set::{ReadPoint, Relation};

/// What a load reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// All tables.
    Everything {
        /// Whether the database has change tokens.
        tokens: bool,
    },
    /// What has changed since this snapshot.
    ChangedSince {
        base: &'a Snapshot,
        /// The hash of the catalog for which tokens name every row that changed. `None` if they do
        /// not, so that whole tables are read.
        with_keys: Option<i64>,
        /// Whether whole tables are read although tokens may name the rows.
        whole: bool,
        /// Whether all members of groups are read although no token says so.
        members: bool,
    },
    /// All tables but those that may be large. The database has no change tokens.
    WithoutLargeTables,
}

/// A table that a load reads, and the keys of the rows that it asks for, `None` for all rows.
struct Wanted<'q> {
    query: &'q TableQuery,
    keys: Option<Vec<Box<str>>>,
}

impl<'a> Scope<'a> {
    /// The snapshot that the next one is built from, if the scope depends on it.
    fn base(self) -> Option<&'a Snapshot> {
        match self {
            Self::ChangedSince { base, .. } => Some(base),
            _ => None,
        }
    }

    /// The read point of the snapshot since which changed rows are wanted, `None` for whole tables.
    fn since(self) -> Option<&'a ReadPoint> {
        match self {
            Self::ChangedSince { base, with_keys: Some(catalog), .. } => {
                base.read_point().filter(|base| base.catalog == catalog)
            }
            _ => None,
        }
    }

    /// The same with whole tables.
    fn of_tables(self) -> Self {
        match self {
            Self::ChangedSince { base, members, .. } => {
                Self::ChangedSince { base, with_keys: None, whole: true, members }
            }
            other => other,
        }
    }

    /// What has changed in a table, as far as the scope asks for it.
    fn change(self, table: &TableQuery, now: &Now) -> Change {
        match self {
            Self::ChangedSince { members: true, .. } if table.relation == Relation::GROUPS => {
                Change::Table
            }
            Self::ChangedSince { base, whole, .. } => match now.change(base, table.relation) {
                Change::Rows(_) if whole || now.has_heirs => Change::Table,
                change => change,
            },
            Self::WithoutLargeTables if table.is_large => Change::Nothing,
            Self::Everything { .. } | Self::WithoutLargeTables => Change::Table,
        }
    }

    /// Whether the load may have to read groups: they, or the rules that refer to them, changed.
    fn may_need_groups(self, groups: &TableQuery, wanted: &[Wanted<'_>], now: &Now) -> bool {
        let has_rules = |one: &Wanted<'_>| {
            !matches!(one.query.slot, Slot::AllowedUsers | Slot::Plans | Slot::Groups)
        };
        wanted.iter().any(has_rules)
            || self.change(groups, now) != Change::Nothing
            || self.base().is_some_and(Snapshot::must_read_groups)
    }

    /// The step that reads groups.
    fn group_step<'s>(self, client: &'s Client, query: &'s TableQuery, now: &Now) -> GroupStep<'s> {
        let retries = matches!(self, Self::Everything { .. });
        GroupStep { client, query, change: self.change(query, now), retries }
    }

    fn has_tokens(self) -> bool {
        matches!(self, Self::Everything { tokens: true } | Self::ChangedSince { .. })
    }
}

/// The change tokens of a load, and its read point. Empty without tokens.
#[derive(Debug, Default)]
struct Now {
    tokens: Option<Tokens>,
    read_point: Option<ReadPoint>,
    /// Whether other tables inherit from those of the load: their rows may have the same keys.
    has_heirs: bool,
    /// The tokens since the snapshot before.
    new: New,
    /// What the server has said about the changes before.
    answer: Option<Answer>,
}

/// The tokens that were added since another load.
#[derive(Debug, Default)]
enum New {
    /// The load does not ask for them.
    #[default]
    Unknown,
    /// Too many, or one that cannot be read.
    Unusable,
    These(Vec<NewToken>),
}

impl Now {
    /// Adds the row of [`READ_POINT`]. `tables` is the number of tables that the load reads, without
    /// those that inherit from them.
    fn read_at(&mut self, row: &Row, tables: usize) -> Result<(), tokio_postgres::Error> {
        let found: Vec<u32> = row.try_get("tables")?;
        self.has_heirs = found.len() != tables;
        if let Some(tokens) = &mut self.tokens {
            tokens.token_set.set_tables(found);
        }
        let transactions: &str = row.try_get("transactions")?;
        let (transactions, catalog) = (transactions.into(), row.try_get("catalog")?);
        self.read_point = Some(ReadPoint { transactions, catalog });
        Ok(())
    }

    fn change(&self, base: &Snapshot, relation: Relation) -> Change {
        let is_same =
            |now: &ReadPoint| base.read_point().is_some_and(|it| it.catalog == now.catalog);
        let new = match &self.new {
            New::Unknown => None,
            New::Unusable => return Change::Table,
            New::These(new) => Some(&**new),
        };
        match (base.token_set(), &self.tokens) {
            (Some(before), Some(now)) if self.read_point.as_ref().is_some_and(is_same) => {
                now.token_set.change(before, new, relation)
            }
            _ => Change::Table,
        }
    }
}

/// Reads what `scope` asks for. `base` is the snapshot that the next one is built from.
pub(super) async fn load(
    client: PreparedClient<'_>,
    queries: &LoadQueries,
    scope: Scope<'_>,
    base: Option<&Snapshot>,
    question: Option<Question>,
) -> Result<Read, Error> {
    let mut scope = scope;
    loop {
        match read(client, queries, (scope, question), base).await {
            Ok(Some(read)) => return Ok(read),
            Ok(None) => {}
            Err(error) if scope.since().is_some() && is_of_keys(&error) => {}
            Err(error) => return Err(Error::driver(DOING, error)),
        }
        scope = scope.of_tables();
    }
}

/// Like [`load`], but `None` if some rows were read, and all rows must be read.
async fn read(
    client: PreparedClient<'_>,
    queries: &LoadQueries,
    (scope, question): (Scope<'_>, Option<Question>),
    base: Option<&Snapshot>,
) -> Result<Option<Read>, tokio_postgres::Error> {
    let prepared = client;
    let client = client.client;
    let rows = RefCell::new(Rows::default());
    let keep = |slot: Slot, row| slot.add(&mut rows.borrow_mut().loaded, &row);
    let reading = async {
        let now = begin(prepared, queries, scope, question).await?;
        let wanted = rows.borrow_mut().open_slots(queries, scope, &now);
        let may_need = |groups: &&TableQuery| scope.may_need_groups(groups, &wanted, &now);
        let Some(query) = queries.groups.as_ref().filter(may_need) else {
            read_tables(client, &wanted, keep, commit(client)).await?;
            return Ok(rows.take().into_read(now, base));
        };
        read_tables(client, &wanted, keep, async { Ok(()) }).await?;
        let step = scope.group_step(client, query, &now);
        let read = match rows.take().into_read(now, base) {
            Some(read) => step.add_to(read).await?,
            None => None,
        };
        if read.is_none() {
            client.batch_execute("ROLLBACK").await?;
        }
        Ok(read)
    };
    or_rollback(client, reading).await
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

/// Locks the tables, then reads the tokens and the read point.
async fn begin(
    client: PreparedClient<'_>,
    queries: &LoadQueries,
    scope: Scope<'_>,
    question: Option<Question>,
) -> Result<Now, tokio_postgres::Error> {
    if !scope.has_tokens() {
        client.client.batch_execute(&queries.lock).await?;
        return Ok(Now::default());
    }
    let names: [(&(dyn ToSql + Sync), Type); 2] =
        [(&queries.names, Type::TEXT_ARRAY), (&queries.all_names, Type::TEXT_ARRAY)];
    // Pipelined: one round trip instead of four.
    let (locked, tokens, point, new, answer) = tokio::join!(
        client.client.batch_execute(&queries.lock),
        client.query(&queries.token_set, &[]),
        client.query(READ_POINT, &names),
        new_tokens(client, queries, scope.since()),
        // On the heap: few loads ask.
        Box::pin(answer(client, queries, question)),
    );
    locked?;
    let tokens = Some(tokens::from_rows(&tokens?)?);
    let mut now = Now { tokens, new: new?, answer: answer?, ..Now::default() };
    if let Some(row) = point?.first() {
        now.read_at(row, queries.names.len())?;
    }
    Ok(now)
}

/// Whether the database has the changes before, and which server it is.
async fn answer(
    client: PreparedClient<'_>,
    queries: &LoadQueries,
    question: Option<Question>,
) -> Result<Option<Answer>, tokio_postgres::Error> {
    let Some(Question { token, nonce, names_itself }) = question else { return Ok(None) };
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&token, Type::INT8), (&nonce, Type::INT8)];
    let server = async {
        let rows = if names_itself { client.query(SERVER, &[]).await? } else { Vec::new() };
        rows.first().map(ServerId::from_row).transpose()
    };
    let (rows, server) = tokio::join!(client.query(&queries.has_token, &values), server);
    let has_token = rows?.first().map(|row| row.try_get("has_token")).transpose()?;
    Ok(Some(Answer { has_token: has_token.unwrap_or_default(), server: server? }))
}

/// The tokens that were added since another load.
async fn new_tokens(
    client: PreparedClient<'_>,
    queries: &LoadQueries,
    since: Option<&ReadPoint>,
) -> Result<New, tokio_postgres::Error> {
    let Some(ReadPoint { transactions, .. }) = since else { return Ok(New::Unknown) };
    let values: [(&(dyn ToSql + Sync), Type); 1] = [(transactions, Type::TEXT)];
    let new = tokens::new_from_rows(&client.query(&queries.new_tokens, &values).await?)?;
    Ok(new.map_or(New::Unusable, New::These))
}

/// Reads the rows of these tables, and ends with `last`, all in one round trip.
async fn read_tables(
    client: &Client,
    wanted: &[Wanted<'_>],
    keep: impl Fn(Slot, Row) -> Result<(), tokio_postgres::Error>,
    last: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<(), tokio_postgres::Error> {
    let reads = wanted.iter().map(|Wanted { query, keys }| {
        let keep = |row| keep(query.slot, row);
        async move {
            match (keys, &query.of_keys) {
                (Some(keys), Some(text)) => {
                    rows::read(client, text, &[(keys, Type::TEXT_ARRAY)], keep).await
                }
                _ => rows::read(client, &query.text, &[], keep).await,
            }
        }
    });
    let (rows, ended) = tokio::join!(join_all(reads), last);
    rows.into_iter().collect::<Result<(), _>>()?;
    ended
}

/// What was read so far.
#[derive(Default)]
struct Rows {
    loaded: Loaded,
}

impl Rows {
    /// Empties the slots of the tables that the load reads, and returns what it reads of them.
    fn open_slots<'q>(
        &mut self,
        queries: &'q LoadQueries,
        scope: Scope<'_>,
        now: &Now,
    ) -> Vec<Wanted<'q>> {
        let mut wanted = Vec::new();
        for query in &queries.tables {
            let keys = match scope.change(query, now) {
                Change::Nothing => continue,
                Change::Rows(keys)
                    if query.of_keys.is_some()
                        && scope.base().is_some_and(|base| base.takes_rows(query.relation)) =>
                {
                    Some(keys)
                }
                Change::Rows(_) | Change::Table => None,
            };
            if let Some(keys) = &keys {
                let keys = keys.iter().map(|key| PrimaryKey::from(&**key)).collect();
                self.loaded.asked.insert(query.relation, keys);
            }
            query.slot.begin(&mut self.loaded, scope.base().filter(|_| keys.is_none()));
            wanted.push(Wanted { query, keys });
        }
        wanted
    }

    /// The next snapshot after `base`; `None` if some rows were read, and all rows must be read.
    fn into_read(self, mut now: Now, base: Option<&Snapshot>) -> Option<Read> {
        let answer = now.answer.take();
        let (loaded, standby) = self.loaded_at(now);
        let (first, by_rows) = (Snapshot::default(), !loaded.asked.is_empty());
        let snapshot = base.unwrap_or(&first).try_next(loaded)?;
        Some(Read {
            snapshot,
            standby,
            answer,
            loaded: read::Loaded { by_rows, ..read::Loaded::default() },
        })
    }

    fn loaded_at(self, Now { tokens, read_point, .. }: Now) -> (Loaded, bool) {
        let standby = tokens.as_ref().is_some_and(|tokens| tokens.standby);
        let token_set = tokens.map(|tokens| tokens.token_set);
        (Loaded { token_set, read_point, ..self.loaded }, standby)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_of_rows_is_noted_so_that_a_load_of_everything_follows() {
        let by_rows = |asked: &[Relation]| {
            let asked = asked.iter().map(|relation| (*relation, Vec::new())).collect();
            let loaded = Loaded { asked, flags: Some(Vec::new()), ..Loaded::default() };
            let read = Rows { loaded }.into_read(Now::default(), None);
            read.map(|read| read.loaded.by_rows)
        };
        assert_eq!(by_rows(&[Relation::FLAGS]), Some(true));
        assert_eq!(by_rows(&[]), Some(false));
    }
}
