//! The sessions that change the tables.

use std::io::{Read, Write};

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
    /// Whether loads must wait for it.
    pub(super) locks: bool,
    hides: bool,
}

/// The refusals that such actions lead to.
const EXPECTED: [&str; 15] = [
    "55P03", // another session locks the row or table
    "40001", "40P01", // serialization, deadlock
    "23505", "23503", // a key that exists, or does not
    "21000", // MERGE changes a row twice
    "55006", // TRUNCATE and ALTER with pending triggers
    "42703", "42701", "42P01", "42P07",
    "42710", // the column, table or trigger is not there, or is
    "25P02", // the transaction has failed
    "22P04", // COPY with other columns
    "428C9",
];

impl Writer {
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
            locks: false,
            hides: false,
        }
    }

    /// Whether its transaction is to end now.
    pub(super) fn is_urgent(&self) -> bool {
        self.locks || self.has_failed
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

    /// Runs a statement that controls the transaction. Returns whether changes without any trace are
    /// committed, or the code of the refusal.
    pub(super) fn run_control(&mut self, statement: &str) -> Result<bool, String> {
        let outcome = self.execute(statement);
        match statement.split(' ').collect::<Vec<_>>().as_slice() {
            ["BEGIN", ..] => self.in_transaction = true,
            ["SAVEPOINT", ..] if outcome.is_ok() => self.savepoints += 1,
            ["RELEASE", ..] if outcome.is_ok() => self.savepoints -= 1,
            ["ROLLBACK", "TO", ..] if outcome.is_ok() => self.has_failed = false,
            ["COMMIT" | "ROLLBACK"] => {
                let hides = self.hides && statement == "COMMIT" && outcome.is_ok();
                (self.in_transaction, self.has_failed, self.savepoints) = (false, false, 0);
                (self.locks, self.hides) = (false, false);
                return outcome.map(|()| hides);
            }
            _ => {}
        }
        outcome.map(|()| false)
    }

    /// Runs a change. Returns whether changes without any trace are committed, or the code of the
    /// refusal.
    pub(super) fn run(&mut self, statement: &str, effect: Effect) -> Result<bool, String> {
        let outcome = self.execute(statement);
        self.has_failed |= outcome.is_err() && self.in_transaction;
        if self.in_transaction {
            self.locks |= effect == Effect::Locks;
            self.hides |= effect == Effect::Hides && outcome.is_ok();
            return outcome.map(|()| false);
        }
        outcome.map(|()| effect == Effect::Hides)
    }

    fn execute(&mut self, statement: &str) -> Result<(), String> {
        checked(self.client.batch_execute(statement), statement)
    }

    /// The rows of a query, as COPY writes them.
    pub(super) fn copy_out(&mut self, query: &str) -> Result<Vec<u8>, String> {
        let statement = format!("COPY ({query}) TO STDOUT");
        let mut rows = Vec::new();
        let copied = self.client.copy_out(&statement).and_then(|mut reader| {
            let read = reader.read_to_end(&mut rows);
            read.map(drop).map_err(driver_error)
        });
        checked(copied, &statement).map(|()| rows)
    }

    /// Writes rows with COPY.
    pub(super) fn copy_in(&mut self, table: &str, rows: &[u8]) -> Result<(), String> {
        let statement = format!("COPY {table} FROM STDIN");
        let copied = self.client.copy_in(&statement).and_then(|mut writer| {
            writer.write_all(rows).map_err(driver_error)?;
            writer.finish().map(drop)
        });
        let outcome = checked(copied, &statement);
        self.has_failed |= outcome.is_err() && self.in_transaction;
        outcome
    }
}

fn driver_error(error: std::io::Error) -> postgres::Error {
    *error.into_inner().expect("a driver's error").downcast().expect("a driver's error")
}

/// The code of a refusal, which must be one of those expected.
fn checked(outcome: Result<(), postgres::Error>, statement: &str) -> Result<(), String> {
    let Err(error) = outcome else { return Ok(()) };
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    assert!(EXPECTED.contains(&&*code), "{error:?}: {statement}");
    Err(code)
}
