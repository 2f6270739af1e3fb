//! The functions that give the variants of experiments.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::attributes::{GroupSource, VisitorId, any_of_user, note_evaluation, with_attributes};
use super::context::Context;
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

use crate::bucketing_unit::USER;
use crate::evaluate::Reason;
use crate::experiment::{Experiment, ExperimentState};
use crate::exposures::Place;
use crate::flag_rules::FlagRules;
use crate::rules::{Attributes, NoAttributes, Rules};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The variant of the experiment `key` for `user`, or `default`. Records that the unit has met it.
///
/// The first of these decides: nothing loaded yet, no such experiment or one that does not run,
/// `default`; a winner that was shipped, the winner; no unit, `default`; a unit with an override, its
/// variant; rules of which none matches, `default`; otherwise the variant of the unit's bucket, or
/// `default` if the bucket takes no part.
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
        let variant = if experiment.rules.is_none() && experiment.bucket_by.is_none() {
            by_user(experiment, user, is_recorded)?
        } else {
            let context = context.with_snapshot(self.context);
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
                explained(experiment, assign(experiment, subject, attributes), attributes)
            },
        )
    }
}

fn explained(
    experiment: &Experiment,
    assignment: Assignment,
    attributes: &impl Attributes,
) -> ExplainedVariant {
    let variant = assignment.variant.map(|variant| experiment.allocation.key(variant).to_owned());
    let rules = experiment.rules.as_deref();
    let parsed = rules.and_then(FlagRules::rules);
    ExplainedVariant {
        variant,
        reason: assignment.reason.as_str(),
        error_code: (assignment.reason == Reason::Error).then_some("PARSE_ERROR"),
        is_overridden: false,
        is_recorded: assignment.is_analysed,
        bucket: assignment.position.map(|position| position.bucket),
        bucket_by: Some(experiment.bucket_by.as_deref().unwrap_or(USER).into()),
        phase: Some(experiment.phase),
        rules: parsed.map(|rules| explain_rules(rules, assignment.rule, attributes)),
        rules_problem: rules.and_then(FlagRules::unreadable).map(ToString::to_string),
    }
}

/// The variant of an experiment for everyone, by user.
#[inline]
fn by_user(
    experiment: &Experiment,
    user: Option<UserArgument<'_, '_>>,
    is_recorded: bool,
) -> PyResult<Option<VariantNumber>> {
    let with = |subject: Subject<'_>| {
        let assignment = assign(experiment, &subject, &NoAttributes);
        if is_recorded {
            record(experiment, assignment, &subject, &NoAttributes);
        }
        assignment.variant
    };
    match user {
        Some(user) if experiment.state == ExperimentState::Running => user.with_subject(with),
        _ => Ok(with(Subject::Anonymous)),
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
        return by_user(experiment, None, false);
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
        if is_recorded {
            record(experiment, assignment, subject, attributes);
        }
        attributes.report_needed_user(&experiment.identity.key);
        assignment.variant
    })
}

/// Whether the variant depends on the user, and not only on the context and the visitor.
fn needs_user(py: Python<'_>, experiment: &Experiment, context: Context<'_, '_>) -> PyResult<bool> {
    let Some(unit) = experiment.bucket_by.as_deref() else { return Ok(true) };
    let rules = experiment.rules.as_ref().and_then(|rules| rules.rules());
    let attributes = rules.map(Rules::attributes).unwrap_or_default().iter().map(|name| &**name);
    any_of_user(py, attributes.chain([unit]), context)
}

/// Records what a bucket has decided, once.
#[inline]
fn record(
    experiment: &Experiment,
    assignment: Assignment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) {
    let Assignment { variant: Some(variant), position: Some(position), .. } = assignment else {
        return;
    };
    let knows_user = experiment.bucket_by.is_some() && *subject != Subject::Anonymous;
    let place = (position, variant);
    if !LIVE.exposures().contains(experiment, place, knows_user) {
        record_new(experiment, place, subject, attributes);
    }
}

#[cold]
fn record_new(
    experiment: &Experiment,
    place: Place,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) {
    let user = experiment.bucket_by.as_ref().and_then(|_| subject.text(str::to_owned));
    with_unit(experiment, subject, attributes, |unit| {
        LIVE.exposures().record(experiment, place, unit, user.as_deref());
    });
}
