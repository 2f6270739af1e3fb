//! How a flag gets its result, as `flagstaff.explain` reads it.

use pyo3::prelude::*;

use super::resolution::ErrorCode;
use crate::evaluate::{Evaluation, Reason};
use crate::message::Message;
use crate::overrides::FlagOverride;
use crate::rules::{About, Attributes, ExplainedCondition, ExplainedRule, Outcome, Rules};

/// A result, and what decided it: a dict in Python.
#[derive(IntoPyObject)]
pub(super) struct Explained {
    pub(super) value: bool,
    pub(super) reason: &'static str,
    pub(super) error_code: Option<&'static str>,
    pub(super) bucket: Option<u8>,
    pub(super) rollout_percent: Option<i32>,
    /// What the percentages are percentages of: `user`, `visitor` or an attribute.
    pub(super) bucket_by: Option<String>,
    /// The name of what is set over the database.
    pub(super) overridden_by: Option<&'static str>,
    /// The number of the rule that decided.
    pub(super) rule: Option<u8>,
    /// The JSON text of the rules, and what came of each.
    pub(super) rules: Option<(String, Vec<RuleOutcome>)>,
    /// Why the rules of the flag's row cannot be read.
    pub(super) rules_problem: Option<Message>,
}

/// A value, and what decided it: a dict in Python.
#[derive(IntoPyObject)]
pub(super) struct ExplainedValue {
    pub(super) value: Py<PyAny>,
    pub(super) reason: &'static str,
    pub(super) error_code: Option<&'static str>,
    /// Whether `value` is the value itself, and not the result of a rule.
    pub(super) has_own: bool,
    pub(super) bucket: Option<u8>,
    /// What the percentages are percentages of: `user`, `visitor` or an attribute.
    pub(super) bucket_by: Option<String>,
    /// The name of what is set over the database.
    pub(super) overridden_by: Option<&'static str>,
    /// The number of the rule that decided.
    pub(super) rule: Option<u8>,
    /// The JSON text of the rules, and what came of each.
    pub(super) rules: Option<(String, Vec<RuleOutcome>)>,
    /// Why the rules of the value's row cannot be read.
    pub(super) rules_problem: Option<Message>,
}

impl ExplainedValue {
    /// A value that everyone has.
    pub(super) fn of_everyone(value: Bound<'_, PyAny>) -> Self {
        Self {
            value: value.unbind(),
            reason: Reason::Static.as_str(),
            error_code: None,
            has_own: true,
            bucket: None,
            bucket_by: None,
            overridden_by: None,
            rule: None,
            rules: None,
            rules_problem: None,
        }
    }

    /// There is no value: every call returns its default.
    pub(super) fn error(py: Python<'_>, code: ErrorCode) -> Self {
        Self {
            reason: Reason::Error.as_str(),
            error_code: Some(code.as_str()),
            has_own: false,
            ..Self::of_everyone(py.None().into_bound(py))
        }
    }

    /// An override decides in place of the row.
    pub(super) fn overridden(value: Bound<'_, PyAny>) -> Self {
        Self { overridden_by: Some("override_value"), has_own: false, ..Self::of_everyone(value) }
    }
}

/// The variant of an experiment, and what decided it: a dict in Python.
#[derive(Default, IntoPyObject)]
pub(super) struct ExplainedVariant {
    pub(super) variant: Option<String>,
    pub(super) reason: &'static str,
    pub(super) error_code: Option<&'static str>,
    /// The name of what is set over the database.
    pub(super) overridden_by: Option<&'static str>,
    /// Whether `get_variant` records the unit.
    pub(super) is_recorded: bool,
    pub(super) bucket: Option<u16>,
    /// What is the unit: `user`, `visitor` or an attribute.
    pub(super) bucket_by: Option<String>,
    pub(super) phase: Option<i32>,
    /// The JSON text of the rules, and what came of each.
    pub(super) rules: Option<(String, Vec<RuleOutcome>)>,
    /// Why the rules of the experiment's row cannot be read.
    pub(super) rules_problem: Option<Message>,
}

/// What came of a rule: whether it decided the result, and what came of its conditions.
type RuleOutcome = (bool, Vec<ConditionOutcome>);

/// What came of a condition. For one that names a segment, the JSON text of the segment's conditions
/// and what came of each.
type ConditionOutcome = (&'static str, Option<(String, Vec<&'static str>)>);

impl Explained {
    /// There is no flag to evaluate.
    pub(super) fn error(code: ErrorCode) -> Self {
        Self { error_code: Some(code.as_str()), ..Self::new(false, Reason::Error) }
    }

    /// An override decides in place of the flag's row.
    pub(super) fn overridden(by: FlagOverride) -> Self {
        let Evaluation { value, reason, bucket, .. } = by.evaluation();
        Self { bucket, overridden_by: Some(by.name()), ..Self::new(value, reason) }
    }

    fn new(value: bool, reason: Reason) -> Self {
        Self {
            value,
            reason: reason.as_str(),
            error_code: None,
            bucket: None,
            rollout_percent: None,
            bucket_by: None,
            overridden_by: None,
            rule: None,
            rules: None,
            rules_problem: None,
        }
    }
}

/// What came of the rules. `decided` is the number of the rule that decided.
pub(super) fn explain_rules(
    rules: &Rules,
    decided: Option<u8>,
    attributes: &impl Attributes,
) -> (String, Vec<RuleOutcome>) {
    let outcome = |rule: &ExplainedRule| {
        let conditions = rule.conditions.iter().map(|condition| outcome_of(condition, rules));
        (decided == Some(rule.number), conditions.collect())
    };
    (rules.text().into(), rules.explain(attributes).iter().map(outcome).collect())
}

fn outcome_of(condition: &ExplainedCondition, rules: &Rules) -> ConditionOutcome {
    let segment = match &condition.about {
        About::Attribute(_) => None,
        About::Segment { key, conditions } => rules.segment(key).zip(conditions.as_ref()),
    };
    let segment = segment.map(|(segment, conditions)| {
        let outcomes = conditions.iter().map(|condition| word(condition.outcome));
        (segment.text().to_owned(), outcomes.collect())
    });
    (word(condition.outcome), segment)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Missing => "missing",
        Outcome::NeedsUser => "needs_user",
        Outcome::TypeMismatch => "type_mismatch",
    }
}
