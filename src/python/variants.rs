//! The functions that give the variants of experiments.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::attributes::{
    GroupSource, Visitor, VisitorId, any_of_user, note_evaluation, with_attributes,
};
use super::context::Context;
use super::crawlers::is_crawler;
use super::direct;
use super::evaluation::Evaluator;
use super::explained::{ExplainedVariant, explain_rules};
use super::maintenance;
use super::state::LIVE;
use super::subject::UserArgument;
use super::unknown_keys;
use super::value::or_default;
use super::{start, state};
use crate::allocation::VariantNumber;
use crate::assign::{Assignment, assign, with_unit};

use crate::bucketing_unit::{USER, VISITOR};
use crate::evaluate::Reason;
use crate::experiment::{Experiment, ExperimentState};
use crate::exposures::{Known, Place};
use crate::flag_rules::FlagRules;
use crate::message::Message;
use crate::rules::{Attributes, NoAttributes, Rules};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The variant of the experiment `key` for `user`, or `default`. Records that the unit has met it.
///
/// The first of these decides: nothing loaded yet, no such experiment or one that does not run,
/// `default`; a winner that was shipped, the winner; no unit, `default`; a unit with an override, its
/// variant; rules of which none matches, `default`; a bucket that takes no part, a request of a
/// crawler, or a new visitor above the limit of the hour, `default`; otherwise the variant of the
/// unit's bucket.
///
/// `user` and `context` are those of `flag_enabled`. Only what a bucket decides is recorded: from
/// memory, and written to the database some seconds later. Evaluates from memory and returns at
/// once; the first evaluation of a process waits for the first load, at most `STARTUP_TIMEOUT`.
/// Never raises because of the database. Raises `TypeError` for a wrong type.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=None, context=None))]
pub(super) fn get_variant<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    variant(key, user, default, context, true)
}

/// The same without a record, for code that does not show the variant.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=None, context=None))]
pub(super) fn peek_variant<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    variant(key, user, default, context, false)
}

/// How `get_variant(key, user)` gets its result, as a dict: the arguments of
/// `flagstaff.experiments.explain.VariantExplanation`. Records nothing. Reads the user.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, context=None))]
pub(super) fn explain_variant<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<ExplainedVariant> {
    let py = key.py();
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let current = start::current(py)?;
    match current.as_ref() {
        None => Ok(failed("PROVIDER_NOT_READY")),
        Some(state) if state::evaluates_directly(py, state)? => {
            direct::snapshot(py, state)?.evaluator().explain_variant(key, user, context)
        }
        Some(state) => Evaluator::of(state).explain_variant(key, user, context),
    }
}

fn failed(code: &'static str) -> ExplainedVariant {
    let reason = Reason::Error.as_str();
    ExplainedVariant { reason, error_code: Some(code), ..ExplainedVariant::default() }
}

#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
fn variant<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    default: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
    is_recorded: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    maintenance::count_evaluation(py)?;
    let current = start::current(py)?;
    let found = match current.as_ref() {
        None => None,
        Some(state) if state::evaluates_directly(py, state)? => {
            direct::snapshot(py, state)?.evaluator().variant(key, user, context, false)?
        }
        Some(state) => Evaluator::of(state).variant(key, user, context, is_recorded)?,
    };
    Ok(or_default(py, found, default))
}

impl Evaluator<'_> {
    /// The key of the variant; `None` for the default of the call.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn variant<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
        is_recorded: bool,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = key.py();
        note_evaluation(py)?;
        if let Some(found) = self.overrides.and_then(|set| set.variant(key.to_str().ok()?)) {
            return Ok(found.map(|variant| PyString::new(py, variant)));
        }
        let Some(snapshot) = self.snapshot else { return Ok(None) };
        let found = key.to_str().ok().and_then(|text| snapshot.experiment(text));
        let Some(experiment) = found else {
            if self.report_unknown {
                unknown_keys::report(key, "experiment")?;
            }
            return Ok(None);
        };
        let context = context.with_snapshot(self.context);
        let variant = if experiment.rules.is_none() && experiment.bucket_by.is_none() {
            by_user(py, experiment, user, context, is_recorded)?
        } else {
            by_attributes(py, experiment, user, context, snapshot, is_recorded)?
        };
        Ok(variant.map(|variant| PyString::new(py, experiment.allocation.key(variant))))
    }
}

impl Evaluator<'_> {
    fn explain_variant<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
    ) -> PyResult<ExplainedVariant> {
        note_evaluation(key.py())?;
        if let Some(found) = self.overrides.and_then(|set| set.variant(key.to_str().ok()?)) {
            return Ok(ExplainedVariant {
                variant: found.map(Into::into),
                reason: Reason::Static.as_str(),
                is_overridden: true,
                ..ExplainedVariant::default()
            });
        }
        let Some(snapshot) = self.snapshot else { return Ok(failed("PROVIDER_NOT_READY")) };
        let found = key.to_str().ok().and_then(|text| snapshot.experiment(text));
        let Some(experiment) = found else { return Ok(failed("FLAG_NOT_FOUND")) };
        let context = context.with_snapshot(self.context);
        let groups = GroupSource::Snapshot(snapshot);
        with_attributes(
            key.py(),
            user,
            context,
            groups,
            VisitorId::OfCookie,
            |subject, attributes| {
                let assignment = assign(experiment, subject, attributes);
                let exclusion = exclusion(key.py(), experiment, assignment, context)?;
                Ok(explained(experiment, assignment, exclusion, attributes))
            },
        )?
    }
}

fn explained(
    experiment: &Experiment,
    assignment: Assignment,
    exclusion: Option<&'static str>,
    attributes: &impl Attributes,
) -> ExplainedVariant {
    let variant = assignment.variant.filter(|_| exclusion.is_none());
    let variant = variant.map(|variant| experiment.allocation.key(variant).to_owned());
    let rules = experiment.rules.as_deref();
    let parsed = rules.and_then(FlagRules::rules);
    ExplainedVariant {
        variant,
        reason: exclusion.unwrap_or(assignment.reason.as_str()),
        error_code: (assignment.reason == Reason::Error).then_some("PARSE_ERROR"),
        is_overridden: false,
        is_recorded: assignment.is_analysed && exclusion.is_none(),
        bucket: assignment.position.map(|position| position.bucket),
        bucket_by: Some(experiment.bucket_by.as_deref().unwrap_or(USER).into()),
        phase: Some(experiment.phase),
        rules: parsed.map(|rules| explain_rules(rules, assignment.rule, attributes)),
        rules_problem: rules.and_then(FlagRules::unreadable).map(Message::from),
    }
}

/// The variant of an experiment for everyone, by user.
#[inline]
fn by_user<'py>(
    py: Python<'py>,
    experiment: &Experiment,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    is_recorded: bool,
) -> PyResult<Option<VariantNumber>> {
    let with = |subject: Subject<'_>| -> PyResult<Option<VariantNumber>> {
        let assignment = assign(experiment, &subject, &NoAttributes);
        if exclusion(py, experiment, assignment, context)?.is_some() {
            return Ok(None);
        }
        if is_recorded {
            record(experiment, assignment, &subject, &NoAttributes, || Visitor::Given);
        }
        Ok(assignment.variant)
    };
    match user {
        Some(user) if experiment.state == ExperimentState::Running => user.with_subject(with)?,
        _ => with(Subject::Anonymous),
    }
}

/// The same for one that reads attributes.
#[inline(never)]
fn by_attributes<'py>(
    py: Python<'py>,
    experiment: &Experiment,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    snapshot: &Snapshot,
    is_recorded: bool,
) -> PyResult<Option<VariantNumber>> {
    if experiment.state != ExperimentState::Running {
        return by_user(py, experiment, None, context, false);
    }
    let user = match user {
        // A visitor stays the same when the user logs in, so the user is read only if that is free.
        Some(user) if user.is_lazy() && !user.is_there() => {
            Some(user).filter(|_| needs_user(py, experiment, context).unwrap_or(true))
        }
        user => user,
    };
    let groups = GroupSource::Snapshot(snapshot);
    let visitor_id = if is_recorded { VisitorId::Drawn } else { VisitorId::OfCookie };
    with_attributes(py, user, context, groups, visitor_id, |subject, attributes| {
        let assignment = assign(experiment, subject, attributes);
        attributes.report_needed_user(&experiment.identity.key);
        if exclusion(py, experiment, assignment, context)?.is_some() {
            return Ok(None);
        }
        let visitor = || match experiment.bucket_by.as_deref() {
            Some(VISITOR) => attributes.known_visitor(),
            _ => Visitor::Given,
        };
        let is_left_out =
            is_recorded && !record(experiment, assignment, subject, attributes, visitor);
        Ok(assignment.variant.filter(|_| !is_left_out))
    })?
}

/// Why a unit that would be recorded gets the default of the call: its reason.
#[inline]
fn exclusion<'py>(
    py: Python<'py>,
    experiment: &Experiment,
    assignment: Assignment,
    context: Context<'_, 'py>,
) -> PyResult<Option<&'static str>> {
    let Assignment { variant: Some(variant), position: Some(position), .. } = assignment else {
        return Ok(None);
    };
    if is_crawler(py, context)? {
        return Ok(Some("CRAWLER"));
    }
    let place = (position, variant);
    let is_left_out = experiment.bucket_by.as_deref() == Some(VISITOR)
        && LIVE.exposures().has_left_out(experiment, place)
        && !LIVE.exposures().contains(experiment, place, Known::default());
    Ok(is_left_out.then_some("LIMIT"))
}

/// Whether the variant depends on the user, and not only on the context and the visitor.
fn needs_user(py: Python<'_>, experiment: &Experiment, context: Context<'_, '_>) -> PyResult<bool> {
    let Some(unit) = experiment.bucket_by.as_deref() else { return Ok(true) };
    let rules = experiment.rules.as_ref().and_then(|rules| rules.rules());
    let attributes = rules.map(Rules::attributes).unwrap_or_default().iter().map(|name| &**name);
    any_of_user(py, attributes.chain([unit]), context)
}

/// Records what a bucket has decided, once. False for a unit that is left out.
#[inline]
fn record(
    experiment: &Experiment,
    assignment: Assignment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    visitor: impl FnOnce() -> Visitor,
) -> bool {
    let Assignment { variant: Some(variant), position: Some(position), .. } = assignment else {
        return true;
    };
    let user = experiment.bucket_by.is_some() && *subject != Subject::Anonymous;
    // Of a visitor, the cookie is looked at until it has come back.
    let returned = experiment.bucket_by.as_deref() == Some(VISITOR);
    let place = (position, variant);
    LIVE.exposures().contains(experiment, place, Known { user, returned })
        || record_new(experiment, place, subject, attributes, (user, visitor()))
}

#[cold]
fn record_new(
    experiment: &Experiment,
    place: Place,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    (knows_user, visitor): (bool, Visitor),
) -> bool {
    let exposures = LIVE.exposures();
    let known = Known { user: knows_user, returned: visitor == Visitor::Returned };
    if exposures.contains(experiment, place, known) {
        return true;
    }
    if !exposures.contains(experiment, place, Known::default())
        && !exposures.admits(experiment, place, visitor == Visitor::New)
    {
        return false;
    }
    let user = experiment.bucket_by.as_ref().and_then(|_| subject.text(str::to_owned));
    with_unit(experiment, subject, attributes, |unit| {
        exposures.record(experiment, place, unit, user.as_deref(), known.returned);
    });
    true
}
