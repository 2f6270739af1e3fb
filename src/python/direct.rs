//! Direct mode: the rows come from Django's own connection, the answer from the same evaluator.

use std::sync::Arc;

use pyo3::call::PyCallArgs;
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::calls::{self, Call};
use super::evaluation::{Absent, Evaluator, Explained, explain_flag, value};
use super::snapshot::PySnapshot;
use super::subject::UserArgument;
use super::unknown_keys;
use super::value::to_python;
use crate::allowed_users::AllowedUsers;
use crate::flag::Flag;
use crate::live::State;
use crate::row::{AllowedUsersRow, Fault, FlagRow, Users, ValueRow};
use crate::snapshot::{Loaded, Snapshot};
use crate::subject::Subject;

import_exception!(flagstaff._engine.direct, NotReadyError);

/// A flag's row as `flagstaff._engine.direct.read_flag` gives it: primary key, switch, rollout.
type Row<'py> = (Bound<'py, PyAny>, bool, i32);

/// Everything as `flagstaff._engine.direct.read_all` gives it: flags as (pk, key, switch, rollout, client side),
/// allow-lists as (flag's pk, user pks), values as (pk, key, JSON text), and whether the model
/// field decodes every value itself.
type Rows = (
    Vec<(String, Option<String>, Option<bool>, Option<i32>, bool)>,
    Vec<(String, Vec<String>)>,
    Vec<(String, Option<String>, Option<String>)>,
    bool,
);

/// The answer to `flag_enabled`, or `None` where the default is.
pub(super) fn flag_enabled(
    key: &Bound<'_, PyString>,
    user: Option<UserArgument<'_, '_>>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Option<bool>> {
    if let Some(value) = evaluator.flag_override(key) {
        return Ok(Some(value));
    }
    match flag(key, user, false)? {
        Ok(flag) => value(key.to_str()?, &flag, user).map(Some),
        Err(absent) => tell(key, "flag", absent, evaluator).map(|()| None),
    }
}

/// The answer to `explain`.
pub(super) fn explain(
    key: &Bound<'_, PyString>,
    user: Option<UserArgument<'_, '_>>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Explained> {
    if evaluator.flag_override(key).is_some() {
        return evaluator.explain(key, user);
    }
    match flag(key, user, true)? {
        Ok(flag) => explain_flag(key.to_str()?, &flag, user),
        Err(absent) => Ok(absent.explained()),
    }
}

/// The answer to `get_value`, or `None` where the default is.
pub(super) fn get_value<'py>(
    key: &Bound<'py, PyString>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(setting) = evaluator.value_override(key) {
        return to_python(key.py(), setting).map(Some);
    }
    match read(key, "read_value")? {
        Ok(found) => found.get_item(0).map(Some),
        Err(absent) => tell(key, "value", absent, evaluator).map(|()| None),
    }
}

/// Everything, read at once.
pub(super) fn pinned(py: Python<'_>, state: &State) -> PyResult<PySnapshot> {
    let snapshot = match call(py, "read_all", ())? {
        Ok(rows) => Some(Arc::new(made_of(rows.extract()?))),
        Err(_) => None,
    };
    Ok(PySnapshot { snapshot, ..PySnapshot::of(state) })
}

fn made_of((flags, allowed_users, values, opaque_values): Rows) -> Snapshot {
    let flags = flags.into_iter().map(|(pk, key, enabled, rollout_percent, client_side)| FlagRow {
        pk,
        key: key.ok_or(Fault::Null),
        enabled,
        rollout_percent,
        client_side,
    });
    let allowed_users = allowed_users
        .into_iter()
        .map(|(flag_pk, users)| AllowedUsersRow::new(flag_pk, Users::Texts(users)));
    let values = values.into_iter().map(|(pk, key, value)| ValueRow {
        pk,
        key: key.ok_or(Fault::Null),
        value: Ok(value),
    });
    Snapshot::default().next(Loaded {
        token_set: None,
        flags: Some(flags.collect()),
        allowed_users: Some(allowed_users.collect()),
        values: Some(values.collect()),
        opaque_values,
    })
}

/// Tells of a question for a key that is not there, where that is asked for.
fn tell(
    key: &Bound<'_, PyString>,
    what: &str,
    absent: Absent,
    evaluator: &Evaluator<'_>,
) -> PyResult<()> {
    if absent == Absent::NotFound && evaluator.report_unknown {
        return unknown_keys::report(key, what);
    }
    Ok(())
}

/// The flag with as much of its allow-list as matters to `user`: whether it names them.
fn flag(
    key: &Bound<'_, PyString>,
    user: Option<UserArgument<'_, '_>>,
    explaining: bool,
) -> PyResult<Result<Flag, Absent>> {
    let found = match read(key, "read_flag")? {
        Ok(found) => found,
        Err(absent) => return Ok(Err(absent)),
    };
    let (pk, enabled, rollout_percent): Row<'_> = found.extract()?;
    let mut flag = Flag::detached(enabled, rollout_percent, Arc::default());
    // A rollout of 100 % leaves the list no say in the answer, only in its reason.
    if let Some(user) = user
        && enabled
        && (explaining || rollout_percent < 100)
    {
        let empty_will_do = rollout_percent <= 0 && !explaining;
        match allowed_users_for(&pk, user, empty_will_do)? {
            Ok(list) => flag.allowed_users = Arc::new(list),
            Err(absent) => return Ok(Err(absent)),
        }
    }
    Ok(Ok(flag))
}

/// As much of a flag's allow-list as matters to `user`. At 0 % nobody but the list's users has the
/// flag, so an empty list will do there without reading who asks.
fn allowed_users_for(
    pk: &Bound<'_, PyAny>,
    user: UserArgument<'_, '_>,
    empty_will_do: bool,
) -> PyResult<Result<AllowedUsers, Absent>> {
    if empty_will_do {
        match call(pk.py(), "has_allow_list", (pk,))? {
            Ok(found) if found.is_truthy()? => {}
            Ok(_) => return Ok(Ok(AllowedUsers::Empty)),
            Err(absent) => return Ok(Err(absent)),
        }
    }
    user.ask(|subject| named(pk, &subject))?
}

/// The list that names `subject` if the flag's does, and nobody else.
fn named(pk: &Bound<'_, PyAny>, subject: &Subject<'_>) -> PyResult<Result<AllowedUsers, Absent>> {
    let Some(text) = subject.text(str::to_owned) else { return Ok(Ok(AllowedUsers::Empty)) };
    Ok(match call(pk.py(), "is_allowed", (pk, &text))? {
        Ok(found) if found.is_truthy()? => Ok(AllowedUsers::of_texts([text])),
        Ok(_) => Ok(AllowedUsers::Empty),
        Err(absent) => Err(absent),
    })
}

/// The row that `function` finds for `key`.
fn read<'py>(
    key: &Bound<'py, PyString>,
    function: &str,
) -> PyResult<Result<Bound<'py, PyAny>, Absent>> {
    // No database holds such a key, and a driver would refuse to ask for it.
    if key.to_str().is_ok_and(|text| !text.contains('\0')) {
        return call(key.py(), function, (key,));
    }
    Ok(Err(Absent::NotFound))
}

/// What a function of `flagstaff._engine.direct` finds, or why it finds nothing.
fn call<'py>(
    py: Python<'py>,
    function: &str,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<Result<Bound<'py, PyAny>, Absent>> {
    let _call = Call::begin(py);
    let direct = py.import("flagstaff._engine.direct");
    match direct.and_then(|direct| direct.call_method1(function, arguments)) {
        Ok(found) if found.is_none() => Ok(Err(Absent::NotFound)),
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.is_instance_of::<NotReadyError>(py) => Ok(Err(Absent::NotReady)),
        // Modules are gone already, and whoever asks now must not be raised at.
        Err(_) if calls::is_ending() => Ok(Err(Absent::NotReady)),
        Err(error) => Err(error),
    }
}
