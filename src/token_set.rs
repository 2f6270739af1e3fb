//! A summary of the change tokens at one point in time, per watched table.
//!
//! A sequence or a maximum would miss a transaction that commits after a later one; a count and sums
//! over the set do not. The sums also prove that some new tokens are all that were added.

pub mod changes;

use std::collections::BTreeMap;

/// What tokens are about: a watched table, by its letter in the token table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation(char);

impl Relation {
    /// The flags' table.
    pub const FLAGS: Self = Self('f');
    /// The table of the allowed users.
    pub const ALLOWED_USERS: Self = Self('m');
    /// The key-value table.
    pub const VALUES: Self = Self('k');
    /// The groups of users, and their members.
    pub const GROUPS: Self = Self('g');
    /// The rollout plans.
    pub const PLANS: Self = Self('p');
    /// The experiments.
    pub const EXPERIMENTS: Self = Self('e');
    /// The barriers: a caller waits until each worker has reported it.
    pub const BARRIERS: Self = Self('b');
    /// The segments' table.
    pub const SEGMENTS: Self = Self('s');

    /// The relation with this letter, which this version may not know.
    fn of_letter(letter: &str) -> Self {
        Self(letter.chars().next().unwrap_or_default())
    }

    /// The letter in the token table.
    #[must_use]
    pub const fn letter(self) -> char {
        self.0
    }
}

/// The state of the token table at one point in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// Also of relations that this version does not know: a newer one may write tokens beside it.
    sums: BTreeMap<Relation, Box<str>>,
    newest: i64,
    newest_barrier: i64,
    newest_asking: i64,
    nonce: i64,
    tables: Box<[u32]>,
    missing: MissingEntries,
}

/// Where in the history of a database a load has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPoint {
    /// The transactions that it saw, as PostgreSQL writes a snapshot.
    pub transactions: Box<str>,
    /// A hash of the triggers and tables, compared for equality only.
    pub catalog: i64,
}

/// The tokens of changes without an entry in the history, because it could not be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingEntries {
    /// The number of these tokens.
    pub count: i64,
    /// The time of the newest one, in UTC and as text. Empty without one.
    pub newest: Box<str>,
}

impl TokenSet {
    /// Adds one relation: its letter in the database, its newest token id, and its sums as text.
    pub fn add(&mut self, relation: &str, newest: i64, sums: &str) {
        let relation = Relation::of_letter(relation);
        self.sums.insert(relation, sums.into());
        if relation == Relation::BARRIERS {
            self.newest_barrier = newest;
        }
        self.newest = self.newest.max(newest);
    }

    /// Sets the newest barrier that asks workers behind replication.
    pub fn set_newest_asking(&mut self, barrier: i64) {
        self.newest_asking = barrier;
    }

    /// Adds the tokens of one relation whose changes have no entry in the history.
    pub fn add_missing(&mut self, count: i64, newest: &str) {
        self.missing.count += count;
        // The texts of times in one format are in the order of the times.
        if newest > &*self.missing.newest {
            self.missing.newest = newest.into();
        }
    }

    /// The tokens whose changes have no entry in the history.
    #[must_use]
    pub fn missing(&self) -> &MissingEntries {
        &self.missing
    }

    /// Sets the nonce of the newest token.
    pub fn set_nonce(&mut self, nonce: i64) {
        self.nonce = nonce;
    }

    /// Sets the tables that the tokens are about: the oids of the watched tables, and of those that
    /// inherit from them. A table that begins or ceases to inherit leaves no token.
    pub fn set_tables(&mut self, tables: Vec<u32>) {
        self.tables = tables.into();
    }

    /// The oids of the tables that the tokens are about.
    #[must_use]
    pub fn tables(&self) -> &[u32] {
        &self.tables
    }

    /// The nonce of the newest token. After a restore it differs between tokens with the same id.
    #[must_use]
    pub fn nonce(&self) -> i64 {
        self.nonce
    }

    /// The id of the newest barrier, 0 if there is none.
    #[must_use]
    pub fn newest_barrier(&self) -> i64 {
        self.newest_barrier
    }

    /// The id of the newest barrier that asks workers behind replication, 0 if there is none.
    #[must_use]
    pub fn newest_asking(&self) -> i64 {
        self.newest_asking
    }

    /// The id of the newest token, 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.newest
    }
}
