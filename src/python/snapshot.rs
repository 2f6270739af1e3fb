//! A snapshot that Python code keeps, so that all evaluations of a request are consistent.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::evaluation::{Evaluator, Explained};
use super::subject::UserArgument;
use super::value::to_python;
use crate::live::State;
use crate::overrides::Overrides;
use crate::snapshot::Snapshot;

/// All flags and values at one point in time. Its methods work like the functions of the same name.
#[pyclass(frozen, name = "Snapshot", module = "flagstaff._core")]
#[derive(Default)]
pub(super) struct PySnapshot {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) overrides: Option<Arc<Overrides>>,
    pub(super) report_unknown: bool,
}

impl PySnapshot {
    pub(super) fn of(state: &State) -> Self {
        Self {
            snapshot: state.snapshot.clone(),
            overrides: state.overrides.clone(),
            report_unknown: state.report_unknown,
        }
    }

    pub(super) fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            snapshot: self.snapshot.as_deref(),
            overrides: self.overrides.as_deref(),
            report_unknown: self.report_unknown,
        }
    }
}

#[pymethods]
impl PySnapshot {
    /// Whether the flag `key` is on for `user`.
    #[pyo3(signature = (key, user=None, *, default=false))]
    fn flag_enabled(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<&Bound<'_, PyAny>>,
        default: bool,
    ) -> PyResult<bool> {
        self.evaluator().flag_enabled(key, UserArgument::new(user)?, default)
    }

    /// The value of `key`.
    #[pyo3(signature = (key, default=None))]
    fn get_value<'py>(
        &self,
        key: &Bound<'py, PyString>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        match self.evaluator().value(key)? {
            Some(value) => to_python(py, value),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// How the flag `key` gets its result for `user`, as a tuple.
    #[pyo3(signature = (key, user=None))]
    fn explain(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Explained> {
        self.evaluator().explain(key, UserArgument::new(user)?)
    }

    /// The results of all flags for `user`, by key.
    #[pyo3(signature = (user=None, *, client_side=false))]
    fn all_flags<'py>(
        &self,
        py: Python<'py>,
        user: Option<&Bound<'py, PyAny>>,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.evaluator().all_flags(py, UserArgument::new(user)?, client_side)
    }

    /// Whether the result of the flag `key` can differ between users.
    fn depends_on_user(&self, key: &Bound<'_, PyString>) -> bool {
        self.evaluator().depends_on_user(key)
    }

    /// Whether anything is loaded.
    #[getter]
    fn ready(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The id of the newest change token, `None` if there is none.
    #[getter]
    fn token(&self) -> Option<i64> {
        Some(self.snapshot.as_ref()?.token_set()?.newest())
    }
}
