//! Direct mode: Django's own connection reads the rows, and a snapshot of them is evaluated.

use std::sync::Arc;

use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::calls::is_ending;
use super::hooks::Hooks;
use super::state::LIVE;
use crate::bucketing_unit::USER;
use crate::row::{
    AllowedUsersRow, ExperimentRow, Fault, FlagRow, GroupRow, SegmentRow, Users, ValueRow,
};
use crate::snapshot::{Loaded, Snapshot};

import_exception!(flagstaff._engine.direct, NotReadyError);

type Text = Option<String>;

/// The rows as `flagstaff._engine.direct.read_all` returns them.
pub(super) type Rows = (
    Vec<DirectFlag>,
    Vec<(String, Vec<String>)>,
    Vec<(String, Text, String)>,
    Vec<DirectValue>,
    Vec<DirectExperiment>,
);

/// Primary key, key, `enabled`, rollout, client side, JSON text of the rules, bucketing unit.
type DirectFlag = (String, Text, Option<bool>, Option<i32>, bool, Text, Text);

/// Primary key, key, JSON text, secret, client side, JSON text of the rules, bucketing unit.
type DirectValue = (String, Text, Text, bool, bool, Text, Text);

/// Primary key, key, state, winner, run, traffic; as JSON texts the variants, the forced units and
/// the rules; bucketing unit.
type DirectExperiment = (String, String, String, String, i32, i32, String, String, Text, Text);

/// Names, and the keys of the members.
type Groups = Vec<(String, Vec<String>)>;

/// A snapshot of the rows that evaluations of `key` need, or of all rows; `None` if the database
/// cannot be queried. The caller's block of `read_own_writes` keeps it.
pub(super) fn snapshot(
    py: Python<'_>,
    key: Option<&Bound<'_, PyString>>,
) -> PyResult<Option<Arc<Snapshot>>> {
    let key = match key.map(|key| key.to_str()) {
        None => None,
        Some(Ok(text)) if !text.contains('\0') => Some(text),
        // PostgreSQL cannot store such a key, and a driver raises for it.
        Some(_) => return Ok(Some(Arc::default())),
    };
    let Some(kept) = read(py, Hooks::kept_snapshots)? else { return Ok(None) };
    for kept_for in [None, key] {
        if let Some(found) = kept.get_item(kept_for)? {
            return Ok(Some(Arc::clone(&found.cast::<Kept>()?.get().0)));
        }
    }
    let Some(rows) = read(py, |py| Hooks::read_all(py, key))? else { return Ok(None) };
    let declared = match key {
        None => LIVE.declared(),
        Some(key) => Arc::new(LIVE.declared().only(key)),
    };
    let rows = Snapshot::declaring(declared).next(loaded(rows.extract()?));
    if key.is_some() && rows.needs_flags() {
        // These may need others in turn.
        return snapshot(py, None);
    }
    let grouped =
        with_groups(rows, |names| Ok(read(py, |py| Hooks::read_groups(py, names))?.flatten()));
    let read = Arc::new(grouped?);
    kept.set_item(key, Kept(Arc::clone(&read)))?;
    Ok(Some(read))
}

/// A snapshot that a block of `read_own_writes` keeps.
#[pyclass(frozen)]
struct Kept(Arc<Snapshot>);

/// The snapshot with the groups that its rules refer to, if the project has groups, by `read`.
pub(super) fn with_groups(
    snapshot: Snapshot,
    read: impl FnOnce(Option<Vec<&str>>) -> PyResult<Option<Groups>>,
) -> PyResult<Snapshot> {
    let Some(references) = snapshot.wanted_groups(false) else { return Ok(snapshot) };
    let Some(groups) = read(references.names())? else { return Ok(snapshot) };
    let rows = groups.into_iter().map(|(name, users)| GroupRow::new(name, Users::Texts(users)));
    Ok(snapshot.with_groups(references, rows.collect()))
}

pub(super) fn loaded((flags, allowed_users, segments, values, experiments): Rows) -> Loaded {
    let segments = segments.into_iter().map(|(pk, key, conditions)| SegmentRow {
        pk: pk.into(),
        key: key.map(Into::into).ok_or(Fault::Null),
        conditions: Ok(conditions.into()),
    });
    let allowed_users = allowed_users
        .into_iter()
        .map(|(flag_pk, users)| AllowedUsersRow::new(flag_pk, Users::Texts(users)));
    Loaded {
        flags: Some(flags.into_iter().map(flag_row).collect()),
        allowed_users: Some(allowed_users.collect()),
        segments: Some(segments.collect()),
        values: Some(values.into_iter().map(value_row).collect()),
        experiments: Some(experiments.into_iter().map(experiment_row).collect()),
        ..Loaded::default()
    }
}

fn flag_row(row: DirectFlag) -> FlagRow {
    let (pk, key, enabled, rollout_percent, client_side, rules, bucket_by) = row;
    FlagRow {
        pk: pk.into(),
        key: key.map(Into::into).ok_or(Fault::Null),
        enabled,
        rollout_percent,
        client_side,
        rules: rules.map(Into::into),
        bucket_by: unit(bucket_by),
    }
}

fn value_row(row: DirectValue) -> ValueRow {
    let (pk, key, value, is_secret, client_side, rules, bucket_by) = row;
    ValueRow {
        pk: pk.into(),
        key: key.map(Into::into).ok_or(Fault::Null),
        value: Ok(value),
        is_secret,
        client_side,
        rules: rules.map(Into::into),
        bucket_by: unit(bucket_by),
    }
}

fn experiment_row(row: DirectExperiment) -> ExperimentRow {
    let (pk, key, state, winner, run, traffic_percent, variants, forced, rules, bucket_by) = row;
    ExperimentRow {
        pk: pk.into(),
        key: Ok(key.into()),
        state: state.into(),
        winner: winner.into(),
        run,
        variants: Ok(variants.into()),
        traffic_percent,
        forced: Ok(forced.into()),
        rules: rules.map(Into::into),
        bucket_by: unit(bucket_by),
    }
}

/// The attribute that percentages bucket by, `None` for the user.
fn unit(bucket_by: Text) -> Option<Box<str>> {
    bucket_by.filter(|unit| unit != USER).map(Into::into)
}

/// The result of a query; `None` if it has none or the database cannot be queried.
fn read<'py, T>(
    py: Python<'py>,
    query: impl FnOnce(Python<'py>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    match query(py) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_instance_of::<NotReadyError>(py) => Ok(None),
        // At the end of the process modules may be gone, and an evaluation must not raise.
        Err(_) if is_ending() => Ok(None),
        Err(error) => Err(error),
    }
}
