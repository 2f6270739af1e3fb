//! The sessions that change the tables.

use std::io::{Read, Write};

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use super::actions::Effect;
use super::random::Random;
use super::shop::url;

/// A session, and the state of its transaction.
pub(super) struct Writer {
    client: Client,
    pub(super) in_transaction: bool,
    pub(super) has_failed: bool,
    savepoints: usize,
    open: Open,
    /// How many commits there were when it looked which groups rules name.
    groups_since: Option<usize>,
    /// The same at its begin, if it sees no later ones.
    sees_begin: Option<usize>,
}

/// What its open transaction does.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Whether loads must wait for it.
    locks: bool,
    /// Whether it leaves changes to loads of everything.
    hides: bool,
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
    /// Whether loads must wait for it.
    pub(super) fn locks(&self) -> bool {
        self.open.locks
    }

    pub(super) fn connect() -> Self {
        let mut client = url().connect(NoTls).expect("the server takes connections");
        // Short, because no other session goes on meanwhile.
        client
            .batch_execute("SET lock_timeout = '4ms'; SET synchronous_commit = off")
            .expect("valid settings");
        Self {
            client,
            in_transaction: false,
            has_failed: false,
            savepoints: 0,
            open: Open::default(),
            groups_since: None,
            sees_begin: None,
        }
    }

    /// Whether its transaction is to end now.
    pub(super) fn is_urgent(&self) -> bool {
        self.open.locks || self.has_failed
    }

    /// A statement that controls the transaction.
    pub(super) fn control(&self, random: &mut Random) -> &'static str {
        if !self.in_transaction {
            let levels = [
                (6, "BEGIN"),
                (3, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
                (2, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
            ];
            return random.weighted(&levels);
        }
        match (self.has_failed, self.savepoints) {
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
        match statement.split(' ').collect::<Vec<_>>().as_slice() {
            ["BEGIN", isolation @ ..] => {
                self.in_transaction = true;
                self.sees_begin = (!isolation.is_empty()).then_some(commits);
            }
            ["SAVEPOINT", ..] if outcome.is_ok() => self.savepoints += 1,
            ["RELEASE", ..] if outcome.is_ok() => self.savepoints -= 1,
            ["ROLLBACK", "TO", ..] if outcome.is_ok() => self.has_failed = false,
            ["COMMIT" | "ROLLBACK"] => {
                let groups = self.groups_since.is_some_and(|since| since != commits);
                let missed = Missed { changes: self.open.hides, groups };
                (self.in_transaction, self.has_failed, self.savepoints) = (false, false, 0);
                (self.open, self.groups_since) = (Open::default(), None);
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
        self.has_failed |= outcome.is_err() && self.in_transaction;
        if !self.in_transaction {
            let missed = Missed { changes: effect == Effect::Hides, groups: false };
            return outcome.map(|()| Some(missed));
        }
        self.open.locks |= effect == Effect::Locks;
        self.open.hides |= effect == Effect::Hides;
        outcome.map(|()| None)
    }

    /// Notes that the transaction changes groups.
    pub(super) fn changes_groups(&mut self, commits: usize) {
        if self.in_transaction {
            self.groups_since.get_or_insert(self.sees_begin.unwrap_or(commits));
        }
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
    let code = error.code().map(SqlState::code);
    match code.filter(|code| EXPECTED.contains(code)) {
        Some(code) => Err(code.into()),
        None => Err(format!("{error:?}")),
    }
}
