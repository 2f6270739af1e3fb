//! What clients outside of the process may read from a snapshot: services, and with `client_side`
//! browsers.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::resolution::Kind;
use super::snapshot::PySnapshot;
use crate::snapshot::Snapshot;

/// What a key stands for. `None` for an unknown key and a secret value, and for browsers for
/// everything but the flags that they may evaluate.
#[pyfunction]
#[pyo3(signature = (snapshot, key, *, client_side))]
pub(super) fn served_kind(
    snapshot: &Bound<'_, PySnapshot>,
    key: &Bound<'_, PyString>,
    client_side: bool,
) -> PyResult<Option<&'static str>> {
    let evaluator = snapshot.get().evaluator_for(key)?;
    let flag = || evaluator.snapshot?.flag(key.to_str().ok()?);
    let is_served = |kind: &Kind| match kind {
        Kind::Flag => !client_side || flag().is_some_and(|flag| flag.client_side),
        Kind::Value => !client_side && !evaluator.is_secret(key),
        Kind::Variant => !client_side,
    };
    Ok(evaluator.kind_of(key)?.filter(is_served).map(Kind::as_str))
}

/// The keys of the values that services may read, without those of flags, in order.
#[pyfunction]
pub(super) fn served_values(snapshot: &Bound<'_, PySnapshot>) -> PyResult<Vec<String>> {
    let snapshot = snapshot.get().taken_evaluator(snapshot.py())?.snapshot;
    let keys = snapshot.into_iter().flat_map(Snapshot::readable_values);
    let mut keys: Vec<String> = keys.map(Into::into).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// The attributes that the flags of browsers are bucketed by.
#[pyfunction]
pub(super) fn client_side_units<'s>(
    snapshot: &'s Bound<'_, PySnapshot>,
) -> PyResult<HashSet<&'s str>> {
    let snapshot = snapshot.get().taken_evaluator(snapshot.py())?.snapshot;
    let flags = snapshot.into_iter().flat_map(Snapshot::flags).map(|(_, flag)| flag);
    Ok(flags.filter(|flag| flag.client_side).filter_map(|flag| flag.bucket_by()).collect())
}
