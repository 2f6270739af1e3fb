//! The questions: `flag_enabled`, `get_value`, `explain`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::direct;
use super::engine;
use super::setting::to_python;
use super::subject::Asker;
use crate::bucket::bucket;
use crate::evaluate::{Evaluation, Reason, evaluate};
use crate::flag::Flag;
use crate::live::{Door, State};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// OpenFeature's word where nothing is loaded yet.
const NOT_READY: &str = "PROVIDER_NOT_READY";
/// OpenFeature's word where there is no such flag.
const NOT_FOUND: &str = "FLAG_NOT_FOUND";

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
    let asker = Asker::new(user)?;
    engine::tick(py)?;
    let current = engine::current(py)?;
    let Some(state) = current.as_ref() else { return Ok(default) };
    if state.door == Door::Direct {
        return Ok(direct::flag_enabled(key, asker, state.tell_unknown)?.unwrap_or(default));
    }
    let Some(snapshot) = &state.snapshot else { return Ok(default) };
    // A key that is no valid UTF-8 cannot be in the database.
    let found = key.to_str().ok().and_then(|text| Some((text, snapshot.flag(text)?)));
    match found {
        Some((text, flag)) => value(text, flag, asker),
        None if state.tell_unknown => engine::tell_unknown(key, "flag").map(|()| default),
        None => Ok(default),
    }
}

/// The answer for whoever asks, who is touched only where it matters who it is.
#[inline]
pub(super) fn value(key: &str, flag: &Flag, asker: Option<Asker<'_, '_>>) -> PyResult<bool> {
    match asker {
        Some(asker) if flag.depends_on_subject() => {
            asker.ask(|subject| evaluate(key, flag, &subject).value)
        }
        _ => Ok(evaluate(key, flag, &Subject::Nobody).value),
    }
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
    let default = || default.unwrap_or_else(|| py.None().into_bound(py));
    engine::tick(py)?;
    let current = engine::current(py)?;
    let Some(state) = current.as_ref() else { return Ok(default()) };
    if state.door == Door::Direct {
        return Ok(direct::get_value(key, state.tell_unknown)?.unwrap_or_else(default));
    }
    let Some(snapshot) = &state.snapshot else { return Ok(default()) };
    match key.to_str().ok().and_then(|text| snapshot.setting(text)) {
        Some(setting) => to_python(py, setting),
        None if state.tell_unknown => engine::tell_unknown(key, "value").map(|()| default()),
        None => Ok(default()),
    }
}

/// Whether the answer of the flag `key` differs between users, so that it matters who asks.
///
/// For callers that must pay to find out who asks. True where that cannot be told.
#[pyfunction]
pub(super) fn depends_on_user(key: &Bound<'_, PyString>) -> PyResult<bool> {
    let current = engine::current(key.py())?;
    let Some(state) = current.as_ref() else { return Ok(false) };
    if state.door == Door::Direct {
        return Ok(true);
    }
    let flag = |snapshot: &Arc<Snapshot>| {
        key.to_str().ok().and_then(|text| snapshot.flag(text)).is_some_and(Flag::depends_on_subject)
    };
    Ok(state.snapshot.as_ref().is_some_and(flag))
}

/// Value, reason, error code, bucket and rollout in percent of the answer to a question.
pub(super) type Explained = (bool, &'static str, Option<&'static str>, Option<u8>, Option<i32>);

/// How the answer to `flag_enabled(key, user)` comes about: value, reason, error code, bucket and
/// rollout in percent. Reads the user in any case.
#[pyfunction]
#[pyo3(signature = (key, user=None))]
pub(super) fn explain(
    key: &Bound<'_, PyString>,
    user: Option<&Bound<'_, PyAny>>,
) -> PyResult<Explained> {
    let py = key.py();
    let asker = Asker::new(user)?;
    let current = engine::current(py)?;
    let Some(state) = current.as_ref() else { return Ok(error(NOT_READY)) };
    if state.door == Door::Direct {
        return direct::explain(key, asker);
    }
    explained(key, state, asker)
}

fn explained(
    key: &Bound<'_, PyString>,
    state: &State,
    asker: Option<Asker<'_, '_>>,
) -> PyResult<Explained> {
    let Some(snapshot) = &state.snapshot else { return Ok(error(NOT_READY)) };
    let found = key.to_str().ok().and_then(|text| Some((text, snapshot.flag(text)?)));
    let Some((text, flag)) = found else { return Ok(error(NOT_FOUND)) };
    explain_flag(text, flag, asker)
}

/// The same walk as a question's, seen.
pub(super) fn explain_flag(
    key: &str,
    flag: &Flag,
    asker: Option<Asker<'_, '_>>,
) -> PyResult<Explained> {
    let look = |subject: Subject<'_>| {
        let Evaluation { value, reason, bucket: hashed } = evaluate(key, flag, &subject);
        let bucket = hashed.or_else(|| subject.text(|text| bucket(key, text)));
        (value, reason.as_str(), None, bucket, Some(flag.rollout_percent))
    };
    match asker {
        Some(asker) => asker.ask(look),
        None => Ok(look(Subject::Nobody)),
    }
}

fn error(code: &'static str) -> Explained {
    (false, Reason::Error.as_str(), Some(code), None, None)
}

/// Why direct mode has no flag to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The database cannot be asked.
    NotReady,
    /// There is no such flag.
    NotFound,
}

impl Absent {
    pub(super) fn explained(self) -> Explained {
        error(match self {
            Self::NotReady => NOT_READY,
            Self::NotFound => NOT_FOUND,
        })
    }
}
