//! Direct mode: Django's own connection reads the rows, and the same evaluator computes the result.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::call::PyCallArgs;
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::attributes::{GroupSource, note_evaluation, without_database};
use super::calls::{self, Call};
use super::context::Context;
use super::evaluation::{self, Evaluator, explain_flag, result, value_by_rules};
use super::explained::{Explained, ExplainedValue};
use super::listeners;
use super::resolution::{Decided, ErrorCode, FlagResult, FoundValue, Kind, PyValue, Resolved};
use super::snapshot::PySnapshot;
use super::subject::UserArgument;
use super::unknown_keys;
use super::value::to_python;
use crate::flag::Flag;
use crate::live::State;
use crate::row::{
    AllowedUsersRow, ExperimentRow, Fault, FlagRow, GroupRow, SegmentRow, Users, ValueRow,
};
use crate::row_rules::RowRules;
use crate::rules::{RuleKind, Rules, SegmentConditions};
use crate::snapshot::{Loaded, Snapshot};
use crate::subject::Subject;
use crate::targeting::Targeting;
use crate::user_set::UserSet;
use crate::value_rules::ValueRules;

import_exception!(flagstaff._engine.direct, NotReadyError);

/// A flag's row as `flagstaff._engine.direct.read_flag` returns it: primary key, `enabled`, rollout,
/// the JSON text of its rules, and the attribute that it buckets by.
type Row<'py> = (Bound<'py, PyAny>, bool, i32, Option<String>, Option<String>);

/// A flag's row as `flagstaff._engine.direct.read_all` returns it: primary key, key, `enabled`,
/// rollout, client side, the JSON text of its rules, and the attribute that it buckets by.
type FullRow =
    (String, Option<String>, Option<bool>, Option<i32>, bool, Option<String>, Option<String>);

/// All rows as `flagstaff._engine.direct.read_all` returns them: flags, allowed users as (flag's pk,
/// user pks), segments as (pk, key, JSON text), values as (pk, key, JSON text, secret, client side,
/// JSON text of the rules, attribute that they bucket by), and whether the model field decodes every
/// value.
type Rows = (
    Vec<FullRow>,
    Vec<(String, Vec<String>)>,
    Vec<(String, Option<String>, String)>,
    Vec<ValueTuple>,
    bool,
);

/// A value's row of `Rows`.
type ValueTuple =
    (String, Option<String>, Option<String>, bool, bool, Option<String>, Option<String>);

/// A value's row as `flagstaff._engine.direct.read_value` returns it: the object, whether it is
/// secret, the JSON text of its rules, the attribute that they bucket by, and whether the model field
/// decodes every value.
type OneValue<'py> = (Bound<'py, PyAny>, bool, Option<String>, Option<String>, bool);

/// An experiment's row as `flagstaff._engine.direct.read_experiments` returns it: primary key, key,
/// state, winner, shuffle, phase; as JSON texts the keys of the variants, their buckets, the forced
/// units and the rules; and the attribute that is its unit.
type FullExperiment = (
    String,
    String,
    String,
    String,
    i32,
    i32,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
);

/// The result of a flag. With `reports`, an unknown key is reported if that is configured.
pub(super) fn resolve_flag<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    default: bool,
    evaluator: &Evaluator<'_>,
    reports: bool,
) -> PyResult<Resolved> {
    let resolved = match resolved(key, user, context, default, evaluator)? {
        Ok(resolved) => resolved,
        Err(code) => {
            report_absent(key, "flag", code, evaluator, reports)?;
            Resolved::error(code, default)
        }
    };
    listeners::notify_flag(evaluator.overrides, key, resolved)?;
    Ok(resolved)
}

/// The result by the row that is read now, or why there is none.
fn resolved<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    default: bool,
    evaluator: &Evaluator<'_>,
) -> PyResult<Result<Resolved, ErrorCode>> {
    let py = key.py();
    note_evaluation(py)?;
    if let Some(found) = evaluator.flag_override(key) {
        return Ok(Ok(Resolved::of(found.evaluation(), default)));
    }
    let flag = match flag(key, user, false)? {
        Ok(flag) => flag,
        Err(code) => return Ok(Err(code)),
    };
    let groups = GroupSource::Database;
    result(py, key.to_str()?, &flag, user, context, groups, default).map(Ok)
}

/// The result of `explain`.
pub(super) fn explain<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Explained> {
    note_evaluation(key.py())?;
    if let Some(found) = evaluator.flag_override(key) {
        return Ok(Explained::overridden(found));
    }
    match flag(key, user, true)? {
        Ok(flag) => {
            explain_flag(key.py(), key.to_str()?, &flag, user, context, GroupSource::Database)
        }
        Err(code) => Ok(Explained::error(code)),
    }
}

/// A value, or why there is none. With `reports`, an unknown key is reported if that is configured.
pub(super) fn value<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    evaluator: &Evaluator<'_>,
    reports: bool,
) -> PyResult<Result<PyValue<'py>, ErrorCode>> {
    if let Some(stored) = evaluator.value_override(key) {
        return FoundValue::of_everyone(stored, false).to_python(key.py()).map(Ok);
    }
    let row = match value_row(key)? {
        Ok(row) => row,
        Err(code) => {
            return report_absent(key, "value", code, evaluator, reports).map(|()| Err(code));
        }
    };
    let Some(rules) = row.rules else {
        return Ok(Ok((row.own, Decided::of_everyone(row.is_secret))));
    };
    let decided = match value_by_rules(key, &rules, user, context, GroupSource::Database)? {
        Ok(decided) => decided,
        Err(code) => return Ok(Err(code)),
    };
    let result = rules.result_of(decided).map(|result| to_python(key.py(), result)).transpose()?;
    Ok(Ok((result.unwrap_or(row.own), Decided::by_rules(decided, row.is_secret))))
}

/// How a value comes about.
pub(super) fn explain_value<'py>(
    key: &Bound<'py, PyString>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    evaluator: &Evaluator<'_>,
) -> PyResult<ExplainedValue> {
    note_evaluation(key.py())?;
    if let Some(stored) = evaluator.value_override(key) {
        return Ok(ExplainedValue::overridden(to_python(key.py(), stored)?));
    }
    match value_row(key)? {
        Ok(row) => {
            let (rules, groups) = (row.rules.as_deref(), GroupSource::Database);
            evaluation::explain_value(key, row.own, rules, user, context, groups)
        }
        Err(code) => Ok(ExplainedValue::error(key.py(), code)),
    }
}

/// A value's row that was read now.
struct DirectValue<'py> {
    own: Bound<'py, PyAny>,
    is_secret: bool,
    rules: Option<Arc<ValueRules>>,
}

fn value_row<'py>(key: &Bound<'py, PyString>) -> PyResult<Result<DirectValue<'py>, ErrorCode>> {
    let found = match read(key, "read_value")? {
        Ok(found) => found,
        Err(code) => return Ok(Err(code)),
    };
    let (own, is_secret, rules, bucket_by, opaque): OneValue<'_> = found.extract()?;
    let rules = match rules.map(|text| rules_of(key.py(), text, RuleKind::Value)).transpose()? {
        Some(Err(code)) => return Ok(Err(code)),
        rules => rules.and_then(Result::ok).flatten(),
    };
    let rules =
        ValueRules::next(&key.to_str()?.into(), None, rules, bucket_by.map(Into::into), opaque);
    Ok(Ok(DirectValue { own, is_secret, rules }))
}

/// What a key stands for, by rows that are read now.
pub(super) fn kind_of(
    key: &Bound<'_, PyString>,
    evaluator: &Evaluator<'_>,
) -> PyResult<Option<Kind>> {
    let Ok(text) = key.to_str() else { return Ok(None) };
    evaluator.kind_by(text, |kind| match kind {
        Kind::Flag => Ok(read(key, "read_flag")?.is_ok()),
        Kind::Value => Ok(read(key, "read_value")?.is_ok()),
        Kind::Variant => {
            let found = experiments(key.py())?.unwrap_or_default();
            Ok(found.iter().any(|row| row.key.as_deref().is_ok_and(|one| one == text)))
        }
    })
}

/// A snapshot of everything, read at once.
pub(super) fn snapshot(py: Python<'_>, state: &State) -> PyResult<PySnapshot> {
    let snapshot = match call(py, "read_all", ())? {
        Ok(rows) => {
            let loaded = Loaded { experiments: experiments(py)?, ..loaded(rows.extract()?) };
            Some(Arc::new(with_groups(py, Snapshot::default().next(loaded))?))
        }
        Err(_) => None,
    };
    Ok(PySnapshot { snapshot, ..PySnapshot::of(state) })
}

/// The snapshot with the groups that its rules refer to.
fn with_groups(py: Python<'_>, snapshot: Snapshot) -> PyResult<Snapshot> {
    let Some(references) = snapshot.wanted_groups(true) else { return Ok(snapshot) };
    let names = references.names();
    // None if groups cannot be read.
    let Ok(found) = call(py, "read_groups", (names,))? else { return Ok(snapshot) };
    let rows: Vec<(String, Vec<String>)> = found.extract()?;
    let rows = rows.into_iter().map(|(name, users)| GroupRow::new(name, Users::Texts(users)));
    Ok(snapshot.with_groups(references, rows.collect()))
}

/// The experiments; `None` if they cannot be read.
fn experiments(py: Python<'_>) -> PyResult<Option<Vec<ExperimentRow>>> {
    let Ok(found) = call(py, "read_experiments", ())? else { return Ok(None) };
    let rows: Vec<FullExperiment> = found.extract()?;
    Ok(Some(rows.into_iter().map(experiment_row).collect()))
}

fn experiment_row(row: FullExperiment) -> ExperimentRow {
    let (pk, key, state, winner, shuffle, phase, variants, allocation, forced, rules, bucket_by) =
        row;
    ExperimentRow {
        pk: pk.into(),
        key: Ok(key.into()),
        state: state.into(),
        winner: winner.into(),
        shuffle,
        phase,
        variants: Ok(variants.into()),
        allocation: Ok(allocation.into()),
        forced: Ok(forced.into()),
        rules: Ok(rules.map(Into::into)),
        bucket_by: bucket_by.map(Into::into),
    }
}

fn loaded((flags, allowed_users, segments, values, opaque_values): Rows) -> Loaded {
    let flags = flags.into_iter().map(flag_row);
    let segments = segments.into_iter().map(|(pk, key, conditions)| SegmentRow {
        pk: pk.into(),
        key: key.map(Into::into).ok_or(Fault::Null),
        conditions: Ok(conditions.into()),
    });
    let allowed_users = allowed_users
        .into_iter()
        .map(|(flag_pk, users)| AllowedUsersRow::new(flag_pk, Users::Texts(users)));
    let values =
        values.into_iter().map(|(pk, key, value, is_secret, client_side, rules, bucket_by)| {
            ValueRow {
                pk: pk.into(),
                key: key.map(Into::into).ok_or(Fault::Null),
                value: Ok(value),
                is_secret,
                client_side,
                rules: Ok(rules.map(Into::into)),
                bucket_by: bucket_by.map(Into::into),
            }
        });
    Loaded {
        flags: Some(flags.collect()),
        allowed_users: Some(allowed_users.collect()),
        segments: Some(segments.collect()),
        values: Some(values.collect()),
        opaque_values,
        ..Loaded::default()
    }
}

fn flag_row(row: FullRow) -> FlagRow {
    let (pk, key, enabled, rollout_percent, client_side, rules, bucket_by) = row;
    FlagRow {
        pk: pk.into(),
        key: key.map(Into::into).ok_or(Fault::Null),
        enabled,
        rollout_percent,
        client_side,
        rules: Ok(rules.map(Into::into)),
        bucket_by: bucket_by.map(Into::into),
    }
}

/// Reports an unknown key, if that is configured.
fn report_absent(
    key: &Bound<'_, PyString>,
    what: &str,
    code: ErrorCode,
    evaluator: &Evaluator<'_>,
    reports: bool,
) -> PyResult<()> {
    if reports && code == ErrorCode::NotFound && evaluator.report_unknown {
        return unknown_keys::report(key, what);
    }
    Ok(())
}

/// The flag, with the allowed users that matter to `user`: only whether the user is one of them.
fn flag(
    key: &Bound<'_, PyString>,
    user: Option<UserArgument<'_, '_>>,
    explaining: bool,
) -> PyResult<Result<Flag, ErrorCode>> {
    let found = match read(key, "read_flag")? {
        Ok(found) => found,
        Err(code) => return Ok(Err(code)),
    };
    let (pk, enabled, rollout_percent, rules, bucket_by): Row<'_> = found.extract()?;
    let mut flag = Flag::detached(enabled, rollout_percent, Arc::default());
    let rules = match rules.filter(|_| enabled || explaining) {
        None => None,
        Some(text) => match rules_of(key.py(), text, RuleKind::Flag)? {
            Ok(rules) => rules,
            Err(code) => return Ok(Err(code)),
        },
    };
    flag.targeting = Targeting::new(rules, bucket_by.map(Into::into));
    // At 100 % the allowed users change only the reason, which `explain` shows.
    let everyone = rollout_percent >= 100 && flag.rules().is_none();
    if let Some(user) = user
        && enabled
        && (explaining || !everyone)
    {
        let may_skip_user = (rollout_percent <= 0 || flag.rules().is_some()) && !explaining;
        match allowed_users_for(&pk, user, may_skip_user)? {
            Ok(users) => flag.allowed_users = Arc::new(users),
            Err(ErrorCode::Unreadable) if everyone => {}
            Err(code) => return Ok(Err(code)),
        }
    }
    Ok(Ok(flag))
}

/// The rules of a JSON text, with the segments that they name.
fn rules_of(
    py: Python<'_>,
    text: String,
    kind: RuleKind,
) -> PyResult<Result<Option<Arc<RowRules>>, ErrorCode>> {
    let rules = RowRules::next(None, Ok(text.into()), kind, |_| None);
    let Some(rules) = rules else { return Ok(Ok(None)) };
    let keys = rules.rules().map(Rules::segment_keys).unwrap_or_default();
    if keys.is_empty() {
        return Ok(Ok(Some(rules)));
    }
    let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
    let found = match call(py, "read_segments", (keys,))? {
        Ok(found) => found.extract::<HashMap<String, String>>()?,
        Err(code) => return Ok(Err(code)),
    };
    let segments = parse_segments(found);
    Ok(Ok(Some(rules.with_segments(|key| segments.get(key).cloned()))))
}

/// The conditions of segments by key, given as JSON texts. One that cannot be read is missing.
pub(super) fn parse_segments(
    texts: HashMap<String, String>,
) -> HashMap<String, Arc<SegmentConditions>> {
    let parse = |(key, text): (String, String)| {
        Some((key, Arc::new(SegmentConditions::parse(&text).ok()?)))
    };
    texts.into_iter().filter_map(parse).collect()
}

/// The allowed users of a flag that matter to `user`. With `may_skip_user`, which is for a rollout
/// of 0 % and for rules, the user is not read if the flag has no allowed users.
fn allowed_users_for(
    pk: &Bound<'_, PyAny>,
    user: UserArgument<'_, '_>,
    may_skip_user: bool,
) -> PyResult<Result<UserSet, ErrorCode>> {
    if may_skip_user {
        match call(pk.py(), "has_allowed_users", (pk,))? {
            Ok(found) if found.is_truthy()? => {}
            Ok(_) => return Ok(Ok(UserSet::Empty)),
            Err(code) => return Ok(Err(code)),
        }
    }
    user.with_subject(|subject| only_subject(pk, &subject))
        .unwrap_or_else(|error| without_database(pk.py(), error).map(Err))
}

/// Holds `subject` if it is an allowed user of the flag, and no one else.
fn only_subject(
    pk: &Bound<'_, PyAny>,
    subject: &Subject<'_>,
) -> PyResult<Result<UserSet, ErrorCode>> {
    let Some(text) = subject.text(str::to_owned) else { return Ok(Ok(UserSet::Empty)) };
    Ok(match call(pk.py(), "is_allowed_user", (pk, &text))? {
        Ok(found) if found.is_truthy()? => Ok(UserSet::of_texts([text])),
        Ok(_) => Ok(UserSet::Empty),
        Err(code) => Err(code),
    })
}

/// The row that `function` of `flagstaff._engine.direct` returns for `key`.
fn read<'py>(
    key: &Bound<'py, PyString>,
    function: &str,
) -> PyResult<Result<Bound<'py, PyAny>, ErrorCode>> {
    // PostgreSQL cannot store such a key, and a driver raises for it.
    if key.to_str().is_ok_and(|text| !text.contains('\0')) {
        return call(key.py(), function, (key,));
    }
    Ok(Err(ErrorCode::NotFound))
}

/// The result of a function of `flagstaff._engine.direct`, or why it has none.
fn call<'py>(
    py: Python<'py>,
    function: &str,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<Result<Bound<'py, PyAny>, ErrorCode>> {
    let _call = Call::begin(py);
    let direct = py.import("flagstaff._engine.direct");
    match direct.and_then(|direct| direct.call_method1(function, arguments)) {
        Ok(found) if found.is_none() => Ok(Err(ErrorCode::NotFound)),
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.is_instance_of::<NotReadyError>(py) => Ok(Err(ErrorCode::NotReady)),
        // At the end of the process modules may be gone, and an evaluation must not raise.
        Err(_) if calls::is_ending() => Ok(Err(ErrorCode::NotReady)),
        Err(error) => Err(error),
    }
}
