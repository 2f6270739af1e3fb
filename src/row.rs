//! A row as the database gave it → flag, setting, or a problem to report.
//!
//! A row may have been written past the model, or live in a foreign table, so nothing about it is
//! taken for granted. What cannot be evaluated becomes a [`Problem`], never an error.

use std::fmt;

/// A row of the flags' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// The primary key as text.
    pub pk: String,
    /// The key by which the code asks.
    pub key: Option<String>,
    /// The switch.
    pub enabled: Option<bool>,
    /// The rollout in percent.
    pub rollout_percent: Option<i32>,
    /// Whether browsers may ask for it.
    pub client_side: bool,
}

/// The allow-list of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRow {
    /// The primary key of the flag as text.
    pub flag_pk: String,
    /// The primary keys of its users.
    pub users: Users,
}

/// Primary keys of users, in the type that the database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Integers of any width.
    Integers(Vec<i64>),
    /// Any other type, as text.
    Texts(Vec<String>),
}

/// A row of the key-value table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// The primary key as text.
    pub pk: String,
    /// The key by which the code asks.
    pub key: Option<String>,
    /// The JSON text, or `None` for SQL's NULL.
    pub value: Option<String>,
}

/// A flag's row in which nothing is missing.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedFlag {
    /// The primary key as text.
    pub pk: Box<str>,
    /// The key by which the code asks.
    pub key: Box<str>,
    /// The switch.
    pub enabled: bool,
    /// The rollout in percent.
    pub rollout_percent: i32,
    /// Whether browsers may ask for it.
    pub client_side: bool,
}

impl FlagRow {
    /// The row with nothing missing, or its primary key and what is wrong with it.
    ///
    /// # Errors
    /// A [`Problem`] that names the column which is NULL.
    pub fn checked(self) -> Result<CheckedFlag, (String, Problem)> {
        let Some(key) = self.key else {
            let problem = Problem::without_key("flag", &self.pk);
            return Err((self.pk, problem));
        };
        match (self.enabled, self.rollout_percent) {
            (Some(enabled), Some(rollout_percent)) => {
                let (pk, key, client_side) = (self.pk.into(), key.into(), self.client_side);
                Ok(CheckedFlag { pk, key, enabled, rollout_percent, client_side })
            }
            (None, _) => Err((self.pk, Problem::null("flag", key, "enabled"))),
            (_, None) => Err((self.pk, Problem::null("flag", key, "rollout_percent"))),
        }
    }
}

/// A row that was set aside. Names the row by its key, never by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    table: &'static str,
    row: String,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Null(&'static str),
    Duplicate,
}

impl Problem {
    /// The row of `table` known as `key` has NULL in `column`.
    pub(crate) fn null(table: &'static str, key: String, column: &'static str) -> Self {
        Self { table, row: key, fault: Fault::Null(column) }
    }

    /// The row of `table` with this primary key has NULL for its key.
    pub(crate) fn without_key(table: &'static str, pk: &str) -> Self {
        Self::null(table, format!("pk {pk}"), "key")
    }

    /// Several rows of `table` have this key.
    pub(crate) fn duplicate(table: &'static str, key: &str) -> Self {
        Self { table, row: key.into(), fault: Fault::Duplicate }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is set aside: ", self.table, self.row)?;
        match self.fault {
            Fault::Null(column) => write!(f, "its {column} is NULL"),
            Fault::Duplicate => f.write_str("several rows have this key"),
        }
    }
}
