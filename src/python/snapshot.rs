//! A snapshot that Python code keeps, so that all evaluations of a request are consistent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::arguments::{Key, client_side, default_of_flag};
use super::context::Context;
use super::evaluation::Evaluator;
use super::explained::Explained;
use super::resolution::{ErrorCode, Kind, PyResolution, PyValue, Resolved, ResolvedVariant};
use super::state::{LIVE, is_in_mode};
use super::subject::UserArgument;
use super::value::{default_of, or_default};
use super::{default_types, direct, listeners, start};
use crate::live::{EvaluationMode, State};
use crate::overrides::Overrides;
use crate::snapshot::Snapshot;
use crate::token_set::TokenSet;

/// All flags and values at one time. Its methods work like the functions of the same name.
#[pyclass(frozen, name = "Snapshot", module = "flagstaff._core")]
#[derive(Default)]
pub(super) struct PySnapshot {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) overrides: Option<Arc<Overrides>>,
    pub(super) report_unknown: bool,
    /// Whether its evaluations are recorded as exposures: it was taken from memory.
    pub(super) is_recorded: bool,
    /// The context of all its evaluations.
    pub(super) context: Option<Py<PyAny>>,
    /// What takes the snapshot at the first result that needs it.
    pub(super) later: Option<Later>,
}

/// A snapshot that is taken later: of one key, or of everything.
pub(super) struct Later {
    key: Option<Py<PyString>>,
    taken: Box<PyOnceLock<PySnapshot>>,
}

impl PySnapshot {
    fn of(state: &State) -> Self {
        Self {
            snapshot: state.snapshot.clone(),
            overrides: state.overrides.clone(),
            report_unknown: state.report_unknown,
            ..Self::default()
        }
    }

    /// The snapshot now. In direct mode, the rows of `key` are read, or all rows.
    pub(super) fn take(py: Python<'_>, key: Option<&Bound<'_, PyString>>) -> PyResult<Self> {
        let (current, is_direct) = start::current(py)?;
        let now = current.as_deref().map(Self::of).unwrap_or_default();
        Ok(if is_direct {
            Self { snapshot: direct::snapshot(py, key)?, ..now }
        } else {
            Self { is_recorded: true, ..now }
        })
    }

    /// What is set over the database now, and the snapshot once a result needs it: a flag that is
    /// forced off does not wait for the first load.
    pub(super) fn take_later(state: Option<&State>, key: Option<&Bound<'_, PyString>>) -> Self {
        let key = key.map(|key| key.clone().unbind());
        let later = Some(Later { key, taken: Box::default() });
        Self { later, ..state.map(Self::of).unwrap_or_default() }
    }

    /// The snapshot for one evaluation of `key`, or of everything.
    pub(super) fn current(key: Option<&Bound<'_, PyString>>) -> Self {
        let current = LIVE.current();
        match current.as_deref() {
            Some(state) if state.is_in_memory() => Self { is_recorded: true, ..Self::of(state) },
            state => Self::take_later(state, key),
        }
    }

    /// The snapshot, which may wait for the first load or query the database.
    fn taken(&self, py: Python<'_>) -> PyResult<&Self> {
        let Some(Later { key, taken }) = &self.later else { return Ok(self) };
        taken.get_or_try_init(py, || Self::take(py, key.as_ref().map(|key| key.bind(py))))
    }

    /// The same, unless what is set over the database decides.
    fn taken_unless(
        &self,
        py: Python<'_>,
        is_set: impl FnOnce(Evaluator<'_>) -> bool,
    ) -> PyResult<&Self> {
        if self.later.is_some() && is_set(self.evaluator()) { Ok(self) } else { self.taken(py) }
    }

    fn evaluator_for_flag(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
    ) -> PyResult<Evaluator<'_>> {
        let set = self.later.as_ref().map(|_| self.evaluator());
        let text = key.to_str().unwrap_or_default();
        let found = set.map_or(Ok(None), |set| set.flag_override_of(text, user))?;
        let taken = if found.is_some() { self } else { self.taken(key.py())? };
        Ok(self.with_context(taken.evaluator()))
    }

    /// A flag that is forced off is no value, and must not wait for the first load, either.
    fn evaluator_for_value(&self, key: &Bound<'_, PyString>) -> PyResult<Evaluator<'_>> {
        let taken = self.taken_unless(key.py(), |set| {
            set.value_override(key).is_some() || set.flag_override(key).is_some()
        })?;
        Ok(self.with_context(taken.evaluator()))
    }

    fn evaluator_for_variant(&self, key: &Bound<'_, PyString>) -> PyResult<Evaluator<'_>> {
        let taken = self.taken_unless(key.py(), |set| set.variant_override(key).is_some())?;
        Ok(self.with_context(taken.evaluator()))
    }

    /// The evaluator for what a key stands for. A flag that is forced off must not wait for the first
    /// load; direct mode has none, and tells whether it is an experiment.
    pub(super) fn evaluator_for_kind(&self, key: &Bound<'_, PyString>) -> PyResult<Evaluator<'_>> {
        if is_in_mode(EvaluationMode::Direct) {
            return self.taken_evaluator(key.py());
        }
        self.evaluator_for_flag(key, None)
    }

    /// The evaluator of the snapshot, which may wait for the first load.
    pub(super) fn taken_evaluator(&self, py: Python<'_>) -> PyResult<Evaluator<'_>> {
        Ok(self.with_context(self.taken(py)?.evaluator()))
    }

    /// The value, or why there is none. `default` is for the listeners.
    fn found_value<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<&Bound<'py, PyAny>>,
        default: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        reports: bool,
    ) -> PyResult<Result<PyValue<'py>, ErrorCode>> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        let evaluator = self.evaluator_for_value(key)?;
        let found = match evaluator.kept_object(key) {
            Some(kept) => Ok(kept),
            None => evaluator.value_object(key, user, context, reports)?,
        };
        listeners::notify_value(evaluator.overrides, key, &found, default)?;
        Ok(found)
    }

    fn variant<'py>(
        &self,
        key: &Bound<'py, PyString>,
        user: Option<&Bound<'py, PyAny>>,
        default: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        is_recorded: bool,
        reports: bool,
    ) -> PyResult<ResolvedVariant<'py>> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        let evaluator = self.evaluator_for_variant(key)?;
        // Rows that are read now count nothing.
        let is_recorded = is_recorded && evaluator.mode != Some(EvaluationMode::Direct);
        evaluator.variant(key, user, default, context, is_recorded, reports)
    }

    /// A snapshot that was taken later has no context of its own.
    fn with_context<'a>(&'a self, evaluator: Evaluator<'a>) -> Evaluator<'a> {
        Evaluator { context: self.context.as_ref(), ..evaluator }
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            snapshot: self.snapshot.as_deref(),
            overrides: self.overrides.as_deref(),
            report_unknown: self.report_unknown,
            // Rows that are read now count nothing.
            mode: (!self.is_recorded).then_some(EvaluationMode::Direct),
            context: self.context.as_ref(),
        }
    }
}

#[pymethods]
impl PySnapshot {
    /// Returns True if the flag `key` is on for `user` in this snapshot.
    #[pyo3(signature = (key, user=None, *, default=false, context=None))]
    pub(super) fn flag_enabled<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = default_of_flag)] default: bool,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        self.evaluator_for_flag(&key, user)?.flag(&key, user, context, default, true)
    }

    /// Returns the result of `flag_enabled` with its reason, also for an unknown key.
    #[pyo3(signature = (key, user=None, *, default=false, context=None))]
    pub(super) fn resolve_flag<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = default_of_flag)] default: bool,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyResolution>> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        let evaluator = self.evaluator_for_flag(&key, user)?;
        let resolved: Resolved = evaluator.flag(&key, user, context, default, false)?;
        resolved.to_python(key.py())
    }

    /// Returns the value `key` for `user` in this snapshot, or `default` if there is none.
    #[pyo3(signature = (key, default=None, *, user=None, context=None))]
    pub(super) fn get_value<'py>(
        &self,
        key: Key<'_, 'py>,
        default: Option<Bound<'py, PyAny>>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.found_value(&key, user, default.as_ref(), context, true)? {
            Ok((value, _)) => {
                let version = self.snapshot.as_ref().map(|snapshot| snapshot.values_version());
                default_types::compared(&key, default.as_ref(), value, version)
            }
            Err(_) => default_of(&key, default),
        }
    }

    /// Returns the result of `get_value` with its reason, also for an unknown key.
    #[pyo3(signature = (key, default=None, *, user=None, context=None))]
    fn resolve_value<'py>(
        &self,
        key: Key<'_, 'py>,
        default: Option<Bound<'py, PyAny>>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<PyResolution> {
        let found = self.found_value(&key, user, default.as_ref(), context, false)?;
        let default = if found.is_err() { Some(default_of(&key, default)?) } else { default };
        Ok(PyResolution::of_value(key.py(), found, default))
    }

    /// Returns what a key stands for; None for an unknown key. Counts nothing.
    ///
    /// A flag precedes a value, and a value an experiment, whose evaluations are variants.
    fn kind_of(&self, key: Key<'_, '_>) -> PyResult<Option<&'static str>> {
        Ok(self.evaluator_for_kind(&key)?.kind_of(&key).map(Kind::as_str))
    }

    /// Returns True if the flag `key` is off for every user, or if nothing has been loaded.
    ///
    /// False if there is no such flag. Counts nothing.
    fn is_off(&self, key: Key<'_, '_>) -> PyResult<bool> {
        Ok(self.evaluator_for_flag(&key, None)?.is_off(&key))
    }

    /// Returns the variant of `key` for `user` in this snapshot, or `default`. Records it.
    #[pyo3(signature = (key, user=None, *, default=None, context=None))]
    pub(super) fn get_variant<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        default: Option<Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.variant(&key, user, default.as_ref(), context, true, true)?;
        Ok(or_default(key.py(), found.variant, default))
    }

    /// Returns the result of `get_variant` with its reason, and records as it does.
    #[pyo3(signature = (key, user=None, *, default=None, context=None))]
    fn resolve_variant<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        default: Option<Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<PyResolution> {
        let resolved = self.variant(&key, user, default.as_ref(), context, true, false)?;
        Ok(resolved.into_python(key.py(), default))
    }

    /// Returns the result of `get_variant`. Records nothing.
    #[pyo3(signature = (key, user=None, *, default=None, context=None))]
    fn peek_variant<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        default: Option<Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.variant(&key, user, default.as_ref(), context, false, true)?;
        Ok(or_default(key.py(), found.variant, default))
    }

    /// Returns what `flagstaff.explain` makes an `Explanation` of, or that of another kind.
    #[pyo3(signature = (key, user=None, *, context=None, kind="flag"))]
    fn explain<'py>(
        &self,
        key: Key<'_, 'py>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        kind: &str,
    ) -> PyResult<Explained> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        match kind {
            "flag" => self.evaluator_for_flag(&key, user)?.explain(&key, user, context),
            "value" => self.evaluator_for_value(&key)?.explain_value(&key, user, context),
            _ => self.evaluator_for_variant(&key)?.explain_variant(&key, user, context),
        }
    }

    /// Returns the result of every flag for `user`, by key, from this snapshot.
    #[pyo3(signature = (user=None, *, client_side=false, context=None))]
    fn all_flags<'py>(
        &self,
        py: Python<'py>,
        user: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = client_side)] client_side: bool,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<BTreeMap<&str, bool>> {
        let results = self.resolve_all_flags(py, user, client_side, context)?;
        Ok(results.into_iter().map(|(key, result)| (key, result.value)).collect())
    }

    /// Returns the same results with their reasons. Counts and reports as `all_flags` does.
    #[pyo3(signature = (user=None, *, client_side=false, context=None))]
    fn resolve_all_flags<'py>(
        &self,
        py: Python<'py>,
        user: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = client_side)] client_side: bool,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<BTreeMap<&str, Resolved>> {
        let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
        self.taken_evaluator(py)?.all_flags(py, user, context, client_side)
    }

    /// Lets the garbage collector find a context that refers to this snapshot.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.context)
    }

    /// Returns True if the result of the flag or the value `key` depends on the user.
    fn depends_on_user(&self, key: Key<'_, '_>) -> PyResult<bool> {
        self.evaluator_for_value(&key)?.depends_on_user(&key)
    }

    /// Returns the attributes that the flag and the value `key` read, or all flags.
    #[pyo3(signature = (key=None))]
    fn attribute_names(
        &self,
        py: Python<'_>,
        key: Option<Key<'_, '_>>,
    ) -> PyResult<BTreeSet<&str>> {
        Ok(match key {
            Some(key) => self.evaluator_for_value(&key)?.attribute_names(&key),
            None => self.taken_evaluator(py)?.attribute_names_of_flags(),
        })
    }

    /// Returns the keys of flags, values and experiments whose result can differ, in order.
    fn changed_keys(&self, py: Python<'_>, older: &Self) -> PyResult<Vec<String>> {
        let (now, before) = (&self.taken(py)?.snapshot, &older.taken(py)?.snapshot);
        let empty = Snapshot::default();
        let (now, before) = (now.as_deref().unwrap_or(&empty), before.as_deref().unwrap_or(&empty));
        Ok(now.changed_keys(before).into_iter().map(Into::into).collect())
    }

    /// Whether a snapshot has been loaded.
    #[getter]
    fn ready(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.taken(py)?.snapshot.is_some())
    }

    /// The id of the newest change token in this snapshot; None if there is none.
    #[getter]
    fn token(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        let token_set = self.taken(py)?.snapshot.as_ref().and_then(|snapshot| snapshot.token_set());
        Ok(token_set.map(TokenSet::newest))
    }
}
