//! Listeners: the functions of Python code that are called after each evaluation of one key.
//!
//! Whether there are any is a field of the overrides, which an evaluation checks anyway.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::hooks::Hooks;
use super::resolution::{ErrorCode, Kind, PyResolution, PyValue};
use super::state::LIVE;
use crate::overrides::Overrides;

/// The value that a listener receives in place of a secret one.
const MASK: &str = "********";

/// Sets whether evaluations call the listeners of this process. Does not block.
#[pyfunction]
pub(super) fn set_listening(is_listening: bool) {
    LIVE.set_listeners(is_listening);
}

/// Calls the listeners for a result, unless evaluations with these overrides call none.
#[inline]
pub(super) fn notify(
    overrides: Option<&Overrides>,
    kind: Kind,
    key: &Bound<'_, PyString>,
    resolution: impl FnOnce() -> PyResult<Py<PyResolution>>,
) -> PyResult<()> {
    if !overrides.is_some_and(Overrides::has_listeners) {
        return Ok(());
    }
    Hooks::notify(key.py(), kind.as_str(), key, resolution()?.into_any())
}

/// The same for a value. Listeners receive a mask in place of a secret one.
pub(super) fn notify_value<'py>(
    overrides: Option<&Overrides>,
    key: &Bound<'py, PyString>,
    found: &Result<PyValue<'py>, ErrorCode>,
    default: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let py = key.py();
    notify(overrides, Kind::Value, key, || {
        let found = match found {
            Ok((_, how)) if how.is_secret => Ok((PyString::intern(py, MASK).into_any(), *how)),
            found => found.clone(),
        };
        Py::new(py, PyResolution::of_value(py, found, default.cloned()))
    })
}
