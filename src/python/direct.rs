//! Direct mode: the row comes from Django's own connection, the answer from the same evaluator.

use std::sync::Arc;

use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::ask::{Absent, Explained, explain_flag, value};
use super::engine;
use super::subject::Asker;
use crate::allow_list::AllowList;
use crate::flag::Flag;
use crate::subject::Subject;

import_exception!(flagstaff.direct, NotReadyError);

/// A flag's row as `flagstaff.direct.read_flag` gives it: primary key, switch, rollout.
type Row<'py> = (Bound<'py, PyAny>, bool, i32);

/// The answer to `flag_enabled`, or `None` where the default is.
pub(super) fn flag_enabled(
    key: &Bound<'_, PyString>,
    asker: Option<Asker<'_, '_>>,
    tell_unknown: bool,
) -> PyResult<Option<bool>> {
    match flag(key, asker, false)? {
        Ok(flag) => value(key.to_str()?, &flag, asker).map(Some),
        Err(Absent::NotFound) if tell_unknown => engine::tell_unknown(key, "flag").map(|()| None),
        Err(_) => Ok(None),
    }
}

/// The answer to `explain`.
pub(super) fn explain(
    key: &Bound<'_, PyString>,
    asker: Option<Asker<'_, '_>>,
) -> PyResult<Explained> {
    match flag(key, asker, true)? {
        Ok(flag) => explain_flag(key.to_str()?, &flag, asker),
        Err(absent) => Ok(absent.explained()),
    }
}

/// The answer to `get_value`, or `None` where the default is.
pub(super) fn get_value<'py>(
    key: &Bound<'py, PyString>,
    tell_unknown: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match read(key, "read_value")? {
        Ok(found) => found.get_item(0).map(Some),
        Err(Absent::NotFound) if tell_unknown => engine::tell_unknown(key, "value").map(|()| None),
        Err(_) => Ok(None),
    }
}

/// The flag with as much of its allow-list as matters to `asker`: whether it names them.
fn flag(
    key: &Bound<'_, PyString>,
    asker: Option<Asker<'_, '_>>,
    explaining: bool,
) -> PyResult<Result<Flag, Absent>> {
    let found = match read(key, "read_flag")? {
        Ok(found) => found,
        Err(absent) => return Ok(Err(absent)),
    };
    let (pk, enabled, rollout_percent): Row<'_> = found.extract()?;
    let mut flag =
        Flag { pk: String::new().into(), enabled, rollout_percent, allowed: Arc::default() };
    // A rollout of 100 % leaves the list no say in the answer, only in its reason.
    if let Some(asker) = asker
        && enabled
        && (explaining || rollout_percent < 100)
    {
        flag.allowed = Arc::new(asker.ask(|subject| named(&pk, &subject))??);
    }
    Ok(Ok(flag))
}

/// The list that names `subject` if the flag's does, and nobody else.
fn named(pk: &Bound<'_, PyAny>, subject: &Subject<'_>) -> PyResult<AllowList> {
    let Some(text) = subject.text(str::to_owned) else { return Ok(AllowList::Empty) };
    let direct = pk.py().import("flagstaff.direct")?;
    let allowed: bool = direct.call_method1("is_allowed", (pk, &text))?.extract()?;
    Ok(if allowed { AllowList::of_texts([text]) } else { AllowList::Empty })
}

/// The row that `function` finds for `key`.
fn read<'py>(
    key: &Bound<'py, PyString>,
    function: &str,
) -> PyResult<Result<Bound<'py, PyAny>, Absent>> {
    let py = key.py();
    match py.import("flagstaff.direct")?.call_method1(function, (key,)) {
        Ok(found) if found.is_none() => Ok(Err(Absent::NotFound)),
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.is_instance_of::<NotReadyError>(py) => Ok(Err(Absent::NotReady)),
        Err(error) => Err(error),
    }
}
