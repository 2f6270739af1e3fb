//! How a result came about, as `flagstaff.explain` reads it.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::resolution::ErrorCode;
use crate::bucketing_unit::USER;
use crate::evaluate::{Evaluation, Reason};
use crate::message::{Message, Template};
use crate::overrides::FlagOverride;
use crate::row_rules::RowRules;
use crate::rules::{NoAttributes, Outcome};
use crate::steps::{self, Step, Topic};

/// What decided a result: members of a dict in Python.
#[derive(Default, IntoPyObject)]
pub(super) struct How {
    pub(super) reason: &'static str,
    pub(super) error_code: Option<&'static str>,
    /// The name of what is set over the database.
    pub(super) overridden_by: Option<&'static str>,
    pub(super) bucket: Option<u16>,
    /// What the percentages are percentages of: `user`, `visitor` or an attribute.
    pub(super) bucket_by: Option<String>,
    /// The number and the name of the rule that decided.
    pub(super) rule: Option<u8>,
    pub(super) rule_name: Option<String>,
    /// Why the rules of the row cannot be read.
    pub(super) rules_problem: Option<Message>,
    pub(super) steps: Vec<Step>,
}

impl How {
    /// An evaluation of a row with these rules and this unit.
    pub(super) fn of_row(
        rules: Option<&RowRules>,
        unit: Option<&str>,
        rule: Option<u8>,
        steps: Vec<Step>,
    ) -> Self {
        let name = |step: &Step| match &step.topic {
            Topic::Rule { name: Some(name), .. } if step.met == Some(true) => Some((**name).into()),
            _ => None,
        };
        Self {
            bucket_by: Some(unit.unwrap_or(USER).into()),
            rule,
            rule_name: steps.iter().find_map(name),
            rules_problem: rules.and_then(RowRules::unreadable).map(Message::from),
            steps,
            ..Self::default()
        }
    }

    /// There is no row to evaluate.
    pub(super) fn error(
        code: ErrorCode,
        without: fn(&'static Template) -> Vec<Step>,
        absent: &'static Template,
    ) -> Self {
        let why = match code {
            ErrorCode::NotReady => &steps::NOT_LOADED,
            ErrorCode::Unreadable => &steps::UNREADABLE,
            ErrorCode::NotFound | ErrorCode::Parse => absent,
        };
        let (reason, error_code) = (Reason::Error.as_str(), Some(code.as_str()));
        Self { reason, error_code, steps: without(why), ..Self::default() }
    }

    /// This decides in place of the row: the environment if it names a variable, else a test.
    pub(super) fn overridden(name: &'static str, reason: Reason) -> Self {
        let variable = Some(name).filter(|name| *name == FlagOverride::ForcedOff.name());
        let (reason, steps) = (reason.as_str(), steps::of_override(variable));
        Self { reason, overridden_by: Some(name), steps, ..Self::default() }
    }
}

/// The result of a flag.
pub(super) struct Explained {
    pub(super) value: bool,
    pub(super) rollout_percent: Option<i32>,
    pub(super) how: How,
}

impl Explained {
    pub(super) fn error(code: ErrorCode) -> Self {
        let how = How::error(code, steps::without_flag, &steps::NO_FLAG);
        Self { value: false, rollout_percent: None, how }
    }

    pub(super) fn overridden(by: FlagOverride) -> Self {
        let Evaluation { value, reason, .. } = by.evaluation();
        Self { value, rollout_percent: None, how: How::overridden(by.name(), reason) }
    }
}

/// A value.
pub(super) struct ExplainedValue {
    pub(super) value: Py<PyAny>,
    /// Whether `value` is the value itself, and not the result of a rule.
    pub(super) has_own: bool,
    pub(super) how: How,
}

impl ExplainedValue {
    /// A value that everyone has.
    pub(super) fn of_everyone(value: Bound<'_, PyAny>) -> Self {
        let steps = steps::of_value(None, None, None, &NoAttributes);
        let how = How { reason: Reason::Static.as_str(), steps, ..How::default() };
        Self { value: value.unbind(), has_own: true, how }
    }

    /// There is no value: every call returns its default.
    pub(super) fn error(py: Python<'_>, code: ErrorCode) -> Self {
        let how = How::error(code, steps::without_value, &steps::NO_VALUE);
        Self { value: py.None(), has_own: false, how }
    }

    /// An override decides in place of the row.
    pub(super) fn overridden(value: Bound<'_, PyAny>) -> Self {
        let how = How::overridden("override_value", Reason::Static);
        Self { value: value.unbind(), has_own: false, how }
    }
}

/// The variant of an experiment.
pub(super) struct ExplainedVariant {
    pub(super) value: Option<String>,
    /// Whether `get_variant` records the unit.
    pub(super) is_recorded: bool,
    pub(super) phase: Option<i32>,
    pub(super) how: How,
}

impl ExplainedVariant {
    /// A variant that does not depend on a phase.
    pub(super) fn unrecorded(value: Option<String>, how: How) -> Self {
        Self { value, is_recorded: false, phase: None, how }
    }
}

/// Makes explanations dicts in Python, with the members of `How` and their own.
macro_rules! dicts {
    ($($type:ty: $($member:ident),*;)*) => {$(
        impl<'py> IntoPyObject<'py> for $type {
            type Target = PyDict;
            type Output = Bound<'py, PyDict>;
            type Error = PyErr;

            fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
                let dict = self.how.into_pyobject(py)?;
                $(dict.set_item(stringify!($member), self.$member)?;)*
                Ok(dict)
            }
        }
    )*};
}

dicts! {
    Explained: value, rollout_percent;
    ExplainedValue: value, has_own;
    ExplainedVariant: value, is_recorded, phase;
}

/// The arguments of `flagstaff._engine.explain.Step`.
impl<'py> IntoPyObject<'py> for Step {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let values = PyDict::new(py);
        match self.topic {
            Topic::General => {}
            Topic::Rule { name, rollout_percent } => {
                values.set_item("name", name.as_deref())?;
                values.set_item("percent", rollout_percent)?;
            }
            Topic::Condition { json, outcome } => {
                values.set_item("condition", &*json)?;
                values.set_item("outcome", word(outcome))?;
            }
        }
        if let Some(missing) = self.missing {
            values.set_item("missing", &*missing)?;
        }
        (self.name, self.met, self.decides, self.text, values, self.level).into_pyobject(py)
    }
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
