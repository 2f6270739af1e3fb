//! (experiment, subject) → assignment. Pure: no clock, no lock, no I/O.
//!
//! This is the only implementation of the semantics of experiments.

use crate::allocation::VariantNumber;
use crate::bucket::{Position, position};
use crate::bucketing_unit::{OfRow, unit_text};
use crate::evaluate::Reason;
use crate::experiment::{Experiment, ExperimentState};
use crate::rules::{Attributes, Rules};
use crate::subject::Subject;

/// The most bytes of a unit.
pub const MAX_UNIT: usize = 255;

/// The variant of a subject, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The variant; `None` for the default of the call.
    pub variant: Option<VariantNumber>,
    /// Why it is the result.
    pub reason: Reason,
    /// The position, if it was computed.
    pub position: Option<Position>,
    /// The number of the rule that decided, 1 for the first one.
    pub rule: Option<u8>,
    /// Whether the unit is analysed. One that gets no variant is not, nor is a forced one.
    pub is_analysed: bool,
}

impl Assignment {
    const fn unrecorded(variant: Option<VariantNumber>, reason: Reason) -> Self {
        Self { variant, reason, position: None, rule: None, is_analysed: false }
    }
}

/// Whether the rules let a subject take part, and which of them decided.
#[derive(Clone, Copy)]
enum Eligibility {
    Eligible(Option<u8>),
    Excluded(Option<u8>),
    Unreadable,
}

/// Assigns a variant of `experiment` to `subject`. Reads attributes only for its rules and its unit.
///
/// The reason [`Reason::Error`] means that the rules cannot be read (`PARSE_ERROR`).
#[must_use]
pub fn assign(
    experiment: &Experiment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Assignment {
    match experiment.state {
        ExperimentState::Off => Assignment::unrecorded(None, Reason::Disabled),
        ExperimentState::Shipped(winner) => Assignment::unrecorded(Some(winner), Reason::Static),
        ExperimentState::Running => {
            let assigned = |unit: &str| assign_unit(experiment, unit, subject, attributes);
            with_unit(experiment, subject, attributes, assigned)
                .unwrap_or(Assignment::unrecorded(None, Reason::Default))
        }
    }
}

/// Calls `with` with the text of the unit that `subject` is. `None` if it has none: an anonymous
/// user, an attribute that is missing, or a text that the database cannot store as a unit.
#[inline]
pub fn with_unit<T>(
    experiment: &Experiment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
    with: impl FnOnce(&str) -> T,
) -> Option<T> {
    let with = |unit: &str| is_storable(unit).then(|| with(unit));
    let found = match &experiment.bucket_by {
        None => subject.text(with),
        Some(name) => attributes.read_unit(name, |unit| unit_text(unit, with)),
    };
    found.flatten()
}

/// The assignment of the unit with this text.
fn assign_unit(
    experiment: &Experiment,
    unit: &str,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Assignment {
    if !experiment.forced.is_empty()
        && let Some(variant) = experiment.forced.get(unit)
    {
        return Assignment::unrecorded(Some(*variant), Reason::TargetingMatch);
    }
    let rule = match eligibility(experiment, subject, attributes) {
        Eligibility::Eligible(rule) => rule,
        Eligibility::Excluded(rule) => {
            return Assignment { rule, ..Assignment::unrecorded(None, Reason::TargetingMatch) };
        }
        Eligibility::Unreadable => return Assignment::unrecorded(None, Reason::Error),
    };
    let position = position(&experiment.seed, unit);
    let variant = experiment.allocation.variant(position);
    Assignment {
        variant,
        reason: Reason::Split,
        position: Some(position),
        rule,
        is_analysed: variant.is_some(),
    }
}

/// An index of PostgreSQL holds no long texts, and its texts have no NUL.
fn is_storable(unit: &str) -> bool {
    unit.len() <= MAX_UNIT && !unit.as_bytes().contains(&0)
}

#[inline]
fn eligibility(
    experiment: &Experiment,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Eligibility {
    let Some(rules) = &experiment.rules else { return Eligibility::Eligible(None) };
    let of_row = OfRow { subject, bucket_by: experiment.bucket_by.as_deref(), attributes };
    rules.rules().map_or(Eligibility::Unreadable, |rules| by(rules, &of_row))
}

/// Who takes part by these rules: a subject for whom the first rule that matches is not at 0 %, unless
/// a rule before it at 0 % might decide if no flag that it needs were off.
#[inline(never)]
fn by(rules: &Rules, attributes: &impl Attributes) -> Eligibility {
    let (decision, ceiling) = rules.decide_below(attributes);
    let rule = decision.map(|decision| decision.number);
    match decision {
        Some(decision) if decision.rollout_percent.min(ceiling.unwrap_or(100)) > 0 => {
            Eligibility::Eligible(rule)
        }
        _ => Eligibility::Excluded(rule),
    }
}
