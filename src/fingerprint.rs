//! What the token table looks like at one moment, per table that is watched.
//!
//! Fingerprints are compared for equality only. A sequence or a maximum would miss a transaction
//! that commits after a later one; a count and sums over the set of tokens does not.

/// The sources of tokens, as the triggers write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The flags' table.
    Flags,
    /// The allow-lists' table.
    AllowLists,
    /// The key-value table.
    Values,
}

/// The state of the token table at one moment of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    flags: Box<str>,
    allow_lists: Box<str>,
    values: Box<str>,
    barriers: Box<str>,
    newest: i64,
    nonce: i64,
}

impl Fingerprint {
    /// Takes in what the database says of one source: its letter, newest id and sums as text.
    pub fn add(&mut self, source: &str, newest: i64, sums: &str) {
        let field = match source {
            "f" => &mut self.flags,
            "m" => &mut self.allow_lists,
            "k" => &mut self.values,
            _ => &mut self.barriers,
        };
        *field = sums.into();
        self.newest = self.newest.max(newest);
    }

    /// Takes in the nonce of the newest token of all.
    pub fn set_nonce(&mut self, nonce: i64) {
        self.nonce = nonce;
    }

    /// The nonce of the newest token, which tells it from one of the same id in another history.
    #[must_use]
    pub fn nonce(&self) -> i64 {
        self.nonce
    }

    /// The id of the newest token of all, 0 where there is none yet.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether the table behind `source` may differ between the two moments.
    #[must_use]
    pub fn moved(&self, before: &Self, source: Source) -> bool {
        match source {
            Source::Flags => self.flags != before.flags,
            Source::AllowLists => self.allow_lists != before.allow_lists,
            Source::Values => self.values != before.values,
        }
    }
}
