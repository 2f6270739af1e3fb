//! The variants of experiments.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::arguments::Key;
use super::attributes::{VisitorId, note_evaluation, with_attributes, without_database};
use super::context::Context;
use super::crawlers::is_crawler;
use super::evaluation::{Evaluator, explain_for, needs_user};
use super::explained::Explained;
use super::hooks::Hooks;
use super::listeners;
use super::maintenance;
use super::resolution::{ErrorCode, Kind, ResolvedVariant};
use super::snapshot::PySnapshot;
use super::state::LIVE;
use super::subject::UserArgument;
use super::value::or_default;
use crate::assign::{Assignment, assign, with_unit};
use crate::bucketing_unit::VISITOR;
use crate::experiment::{Experiment, ExperimentState};
use crate::exposures::{Known, Place};
use crate::overrides::VariantOverride;
use crate::prerequisites::Prerequisites;
use crate::rules::{Attributes, NoAttributes};
use crate::steps;
use crate::subject::Subject;

/// Returns the variant of the experiment `key` for `user`, or `default`. Records the exposure.
///
///     button = get_variant("checkout_button", request.user, default="control")
///
/// The first of these decides: forced off in this process, nothing loaded yet, no such experiment
/// or one that does not run, `default`; a winner that was shipped, the winner; no unit, `default`;
/// a unit with an override, its variant; rules of which none matches, `default`; a bucket that
/// takes no part, a request of a crawler, or a new visitor above the limit of the hour, `default`;
/// otherwise the variant of the unit's bucket.
///
/// `user` and `context` are those of `flag_enabled`. Only what a bucket decides is recorded: in
/// memory, and written to the database some seconds later. Evaluates from memory and does not
/// block, as `flag_enabled`. Raises `TypeError` for a wrong type, and `UnknownExperimentError` if
/// `UNKNOWN_KEY` is "raise".
#[pyfunction]
#[pyo3(signature = (key, user=None, *, default=None, context=None))]
pub(super) fn get_variant<'py>(
    key: Key<'_, 'py>,
    user: Option<&Bound<'py, PyAny>>,
    default: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    maintenance::count_evaluation(key.py())?;
    let current = LIVE.current();
    let Some(state) = current.as_ref().filter(|state| state.is_in_memory()) else {
        drop(current);
        return PySnapshot::current(Some(&key)).get_variant(key, user, default, context);
    };
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let evaluator = Evaluator::of(state);
    let found = evaluator.variant(&key, user, default.as_ref(), context, true, true)?;
    Ok(or_default(key.py(), found.variant, default))
}

/// The reason of a visitor above the limit of new ones.
const LIMIT: &str = "LIMIT";

impl<'a> Evaluator<'a> {
    /// What decides an experiment in place of its row.
    #[cold]
    pub(super) fn variant_override(
        &self,
        key: &Bound<'_, PyString>,
    ) -> Option<VariantOverride<'a>> {
        self.overrides?.variant(key.to_str().ok()?)
    }

    /// The variant, without one the default of the call, which is for the listeners. With `reports`,
    /// an unknown key is reported if that is configured.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn variant<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        default: Option<&Bound<'py, PyAny>>,
        context: Context<'_, 'py>,
        is_recorded: bool,
        reports: bool,
    ) -> PyResult<ResolvedVariant<'py>> {
        note_evaluation(key.py())?;
        if self.overrides.is_some() {
            return self.variant_under_overrides(key, user, default, context, is_recorded, reports);
        }
        self.variant_of_snapshot(key, user, context, is_recorded, reports)
    }

    /// The same where something is set over the database, or listeners are called.
    #[cold]
    fn variant_under_overrides<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        default: Option<&Bound<'py, PyAny>>,
        context: Context<'_, 'py>,
        is_recorded: bool,
        reports: bool,
    ) -> PyResult<ResolvedVariant<'py>> {
        let py = key.py();
        // A preview may have led here: users do not meet the variant in this way.
        let is_recorded = is_recorded && self.preview_of_request(py).is_none();
        let resolved = match self.variant_override(key) {
            Some(found) => ResolvedVariant {
                variant: found.variant().map(|variant| PyString::new(py, variant)),
                reason: found.reason().as_str(),
                error: None,
                rule: None,
            },
            None => self.variant_of_snapshot(key, user, context, is_recorded, reports)?,
        };
        listeners::notify(self.overrides, Kind::Variant, key, || {
            Py::new(py, resolved.clone().into_python(py, default.cloned()))
        })?;
        Ok(resolved)
    }

    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    fn variant_of_snapshot<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
        is_recorded: bool,
        reports: bool,
    ) -> PyResult<ResolvedVariant<'py>> {
        let py = key.py();
        let Some(snapshot) = self.snapshot else {
            return Ok(ResolvedVariant::error(ErrorCode::NotReady));
        };
        let found = key.to_str().ok().and_then(|text| snapshot.experiment(text));
        let Some(experiment) = found else {
            if reports && self.report_unknown {
                Hooks::report_unknown_key(py, key, "experiment")?;
            }
            return Ok(ResolvedVariant::error(ErrorCode::NotFound));
        };
        let context = context.with_snapshot(self.context);
        let found = if experiment.rules.is_none() && experiment.bucket_by.is_none() {
            by_user(py, experiment, user, context, is_recorded)
        } else {
            by_attributes(py, experiment, user, context, self.flags(snapshot), is_recorded)
        };
        found.or_else(|error| Ok(ResolvedVariant::error(without_database(py, error)?)))
    }
}

impl Evaluator<'_> {
    /// How the variant of `key` comes about.
    pub(super) fn explain_variant<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<UserArgument<'_, 'py>>,
        context: Context<'_, 'py>,
    ) -> PyResult<Explained> {
        note_evaluation(key.py())?;
        if let Some(found) = self.variant_override(key) {
            let value = found.variant().map(|variant| of_text(key.py(), variant));
            return Ok(Explained::overridden(value, found.name(), found.reason()));
        }
        let unknown = |code| Explained::error(Kind::Variant, code);
        let Some(snapshot) = self.snapshot else { return Ok(unknown(ErrorCode::NotReady)) };
        let found = key.to_str().ok().and_then(|text| snapshot.experiment(text));
        let Some(experiment) = found else { return Ok(unknown(ErrorCode::NotFound)) };
        let context = context.with_snapshot(self.context);
        let (py, id, flags) = (key.py(), VisitorId::OfCookie, self.explained_flags(snapshot));
        let explain = |user| {
            with_attributes(py, user, context, flags, id, |subject, attributes| {
                let assignment = assign(experiment, subject, attributes);
                let exclusion = exclusion(py, experiment, assignment, context)?;
                Ok(explained(py, experiment, assignment, exclusion, subject, attributes, flags))
            })?
        };
        let needs_user = || needs_user(py, experiment, context);
        Ok(explain_for(py, user, needs_user, explain)?.unwrap_or_else(unknown))
    }
}

fn explained(
    py: Python<'_>,
    experiment: &Experiment,
    assignment: Assignment,
    exclusion: Option<&'static str>,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    flags: Prerequisites<'_>,
) -> Explained {
    let variant = assignment.variant.filter(|_| exclusion.is_none());
    let Assignment { reason, rule, .. } = assignment;
    let (rules, unit) = (experiment.rules.as_deref(), experiment.bucket_by.as_deref());
    let why = exclusion.map(|reason| if reason == LIMIT { &steps::LIMIT } else { &steps::CRAWLER });
    let steps = steps::of_variant(experiment, assignment, why, subject, attributes, flags);
    let how = Explained::of_row(rules, unit, reason, rule, steps);
    Explained {
        value: variant.map(|variant| of_text(py, experiment.allocation.key(variant))),
        reason: exclusion.unwrap_or(how.reason),
        bucket: assignment.position.map(|position| position.bucket),
        is_recorded: assignment.is_analysed && exclusion.is_none(),
        run: Some(experiment.run),
        ..how
    }
}

fn of_text(py: Python<'_>, text: &str) -> Py<PyAny> {
    PyString::new(py, text).into_any().unbind()
}

/// The variant of an experiment for everyone, by user.
#[inline]
fn by_user<'py>(
    py: Python<'py>,
    experiment: &Experiment,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    is_recorded: bool,
) -> PyResult<ResolvedVariant<'py>> {
    let with = |subject: Subject<'_>| -> PyResult<ResolvedVariant<'py>> {
        let assignment = assign(experiment, &subject, &NoAttributes);
        let exclusion = exclusion(py, experiment, assignment, context)?;
        if exclusion.is_none() && is_recorded {
            record(experiment, assignment, &subject, &NoAttributes, || None);
        }
        Ok(ResolvedVariant::of(py, experiment, assignment, exclusion))
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
    flags: Prerequisites<'_>,
    is_recorded: bool,
) -> PyResult<ResolvedVariant<'py>> {
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
    let visitor_id = if is_recorded { VisitorId::Drawn } else { VisitorId::OfCookie };
    with_attributes(py, user, context, flags, visitor_id, |subject, attributes| {
        let assignment = assign(experiment, subject, attributes);
        attributes.report_needed_user(&experiment.identity.key);
        let exclusion = exclusion(py, experiment, assignment, context)?;
        if exclusion.is_some() || !is_recorded {
            return Ok(ResolvedVariant::of(py, experiment, assignment, exclusion));
        }
        let visitor = || match experiment.bucket_by.as_deref() {
            Some(VISITOR) => attributes.visitor_has_returned(),
            _ => None,
        };
        let is_in = record(experiment, assignment, subject, attributes, visitor);
        Ok(ResolvedVariant::of(py, experiment, assignment, (!is_in).then_some(LIMIT)))
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
    Ok(is_left_out.then_some(LIMIT))
}

/// Records what a bucket has decided, once. False for a unit that is left out.
#[inline]
fn record(
    experiment: &Experiment,
    assignment: Assignment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    has_returned: impl FnOnce() -> Option<bool>,
) -> bool {
    let Assignment { variant: Some(variant), position: Some(position), .. } = assignment else {
        return true;
    };
    let user = experiment.bucket_by.is_some() && *subject != Subject::Anonymous;
    // Of a visitor, the cookie is looked at until it has come back.
    let returned = experiment.bucket_by.as_deref() == Some(VISITOR);
    let place = (position, variant);
    LIVE.exposures().contains(experiment, place, Known { user, returned })
        || record_new(experiment, place, subject, attributes, (user, has_returned()))
}

#[cold]
fn record_new(
    experiment: &Experiment,
    place: Place,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    (knows_user, has_returned): (bool, Option<bool>),
) -> bool {
    let exposures = LIVE.exposures();
    let known = Known { user: knows_user, returned: has_returned == Some(true) };
    if exposures.contains(experiment, place, known) {
        return true;
    }
    if !exposures.contains(experiment, place, Known::default())
        && !exposures.admits(experiment, place, has_returned == Some(false))
    {
        return false;
    }
    let user = experiment.bucket_by.as_ref().and_then(|_| subject.text(str::to_owned));
    with_unit(experiment, subject, attributes, |unit| {
        exposures.record(experiment, place, unit, user.as_deref(), known.returned);
    });
    true
}
