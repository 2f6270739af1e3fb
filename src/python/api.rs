//! The functions that evaluate: `flag_enabled`, `get_value`, `explain`, `all_flags`, `snapshot`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::context::Context;
use super::direct;
use super::evaluation::Evaluator;
use super::explained::{Explained, ExplainedValue};
use super::listeners;
use super::maintenance;
use super::resolution::{Decided, ErrorCode, FlagResult, Kind, PyResolution, PyValue, Resolved};
use super::snapshot::PySnapshot;
use super::state::{self, LIVE};
use super::subject::UserArgument;
use super::value::or_none;
use super::{kept_values, start};
use crate::live::{EvaluationMode, State};
use crate::overrides::Overrides;
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
    flag(key, user, default, context, true)
}

/// The result of `flag_enabled` with its reason, its variant, and the rule that decided.
///
/// Counts as `flag_enabled` does. Never raises for an unknown key. The user is read only if the
/// result depends on it, so an allowed user of a flag at 100 % gets the reason STATIC.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=false, context=None))]
pub(super) fn resolve_flag<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: bool,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Py<PyResolution>> {
    let resolved: Resolved = flag(key, user, default, context, false)?;
    resolved.to_python(key.py())
}

#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
fn flag<'py, T: FlagResult>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: bool,
    context: Option<&Bound<'py, PyAny>>,
    reports: bool,
) -> PyResult<T> {
    let py = key.py();
    let user = UserArgument::new(user)?;
    let context = Context::new(context)?;
    maintenance::count_evaluation(py)?;
    let current = start::current_for(key)?;
    let Some(state) = current.as_ref() else {
        return Ok(T::error(ErrorCode::NotReady, default));
    };
    let evaluator = Evaluator::of(state);
    if state::evaluates_directly(py, state)? {
        let resolved = direct::resolve_flag(key, user, context, default, &evaluator, reports);
        return resolved.map(T::from);
    }
    evaluator.flag(key, user, context, default, reports)
}

/// The value of `key` for `user`.
///
/// The first rule of the value that matches decides, by its percentage; otherwise it is what
/// `KeyValueStore.objects.get(key=key).value` returns. `default` if the key is unknown or nothing is
/// loaded yet. `user` and `context` are those of `flag_enabled`; they matter only to rules.
///
/// Returns a fresh list or dict each time. Reads from memory and returns at once, as `flag_enabled`
/// does. Raises `UnknownValueError` if `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, default=None, *, user=None, context=None))]
pub(super) fn get_value<'py>(
    key: &Bound<'py, PyString>,
    default: Option<&Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if user.is_some() || context.is_some() {
        require_arguments(user, context)?;
    }
    // Most calls find the object of a value that has not changed, and nothing is set over it.
    let current = LIVE.current();
    if let Some(state) = current.as_ref()
        && state.mode == EvaluationMode::Memory
        && !state.own_writes
        && state.overrides.is_none()
        && let Some(snapshot) = &state.snapshot
    {
        maintenance::count_evaluation(key.py())?;
        return match kept_values::get(key, snapshot.values_version()) {
            Some(object) => Ok(object),
            None => value_in_memory(key, default, user, context, state),
        };
    }
    drop(current);
    any_value(key, default, user, context)
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
    let found = kept_value(key, user, context, &Evaluator::of(state), true)?;
    Ok(found.map_or_else(|_| or_none(key.py(), default.cloned()), |(value, _)| value))
}

/// The value of `key` wherever it is read from.
#[inline(never)]
fn any_value<'py>(
    key: &Bound<'py, PyString>,
    default: Option<&Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let found = found_value(key, user, context, default, true)?;
    Ok(found.map_or_else(|_| or_none(key.py(), default.cloned()), |(value, _)| value))
}

/// The result of `get_value` with its reason, and the rule that decided.
///
/// Never raises for an unknown key.
#[pyfunction]
#[pyo3(signature = (key, default=None, *, user=None, context=None))]
pub(super) fn resolve_value<'py>(
    key: &Bound<'py, PyString>,
    default: Option<Bound<'py, PyAny>>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<PyResolution> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let found = found_value(key, user, context, default.as_ref(), false)?;
    Ok(PyResolution::of_value(key.py(), found, default))
}

/// The value, or why there is none. `default` is for the listeners.
#[inline]
fn found_value<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    default: Option<&Bound<'py, PyAny>>,
    reports: bool,
) -> PyResult<Result<PyValue<'py>, ErrorCode>> {
    let py = key.py();
    maintenance::count_evaluation(py)?;
    let current = start::current(py)?;
    let Some(state) = current.as_ref() else { return Ok(Err(ErrorCode::NotReady)) };
    let evaluator = Evaluator::of(state);
    let found = if state::evaluates_directly(py, state)? {
        direct::value(key, user, context, &evaluator, reports)?
    } else {
        kept_value(key, user, context, &evaluator, reports)?
    };
    listeners::notify_value(evaluator.overrides, key, &found, default)?;
    Ok(found)
}

/// The value, as an object that is kept if it is immutable and has no rules.
#[inline]
fn kept_value<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    evaluator: &Evaluator<'_>,
    reports: bool,
) -> PyResult<Result<PyValue<'py>, ErrorCode>> {
    // An override hides the values of the snapshot.
    let hides = |overrides: &Overrides| overrides.has_values();
    let snapshot = evaluator.snapshot.filter(|_| !evaluator.overrides.is_some_and(hides));
    let version = snapshot.map(Snapshot::values_version);
    // `get_value`, which reports, has looked already, unless something is set over the database.
    if (!reports || evaluator.overrides.is_some())
        && let Some(version) = version
        && let Some(object) = kept_values::get(key, version)
    {
        // Only listeners ask.
        let is_secret = evaluator.overrides.is_some() && evaluator.is_secret(key);
        return Ok(Ok((object, Decided::of_everyone(is_secret))));
    }
    let found = match evaluator.value(key, user, context, reports)? {
        Ok(found) => found,
        Err(code) => return Ok(Err(code)),
    };
    let (object, how) = found.to_python(key.py())?;
    if let Some(version) = version.filter(|_| how.is_of_everyone) {
        kept_values::keep(key, version, found.stored, &object);
    }
    Ok(Ok((object, how)))
}

/// How `get_value(key, user=user)` gets its result, as a dict: the arguments of
/// `flagstaff.explain.ValueExplanation`. Reads the user, unless an override decides.
#[pyfunction]
#[pyo3(signature = (key, *, user=None, context=None))]
pub(super) fn explain_value<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<ExplainedValue> {
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let current = start::current(key.py())?;
    match current.as_ref() {
        Some(state) if state::evaluates_directly(key.py(), state)? => {
            direct::explain_value(key, user, context, &Evaluator::of(state))
        }
        Some(state) => Evaluator::of(state).explain_value(key, user, context),
        None => Ok(ExplainedValue::error(key.py(), ErrorCode::NotReady)),
    }
}

/// What a key stands for, `None` for an unknown one. Counts nothing.
#[pyfunction]
pub(super) fn kind_of(key: &Bound<'_, PyString>) -> PyResult<Option<&'static str>> {
    let current = start::current_for(key)?;
    let Some(state) = current.as_ref() else { return Ok(None) };
    let evaluator = Evaluator::of(state);
    let kind = if state::evaluates_directly(key.py(), state)? {
        direct::kind_of(key, &evaluator)?
    } else {
        evaluator.kind_of(key)?
    };
    Ok(kind.map(Kind::as_str))
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
        None => Ok(Explained::error(ErrorCode::NotReady)),
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
    take_snapshot(py)?.evaluator().all_flags::<bool>(py, user, context, client_side)
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
