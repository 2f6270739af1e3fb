//! The questions to this process: `flag_enabled`, `get_value`, `explain`, `all_flags`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::direct;
use super::evaluation::{Absent, Evaluator, Explained};
use super::maintenance;
use super::snapshot::PySnapshot;
use super::state;
use super::subject::UserArgument;
use super::value::to_python;

/// Whether the flag `key` is on for `user`.
///
/// From the first line that fits: nothing loaded yet or no such flag, `default`; disabled, False;
/// an allowed user, True; a rollout of 100 % or more, True; no user, False; else whether the
/// user's bucket is below the rollout.
///
/// `user` is a Django user, `request.user`, the bare primary key of one (int, str or uuid.UUID)
/// or None. It is touched only when the answer depends on it.
///
/// Answers from memory and returns at once; the first question of a process waits for the first
/// load, at most `STARTUP_TIMEOUT`. Never raises because of the database. Raises `TypeError` for a
/// wrong type, and `UnknownFlagError` where `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=false))]
pub(super) fn flag_enabled(
    key: &Bound<'_, PyString>,
    user: Option<&Bound<'_, PyAny>>,
    default: bool,
) -> PyResult<bool> {
    let py = key.py();
    let user = UserArgument::new(user)?;
    maintenance::tick(py)?;
    let current = state::current(py)?;
    let Some(state) = current.as_ref() else { return Ok(default) };
    let evaluator = Evaluator::of(state);
    if state::evaluates_directly(py, state)? {
        return direct::flag_enabled(key, user, &evaluator).map(|answer| answer.unwrap_or(default));
    }
    evaluator.flag_enabled(key, user, default)
}

/// The value of the setting `key`, as `KeyValueStore.objects.get(key=key).value` gives it.
///
/// A fresh object each time, so that no caller can change another's. Missing, or nothing loaded
/// yet: `default`. Answers from memory and returns at once, as `flag_enabled` does, and raises
/// `UnknownValueError` where `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, default=None))]
pub(super) fn get_value<'py>(
    key: &Bound<'py, PyString>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    maintenance::tick(py)?;
    let current = state::current(py)?;
    if let Some(state) = current.as_ref() {
        let evaluator = Evaluator::of(state);
        if state::evaluates_directly(py, state)? {
            if let Some(found) = direct::get_value(key, &evaluator)? {
                return Ok(found);
            }
        } else if let Some(setting) = evaluator.value(key)? {
            return to_python(py, setting);
        }
    }
    Ok(default.unwrap_or_else(|| py.None().into_bound(py)))
}

/// Whether the answer of the flag `key` differs between users, so that it matters who asks.
///
/// For callers that must pay to find out who asks. True where that cannot be told.
#[pyfunction]
pub(super) fn depends_on_user(key: &Bound<'_, PyString>) -> PyResult<bool> {
    let current = state::current(key.py())?;
    let Some(state) = current.as_ref() else { return Ok(false) };
    let evaluator = Evaluator::of(state);
    if evaluator.flag_override(key).is_some() {
        return Ok(false);
    }
    Ok(state::evaluates_directly(key.py(), state)? || evaluator.depends_on_user(key))
}

/// How the answer to `flag_enabled(key, user)` comes about: value, reason, error code, bucket and
/// rollout in percent. Reads the user in any case.
#[pyfunction]
#[pyo3(signature = (key, user=None))]
pub(super) fn explain(
    key: &Bound<'_, PyString>,
    user: Option<&Bound<'_, PyAny>>,
) -> PyResult<Explained> {
    let user = UserArgument::new(user)?;
    let current = state::current(key.py())?;
    match current.as_ref() {
        Some(state) if state::evaluates_directly(key.py(), state)? => {
            direct::explain(key, user, &Evaluator::of(state))
        }
        Some(state) => Evaluator::of(state).explain(key, user),
        None => Ok(Absent::NotReady.explained()),
    }
}

/// The answer of every flag for `user`, by key: all of one evaluator of the database.
///
/// With `client_side`, only those flags that browsers may ask for. Costs about 100 ns a flag. The
/// user is read at most once. Raises `TypeError` for a wrong type.
#[pyfunction]
#[pyo3(signature = (user=None, *, client_side=false))]
pub(super) fn all_flags<'py>(
    py: Python<'py>,
    user: Option<&Bound<'py, PyAny>>,
    client_side: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let user = UserArgument::new(user)?;
    snapshot(py)?.evaluator().all_flags(py, user, client_side)
}

/// All flags and settings as they are at this evaluator, for questions that must agree.
///
/// Takes no copy: it is the process's current snapshot, kept. Where questions are answered
/// directly, everything is read once.
#[pyfunction]
pub(super) fn snapshot(py: Python<'_>) -> PyResult<PySnapshot> {
    maintenance::tick(py)?;
    let current = state::current(py)?;
    match current.as_ref() {
        Some(state) if state::evaluates_directly(py, state)? => direct::pinned(py, state),
        Some(state) => Ok(PySnapshot::of(state)),
        None => Ok(PySnapshot::default()),
    }
}
