//! A row of the database → a flag, a segment, a value, or a problem to report.
//!
//! SQL or a foreign table may have written the row, so every column is checked. A row that cannot
//! be evaluated becomes a [`Problem`], never an error.

mod texts;

use std::fmt;

use crate::message::{Message, Value};
use crate::primary_key::PrimaryKey;
use crate::rules::RuleError;
use crate::stored_value::Undecodable;

pub use crate::user_set::Users;
pub use texts::TEMPLATES;

/// The regular expressions of all rules and segments, as a message writes it: 1,000. One may take
/// 200 KiB and a millisecond to compile.
pub const MAX_PATTERNS: usize = 1_000;

/// A row of the flags' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that the code evaluates.
    pub key: Result<Box<str>, Fault>,
    /// Whether the flag is enabled.
    pub enabled: Option<bool>,
    /// The rollout in percent.
    pub rollout_percent: Option<i32>,
    /// Whether browsers may read it.
    pub client_side: bool,
    /// The JSON text of its rules, or `None` without any.
    pub rules: Option<Box<str>>,
    /// The attribute that its percentages bucket by, or `None` for the user. Empty for one that
    /// cannot be decoded, which no subject has.
    pub bucket_by: Option<Box<str>>,
}

/// A row of the segments' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that rules name.
    pub key: Result<Box<str>, Fault>,
    /// The JSON text of its conditions.
    pub conditions: Result<Box<str>, Fault>,
}

/// A rollout plan that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRow {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The primary key of the flag.
    pub flag_pk: PrimaryKey,
    /// The key of the flag, for problems.
    pub key: Box<str>,
    /// The run that is measured now.
    pub run: Option<i64>,
    /// What users are hashed with.
    pub salt: Vec<u8>,
    /// The JSON text of the limits of the latency guards: seconds by number.
    pub latency_limits: Box<str>,
    /// The seconds until a driver must have run again; `None` if no driver is needed now.
    pub guarded_for: Option<f64>,
}

/// A row of the experiments' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimentRow {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that the code evaluates.
    pub key: Result<Box<str>, Fault>,
    /// `draft`, `running`, `stopped` or `shipped`.
    pub state: Box<str>,
    /// The key of the variant that was shipped; empty without one.
    pub winner: Box<str>,
    /// How often it was restarted.
    pub run: i32,
    /// The JSON text of its variants, with their weights.
    pub variants: Result<Box<str>, Fault>,
    /// The share of all units that take part.
    pub traffic_percent: i32,
    /// The JSON text of the keys of variants by unit.
    pub forced: Result<Box<str>, Fault>,
    /// The JSON text of its rules, or `None` without any.
    pub rules: Option<Box<str>>,
    /// The attribute that is its unit, or `None` for the user. Empty for one that cannot be decoded,
    /// which no subject has.
    pub bucket_by: Option<Box<str>>,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its name, which rules use.
    pub name: Box<str>,
    /// The primary keys of its members.
    pub users: Users,
    /// Of users that were asked for, those who are no members.
    pub absent: Users,
}

impl GroupRow {
    /// A group with all its members.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, users: Users) -> Self {
        Self { name: name.into(), users, absent: Users::default() }
    }
}

/// The allowed users of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUsersRow {
    /// The primary key of the flag.
    pub flag_pk: PrimaryKey,
    /// The primary keys of the users.
    pub users: Users,
    /// Of users that were asked for, those who are not allowed.
    pub absent: Users,
}

impl AllowedUsersRow {
    /// A row whose users could all be read.
    #[must_use]
    pub fn new(flag_pk: impl Into<PrimaryKey>, users: Users) -> Self {
        Self { flag_pk: flag_pk.into(), users, absent: Users::default() }
    }
}

/// A row of the key-value table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that the code evaluates.
    pub key: Result<Box<str>, Fault>,
    /// The JSON text, or `None` for SQL's NULL.
    pub value: Result<Option<String>, Fault>,
    /// Whether only evaluations may show it.
    pub is_secret: bool,
    /// Whether browsers may read it.
    pub client_side: bool,
    /// The JSON text of its rules, or `None` without any.
    pub rules: Option<Box<str>>,
    /// The attribute that the percentages of its rules bucket by, or `None` for the user. Empty for
    /// one that cannot be decoded, which no subject has.
    pub bucket_by: Option<Box<str>>,
}

/// A valid row of the flags' table.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedFlag {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that the code evaluates.
    pub key: Box<str>,
    /// Whether the flag is enabled.
    pub enabled: bool,
    /// The rollout in percent.
    pub rollout_percent: i32,
    /// Whether browsers may read it.
    pub client_side: bool,
    /// The JSON text of its rules, or `None` without any. Rules that cannot be read never hide the
    /// other columns.
    pub rules: Option<Box<str>>,
    /// The attribute that its percentages bucket by, or `None` for the user.
    pub bucket_by: Option<Box<str>>,
}

/// A valid row of the key-value table.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedValue {
    /// The primary key.
    pub pk: PrimaryKey,
    /// The key that the code evaluates.
    pub key: Box<str>,
    /// The JSON text, or `None` for SQL's NULL.
    pub value: Option<String>,
    /// Whether only evaluations may show it.
    pub is_secret: bool,
    /// Whether browsers may read it.
    pub client_side: bool,
    /// The JSON text of its rules, or `None` without any. Rules that cannot be read never hide the
    /// other columns.
    pub rules: Option<Box<str>>,
    /// The attribute that the percentages of its rules bucket by, or `None` for the user.
    pub bucket_by: Option<Box<str>>,
}

impl ValueRow {
    /// The valid row, or its primary key and the problem.
    ///
    /// # Errors
    /// A [`Problem`] that names the column.
    pub fn checked(self) -> Result<CheckedValue, (PrimaryKey, Problem)> {
        let problem = match (self.key, self.value) {
            (Ok(key), Ok(value)) => {
                let Self { pk, is_secret, client_side, rules, bucket_by, .. } = self;
                return Ok(CheckedValue {
                    pk,
                    key,
                    value,
                    is_secret,
                    client_side,
                    rules,
                    bucket_by,
                });
            }
            (Err(fault), _) => Problem::of_key(RowKind::Value, &self.pk, fault),
            (Ok(key), Err(fault)) => Problem::of(RowKind::Value, &key, "value", fault),
        };
        Err((self.pk, problem))
    }
}

impl FlagRow {
    /// The valid row, or its primary key and the problem.
    ///
    /// # Errors
    /// A [`Problem`] that names the column.
    pub fn checked(self) -> Result<CheckedFlag, (PrimaryKey, Problem)> {
        let problem = match (self.key, self.enabled, self.rollout_percent) {
            (Ok(key), Some(enabled), Some(rollout_percent)) => {
                let Self { pk, client_side, rules, bucket_by, .. } = self;
                return Ok(CheckedFlag {
                    pk,
                    key,
                    enabled,
                    rollout_percent,
                    client_side,
                    rules,
                    bucket_by,
                });
            }
            (Err(fault), ..) => Problem::of_key(RowKind::Flag, &self.pk, fault),
            (Ok(key), None, _) => Problem::of(RowKind::Flag, &key, "enabled", Fault::Null),
            (Ok(key), _, None) => Problem::of(RowKind::Flag, &key, "rollout_percent", Fault::Null),
        };
        Err((self.pk, problem))
    }
}

/// A row that cannot be evaluated, or not as it is. Shows the key of the row, and of its content
/// only names in rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Message);

/// The rows whose rules name the same: the first one, and how many others.
#[derive(Debug)]
pub(crate) struct RowsNaming<'a> {
    pub(crate) first: (RowKind, &'a str),
    pub(crate) others: usize,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKind {
    Experiment,
    Flag,
    Segment,
    Value,
}

impl RowKind {
    /// The row with this key, as a problem names it.
    pub(crate) fn named(self, key: &str) -> Message {
        let template = match self {
            Self::Experiment => &texts::EXPERIMENT,
            Self::Flag => &texts::FLAG,
            Self::Segment => &texts::SEGMENT,
            Self::Value => &texts::VALUE,
        };
        template.with([("key", quoted(key))])
    }
}

impl RowsNaming<'_> {
    /// The first row and how many others.
    fn message(&self) -> Message {
        let (kind, key) = self.first;
        let first = kind.named(key);
        match self.others {
            0 => first,
            others => texts::MORE.with([("items", first.into()), ("others", others.into())]),
        }
    }
}

/// The flag with this key and how many others, such as `flag "a" and 3 more`.
#[must_use]
pub fn flags_named(first: &str, others: usize) -> Message {
    RowsNaming { first: (RowKind::Flag, first), others }.message()
}

fn quoted(name: &str) -> Value {
    format!("{name:?}").into()
}

/// Why rules or conditions cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The column cannot be used.
    Column(Fault),
    /// The text has another meaning, or none.
    Text(RuleError),
}

/// Why a column cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The column is NULL.
    Null,
    /// Another row has the same key.
    Duplicate,
    /// The value exceeds what a worker may hold in memory.
    TooLarge,
    /// The rules of all flags and segments have too many regular expressions.
    TooManyPatterns,
    /// Python cannot decode the value.
    Json(Undecodable),
    /// The text does not have the form that this version writes.
    Malformed,
}

impl Problem {
    /// The row with this key cannot be used because of `column`.
    pub(crate) fn of(kind: RowKind, row: &str, column: &'static str, fault: Fault) -> Self {
        let values = [("row", kind.named(row).into()), ("problem", fault.message(column).into())];
        Self(texts::SET_ASIDE.with(values))
    }

    /// The row with this primary key cannot be used because of its key.
    pub(crate) fn of_key(kind: RowKind, pk: &PrimaryKey, fault: Fault) -> Self {
        Self::of(kind, &format!("pk {pk}"), "key", fault)
    }

    /// Several rows have this key.
    pub(crate) fn duplicate(kind: RowKind, key: &str) -> Self {
        Self::of(kind, key, "key", Fault::Duplicate)
    }

    /// The rules of this row cannot be read.
    pub(crate) fn of_rules(
        kind: RowKind,
        key: &str,
        has_last_good: bool,
        why: &Unreadable,
    ) -> Self {
        let effect = match kind {
            _ if has_last_good => &texts::LAST_RULES,
            RowKind::Value => &texts::OWN_VALUE,
            _ => &texts::DEFAULT,
        };
        let row = kind.named(key).into();
        let values = [("row", row), ("effect", effect.into()), ("problem", why.into())];
        Self(texts::RULES.with(values))
    }

    /// The value with this key has something else than code declares.
    pub(crate) fn of_declared(key: &str, problem: Message) -> Self {
        let values = [("row", RowKind::Value.named(key).into()), ("problem", problem.into())];
        Self(texts::DECLARED.with(values))
    }

    /// The conditions of the segment with this key cannot be read.
    pub(crate) fn of_conditions(segment: &str, has_last_good: bool, why: &Unreadable) -> Self {
        let effect = if has_last_good { &texts::LAST_CONDITIONS } else { &texts::NO_CONDITIONS };
        let values = [("key", quoted(segment)), ("effect", effect.into()), ("problem", why.into())];
        Self(texts::CONDITIONS.with(values))
    }

    /// The rules of these rows name a segment that does not exist.
    pub(crate) fn of_missing_segment(rows: &RowsNaming<'_>, segment: &str) -> Self {
        let values = [("row", rows.message().into()), ("segment", quoted(segment))];
        Self(texts::MISSING_SEGMENT.with(values))
    }

    /// The rules of these rows name a flag that does not exist.
    pub(crate) fn of_missing_flag(rows: &RowsNaming<'_>, flag: &str) -> Self {
        Self(texts::MISSING_FLAG.with([("row", rows.message().into()), ("flag", quoted(flag))]))
    }

    /// The rules of these rows name a flag whose own conditions an evaluation does not follow.
    pub(crate) fn of_endless_flag(rows: &RowsNaming<'_>, flag: &str) -> Self {
        Self(texts::ENDLESS_FLAG.with([("row", rows.message().into()), ("flag", quoted(flag))]))
    }

    /// Of those whom a rule of this row lets through, a percentage selects all or nobody.
    pub(crate) fn of_own_bucket(kind: RowKind, key: &str) -> Self {
        let values = [("row", kind.named(key).into()), ("key", quoted(key))];
        Self(texts::OWN_BUCKET.with(values))
    }

    /// The latency limits of a rollout plan cannot be read.
    pub(crate) fn of_latency_limits(flag: &str) -> Self {
        Self(texts::LATENCY_LIMITS.with([("key", quoted(flag))]))
    }

    /// The rules of these rows name a group that does not exist.
    pub(crate) fn of_missing_group(rows: &RowsNaming<'_>, group: &str) -> Self {
        Self(texts::MISSING_GROUP.with([("row", rows.message().into()), ("group", quoted(group))]))
    }

    /// The members of groups cannot be read.
    pub(crate) fn of_groups(has_last_good: bool, why: impl Into<Value>) -> Self {
        let effect = if has_last_good { &texts::LAST_MEMBERS } else { &texts::NO_MEMBERS };
        Self(texts::GROUPS.with([("effect", effect.into()), ("problem", why.into())]))
    }

    /// Whether the members of groups cannot be read.
    pub(crate) fn is_of_groups(&self) -> bool {
        self.0.template == &texts::GROUPS
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Fault {
    fn message(self, column: impl Into<Value>) -> Message {
        let template = match self {
            Self::Null => &texts::NULL,
            Self::Malformed => &texts::MALFORMED,
            Self::TooLarge => &texts::TOO_LARGE,
            Self::Duplicate => return (&texts::DUPLICATE).into(),
            Self::TooManyPatterns => return (&texts::TOO_MANY_PATTERNS).into(),
            Self::Json(fault) => {
                let values = [("column", column.into()), ("problem", fault.template().into())];
                return texts::JSON.with(values);
            }
        };
        template.with([("column", column.into())])
    }
}

impl From<&Unreadable> for Message {
    fn from(unreadable: &Unreadable) -> Self {
        match unreadable {
            Unreadable::Text(error) => error.clone().into(),
            Unreadable::Column(fault) => fault.message(&texts::JSON_TEXT),
        }
    }
}

impl From<&Unreadable> for Value {
    fn from(unreadable: &Unreadable) -> Self {
        Self::Part(unreadable.into())
    }
}
