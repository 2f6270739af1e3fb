//! A summary of the change tokens at one point in time, per watched table.
//!
//! Token sets are compared for equality only. A sequence or a maximum would miss a transaction that
//! commits after a later one; a count and sums over the set do not.

/// A table that tokens are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The flags' table.
    Flags,
    /// The table of the allowed users.
    AllowedUsers,
    /// The key-value table.
    Values,
}

/// The state of the token table at one point in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    flags: Box<str>,
    allowed_users: Box<str>,
    values: Box<str>,
    barriers: Box<str>,
    newest: i64,
    nonce: i64,
}

impl TokenSet {
    /// Adds one relation: its letter in the database, its newest token id, and its sums as text.
    pub fn add(&mut self, relation: &str, newest: i64, sums: &str) {
        let field = match relation {
            "f" => &mut self.flags,
            "m" => &mut self.allowed_users,
            "k" => &mut self.values,
            _ => &mut self.barriers,
        };
        *field = sums.into();
        self.newest = self.newest.max(newest);
    }

    /// Sets the nonce of the newest token.
    pub fn set_nonce(&mut self, nonce: i64) {
        self.nonce = nonce;
    }

    /// The nonce of the newest token. After a restore it differs between tokens with the same id.
    #[must_use]
    pub fn nonce(&self) -> i64 {
        self.nonce
    }

    /// The id of the newest token, 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether the table of `relation` may have changed since `before`.
    #[must_use]
    pub fn changed(&self, before: &Self, relation: Relation) -> bool {
        match relation {
            Relation::Flags => self.flags != before.flags,
            Relation::AllowedUsers => self.allowed_users != before.allowed_users,
            Relation::Values => self.values != before.values,
        }
    }
}
