//! What clients outside of the process may read from a snapshot: services, and with `client_side`
//! browsers.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::context::Context;
use super::resolution::{FoundValue, Kind, PyResolution};
use super::snapshot::PySnapshot;
use super::subject::UserArgument;
use super::value::to_python;
use crate::rules::Rules;
use crate::snapshot::Stored;

/// Returns what a key stands for, for a client outside of the process. Counts nothing.
///
/// None for an unknown key and a secret value, and with `client_side` for everything but the flags
/// that browsers may evaluate.
#[pyfunction]
#[pyo3(signature = (snapshot, key, *, client_side))]
pub(super) fn served_kind(
    snapshot: &Bound<'_, PySnapshot>,
    key: &Bound<'_, PyString>,
    client_side: bool,
) -> PyResult<Option<&'static str>> {
    let evaluator = snapshot.get().evaluator_for_kind(key)?;
    let flag = || evaluator.snapshot?.flag(key.to_str().ok()?);
    let value = || evaluator.snapshot?.value(key.to_str().ok()?);
    let is_served = |kind: &Kind| match kind {
        Kind::Flag => !client_side || flag().is_some_and(|flag| flag.client_side),
        Kind::Value if client_side => value().is_some_and(Stored::is_client_side),
        Kind::Value => !evaluator.is_secret(key),
        Kind::Variant => !client_side,
    };
    Ok(evaluator.kind_of(key).filter(is_served).map(Kind::as_str))
}

/// Returns the values that services may read for `user`, by key, without those of flags.
///
/// With `client_side`, those that browsers may read. Counts nothing and calls no listener.
#[pyfunction]
#[pyo3(signature = (snapshot, user, *, client_side, context))]
pub(super) fn served_values<'py>(
    snapshot: &Bound<'py, PySnapshot>,
    user: Option<&Bound<'py, PyAny>>,
    client_side: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = snapshot.py();
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let evaluator = snapshot.get().taken_evaluator(py)?;
    let results = PyDict::new(py);
    let Some(snapshot) = evaluator.snapshot else { return Ok(results) };
    let is_served = |stored: &Stored| !client_side || stored.is_client_side();
    let values = snapshot.readable_values();
    let mut values: Vec<_> = values.filter(|(_, stored)| is_served(stored)).collect();
    values.sort_unstable_by_key(|(key, _)| *key);
    for (key, stored) in values {
        let key = PyString::new(py, key);
        let found = match evaluator.value_override(&key) {
            Some(value) => Ok(FoundValue::overridden(key.to_str()?, value)),
            None => evaluator.value_of_row(&key, stored, user, context, |_, _| ())?,
        };
        let found = match found {
            // Clients read JSON, whatever the type in Python is.
            Ok(found) => Ok((to_python(py, found.value)?, found.how)),
            Err(code) => Err(code),
        };
        let resolution = PyResolution::of_value(py, found, None);
        results.set_item(&key, Py::new(py, resolution)?)?;
    }
    Ok(results)
}

/// Returns the attributes that flags which browsers may evaluate are bucketed by.
///
/// Also those of flags that these need.
#[pyfunction]
pub(super) fn client_side_units<'s>(
    snapshot: &'s Bound<'_, PySnapshot>,
) -> PyResult<HashSet<&'s str>> {
    let Some(snapshot) = snapshot.get().taken_evaluator(snapshot.py())?.snapshot else {
        return Ok(HashSet::new());
    };
    let flags = snapshot.flags().map(|(_, flag)| flag).filter(|flag| flag.client_side);
    let values = snapshot.readable_values().map(|(_, stored)| stored);
    let rules = values.filter(|stored| stored.is_client_side()).filter_map(Stored::rules);
    let of_values =
        rules.flat_map(|rules| units(rules.targeting.bucket_by.as_deref(), rules.rules()));
    let of_flags = flags
        .flat_map(|flag| units(flag.bucket_by(), flag.rules().and_then(|rules| rules.rules())));
    Ok(of_flags.chain(of_values).collect())
}

/// The unit of a row, and those of the flags that its rules need.
fn units<'a>(own: Option<&'a str>, rules: Option<&'a Rules>) -> impl Iterator<Item = &'a str> {
    let needed = rules.into_iter().flat_map(|rules| &rules.needs().units);
    own.into_iter().chain(needed.map(|unit| &**unit))
}
