//! Feature flags for Django, kept in PostgreSQL and evaluated from memory.
//!
//! An evaluation uses these modules, in this order:
//!
//! - [`live`] holds the current [`snapshot::Snapshot`]: one atomic load, no lock. Beside it are
//!   the [`overrides`] that tests and the environment set, and the [`usage`] of unknown keys.
//!   [`boot_time`] is the clock of its age.
//! - [`snapshot`] is all flags and values at one point in time, immutable.
//! - [`flag`] is a flag as it is evaluated, [`user_set`] the users who always have it,
//!   [`counters`] its evaluation counts, and [`stored_value`] a row of the key-value table.
//! - [`rules`] are the targeting rules of a flag and the conditions of segments, and [`row_rules`]
//!   those of one flag, which may be older than its row.
//! - [`targeting`] is what most flags lack: rules, another bucketing unit than the user, a plan.
//! - [`watch`] is what a rollout plan measures, [`observation`] one request of it, and
//!   [`watch_registry`] collects it.
//! - [`groups`] are the groups that rules name, with their members.
//! - [`subject`] is the user that a flag is evaluated for.
//! - [`evaluate`](mod@evaluate) computes the result of a flag for a subject, with its reason. It is
//!   pure, and the only implementation of the semantics.
//! - [`assign`](mod@assign) computes the variant of an [`experiment`] for a subject, with its reason,
//!   by the buckets of its [`allocation`]. It is pure, too. [`exposures`] records what it has given.
//! - [`prerequisites`] are the flags that conditions need, with their results.
//! - [`bucketing_unit`] is what is hashed in place of the user: a visitor, or an attribute.
//! - [`bucket`](mod@bucket) is the position of a subject in a rollout, 0 to 99.
//!
//! A change uses these:
//!
//! - `postgres` (feature `postgres`) listens, polls and loads, each within a deadline.
//! - [`primary_key`] identifies a row from one load to the next.
//! - [`token_set`] shows which tables changed since the last load.
//! - [`last_good`] is the last version of a text that could be read.
//! - [`row`] is what a load reads; a row that cannot be evaluated becomes a problem to report.
//!
//! `python` (feature `python`) is the extension module on top of them. Each layer contains the one
//! below: the core depends on neither a database nor Python.

pub mod allocation;
pub mod assign;
pub mod boot_time;
pub mod bucket;
pub mod bucketing_unit;
pub mod counters;
pub mod declared;
pub mod evaluate;
pub mod experiment;
pub mod exposures;
pub mod flag;
pub mod groups;
pub mod last_good;
pub mod live;
pub mod message;
pub mod observation;
pub mod overrides;
pub mod prerequisites;
pub mod primary_key;
pub mod row;
pub mod row_rules;
pub mod rules;
pub mod snapshot;
pub mod steps;
pub mod stored_value;
pub mod subject;
pub mod targeting;
pub mod token_set;
pub mod usage;
pub mod user_set;
pub mod value_rules;
pub mod watch;
pub mod watch_registry;

#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "python")]
mod python;
