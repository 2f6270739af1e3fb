//! The functions that evaluate: `flag_enabled`, `get_value`, and the snapshots that all others evaluate.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::arguments::{Key, default_of_flag};
use super::context::Context;
use super::evaluation::Evaluator;
use super::maintenance;
use super::resolution::{PyResolution, Resolved};
use super::snapshot::PySnapshot;
use super::state::LIVE;
use super::subject::UserArgument;
use super::value::default_of;
use super::{default_types, kept_values, start};
use crate::live::State;

/// Returns True if the flag `key` is on for `user`.
///
///     if flag_enabled("new_checkout", request.user): ...
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
/// Evaluates from memory and does not block; the first evaluation of a process waits for the first
/// load, at most `STARTUP_TIMEOUT`, unless the flag is forced off. Never raises because of the
/// database. Raises `TypeError` for a wrong type, and `UnknownFlagError` if `UNKNOWN_KEY` is
/// "raise".
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=false, context=None))]
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub(super) fn flag_enabled<'py>(
    key: Key<'_, 'py>,
    user: Option<&Bound<'py, PyAny>>,
    #[pyo3(from_py_with = default_of_flag)] default: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<bool> {
    maintenance::count_evaluation(key.py())?;
    let current = LIVE.current();
    let Some(state) = current.as_ref().filter(|state| state.is_in_memory()) else {
        drop(current);
        return flag_outside_memory(key, user, default, context);
    };
    let user = UserArgument::new(user)?;
    let context = Context::new(context)?;
    Evaluator::of(state).flag(&key, user, context, default, true)
}

/// The same where the evaluation may wait for the first load or query. Not inlined: it would cost all
/// others.
#[cold]
#[inline(never)]
fn flag_outside_memory<'py>(
    key: Key<'_, 'py>,
    user: Option<&Bound<'py, PyAny>>,
    default: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<bool> {
    PySnapshot::current(Some(&key)).flag_enabled(key, user, default, context)
}

/// Returns the result of `flag_enabled` with its reason. Counts as `flag_enabled` does.
///
/// The variant is "on" or "off". Never raises for an unknown key. The user is read only if the
/// result depends on it, so the reason of a flag at 100 % is STATIC for its allowed users, too.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=false, context=None))]
pub(super) fn resolve_flag<'py>(
    key: Key<'_, 'py>,
    user: Option<&Bound<'py, PyAny>>,
    #[pyo3(from_py_with = default_of_flag)] default: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Py<PyResolution>> {
    maintenance::count_evaluation(key.py())?;
    let current = LIVE.current();
    let Some(state) = current.as_ref().filter(|state| state.is_in_memory()) else {
        drop(current);
        return PySnapshot::current(Some(&key)).resolve_flag(key, user, default, context);
    };
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let resolved: Resolved = Evaluator::of(state).flag(&key, user, context, default, false)?;
    resolved.to_python(key.py())
}

/// Returns the value `key` for `user`, or `default` if the key is unknown or nothing is loaded.
///
///     page_size = get_value("page_size", default=20)
///
/// The first rule of the value that matches decides, by its percentage; otherwise the result is
/// what `KeyValueStore.objects.get(key=key).value` returns. `user` and `context` are those of
/// `flag_enabled`; they matter only to rules.
///
/// Returns a fresh list or dict each time. Evaluates from memory and does not block, as
/// `flag_enabled`. Raises `TypeError` for a wrong type of `key`, `user` or `context`, and
/// `UnknownValueError` if `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, default=None, *, user=None, context=None))]
pub(super) fn get_value<'py>(
    key: Key<'_, 'py>,
    default: Option<&Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    value(key, default, user, context, kept_values::get)
}

/// The same. `kept` finds the object of a value that has not changed.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub(super) fn value<'py>(
    key: Key<'_, 'py>,
    default: Option<&Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
    kept: impl FnOnce(&Bound<'py, PyString>, u64) -> Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if user.is_some() || context.is_some() {
        require_arguments(user, context)?;
    }
    maintenance::count_evaluation(key.py())?;
    // Most calls find the object of a value that has not changed, and nothing is set over it.
    let current = LIVE.current();
    if let Some(state) = current.as_ref()
        && state.is_in_memory()
        && state.overrides.is_none()
        && let Some(snapshot) = &state.snapshot
    {
        let value = match kept(&key, snapshot.values_version()) {
            Some(object) => object,
            None => value_in_memory(&key, default, user, context, state)?,
        };
        // Read again: kept over the calls, it would cost all others.
        return default_types::compared(&key, default, value, Some(snapshot.values_version()));
    }
    drop(current);
    PySnapshot::current(Some(&key)).get_value(key, default.cloned(), user, context)
}

/// Raises `TypeError` for a wrong type, also where the result does not depend on it.
#[inline(never)]
fn require_arguments(
    user: Option<&Bound<'_, PyAny>>,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let _ = (UserArgument::new(user)?, Context::new(context)?);
    Ok(())
}

/// The value of `key` in memory if no object is kept for it.
#[inline(never)]
fn value_in_memory<'py>(
    key: &Bound<'py, PyString>,
    default: Option<&Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
    state: &State,
) -> PyResult<Bound<'py, PyAny>> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let found = Evaluator::of(state).value_object(key, user, context, true)?;
    found.map_or_else(|_| default_of(key, default.cloned()), |(value, _)| Ok(value))
}

/// Returns the newest snapshot, for one evaluation of `key` or of all flags. Does not block.
///
/// In direct mode, the evaluation reads the rows of the key only.
#[pyfunction]
#[pyo3(signature = (key=None))]
pub(super) fn current(py: Python<'_>, key: Option<Key<'_, '_>>) -> PyResult<PySnapshot> {
    maintenance::count_evaluation(py)?;
    Ok(PySnapshot::current(key.as_deref()))
}

/// Returns all flags and values at this time, for evaluations that must be consistent.
///
///     now = snapshot()
///     now.flag_enabled("new_checkout", user), now.get_value("page_size", 20)
///
/// All its evaluations have `context`; the context of a call precedes it. Copies nothing, and does
/// not block: it keeps the current snapshot of the process. In direct mode, everything is read
/// once. Before the first load, if a flag is forced off, the time is that of the first result that
/// needs the database. Raises `TypeError` if `context` is not a mapping.
#[pyfunction]
#[pyo3(signature = (*, context=None))]
pub(super) fn snapshot<'py>(
    py: Python<'py>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<PySnapshot> {
    let _ = Context::new(context)?;
    maintenance::count_evaluation(py)?;
    let snapshot = match start::before_first_load().as_ref() {
        Some(state) => PySnapshot::take_later(Some(state), None),
        None => PySnapshot::take(py, None)?,
    };
    Ok(PySnapshot { context: context.map(|context| context.clone().unbind()), ..snapshot })
}
