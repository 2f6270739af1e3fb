//! The functions that Python code has added, called after each evaluation of one key.
//!
//! Whether there are any is a field of the overrides, which an evaluation checks anyway.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use super::calls::{Call, is_ending};
use super::hooks::Hooks;
use super::resolution::{ErrorCode, Kind, PyResolution, PyValue, Resolved};
use super::state::LIVE;
use crate::overrides::Overrides;

/// The listeners. Locked only under the GIL and never across a call, so a fork finds it unlocked.
static LISTENERS: Mutex<Option<Py<PyTuple>>> = Mutex::new(None);

/// The value that a listener receives in place of a secret one.
const MASK: &str = "********";

/// One evaluation, as listeners receive it.
#[pyclass(frozen, name = "Evaluation", module = "flagstaff._core")]
pub(super) struct PyEvaluation {
    kind: Kind,
    #[pyo3(get)]
    key: Py<PyString>,
    resolution: Py<PyResolution>,
}

#[pymethods]
impl PyEvaluation {
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    #[getter]
    fn value(&self, py: Python<'_>) -> Py<PyAny> {
        self.resolution.get().value.clone_ref(py)
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.resolution.get().reason
    }

    #[getter]
    fn error_code(&self) -> Option<&'static str> {
        self.resolution.get().error_code()
    }

    #[getter]
    fn variant(&self, py: Python<'_>) -> Option<Py<PyString>> {
        Some(self.resolution.get().variant.as_ref()?.clone_ref(py))
    }

    #[getter]
    fn rule(&self) -> Option<u8> {
        self.resolution.get().rule
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (key, resolution) = (self.key.bind(py).repr()?, self.resolution.bind(py).repr()?);
        Ok(format!("Evaluation(kind='{}', key={key}, resolution={resolution})", self.kind()))
    }
}

/// Replaces the listeners of this process.
#[pyfunction]
pub(super) fn set_listeners(functions: Bound<'_, PyTuple>) {
    let is_empty = functions.is_empty();
    let new = (!is_empty).then(|| functions.unbind());
    let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
    let old = std::mem::replace(&mut *listeners, new);
    drop(listeners);
    LIVE.set_listeners(!is_empty);
    // Without the lock, because the destructor of a listener may run any code.
    drop(old);
}

/// Calls the listeners for the result of a flag.
pub(super) fn notify_flag(
    overrides: Option<&Overrides>,
    key: &Bound<'_, PyString>,
    resolved: Resolved,
) -> PyResult<()> {
    if !are_called(overrides) {
        return Ok(());
    }
    notify(Kind::Flag, key, resolved.to_python(key.py())?)
}

/// Calls the listeners for a variant.
pub(super) fn notify_variant(
    overrides: Option<&Overrides>,
    key: &Bound<'_, PyString>,
    resolution: impl FnOnce() -> PyResolution,
) -> PyResult<()> {
    if !are_called(overrides) {
        return Ok(());
    }
    notify(Kind::Variant, key, Py::new(key.py(), resolution())?)
}

/// Calls the listeners for a value. They receive a mask in place of a secret one.
pub(super) fn notify_value<'py>(
    overrides: Option<&Overrides>,
    key: &Bound<'py, PyString>,
    found: &Result<PyValue<'py>, ErrorCode>,
    default: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    if !are_called(overrides) {
        return Ok(());
    }
    let py = key.py();
    let found = match found {
        Ok((_, how)) if how.is_secret => Ok((PyString::intern(py, MASK).into_any(), *how)),
        found => found.clone(),
    };
    let resolution = PyResolution::of_value(py, found, default.cloned());
    notify(Kind::Value, key, Py::new(py, resolution)?)
}

/// Whether evaluations with these overrides call listeners.
#[inline]
fn are_called(overrides: Option<&Overrides>) -> bool {
    overrides.is_some_and(Overrides::has_listeners)
}

/// Calls each listener. One that raises is logged once, and the others are called.
#[cold]
fn notify(kind: Kind, key: &Bound<'_, PyString>, resolution: Py<PyResolution>) -> PyResult<()> {
    let py = key.py();
    if is_ending() {
        return Ok(());
    }
    let listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
    let functions = listeners.as_ref().map(|functions| functions.clone_ref(py));
    drop(listeners);
    let Some(functions) = functions else { return Ok(()) };
    let variable = notifying(py)?;
    if variable.call_method1(intern!(py, "get"), (false,))?.is_truthy()? {
        return Ok(());
    }
    let _call = Call::begin(py);
    let token = variable.call_method1(intern!(py, "set"), (true,))?;
    let evaluation = PyEvaluation { kind, key: key.clone().unbind(), resolution };
    let evaluation = Py::new(py, evaluation)?;
    let called =
        functions.bind(py).iter().try_for_each(|function| match function.call1((&evaluation,)) {
            Ok(_) => Ok(()),
            Err(error) if error.is_instance_of::<PyException>(py) => {
                Hooks::report_listener(py, function, error)
            }
            Err(error) => Err(error),
        });
    variable.call_method1(intern!(py, "reset"), (token,))?;
    called
}

/// The context variable that is true while a listener runs: what it evaluates calls no listener. A
/// context variable, because a listener may let another greenlet of its thread run.
fn notifying(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let variable = VARIABLE.get_or_try_init(py, || {
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        class.call1(("flagstaff_notifying",)).map(Bound::unbind)
    })?;
    Ok(variable.bind(py))
}
