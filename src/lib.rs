//! Feature flags for Django, kept in PostgreSQL and answered from memory.
//!
//! A question meets these modules in this order:
//!
//! - [`live`] holds the current [`snapshot::Snapshot`]: one atomic load, no lock. Beside it are
//!   the [`overrides`] that a test has set, and the [`usage`] of keys without a flag.
//! - [`snapshot`] is all flags and settings at one moment of the database, immutable.
//! - [`flag`] is a flag as it is evaluated, [`allow_list`] the users that it names, [`setting`]
//!   a key-value entry.
//! - [`subject`] is who asks.
//! - [`evaluate`](mod@evaluate) turns a flag and a subject into an answer and its reason. It is
//!   pure, and the only walk.
//! - [`impact`] counts for whom the answer would change.
//! - [`bucket`](mod@bucket) is where a subject stands in a ramp, 0 to 99.
//!
//! A change meets these:
//!
//! - `postgres` (feature `postgres`) listens, polls and loads, each under a deadline.
//! - [`fingerprint`] tells which tables moved since the last load.
//! - [`row`] is what a load reads; a row that cannot be evaluated becomes a problem to report.
//!
//! `python` (feature `python`) is the extension module over all of it. Each layer contains the
//! one below: the core knows neither a database nor Python.

pub mod allow_list;
pub mod bucket;
pub mod evaluate;
pub mod fingerprint;
pub mod flag;
pub mod impact;
pub mod live;
pub mod overrides;
pub mod row;
pub mod setting;
pub mod snapshot;
pub mod subject;
pub mod usage;

#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "python")]
mod python;
