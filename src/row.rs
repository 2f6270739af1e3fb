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
    pub key: Result<String, Fault>,
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
    /// Whether there are users besides whose primary keys are no text; nobody can ask as them.
    pub undecodable: bool,
}

impl AllowRow {
    /// A list that has been read whole.
    #[must_use]
    pub fn new(flag_pk: impl Into<String>, users: Users) -> Self {
        Self { flag_pk: flag_pk.into(), users, undecodable: false }
    }
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
    pub key: Result<String, Fault>,
    /// The JSON text, or `None` for SQL's NULL.
    pub value: Result<Option<String>, Fault>,
}

/// A flag's row that can be used.
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

/// A value's row that can be used.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedValue {
    /// The primary key as text.
    pub pk: Box<str>,
    /// The key by which the code asks.
    pub key: Box<str>,
    /// The JSON text, or `None` for SQL's NULL.
    pub value: Option<String>,
}

impl ValueRow {
    /// The row where it can be used, or its primary key and what is wrong with it.
    ///
    /// # Errors
    /// A [`Problem`] that names the column.
    pub fn checked(self) -> Result<CheckedValue, (String, Problem)> {
        let problem = match (self.key, self.value) {
            (Ok(key), Ok(value)) => {
                return Ok(CheckedValue { pk: self.pk.into(), key: key.into(), value });
            }
            (Err(fault), _) => Problem::of_key("value", &self.pk, fault),
            (Ok(key), Err(fault)) => Problem::of("value", key, "value", fault),
        };
        Err((self.pk, problem))
    }
}

impl FlagRow {
    /// The row where it can be used, or its primary key and what is wrong with it.
    ///
    /// # Errors
    /// A [`Problem`] that names the column.
    pub fn checked(self) -> Result<CheckedFlag, (String, Problem)> {
        let problem = match (self.key, self.enabled, self.rollout_percent) {
            (Ok(key), Some(enabled), Some(rollout_percent)) => {
                let (pk, key, client_side) = (self.pk.into(), key.into(), self.client_side);
                return Ok(CheckedFlag { pk, key, enabled, rollout_percent, client_side });
            }
            (Err(fault), ..) => Problem::of_key("flag", &self.pk, fault),
            (Ok(key), None, _) => Problem::of("flag", key, "enabled", Fault::Null),
            (Ok(key), _, None) => Problem::of("flag", key, "rollout_percent", Fault::Null),
        };
        Err((self.pk, problem))
    }
}

/// A row that was set aside. Names the row by its key, never by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    table: &'static str,
    row: String,
    column: &'static str,
    fault: Fault,
}

/// Why something cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing where something must be.
    Null,
    /// Another row says the same of itself.
    Duplicate,
    /// Bytes that are no text. Only a database in the encoding `SQL_ASCII` holds such.
    Undecodable,
    /// More than a worker may be made to keep in memory.
    TooLarge,
}

impl Problem {
    /// The row of `table` known as `key` cannot be used for what is in `column`.
    pub(crate) fn of(table: &'static str, key: String, column: &'static str, fault: Fault) -> Self {
        Self { table, row: key, column, fault }
    }

    /// The row of `table` with this primary key cannot be used for its key.
    pub(crate) fn of_key(table: &'static str, pk: &str, fault: Fault) -> Self {
        Self::of(table, format!("pk {pk}"), "key", fault)
    }

    /// Several rows of `table` have this key.
    pub(crate) fn duplicate(table: &'static str, key: &str) -> Self {
        Self::of(table, key.into(), "key", Fault::Duplicate)
    }

    /// Users are missing in the allow-list of the flag with this primary key.
    pub(crate) fn of_list(flag_pk: &str) -> Self {
        Self::of("a user of flag", format!("pk {flag_pk}"), "primary key", Fault::Undecodable)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is set aside: ", self.table, self.row)?;
        let column = self.column;
        match self.fault {
            Fault::Null => write!(f, "its {column} is NULL"),
            Fault::Duplicate => f.write_str("several rows have this key"),
            Fault::Undecodable => write!(f, "its {column} is not UTF-8"),
            Fault::TooLarge => {
                write!(f, "its {column} is over 1 MiB, or all of them are over 64 MiB")
            }
        }
    }
}
