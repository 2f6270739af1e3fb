//! The sessions that change the tables.

use std::io::{Read, Write};

use postgres::Client;

use super::actions::Effect;
use super::random::Random;
use crate::postgres_shop::connect;

/// A session, and its transaction.
pub(super) struct Writer {
    client: Client,
    transaction: Option<Transaction>,
}

/// The state of a transaction.
#[derive(Default)]
struct Transaction {
    has_failed: bool,
    savepoints: usize,
    /// Whether loads must wait for it.
    locks: bool,
    hides: bool,
    /// How many commits there were when it looked which groups rules name.
    groups_since: Option<usize>,
    /// The same at its begin, if it sees no later ones.
    sees_begin: Option<usize>,
}

/// What a commit leaves to loads of everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missed {
    /// Some changes, because they have left no trace.
    pub(super) changes: bool,
    /// Changes of groups: a rule may name one now, which no rule has named when it was changed.
    pub(super) groups: bool,
}

/// The refusals that such actions lead to.
#[rustfmt::skip]
const EXPECTED: [&str; 17] = [
    // Another session locks the row or the table, or has changed it.
    "55P03", "40001", "40P01",
    // A key exists already, or does not.
    "23505", "23503",
    // MERGE changes a row twice.
    "21000",
    // TRUNCATE and ALTER before the triggers of the transaction.
    "55006",
    // The column, table or trigger does not exist, or does already.
    "42703", "42701", "42P01", "42P07", "42704", "42710",
    // A column of integers and NaN.
    "22P02",
    // The transaction has failed.
    "25P02",
    // COPY with other columns.
    "22P04", "428C9",
];

impl Writer {
    pub(super) fn connect() -> Self {
        let mut client = connect();
        // Short, because no other session goes on meanwhile.
        client
            .batch_execute("SET lock_timeout = '4ms'; SET synchronous_commit = off")
            .expect("valid settings");
        Self { client, transaction: None }
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether loads must wait for it.
    pub(super) fn locks(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.locks)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.has_failed)
    }

    /// A statement that controls the transaction.
    pub(super) fn control(&self, random: &mut Random) -> &'static str {
        let Some(Transaction { has_failed, savepoints, .. }) = self.transaction else {
            let levels = [
                (6, "BEGIN"),
                (3, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
                (2, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
            ];
            return random.weighted(&levels);
        };
        match (has_failed, savepoints) {
            (true, 0) => "ROLLBACK",
            (true, _) => random.weighted(&[(2, "ROLLBACK TO SAVEPOINT s"), (1, "ROLLBACK")]),
            (false, 0) => random.weighted(&[(6, "COMMIT"), (2, "ROLLBACK"), (4, "SAVEPOINT s")]),
            (false, _) => random.weighted(&[
                (6, "COMMIT"),
                (2, "ROLLBACK"),
                (2, "SAVEPOINT s"),
                (3, "ROLLBACK TO SAVEPOINT s"),
                (1, "RELEASE SAVEPOINT s"),
            ]),
        }
    }

    /// Runs a statement that controls the transaction, after a number of commits of all sessions.
    /// Returns what it commits, or the code of the refusal.
    pub(super) fn run_control(
        &mut self,
        statement: &str,
        commits: usize,
    ) -> Result<Option<Missed>, String> {
        let outcome = self.execute(statement);
        let words: Vec<_> = statement.split(' ').collect();
        let Some(transaction) = &mut self.transaction else {
            let sees_begin = (words.len() > 1).then_some(commits);
            let begun = Transaction { sees_begin, ..Transaction::default() };
            self.transaction = (words[0] == "BEGIN").then_some(begun);
            return outcome.map(|()| None);
        };
        match &*words {
            ["SAVEPOINT", ..] if outcome.is_ok() => transaction.savepoints += 1,
            ["RELEASE", ..] if outcome.is_ok() => transaction.savepoints -= 1,
            ["ROLLBACK", "TO", ..] if outcome.is_ok() => transaction.has_failed = false,
            ["COMMIT" | "ROLLBACK"] => {
                let groups = transaction.groups_since.is_some_and(|since| since != commits);
                let missed = Missed { changes: transaction.hides, groups };
                self.transaction = None;
                return outcome.map(|()| (statement == "COMMIT").then_some(missed));
            }
            _ => {}
        }
        outcome.map(|()| None)
    }

    /// Runs a change. Returns what it commits, or the code of the refusal.
    pub(super) fn run(
        &mut self,
        statement: &str,
        effect: Effect,
    ) -> Result<Option<Missed>, String> {
        let outcome = self.execute(statement);
        let Some(transaction) = &mut self.transaction else {
            let missed = Missed { changes: effect == Effect::Hides, groups: false };
            return outcome.map(|()| Some(missed));
        };
        transaction.has_failed |= outcome.is_err();
        transaction.locks |= effect == Effect::Locks;
        transaction.hides |= effect == Effect::Hides;
        outcome.map(|()| None)
    }

    /// Notes that it changes groups. `leaves_none` is whether the change may succeed without a token.
    /// Returns whether it does now, and not at the end of a transaction.
    pub(super) fn changes_groups(&mut self, commits: usize, leaves_none: bool) -> bool {
        let Some(Transaction { groups_since, sees_begin, .. }) = &mut self.transaction else {
            return leaves_none;
        };
        if leaves_none {
            // That number of commits is never reached.
            *groups_since = Some(usize::MAX);
        }
        groups_since.get_or_insert(sees_begin.unwrap_or(commits));
        false
    }

    fn execute(&mut self, statement: &str) -> Result<(), String> {
        checked(self.client.batch_execute(statement))
    }

    /// The rows of a query, as COPY writes them.
    pub(super) fn copy_out(&mut self, query: &str) -> Result<Vec<u8>, String> {
        let statement = format!("COPY ({query}) TO STDOUT");
        let mut rows = Vec::new();
        let copied = self.client.copy_out(&statement).and_then(|mut reader| {
            let read = reader.read_to_end(&mut rows);
            read.map(drop).map_err(driver_error)
        });
        checked(copied).map(|()| rows)
    }

    /// Writes rows with COPY. A refusal ends the session.
    pub(super) fn copy_in(&mut self, table: &str, rows: &[u8]) -> Result<(), String> {
        let statement = format!("COPY {table} FROM STDIN");
        let copied = self.client.copy_in(&statement).and_then(|mut writer| {
            writer.write_all(rows).map_err(driver_error)?;
            writer.finish().map(drop)
        });
        let outcome = checked(copied);
        if outcome.is_err() {
            // The driver has lost count of the messages.
            *self = Self::connect();
        }
        outcome
    }
}

fn driver_error(error: std::io::Error) -> postgres::Error {
    *error.into_inner().expect("a driver's error").downcast().expect("a driver's error")
}

/// The code of a refusal.
fn checked(outcome: Result<(), postgres::Error>) -> Result<(), String> {
    let error = match outcome {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let code = error.code().map(postgres::error::SqlState::code);
    match code.filter(|code| EXPECTED.contains(code)) {
        Some(code) => Err(code.into()),
        None => Err(format!("{error:?}")),
    }
}
