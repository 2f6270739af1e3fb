//! The functions that evaluate: `flag_enabled`, `get_value`, `explain`, `all_flags`, `snapshot`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::context::Context;
use super::direct;
use super::evaluation::{Absent, Evaluator};
use super::explained::Explained;
use super::maintenance;
use super::snapshot::PySnapshot;
use super::subject::UserArgument;
use super::value::to_python;
use super::{kept_values, start, state};
use crate::snapshot::Snapshot;

/// Whether the flag `key` is on for `user`.
///
/// The first of these decides: forced off in this process, False; nothing loaded yet or no such
/// flag, `default`; disabled, False; an allowed user, True; the first targeting rule that matches,
/// by its rollout; a rollout of 100 % or more, True; no user, False; otherwise whether the user's
/// bucket is below the rollout. `default` also if the rules could never be read.
///
/// `user` is a Django user, `request.user`, a bare primary key (int, str or uuid.UUID) or None. It
/// is read only if the result depends on it. `context` maps names to values that rules may read
/// beside the attributes of the user.
///
/// Evaluates from memory and returns at once; the first evaluation of a process waits for the first
/// load, at most `STARTUP_TIMEOUT`, unless the flag is forced off. Never raises because of the
/// database. Raises `TypeError` for a wrong type, and `UnknownFlagError` if `UNKNOWN_KEY` is
/// "raise".
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=false, context=None))]
pub(super) fn flag_enabled<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<bool> {
    let py = key.py();
    let user = UserArgument::new(user)?;
    let context = Context::new(context)?;
    maintenance::count_evaluation(py)?;
    let current = start::current_for(key)?;
    let Some(state) = current.as_ref() else { return Ok(default) };
    let evaluator = Evaluator::of(state);
    if state::evaluates_directly(py, state)? {
        let result = direct::flag_enabled(key, user, context, &evaluator)?;
        return Ok(result.unwrap_or(default));
    }
    evaluator.flag_enabled(key, user, context, default)
}

/// The value of `key`, as `KeyValueStore.objects.get(key=key).value` returns it.
///
/// Returns a fresh list or dict each time, and `default` if the key is unknown or nothing is loaded
/// yet. Reads from memory and returns at once, as `flag_enabled` does. Raises `UnknownValueError`
/// if `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, default=None))]
pub(super) fn get_value<'py>(
    key: &Bound<'py, PyString>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    maintenance::count_evaluation(py)?;
    let current = start::current(py)?;
    if let Some(state) = current.as_ref() {
        let evaluator = Evaluator::of(state);
        if state::evaluates_directly(py, state)? {
            if let Some(found) = direct::get_value(key, &evaluator)? {
                return Ok(found);
            }
        } else if let Some(value) = kept_value(key, &evaluator)? {
            return Ok(value);
        }
    }
    Ok(default.unwrap_or_else(|| py.None().into_bound(py)))
}

/// The value, as an object that is kept if it is immutable.
#[inline]
fn kept_value<'py>(
    key: &Bound<'py, PyString>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // An override hides the values of the snapshot.
    let snapshot = evaluator.snapshot.filter(|_| evaluator.overrides.is_none());
    let version = snapshot.map(Snapshot::values_version);
    if let Some(version) = version
        && let Some(object) = kept_values::get(key, version)
    {
        return Ok(Some(object));
    }
    let Some(value) = evaluator.value(key)? else { return Ok(None) };
    let object = to_python(key.py(), value)?;
    if let Some(version) = version {
        kept_values::keep(key, version, value, &object);
    }
    Ok(Some(object))
}

/// Whether the result of the flag `key` can differ between users.
///
/// For callers to whom reading the user costs something. True if it is not known.
#[pyfunction]
pub(super) fn depends_on_user(key: &Bound<'_, PyString>) -> PyResult<bool> {
    let current = start::current_for(key)?;
    let Some(state) = current.as_ref() else { return Ok(false) };
    let evaluator = Evaluator::of(state);
    if evaluator.flag_override(key).is_some() {
        return Ok(false);
    }
    Ok(state::evaluates_directly(key.py(), state)? || evaluator.depends_on_user(key)?)
}

/// How `flag_enabled(key, user)` gets its result, as a dict: the arguments of
/// `flagstaff.explain.Explanation`. Reads the user, unless an override decides.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, context=None))]
pub(super) fn explain<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Explained> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let current = start::current_for(key)?;
    match current.as_ref() {
        Some(state) if state::evaluates_directly(key.py(), state)? => {
            direct::explain(key, user, context, &Evaluator::of(state))
        }
        Some(state) => Evaluator::of(state).explain(key, user, context),
        None => Ok(Absent::NotReady.explained()),
    }
}

/// The results of all flags for `user` by key, from one snapshot.
///
/// With `client_side`, only the flags that browsers may read. Costs about 100 ns a flag. Reads the
/// user at most once. Raises `TypeError` for a wrong type.
#[pyfunction]
#[pyo3(signature = (user=None, *, client_side=false, context=None))]
pub(super) fn all_flags<'py>(
    py: Python<'py>,
    user: Option<&Bound<'py, PyAny>>,
    client_side: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    maintenance::count_evaluation(py)?;
    take_snapshot(py)?.evaluator().all_flags(py, user, context, client_side)
}

/// All flags and values at this point in time, for evaluations that must be consistent.
///
/// `context` is for all of its evaluations; the context of a call precedes it. Does not copy: it
/// keeps the current snapshot of the process. In direct mode, everything is read once. Before the
/// first load, if a flag is forced off, the point in time is that of the first result that needs the
/// database.
#[pyfunction]
#[pyo3(signature = (*, context=None))]
pub(super) fn snapshot<'py>(
    py: Python<'py>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<PySnapshot> {
    let _ = Context::new(context)?;
    maintenance::count_evaluation(py)?;
    let snapshot = match start::before_first_load().as_ref() {
        Some(state) => PySnapshot::taken_later(state, take_snapshot),
        None => take_snapshot(py)?,
    };
    Ok(PySnapshot { context: context.map(|context| context.clone().unbind()), ..snapshot })
}

fn take_snapshot(py: Python<'_>) -> PyResult<PySnapshot> {
    let current = start::current(py)?;
    match current.as_ref() {
        Some(state) if state::evaluates_directly(py, state)? => direct::snapshot(py, state),
        Some(state) => Ok(PySnapshot { is_recorded: true, ..PySnapshot::of(state) }),
        None => Ok(PySnapshot::default()),
    }
}
