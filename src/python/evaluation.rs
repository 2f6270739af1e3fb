//! Evaluates flags and values against one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::attributes::{
    VisitorId, any_of_user, note_evaluation, report_missing_user, with_attributes, without_database,
};
use super::context::Context;
use super::explained::Explained;
use super::hooks::Hooks;
use super::kept_values;
use super::listeners;
use super::observed_request::{self, note_watched};
use super::preview::Preview;
use super::resolution::{Decided, ErrorCode, FlagResult, FoundValue, Kind, PyValue, Resolved};
use super::state::{self, LIVE};
use super::subject::UserArgument;
use super::value::to_python;
use crate::bucket::bucket;
use crate::bucketing_unit::unit_bucket;
use crate::counters::Bulk;
use crate::evaluate::{Evaluation, Reason, evaluate, evaluate_value};
use crate::flag::Flag;
use crate::live::{EvaluationMode, State};
use crate::overrides::{FlagOverride, Overrides};
use crate::prerequisites::Prerequisites;
use crate::rules::{Attributes, NoAttributes};
use crate::snapshot::{Snapshot, Stored};
use crate::steps;
use crate::stored_value::StoredValue;
use crate::subject::Subject;
use crate::targeting::{Dependent, Targeting};
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

    /// Where conditions of an evaluation find the flags that they need.
    #[inline]
    pub(super) fn flags(&self, snapshot: &'a Snapshot) -> Prerequisites<'a> {
        Prerequisites { snapshot, overrides: self.overrides, is_use: true }
    }

    /// The same for an explanation.
    pub(super) fn explained_flags(&self, snapshot: &'a Snapshot) -> Prerequisites<'a> {
        Prerequisites { is_use: false, ..self.flags(snapshot) }
    }

    /// What decides a flag in place of its row.
    #[cold]
    pub(super) fn flag_override(&self, key: &Bound<'_, PyString>) -> Option<FlagOverride> {
        self.overrides?.flag(key.to_str().ok()?)
    }

    /// The same for `user`, who is read only if tests have set results for single users, or for a
    /// preview.
    #[cold]
    pub(super) fn flag_override_of(
        &self,
        key: &str,
        user: Option<UserArgument<'_, '_>>,
    ) -> PyResult<Option<FlagOverride>> {
        let Some(overrides) = self.overrides else { return Ok(None) };
        let found = match user {
            Some(user) if overrides.has_users(key) => {
                user.with_subject(|subject| overrides.flag_of(key, &subject))?
            }
            _ => overrides.flag(key),
        };
        let previewed = || self.preview(user)?.flag(key).map(FlagOverride::Preview);
        Ok(found.or_else(previewed))
    }

    /// What `user` previews, who is the one of the request. Not where the caller reads its own writes:
    /// it may have killed the flag.
    #[cold]
    fn preview(&self, user: Option<UserArgument<'_, '_>>) -> Option<Arc<Preview>> {
        let user = user?;
        let preview = self.preview_of_request(user.py())?;
        // The check has read the user of the request. One that cannot be read is not that one.
        let is_read = !user.is_lazy() || user.is_there();
        let is_own = is_read
            && user.with_subject(|subject| subject.text(|text| preview.is_of(text))).ok().flatten()
                == Some(true);
        let reads_own = || Hooks::reads_own_writes(user.py()).unwrap_or(true);
        (is_own && !reads_own()).then_some(preview)
    }

    /// What the user of the current request previews.
    #[cold]
    pub(super) fn preview_of_request(&self, py: Python<'_>) -> Option<Arc<Preview>> {
        self.overrides.filter(|overrides| overrides.has_previews())?;
        observed_request::preview(py)
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
        let resolved = match self.flag_override_of(key.to_str().unwrap_or_default(), user)? {
            Some(found) => self.overridden(key, found),
            None => self.flag_of_snapshot(key, user, context, default, reports)?,
        };
        listeners::notify(self.overrides, Kind::Flag, key, || resolved.to_python(key.py()))?;
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
                let flags = || self.flags(snapshot);
                let result: T = result(key.py(), text, flag, user, context, flags, default)?;
                flag.count(result.value());
                Ok(result)
            }
            None => self.unknown(key, text, default, reports),
        }
    }

    /// The result of an override. A flag that is forced off or on is in use, so it counts.
    fn overridden(&self, key: &Bound<'_, PyString>, found: FlagOverride) -> Resolved {
        let resolved = Resolved::of(found.evaluation(), false);
        if found.is_forced()
            && let (Some(snapshot), Ok(text)) = (self.snapshot, key.to_str())
        {
            match snapshot.flag(text) {
                Some(flag) => flag.count(resolved.value),
                None => self.count_unknown(text),
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
        self.count_unknown(text);
        if reports && self.report_unknown {
            Hooks::report_unknown_key(key.py(), key, "flag")?;
        }
        Ok(T::error(ErrorCode::NotFound, default))
    }

    /// Counts an evaluation of a key without a flag, if the process evaluates from memory.
    fn count_unknown(&self, key: &str) {
        if self.mode.or_else(state::mode) == Some(EvaluationMode::Memory) {
            LIVE.unknown_keys().count(key);
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
                Some(found) if found.is_forced() && has_row(&Kind::Variant) => {
                    return Some(Kind::Variant);
                }
                Some(_) => return Some(Kind::Flag),
                None if overrides.has_users(key) => return Some(Kind::Flag),
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
            let text = key.to_str().unwrap_or_default();
            return Ok(Ok(FoundValue::overridden(text, value)));
        }
        let Some(snapshot) = self.snapshot else { return Ok(Err(ErrorCode::NotReady)) };
        let found = key.to_str().ok().and_then(|text| snapshot.value(text));
        let Some(stored) = found else {
            if reports && self.report_unknown {
                Hooks::report_unknown_key(key.py(), key, "value")?;
            }
            return Ok(Err(ErrorCode::NotFound));
        };
        self.value_of_row(key, stored, user, context, ValueRules::count)
    }

    /// The value of a row. Calls `count` with what its rules decide.
    pub(super) fn value_of_row(
        &self,
        key: &Bound<'_, PyString>,
        stored: &'a Stored,
        user: Option<UserArgument<'_, '_>>,
        context: Context<'_, '_>,
        count: impl FnOnce(&ValueRules, Evaluation),
    ) -> PyResult<Result<FoundValue<'a>, ErrorCode>> {
        let (Some(snapshot), Some(rules)) = (self.snapshot, stored.rules()) else {
            return Ok(Ok(FoundValue::of_everyone(stored)));
        };
        let context = context.with_snapshot(self.context);
        Ok(value_by_rules(key, rules, user, context, self.flags(snapshot))?.map(|decided| {
            count(rules, decided);
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
        // Those of errors are not kept: a kept object has no reason.
        let is_kept = found.how.error.is_none() && found.can_be_kept();
        match self.kept_version().filter(|_| is_kept) {
            Some(version) if found.how.is_of_everyone => {
                let (object, how) = found.to_python(key.py())?;
                kept_values::keep(key, version, &object);
                Ok(Ok((object, how)))
            }
            Some(version) if found.is_converted() => found.converted_once(key, version).map(Ok),
            _ => found.to_python(key.py()).map(Ok),
        }
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
    ) -> PyResult<Explained> {
        note_evaluation(key.py())?;
        if let Some(value) = self.value_override(key) {
            let value = to_python(key.py(), value)?.unbind();
            return Ok(Explained::overridden(Some(value), "override_value", Reason::Static));
        }
        let Some(snapshot) = self.snapshot else {
            return Ok(Explained::error(Kind::Value, ErrorCode::NotReady));
        };
        let Some(stored) = key.to_str().ok().and_then(|text| snapshot.value(text)) else {
            return Ok(Explained::error(Kind::Value, ErrorCode::NotFound));
        };
        let context = context.with_snapshot(self.context);
        explain_value(key, stored, user, context, self.explained_flags(snapshot))
    }

    pub(super) fn explain<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
    ) -> PyResult<Explained> {
        note_evaluation(key.py())?;
        if let Some(found) = self.flag_override_of(key.to_str().unwrap_or_default(), user)? {
            let Evaluation { value, reason, .. } = found.evaluation();
            return Ok(Explained::overridden(Some(of_bool(key.py(), value)), found.name(), reason));
        }
        let context = context.with_snapshot(self.context);
        let py = key.py();
        let flag = |snapshot: &'a Snapshot| snapshot.flag(key.to_str().ok()?);
        let explained = match (self.snapshot, self.snapshot.and_then(flag)) {
            (None, _) => Err(ErrorCode::NotReady),
            (_, None) => Err(ErrorCode::NotFound),
            (Some(snapshot), Some(flag)) => {
                explain_flag(key, flag, user, context, self.explained_flags(snapshot))?
            }
        };
        Ok(explained.unwrap_or_else(|code| Explained {
            value: Some(of_bool(py, false)),
            ..Explained::error(Kind::Flag, code)
        }))
    }

    /// Whether a flag is off for every user: disabled, by an override, or before the first load.
    pub(super) fn is_off(&self, key: &Bound<'_, PyString>) -> bool {
        if let Some(found) = self.flag_override(key) {
            return !found.evaluation().value;
        }
        self.snapshot.is_none_or(|snapshot| {
            let flag = key.to_str().ok().and_then(|text| snapshot.flag(text));
            flag.is_some_and(|flag| !flag.enabled)
        })
    }

    /// Whether what a key stands for, a flag or a value, can differ between users.
    pub(super) fn depends_on_user(&self, key: &Bound<'_, PyString>) -> PyResult<bool> {
        let context = Context::default().with_snapshot(self.context);
        let (py, (flag, rules)) = (key.py(), self.dependents(key));
        let of_flag = flag.and_then(Flag::rules).and_then(|rules| rules.rules());
        let of_both = of_flag.into_iter().chain(rules.and_then(ValueRules::rules));
        let mut needed = of_both.flat_map(|rules| &rules.needs().flags);
        let is_set_for_users = |overrides: &Overrides| {
            let is_previewed =
                |text| self.preview_of_request(py).is_some_and(|found| found.flag(text).is_some());
            key.to_str().is_ok_and(|key| overrides.has_users(key) || is_previewed(key))
                || needed.any(|key| overrides.has_users(key))
        };
        Ok(self.overrides.is_some_and(is_set_for_users)
            || flag.map_or(Ok(false), |flag| needs_user(py, flag, context))?
            || rules.map_or(Ok(false), |rules| needs_user(py, rules, context))?)
    }

    /// The names of the attributes that the flag and the value of a key read.
    pub(super) fn attribute_names(&self, key: &Bound<'_, PyString>) -> BTreeSet<&'a str> {
        let (flag, rules) = self.dependents(key);
        let of_flag = flag.into_iter().flat_map(Dependent::attributes);
        of_flag.chain(rules.into_iter().flat_map(Dependent::attributes)).collect()
    }

    /// The names of the attributes that all flags read.
    pub(super) fn attribute_names_of_flags(&self) -> BTreeSet<&'a str> {
        let flags = self.snapshot.into_iter().flat_map(Snapshot::flags);
        flags.flat_map(|(_, flag)| flag.attributes()).collect()
    }

    /// The flag and the rules of the value with this key, unless something is set over them.
    fn dependents(&self, key: &Bound<'_, PyString>) -> (Option<&'a Flag>, Option<&'a ValueRules>) {
        let flag = || self.snapshot?.flag(key.to_str().ok()?);
        let rules = || self.snapshot?.value(key.to_str().ok()?)?.rules().map(Arc::as_ref);
        (
            flag().filter(|_| self.flag_override(key).is_none()),
            rules().filter(|_| self.value_override(key).is_none()),
        )
    }

    /// The results of all flags by key, or of those that browsers may read, and of the overrides.
    pub(super) fn all_flags<'py>(
        &self,
        py: Python<'py>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
        client_side: bool,
    ) -> PyResult<BTreeMap<&'a str, Resolved>> {
        note_evaluation(py)?;
        let context = context.with_snapshot(self.context);
        let mut results = match self.snapshot {
            Some(snapshot) => {
                all_of_snapshot(py, user, context, self.flags(snapshot), client_side)?
            }
            None => BTreeMap::new(),
        };
        for (key, found) in self.overrides.into_iter().flat_map(Overrides::flags) {
            let experiment = || self.snapshot?.experiment(key);
            // An experiment that is forced off is no flag, and browsers read the flags of rows.
            let is_experiment = found.is_forced() && experiment().is_some();
            if results.contains_key(key) || !(client_side || is_experiment) {
                results.insert(key, Resolved::of(found.evaluation(), false));
            }
        }
        for key in self.overrides.into_iter().flat_map(Overrides::flags_of_users) {
            if let Some(found) = self.flag_override_of(key, user)?
                && (results.contains_key(key) || !client_side)
            {
                results.insert(key, Resolved::of(found.evaluation(), false));
            }
        }
        if let Some(preview) = self.preview(user) {
            for key in preview.keys() {
                if let Some(result) = results.get_mut(key)
                    && let Some(found @ FlagOverride::Preview(_)) =
                        self.flag_override_of(key, user)?
                {
                    *result = Resolved::of(found.evaluation(), false);
                }
            }
        }
        Ok(results)
    }
}

/// The results of the flags of a snapshot. Reads the user at most once, and only if a result
/// depends on it.
fn all_of_snapshot<'a, 'py>(
    py: Python<'py>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    prerequisites: Prerequisites<'a>,
    client_side: bool,
) -> PyResult<BTreeMap<&'a str, Resolved>> {
    let all = prerequisites.snapshot.flags();
    let flags: Vec<_> = all.filter(|(_, flag)| flag.client_side || !client_side).collect();
    let is_set = prerequisites.are_set_for_users();
    let user = user.filter(|_| is_set || flags.iter().any(|(_, flag)| flag.depends_on_subject()));
    let bulk = if client_side { Bulk::ForBrowsers } else { Bulk::All };
    for (_, flag) in &flags {
        flag.serve(bulk);
    }
    let id = VisitorId::Drawn;
    let evaluated = with_attributes(py, user, context, prerequisites, id, |subject, attributes| {
        let result = |&(key, flag): &(&'a str, &Flag)| {
            // The reason is that of a single evaluation.
            let subject = if flag.depends_on_subject() { subject } else { &Subject::Anonymous };
            let evaluation = evaluate(key, flag, subject, attributes);
            attributes.report_needed_user(key);
            (key, Resolved::of(evaluation, false))
        };
        flags.iter().map(result).collect()
    });
    evaluated.or_else(|error| {
        let code = without_database(py, error)?;
        // Of a user who can be read, an attribute has failed: other flags have their results.
        let readable = user.filter(UserArgument::is_there);
        let is_unreadable = user.is_some() && readable.is_none();
        let again = |(key, flag): (&'a str, &Flag)| {
            if is_unreadable && needs_user(py, flag, context)? {
                return Ok((key, Resolved::error(code, false)));
            }
            Ok((key, result(py, key, flag, readable, context, || prerequisites, false)?))
        };
        flags.into_iter().map(again).collect()
    })
}

/// The result for `user`, who is read only if the result depends on it. So the reason of a flag
/// that has one result for all users does not depend on the user either. `flags` is called by rules
/// only.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
fn result<'a, 'py, T: FlagResult>(
    py: Python<'py>,
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    flags: impl FnOnce() -> Prerequisites<'a>,
    default: bool,
) -> PyResult<T> {
    if flag.targeting.is_some() {
        return result_by_attributes(py, key, flag, user, context, flags(), default);
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
    flags: Prerequisites<'_>,
    default: bool,
) -> PyResult<T> {
    if !flag.enabled {
        return Ok(T::of(evaluate(key, flag, &Subject::Anonymous, &NoAttributes), default));
    }
    let user = match user {
        // A plan measures at 0 %, too, before its start.
        Some(user) if flag.watch().is_some() && user.is_there() => Some(user),
        user => needed_user(py, flag, user, context, flags)?,
    };
    with_attributes(py, user, context, flags, VisitorId::Drawn, |subject, attributes| {
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
fn value_by_rules<'py>(
    key: &Bound<'py, PyString>,
    rules: &ValueRules,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    flags: Prerequisites<'_>,
) -> PyResult<Result<Evaluation, ErrorCode>> {
    let py = key.py();
    note_evaluation(py)?;
    let text = key.to_str()?;
    // Once: the check costs more than the evaluation.
    let may_lack_user =
        user.is_none() && !rules.counters.has_reported() && needs_user(py, rules, context)?;
    let user = needed_user(py, rules, user, context, flags)?;
    with_attributes(py, user, context, flags, VisitorId::Drawn, |subject, attributes| {
        let evaluation = evaluate_value(text, &rules.targeting, subject, attributes);
        attributes.report_needed_user(text);
        // The callable may know an attribute without a user.
        let lacks_user = || rules.attributes().any(|name| attributes.lacks(name));
        if may_lack_user && (rules.depends_on_key() || lacks_user()) {
            rules.counters.set_reported();
            report_missing_user(py, text);
        }
        evaluation
    })
    .map(Ok)
    .or_else(|error| without_database(py, error).map(Err))
}

/// The same evaluation, with the reason and the outcomes of all rules. `own` is the value itself.
fn explain_value<'py>(
    key: &Bound<'py, PyString>,
    stored: &Stored,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    flags: Prerequisites<'_>,
) -> PyResult<Explained> {
    let (py, text) = (key.py(), key.to_str()?);
    // As JSON has it: an explanation is for people.
    let own = to_python(py, stored.value())?;
    let Some(rules) = stored.rules().map(Arc::as_ref) else {
        return Ok(Explained::of_everyone(own).unless(stored.is_misfit()));
    };
    let id = VisitorId::OfCookie;
    let explain = |user| {
        with_attributes(py, user, context, flags, id, |subject, attributes| {
            let Targeting { rules: row_rules, bucket_by, .. } = &rules.targeting;
            let evaluation = evaluate_value(text, &rules.targeting, subject, attributes);
            let bucket = evaluation.bucket.or_else(|| match bucket_by.as_deref() {
                None => subject.text(|subject| bucket(text, subject)),
                Some(unit) => attributes.read_unit(unit, |unit| unit_bucket(text, unit)),
            });
            let Evaluation { reason, rule, .. } = evaluation;
            let targeting = &rules.targeting;
            let steps = steps::of_value(targeting, rule, bucket, subject, attributes, flags);
            let (row_rules, unit) = (row_rules.as_deref(), bucket_by.as_deref());
            let how = Explained::of_row(row_rules, unit, reason, rule, steps);
            (Explained { bucket: bucket.map(Into::into), ..how }, evaluation)
        })
    };
    let needs_user = || needs_user(py, rules, context);
    let (how, evaluation) = match explain_for(py, user, needs_user, explain)? {
        Ok(found) => found,
        Err(code) => return Ok(Explained::error(Kind::Value, code)),
    };
    let result = rules.result_of(evaluation).map(|result| to_python(py, result));
    let result = result.transpose()?;
    let is_misfit = match result {
        None => stored.is_misfit(),
        Some(_) => rules.is_misfit(evaluation),
    };
    let value = Some(result.unwrap_or(own).unbind());
    Ok(Explained { value, has_own: !evaluation.value, ..how }.unless(is_misfit))
}

/// The user, if the result depends on it. A lazy user is not loaded for anything else.
fn needed_user<'u, 'py>(
    py: Python<'py>,
    row: &impl Dependent,
    user: Option<UserArgument<'u, 'py>>,
    context: Context<'_, 'py>,
    flags: Prerequisites<'_>,
) -> PyResult<Option<UserArgument<'u, 'py>>> {
    match user {
        user if flags.are_set_for_users() => Ok(user),
        Some(user) if user.is_lazy() && !needs_user(py, row, context)? => Ok(None),
        user => Ok(user.filter(|_| row.depends_on_subject())),
    }
}

/// Whether the result of a row that reads attributes depends on the user, and not only on the
/// context.
pub(super) fn needs_user(
    py: Python<'_>,
    row: &impl Dependent,
    context: Context<'_, '_>,
) -> PyResult<bool> {
    Ok(row.depends_on_subject()
        && (row.depends_on_key() || any_of_user(py, row.attributes(), context)?))
}

fn of_bool(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

/// The same evaluation, with its reason.
fn explain_flag<'py>(
    key: &Bound<'py, PyString>,
    flag: &Flag,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    flags: Prerequisites<'_>,
) -> PyResult<Result<Explained, ErrorCode>> {
    let (py, key, id) = (key.py(), key.to_str()?, VisitorId::OfCookie);
    let explain = |user| {
        with_attributes(py, user, context, flags, id, |subject, attributes| {
            let evaluation = evaluate(key, flag, subject, attributes);
            let bucket = evaluation.bucket.or_else(|| match flag.bucket_by() {
                None => subject.text(|text| bucket(key, text)),
                Some(unit) => attributes.read_unit(unit, |unit| unit_bucket(key, unit)),
            });
            let Evaluation { value, reason, rule, .. } = evaluation;
            let steps = steps::of_flag(flag, evaluation, bucket, subject, attributes, flags);
            let rules = flag.rules().map(Arc::as_ref);
            Explained {
                value: Some(of_bool(py, value)),
                bucket: bucket.map(Into::into),
                rollout_percent: Some(flag.rollout_percent),
                ..Explained::of_row(rules, flag.bucket_by(), reason, rule, steps)
            }
        })
    };
    explain_for(py, user, || needs_user(py, flag, context), explain)
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
