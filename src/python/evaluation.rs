//! Evaluates flags and values against one snapshot.

use std::collections::BTreeSet;
use std::convert;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyString};

use super::attributes::{
    VisitorId, any_of_user, note_evaluation, report_missing_user, with_attributes, without_database,
};
use super::context::Context;
use super::explained::{Explained, ExplainedValue, How};
use super::kept_values;
use super::listeners;
use super::observed_request::note_watched;
use super::resolution::{Decided, ErrorCode, FlagResult, FoundValue, Kind, PyValue, Resolved};
use super::state::{self, LIVE};
use super::subject::UserArgument;
use super::unknown_keys;
use super::value::to_python;
use crate::bucket::bucket;
use crate::bucketing_unit::unit_bucket;
use crate::counters::Bulk;
use crate::evaluate::{Evaluation, Reason, evaluate, evaluate_value};
use crate::flag::Flag;
use crate::live::{EvaluationMode, State};
use crate::overrides::{FlagOverride, Overrides};
use crate::rules::{Attributes, NoAttributes, Rules};
use crate::snapshot::Snapshot;
use crate::steps;
use crate::stored_value::StoredValue;
use crate::subject::Subject;
use crate::targeting::Targeting;
use crate::value_rules::ValueRules;

/// A snapshot, with what tests and the environment have set over it.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) overrides: Option<&'a Overrides>,
    pub(super) report_unknown: bool,
    /// Where the process evaluates from; `None` if it is read when it is needed.
    pub(super) mode: Option<EvaluationMode>,
    /// The context of all evaluations of a snapshot.
    pub(super) context: Option<&'a Py<PyAny>>,
}

impl<'a> Evaluator<'a> {
    #[inline]
    pub(super) fn of(state: &'a State) -> Self {
        Self {
            snapshot: state.snapshot.as_deref(),
            overrides: state.overrides.as_deref(),
            report_unknown: state.report_unknown,
            mode: Some(state.mode),
            context: None,
        }
    }

    /// What decides a flag in place of its row.
    #[cold]
    pub(super) fn flag_override(&self, key: &Bound<'_, PyString>) -> Option<FlagOverride> {
        self.overrides?.flag(key.to_str().ok()?)
    }

    /// What tests have set for a value.
    #[cold]
    pub(super) fn value_override(&self, key: &Bound<'_, PyString>) -> Option<&'a StoredValue> {
        self.overrides?.value(key.to_str().ok()?)
    }

    /// The result of a flag. With `reports`, an unknown key is reported if that is configured.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn flag<T: FlagResult>(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        context: Context<'_, '_>,
        default: bool,
        reports: bool,
    ) -> PyResult<T> {
        note_evaluation(key.py())?;
        if self.overrides.is_some() {
            return self.flag_under_overrides(key, user, context, default, reports).map(T::from);
        }
        self.flag_of_snapshot(key, user, context, default, reports)
    }

    /// The same where something is set over the database, or listeners are called.
    #[cold]
    fn flag_under_overrides(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        context: Context<'_, '_>,
        default: bool,
        reports: bool,
    ) -> PyResult<Resolved> {
        let resolved = match self.flag_override(key) {
            Some(found) => self.overridden(key, found),
            None => self.flag_of_snapshot(key, user, context, default, reports)?,
        };
        listeners::notify_flag(self.overrides, key, resolved)?;
        Ok(resolved)
    }

    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    fn flag_of_snapshot<T: FlagResult>(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        context: Context<'_, '_>,
        default: bool,
        reports: bool,
    ) -> PyResult<T> {
        let Some(snapshot) = self.snapshot else {
            return Ok(T::error(ErrorCode::NotReady, default));
        };
        // A key that is not valid UTF-8 cannot be in the database.
        let Ok(text) = key.to_str() else { return self.unknown(key, "", default, reports) };
        match snapshot.flag(text) {
            Some(flag) => {
                let context = context.with_snapshot(self.context);
                let result: T = result(key.py(), text, flag, user, context, snapshot, default)?;
                flag.count(result.value());
                Ok(result)
            }
            None => self.unknown(key, text, default, reports),
        }
    }

    /// The flag with a key, the key as text, and the groups; or why there is none.
    fn row<'k>(
        &self,
        key: &'k Bound<'_, PyString>,
    ) -> Result<(&'k str, &'a Flag, &'a Snapshot), ErrorCode> {
        let snapshot = self.snapshot.ok_or(ErrorCode::NotReady)?;
        let text = key.to_str().map_err(|_| ErrorCode::NotFound)?;
        let flag = snapshot.flag(text).ok_or(ErrorCode::NotFound)?;
        Ok((text, flag, snapshot))
    }

    /// The result of an override. A flag that is forced off is in use, so it counts.
    fn overridden(&self, key: &Bound<'_, PyString>, found: FlagOverride) -> Resolved {
        let resolved = Resolved::of(found.evaluation(), false);
        if found == FlagOverride::ForcedOff
            && let (Some(snapshot), Ok(text)) = (self.snapshot, key.to_str())
        {
            match snapshot.flag(text) {
                Some(flag) => flag.count(resolved.value),
                None => self.count_unknown(text, resolved.value),
            }
        }
        resolved
    }

    /// The result of an unknown key, which is counted, and reported if that is configured.
    fn unknown<T: FlagResult>(
        &self,
        key: &Bound<'_, PyString>,
        text: &str,
        default: bool,
        reports: bool,
    ) -> PyResult<T> {
        self.count_unknown(text, default);
        if reports && self.report_unknown {
            unknown_keys::report(key, "flag")?;
        }
        Ok(T::error(ErrorCode::NotFound, default))
    }

    /// Counts an evaluation of a key without a flag, if the process evaluates from memory.
    fn count_unknown(&self, key: &str, result: bool) {
        if self.mode.or_else(state::mode) == Some(EvaluationMode::Memory) {
            LIVE.unknown_keys().count(key, result);
        }
    }

    /// What a key stands for. A flag precedes a value, and a value an experiment. Overrides need no
    /// row.
    pub(super) fn kind_of(&self, key: &Bound<'_, PyString>) -> Option<Kind> {
        let key = key.to_str().ok()?;
        let has_row = |kind: &Kind| {
            self.snapshot.is_some_and(|snapshot| match kind {
                Kind::Flag => snapshot.flag(key).is_some(),
                Kind::Value => snapshot.value(key).is_some(),
                Kind::Variant => snapshot.experiment(key).is_some(),
            })
        };
        if let Some(overrides) = self.overrides {
            match overrides.flag(key) {
                Some(FlagOverride::ForcedOff) if has_row(&Kind::Variant) => {
                    return Some(Kind::Variant);
                }
                Some(_) => return Some(Kind::Flag),
                None if overrides.value(key).is_some() => return Some(Kind::Value),
                None if overrides.variant(key).is_some() => return Some(Kind::Variant),
                None => {}
            }
        }
        [Kind::Flag, Kind::Value, Kind::Variant].into_iter().find(has_row)
    }

    /// The value, or why there is none. The caller makes the Python object. With `reports`, an
    /// unknown key is reported if that is configured.
    #[inline]
    pub(super) fn value(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        context: Context<'_, '_>,
        reports: bool,
    ) -> PyResult<Result<FoundValue<'a>, ErrorCode>> {
        if self.overrides.is_some()
            && let Some(value) = self.value_override(key)
        {
            return Ok(Ok(FoundValue::of_everyone(value, false)));
        }
        let Some(snapshot) = self.snapshot else { return Ok(Err(ErrorCode::NotReady)) };
        let found = key.to_str().ok().and_then(|text| snapshot.value(text));
        let Some(stored) = found else {
            if reports && self.report_unknown {
                unknown_keys::report(key, "value")?;
            }
            return Ok(Err(ErrorCode::NotFound));
        };
        let Some(rules) = stored.rules() else {
            return Ok(Ok(FoundValue::of_everyone(stored.value(), stored.is_secret())));
        };
        let context = context.with_snapshot(self.context);
        Ok(value_by_rules(key, rules, user, context, snapshot)?.map(|decided| {
            rules.count(decided);
            FoundValue::decided(stored, rules, decided)
        }))
    }

    /// The object that is kept for a value.
    pub(super) fn kept_object<'py>(&self, key: &Bound<'py, PyString>) -> Option<PyValue<'py>> {
        let object = kept_values::get(key, self.kept_version()?)?;
        // Only listeners ask.
        let is_secret = self.overrides.is_some() && self.is_secret(key);
        Some((object, Decided::of_everyone(is_secret)))
    }

    /// The object of a value, which is kept if it is immutable and the same for everyone.
    pub(super) fn value_object<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
        reports: bool,
    ) -> PyResult<Result<PyValue<'py>, ErrorCode>> {
        let found = match self.value(key, user, context, reports)? {
            Ok(found) => found,
            Err(code) => return Ok(Err(code)),
        };
        let (object, decided) = found.to_python(key.py())?;
        if decided.is_of_everyone
            && let Some(version) = self.kept_version()
        {
            kept_values::keep(key, version, found.stored, &object);
        }
        Ok(Ok((object, decided)))
    }

    /// The version of the values whose objects are kept: not of rows that are read now, and not if
    /// an override hides a value.
    fn kept_version(&self) -> Option<u64> {
        let hides = |overrides: &Overrides| overrides.has_values();
        if self.mode == Some(EvaluationMode::Direct) || self.overrides.is_some_and(hides) {
            return None;
        }
        self.snapshot.map(Snapshot::values_version)
    }

    /// Whether listeners must not see the value.
    pub(super) fn is_secret(&self, key: &Bound<'_, PyString>) -> bool {
        let secret = |snapshot: &Snapshot| Some(snapshot.is_secret(key.to_str().ok()?));
        self.snapshot.and_then(secret).unwrap_or(false)
    }

    /// How the value with this key comes about.
    pub(super) fn explain_value<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
    ) -> PyResult<ExplainedValue> {
        note_evaluation(key.py())?;
        if let Some(value) = self.value_override(key) {
            return Ok(ExplainedValue::overridden(to_python(key.py(), value)?));
        }
        let Some(snapshot) = self.snapshot else {
            return Ok(ExplainedValue::error(key.py(), ErrorCode::NotReady));
        };
        let Some(stored) = key.to_str().ok().and_then(|text| snapshot.value(text)) else {
            return Ok(ExplainedValue::error(key.py(), ErrorCode::NotFound));
        };
        let own = to_python(key.py(), stored.value())?;
        let context = context.with_snapshot(self.context);
        explain_value(key, own, stored.rules().map(Arc::as_ref), user, context, snapshot)
    }

    /// Whether the value with this key can differ between users.
    pub(super) fn value_depends_on_user(&self, key: &Bound<'_, PyString>) -> PyResult<bool> {
        let rules = || self.snapshot?.value(key.to_str().ok()?)?.rules();
        match rules() {
            Some(rules) if self.value_override(key).is_none() => {
                let context = Context::default().with_snapshot(self.context);
                needs_user(key.py(), &**rules, context)
            }
            _ => Ok(false),
        }
    }

    /// The names of the attributes that a value reads, for its rules and its bucketing unit.
    pub(super) fn attribute_names_of_value(&self, key: &Bound<'_, PyString>) -> BTreeSet<&'a str> {
        let rules = || self.snapshot?.value(key.to_str().ok()?)?.rules();
        let rules = rules().filter(|_| self.value_override(key).is_none());
        let Some(rules) = rules else { return BTreeSet::new() };
        let of_rules = rules.rules().into_iter().flat_map(Rules::attributes).map(|name| &**name);
        of_rules.chain(rules.unit()).collect()
    }

    pub(super) fn explain<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
    ) -> PyResult<Explained> {
        note_evaluation(key.py())?;
        if let Some(found) = self.flag_override(key) {
            return Ok(Explained::overridden(found));
        }
        let context = context.with_snapshot(self.context);
        match self.row(key) {
            Ok((text, flag, snapshot)) => {
                explain_flag(key.py(), text, flag, user, context, snapshot)
            }
            Err(code) => Ok(Explained::error(code)),
        }
    }

    pub(super) fn depends_on_user(&self, key: &Bound<'_, PyString>) -> PyResult<bool> {
        let flag = || self.snapshot?.flag(key.to_str().ok()?);
        if self.flag_override(key).is_some() {
            return Ok(false);
        }
        let context = Context::default().with_snapshot(self.context);
        flag().map_or(Ok(false), |flag| match flag.targeting {
            Some(_) => needs_user(key.py(), flag, context),
            None => Ok(flag.depends_on_subject()),
        })
    }

    /// The names of the attributes that a flag reads, for its rules and its bucketing unit, or
    /// those of all flags.
    pub(super) fn attribute_names(&self, key: Option<&Bound<'_, PyString>>) -> BTreeSet<&'a str> {
        let Some(snapshot) = self.snapshot else { return BTreeSet::new() };
        let names = |flag: &'a Flag| {
            let flag = Some(flag).filter(|flag| flag.enabled);
            let rules = flag.and_then(|flag| flag.rules()?.rules());
            let of_rules = rules.into_iter().flat_map(Rules::attributes).map(|name| &**name);
            of_rules.chain(flag.and_then(Flag::unit))
        };
        match key {
            Some(key) if self.flag_override(key).is_some() => BTreeSet::new(),
            Some(key) => {
                let flag = key.to_str().ok().and_then(|text| snapshot.flag(text));
                flag.into_iter().flat_map(names).collect()
            }
            None => snapshot.flags().flat_map(|(_, flag)| names(flag)).collect(),
        }
    }

    /// The results of all flags by key, or of those that browsers may read. Reads the user at most
    /// once, and only if a result depends on it.
    pub(super) fn all_flags<'py, T: FlagResult>(
        &self,
        py: Python<'py>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        note_evaluation(py)?;
        let empty = Snapshot::default();
        let snapshot = self.snapshot.unwrap_or(&empty);
        let mut flags: Vec<_> =
            snapshot.flags().filter(|(_, flag)| flag.client_side || !client_side).collect();
        flags.sort_unstable_by_key(|(key, _)| *key);
        let user = user.filter(|_| flags.iter().any(|(_, flag)| flag.depends_on_subject()));
        let results = PyDict::new(py);
        let context = context.with_snapshot(self.context);
        let bulk = if client_side { Bulk::ForBrowsers } else { Bulk::All };
        for (_, flag) in &flags {
            flag.serve(bulk);
        }
        let id = VisitorId::Drawn;
        let evaluated = with_attributes(py, user, context, snapshot, id, |subject, attributes| {
            flags.iter().try_for_each(|(key, flag)| {
                // The reason is that of a single evaluation.
                let subject = if flag.depends_on_subject() { subject } else { &Subject::Anonymous };
                let result = T::of(evaluate(key, flag, subject, attributes), false);
                attributes.report_needed_user(key);
                results.set_item(key, result.object(py)?)
            })
        });
        if let Err(error) = evaluated.and_then(convert::identity) {
            let code = without_database(py, error)?;
            // Of a user who can be read, an attribute has failed: other flags have their results.
            let readable = user.filter(UserArgument::is_there);
            let is_unreadable = user.is_some() && readable.is_none();
            for (key, flag) in flags {
                let result = if is_unreadable && needs_user(py, flag, context)? {
                    T::error(code, false)
                } else {
                    result::<T>(py, key, flag, readable, context, snapshot, false)?
                };
                results.set_item(key, result.object(py)?)?;
            }
        }
        self.with_overrides::<T>(results, snapshot, client_side)
    }

    /// Adds the overrides to the results, and sorts them by key. With `client_side`, an override
    /// counts only for a flag whose row lets browsers read it. An experiment that is forced off is
    /// not a flag.
    fn with_overrides<'py, T: FlagResult>(
        &self,
        results: Bound<'py, PyDict>,
        snapshot: &Snapshot,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Some(overrides) = self.overrides.filter(|set| set.flags().next().is_some()) else {
            return Ok(results);
        };
        let py = results.py();
        for (key, found) in overrides.flags() {
            let is_experiment =
                found == FlagOverride::ForcedOff && snapshot.experiment(key).is_some();
            if results.contains(key)? || !(client_side || is_experiment) {
                results.set_item(key, T::of(found.evaluation(), false).object(py)?)?;
            }
        }
        let mut sorted: Vec<(String, Bound<'py, PyAny>)> = results.items().extract()?;
        sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        sorted.into_py_dict(py)
    }
}

/// The result for `user`, who is read only if the result depends on it. So the reason of a flag
/// that has one result for all users does not depend on the user either.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
fn result<'py, T: FlagResult>(
    py: Python<'py>,
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
    default: bool,
) -> PyResult<T> {
    if flag.targeting.is_some() {
        return result_by_attributes(py, key, flag, user, context, snapshot, default);
    }
    let of = |evaluation| T::of(evaluation, default);
    match user {
        Some(user) if flag.depends_on_subject() => {
            if user.may_query() {
                return result_of_lazy(py, key, flag, user, default);
            }
            user.with_subject(|subject| of(evaluate(key, flag, &subject, &NoAttributes)))
        }
        _ => Ok(of(evaluate(key, flag, &Subject::Anonymous, &NoAttributes))),
    }
}

/// The same for a user whose reading may query. Not inlined: it would cost all others.
#[inline(never)]
fn result_of_lazy<T: FlagResult>(
    py: Python<'_>,
    key: &str,
    flag: &Flag,
    user: UserArgument<'_, '_>,
    default: bool,
) -> PyResult<T> {
    user.with_subject(|subject| T::of(evaluate(key, flag, &subject, &NoAttributes), default))
        .or_else(|error| Ok(T::error(without_database(py, error)?, default)))
}

/// The same for a flag that reads attributes. Not inlined: most flags read none.
#[inline(never)]
fn result_by_attributes<'py, T: FlagResult>(
    py: Python<'py>,
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
    default: bool,
) -> PyResult<T> {
    if !flag.enabled {
        return Ok(T::of(evaluate(key, flag, &Subject::Anonymous, &NoAttributes), default));
    }
    let user = match user {
        // A plan measures at 0 %, too, before its start.
        Some(user) if flag.watch().is_some() && user.is_there() => Some(user),
        user => needed_user(py, flag, user, context)?,
    };
    with_attributes(py, user, context, snapshot, VisitorId::Drawn, |subject, attributes| {
        let evaluation = evaluate(key, flag, subject, attributes);
        if let Some(watch) = flag.watch() {
            note_watched(py, flag, watch, evaluation, subject, attributes);
        }
        attributes.report_needed_user(key);
        T::of(evaluation, default)
    })
    .or_else(|error| Ok(T::error(without_database(py, error)?, default)))
}

/// What the rules of a value decide for `user`, who is read only if the result depends on it; or
/// why they decide nothing.
#[inline(never)]
pub(super) fn value_by_rules<'py>(
    key: &Bound<'py, PyString>,
    rules: &ValueRules,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
) -> PyResult<Result<Evaluation, ErrorCode>> {
    let py = key.py();
    note_evaluation(py)?;
    let text = key.to_str()?;
    // Once: the check costs more than the evaluation.
    if user.is_none() && !rules.counters.has_reported() && needs_user(py, rules, context)? {
        rules.counters.set_reported();
        report_missing_user(py, text);
    }
    let user = needed_user(py, rules, user, context)?;
    with_attributes(py, user, context, snapshot, VisitorId::Drawn, |subject, attributes| {
        let evaluation = evaluate_value(text, &rules.targeting, subject, attributes);
        attributes.report_needed_user(text);
        evaluation
    })
    .map(Ok)
    .or_else(|error| without_database(py, error).map(Err))
}

/// The same evaluation, with the reason and the outcomes of all rules. `own` is the value itself.
fn explain_value<'py>(
    key: &Bound<'py, PyString>,
    own: Bound<'py, PyAny>,
    rules: Option<&ValueRules>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
) -> PyResult<ExplainedValue> {
    let (py, text) = (key.py(), key.to_str()?);
    let Some(rules) = rules else { return Ok(ExplainedValue::of_everyone(own)) };
    let id = VisitorId::OfCookie;
    let explain = |user| {
        with_attributes(py, user, context, snapshot, id, |subject, attributes| {
            let Targeting { rules: row_rules, bucket_by, .. } = &rules.targeting;
            let evaluation = evaluate_value(text, &rules.targeting, subject, attributes);
            let bucket = evaluation.bucket.or_else(|| match bucket_by.as_deref() {
                None => subject.text(|subject| bucket(text, subject)),
                Some(unit) => attributes.read_unit(unit, |unit| unit_bucket(text, unit)),
            });
            let Evaluation { reason, rule, .. } = evaluation;
            let steps = steps::of_value(Some(&rules.targeting), rule, bucket, attributes);
            let how = How {
                reason: reason.as_str(),
                bucket: bucket.map(Into::into),
                ..How::of_row(row_rules.as_deref(), bucket_by.as_deref(), rule, steps)
            };
            (how, evaluation)
        })
    };
    let needs_user = || needs_user(py, rules, context);
    let (how, evaluation) = match explain_for(py, user, needs_user, explain)? {
        Ok(found) => found,
        Err(code) => return Ok(ExplainedValue::error(py, code)),
    };
    let result = rules.result_of(evaluation).map(|result| to_python(py, result)).transpose()?;
    let has_own = !evaluation.value;
    Ok(ExplainedValue { value: result.unwrap_or(own).unbind(), has_own, how })
}

/// What the result can depend on.
trait Dependent {
    fn depends_on_subject(&self) -> bool;
    fn depends_on_key(&self) -> bool;
    fn readable_rules(&self) -> Option<&Rules>;
    fn unit(&self) -> Option<&str>;
}

impl Dependent for Flag {
    fn depends_on_subject(&self) -> bool {
        self.depends_on_subject()
    }

    fn depends_on_key(&self) -> bool {
        self.depends_on_key()
    }

    fn readable_rules(&self) -> Option<&Rules> {
        self.rules()?.rules()
    }

    fn unit(&self) -> Option<&str> {
        self.unit()
    }
}

impl Dependent for ValueRules {
    fn depends_on_subject(&self) -> bool {
        self.depends_on_subject()
    }

    fn depends_on_key(&self) -> bool {
        self.depends_on_key()
    }

    fn readable_rules(&self) -> Option<&Rules> {
        self.rules()
    }

    fn unit(&self) -> Option<&str> {
        self.unit()
    }
}

/// The user, if the result depends on it. A lazy user is not loaded for anything else.
fn needed_user<'u, 'py>(
    py: Python<'py>,
    row: &impl Dependent,
    user: Option<UserArgument<'u, 'py>>,
    context: Context<'_, 'py>,
) -> PyResult<Option<UserArgument<'u, 'py>>> {
    match user {
        Some(user) if user.is_lazy() && !needs_user(py, row, context)? => Ok(None),
        user => Ok(user.filter(|_| row.depends_on_subject())),
    }
}

/// Whether the result of a row that reads attributes depends on the user, and not only on the
/// context.
fn needs_user(py: Python<'_>, row: &impl Dependent, context: Context<'_, '_>) -> PyResult<bool> {
    let attributes = row.readable_rules().map(Rules::attributes);
    let attributes = attributes.unwrap_or_default().iter().map(|name| &**name);
    let attributes = attributes.chain(row.unit());
    Ok(row.depends_on_subject() && (row.depends_on_key() || any_of_user(py, attributes, context)?))
}

/// The same evaluation, with its reason.
fn explain_flag<'py>(
    py: Python<'py>,
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
) -> PyResult<Explained> {
    let id = VisitorId::OfCookie;
    let explain = |user| {
        with_attributes(py, user, context, snapshot, id, |subject, attributes| {
            let evaluation = evaluate(key, flag, subject, attributes);
            let bucket = evaluation.bucket.or_else(|| match flag.bucket_by() {
                None => subject.text(|text| bucket(key, text)),
                Some(unit) => attributes.read_unit(unit, |unit| unit_bucket(key, unit)),
            });
            let Evaluation { value, reason, rule, .. } = evaluation;
            let steps = steps::of_flag(flag, evaluation, bucket, subject, attributes);
            let rules = flag.rules().map(Arc::as_ref);
            let how = How {
                reason: reason.as_str(),
                error_code: (reason == Reason::Error).then_some(ErrorCode::Parse.as_str()),
                bucket: bucket.map(Into::into),
                ..How::of_row(rules, flag.bucket_by(), rule, steps)
            };
            Explained { value, rollout_percent: Some(flag.rollout_percent), how }
        })
    };
    let explained = explain_for(py, user, || needs_user(py, flag, context), explain)?;
    Ok(explained.unwrap_or_else(Explained::error))
}

/// Explains the result for `user`. One who cannot be read because the database is away is
/// anonymous, unless the result depends on the user.
pub(super) fn explain_for<'u, 'py, T>(
    py: Python<'py>,
    user: Option<UserArgument<'u, 'py>>,
    needs_user: impl Fn() -> PyResult<bool>,
    explain: impl Fn(Option<UserArgument<'u, 'py>>) -> PyResult<T>,
) -> PyResult<Result<T, ErrorCode>> {
    match explain(user) {
        Ok(explained) => Ok(Ok(explained)),
        Err(error) => match without_database(py, error)? {
            _ if user.is_some() && !needs_user()? => explain_for(py, None, needs_user, explain),
            code => Ok(Err(code)),
        },
    }
}
