//! How a result came about, as `flagstaff.explain` reads it.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::resolution::{ErrorCode, Kind};
use crate::bucketing_unit::USER;
use crate::evaluate::Reason;
use crate::message::Message;
use crate::row_rules::RowRules;
use crate::rules::Outcome;
use crate::steps::{self, Step, Topic};

/// A result, and how it came about: a dict in Python.
#[derive(Default, IntoPyObject)]
pub(super) struct Explained {
    /// `None` for the default of the call, or for Python's None.
    pub(super) value: Option<Py<PyAny>>,
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
    /// The rollout of a flag.
    pub(super) rollout_percent: Option<i32>,
    /// Whether it is a value itself, and not the result of a rule.
    pub(super) has_own: bool,
    /// Whether `get_variant` records the unit.
    pub(super) is_recorded: bool,
    /// How often an experiment was restarted.
    pub(super) run: Option<i32>,
}

impl Explained {
    /// An evaluation of a row with these rules and this unit.
    pub(super) fn of_row(
        rules: Option<&RowRules>,
        unit: Option<&str>,
        reason: Reason,
        rule: Option<u8>,
        steps: Vec<Step>,
    ) -> Self {
        let name = |step: &Step| match &step.topic {
            Topic::Rule { name: Some(name), .. } if step.met == Some(true) => Some((**name).into()),
            _ => None,
        };
        Self {
            reason: reason.as_str(),
            error_code: (reason == Reason::Error).then_some(ErrorCode::Parse.as_str()),
            bucket_by: Some(unit.unwrap_or(USER).into()),
            rule,
            rule_name: steps.iter().find_map(name),
            rules_problem: rules.and_then(RowRules::unreadable).map(Message::from),
            steps,
            ..Self::default()
        }
    }

    /// There is no row to evaluate.
    pub(super) fn error(kind: Kind, code: ErrorCode) -> Self {
        let (absent, later): (_, &[_]) = match kind {
            Kind::Flag => (&steps::NO_FLAG, steps::OF_FLAG),
            Kind::Value => (&steps::NO_VALUE, steps::OF_VALUE),
            Kind::Variant => (&steps::NO_EXPERIMENT, steps::OF_VARIANT),
        };
        let why = match code {
            ErrorCode::NotReady => &steps::NOT_LOADED,
            ErrorCode::Unreadable => &steps::UNREADABLE,
            ErrorCode::NotFound | ErrorCode::Parse | ErrorCode::TypeMismatch => absent,
        };
        let (reason, error_code) = (Reason::Error.as_str(), Some(code.as_str()));
        Self { reason, error_code, steps: steps::without(why, later), ..Self::default() }
    }

    /// This decides in place of the row: the environment if it names a variable, else a test.
    pub(super) fn overridden(value: Option<Py<PyAny>>, name: &'static str, reason: Reason) -> Self {
        let (reason, steps) = (reason.as_str(), steps::of_override(name));
        Self { value, reason, overridden_by: Some(name), steps, ..Self::default() }
    }

    /// The same, or the declared default if what is stored is something else than code declares.
    pub(super) fn unless(self, is_misfit: bool) -> Self {
        let (reason, error) = (Reason::Error.as_str(), Some(ErrorCode::TypeMismatch.as_str()));
        if is_misfit { Self { reason, error_code: error, ..self } } else { self }
    }

    /// A value that everyone has.
    pub(super) fn of_everyone(value: Bound<'_, PyAny>) -> Self {
        Self {
            value: Some(value.unbind()),
            has_own: true,
            reason: Reason::Static.as_str(),
            steps: steps::of_value_without_rules(),
            ..Self::default()
        }
    }
}

/// The arguments of `flagstaff._evaluation.Step`.
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
        if let Some(flag) = self.flag {
            values.set_item("flag", &*flag)?;
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
