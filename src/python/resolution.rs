//! A result with its reason, as `resolve_flag`, `resolve_value` and `resolve_variant` return it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyString};

use super::kept_values;
use super::state::LIVE;
use super::value::{or_default, or_none, to_declared};
use crate::assign::Assignment;
use crate::declared::DeclaredValue;
use crate::evaluate::{Evaluation, Reason};
use crate::experiment::Experiment;
use crate::snapshot::Stored;
use crate::stored_value::StoredValue;
use crate::value_rules::ValueRules;

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Value,
    /// A key of an experiment, whose evaluations are variants.
    Variant,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Value => "value",
            Self::Variant => "variant",
        }
    }
}

/// Why there is no result, so that the default of the call is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    /// Nothing is loaded, or the database cannot be read.
    NotReady,
    /// There is no row with this key.
    NotFound,
    /// The rules could never be read.
    Parse,
    /// What is stored is not what code declares.
    TypeMismatch,
    /// The database was away while the user or an attribute was read.
    Unreadable,
}

impl ErrorCode {
    /// The word of the OpenFeature specification.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "PROVIDER_NOT_READY",
            Self::NotFound => "FLAG_NOT_FOUND",
            Self::Parse => "PARSE_ERROR",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::Unreadable => "GENERAL",
        }
    }
}

/// The result of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) value: bool,
    reason: Reason,
    error: Option<ErrorCode>,
    rule: Option<u8>,
}

/// What an evaluation of a flag returns: the result alone, or with how it came about.
///
/// `flag_enabled` returns the result alone: the rest costs it some 40 instructions.
pub(super) trait FlagResult: From<Resolved> {
    /// The result of an evaluation; `default` if the rules could not be read.
    fn of(evaluation: Evaluation, default: bool) -> Self;

    /// The default of the call, because there is no result.
    fn error(code: ErrorCode, default: bool) -> Self;

    fn value(&self) -> bool;
}

impl From<Resolved> for bool {
    fn from(resolved: Resolved) -> Self {
        resolved.value
    }
}

impl FlagResult for bool {
    #[inline]
    fn of(evaluation: Evaluation, default: bool) -> Self {
        if evaluation.reason == Reason::Error { default } else { evaluation.value }
    }

    #[inline]
    fn error(_code: ErrorCode, default: bool) -> Self {
        default
    }

    #[inline]
    fn value(&self) -> bool {
        *self
    }
}

impl FlagResult for Resolved {
    #[inline]
    fn of(evaluation: Evaluation, default: bool) -> Self {
        let Evaluation { value, reason, rule, .. } = evaluation;
        if reason == Reason::Error {
            return Self::error(ErrorCode::Parse, default);
        }
        Self { value, reason, error: None, rule }
    }

    #[inline]
    fn error(code: ErrorCode, default: bool) -> Self {
        Self { value: default, reason: Reason::Error, error: Some(code), rule: None }
    }

    #[inline]
    fn value(&self) -> bool {
        self.value
    }
}

impl Resolved {
    /// The object of Python. It is immutable, so evaluations share those without a rule.
    #[inline]
    pub(super) fn to_python(self, py: Python<'_>) -> PyResult<Py<PyResolution>> {
        // Error is the last reason.
        const PLACES: usize = (Reason::Error as usize + 1) << 4;
        static KEPT: [PyOnceLock<Py<PyResolution>>; PLACES] = [const { PyOnceLock::new() }; PLACES];
        if self.rule.is_some() {
            return self.new_object(py);
        }
        let error = self.error.map_or(0, |code| code as usize + 1);
        let place = (self.reason as usize) << 4 | error << 1 | usize::from(self.value);
        let kept = KEPT[place].get_or_try_init(py, || self.new_object(py))?;
        Ok(kept.clone_ref(py))
    }

    #[inline(never)]
    fn new_object(self, py: Python<'_>) -> PyResult<Py<PyResolution>> {
        let variant = if self.value { "on" } else { "off" };
        let resolution = PyResolution {
            value: PyBool::new(py, self.value).to_owned().into_any().unbind(),
            reason: self.reason.as_str(),
            error: self.error,
            variant: self.error.is_none().then(|| PyString::intern(py, variant).unbind()),
            rule: self.rule,
        };
        Py::new(py, resolution)
    }
}

impl<'py> IntoPyObject<'py> for Resolved {
    type Target = PyResolution;
    type Output = Bound<'py, PyResolution>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(self.to_python(py)?.into_bound(py))
    }
}

/// The variant of a unit, and how it came about.
#[derive(Clone)]
pub(super) struct ResolvedVariant<'py> {
    pub(super) variant: Option<Bound<'py, PyString>>,
    pub(super) reason: &'static str,
    pub(super) error: Option<ErrorCode>,
    pub(super) rule: Option<u8>,
}

impl<'py> ResolvedVariant<'py> {
    /// No variant, because there is no result.
    pub(super) fn error(code: ErrorCode) -> Self {
        Self { variant: None, reason: Reason::Error.as_str(), error: Some(code), rule: None }
    }

    /// The result of an assignment. With an exclusion, the unit gets the default in spite of it.
    #[inline]
    pub(super) fn of(
        py: Python<'py>,
        experiment: &Experiment,
        assignment: Assignment,
        exclusion: Option<&'static str>,
    ) -> Self {
        let Assignment { variant, reason, rule, .. } = assignment;
        let variant = variant.filter(|_| exclusion.is_none());
        Self {
            variant: variant.map(|variant| PyString::new(py, experiment.allocation.key(variant))),
            reason: exclusion.unwrap_or(reason.as_str()),
            error: (reason == Reason::Error).then_some(ErrorCode::Parse),
            rule,
        }
    }

    /// The object of Python.
    pub(super) fn into_python(
        self,
        py: Python<'py>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResolution {
        PyResolution {
            variant: self.variant.as_ref().map(|variant| variant.clone().unbind()),
            reason: self.reason,
            error: self.error,
            rule: self.rule,
            value: or_default(py, self.variant, default).unbind(),
        }
    }
}

/// A value of the key-value table, and how it came about.
#[derive(Clone, Debug)]
pub(super) struct FoundValue<'a> {
    pub(super) value: &'a StoredValue,
    /// What code says about it.
    pub(super) declared: Option<Arc<DeclaredValue>>,
    pub(super) how: Decided,
}

/// Why a value is the one that a call returns, and whether listeners may see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    pub(super) reason: Reason,
    pub(super) error: Option<ErrorCode>,
    pub(super) rule: Option<u8>,
    pub(super) is_secret: bool,
    /// Whether the value has no rules.
    pub(super) is_of_everyone: bool,
}

impl Decided {
    /// Everyone has the value.
    pub(super) fn of_everyone(is_secret: bool) -> Self {
        Self { reason: Reason::Static, error: None, rule: None, is_secret, is_of_everyone: true }
    }

    /// The rules have decided.
    pub(super) fn by_rules(decided: Evaluation, is_secret: bool) -> Self {
        let Evaluation { reason, rule, .. } = decided;
        Self { reason, error: None, rule, is_secret, is_of_everyone: false }
    }

    /// The same, or the declared default if what is stored is something else than code declares.
    fn unless(self, is_misfit: bool) -> Self {
        let (reason, error) = (Reason::Error, Some(ErrorCode::TypeMismatch));
        if is_misfit { Self { reason, error, ..self } } else { self }
    }
}

impl<'a> FoundValue<'a> {
    /// What a test has set.
    pub(super) fn overridden(key: &str, value: &'a StoredValue) -> Self {
        let declared = LIVE.declared().values.get(key).cloned();
        Self { value, declared, how: Decided::of_everyone(false) }
    }

    pub(super) fn of_everyone(stored: &'a Stored) -> Self {
        let how = Decided::of_everyone(stored.is_secret()).unless(stored.is_misfit());
        Self { value: stored.value(), declared: stored.declared().cloned(), how }
    }

    pub(super) fn decided(stored: &'a Stored, rules: &'a ValueRules, decided: Evaluation) -> Self {
        let how = Decided::by_rules(decided, stored.is_secret());
        let declared = stored.declared().cloned();
        match rules.result_of(decided) {
            Some(value) => Self { value, declared, how: how.unless(rules.is_misfit(decided)) },
            None => Self { value: stored.value(), declared, how: how.unless(stored.is_misfit()) },
        }
    }

    /// Whether its objects can be shared by all evaluations: they are immutable and not too large.
    pub(super) fn can_be_kept(&self) -> bool {
        self.is_converted() || kept_values::is_kept(self.value)
    }

    /// Whether Python makes its object from the JSON text.
    pub(super) fn is_converted(&self) -> bool {
        self.declared.as_ref().is_some_and(|declared| declared.is_converted)
    }

    /// The object of Python, made once for each result of a version of the values.
    pub(super) fn converted_once<'py>(
        &self,
        key: &Bound<'py, PyString>,
        version: u64,
    ) -> PyResult<PyValue<'py>> {
        let rule = self.how.rule.unwrap_or(0);
        if let Some(object) = kept_values::get_result(key, rule, version) {
            return Ok((object, self.how));
        }
        let (object, how) = self.to_python(key.py())?;
        kept_values::keep_result(key, rule, version, &object);
        Ok((object, how))
    }

    /// The object of Python.
    pub(super) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<PyValue<'py>> {
        Ok((to_declared(py, self.value, self.declared.as_deref())?, self.how))
    }
}

/// A value as an object of Python, and how it came about.
pub(super) type PyValue<'py> = (Bound<'py, PyAny>, Decided);

/// A result, and how it came about. Immutable.
#[pyclass(frozen, generic, name = "Resolution", module = "flagstaff._core")]
pub(super) struct PyResolution {
    /// The result, or the default of the call.
    #[pyo3(get)]
    pub(super) value: Py<PyAny>,
    /// `STATIC`, `DEFAULT`, `TARGETING_MATCH`, `SPLIT`, `DISABLED` or `ERROR`.
    ///
    /// For variants also `CRAWLER`, and `LIMIT` for a new visitor above `NEW_VISITORS_PER_HOUR`.
    #[pyo3(get)]
    pub(super) reason: &'static str,
    pub(super) error: Option<ErrorCode>,
    /// For a flag "on" or "off", the key of the variant for an experiment, None for a value.
    ///
    /// None with an error, and for a unit that gets no variant.
    #[pyo3(get)]
    pub(super) variant: Option<Py<PyString>>,
    /// The number of the targeting rule that decided, 1 for the first one.
    #[pyo3(get)]
    pub(super) rule: Option<u8>,
}

impl PyResolution {
    /// A value of the key-value table, or the default of the call.
    pub(super) fn of_value(
        py: Python<'_>,
        found: Result<PyValue<'_>, ErrorCode>,
        default: Option<Bound<'_, PyAny>>,
    ) -> Self {
        let (value, reason, error, rule) = match found {
            Ok((value, how)) => (value, how.reason, how.error, how.rule),
            Err(code) => (or_none(py, default), Reason::Error, Some(code), None),
        };
        Self { value: value.unbind(), reason: reason.as_str(), error, variant: None, rule }
    }
}

#[pymethods]
impl PyResolution {
    /// `PROVIDER_NOT_READY`, `FLAG_NOT_FOUND`, `PARSE_ERROR`, `TYPE_MISMATCH`, or `GENERAL`.
    ///
    /// `TYPE_MISMATCH` if the value is not as code declares it, `GENERAL` without a database. None
    /// unless the reason is ERROR.
    #[getter]
    pub(super) fn error_code(&self) -> Option<&'static str> {
        self.error.map(ErrorCode::as_str)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut fields = vec![
            format!("value={}", self.value.bind(py).repr()?),
            format!("reason='{}'", self.reason),
        ];
        fields.extend(self.error_code().map(|code| format!("error_code='{code}'")));
        if let Some(variant) = &self.variant {
            fields.push(format!("variant={}", variant.bind(py).repr()?));
        }
        fields.extend(self.rule.map(|rule| format!("rule={rule}")));
        Ok(format!("Resolution({})", fields.join(", ")))
    }
}
