//! What a declared key can do: the bases of `flagstaff.Flag` and `flagstaff.Value`, which are also
//! strings.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::api::{flag_enabled, get_value};
use super::arguments::Key;

/// The base of `Flag`, beside `str`. Without fields, so that both can be bases of one class.
#[pyclass(frozen, subclass, module = "flagstaff._core")]
pub(super) struct DeclaredFlag;

#[pymethods]
impl DeclaredFlag {
    /// Returns True if the flag is on for `user`, as `flag_enabled` does.
    #[pyo3(signature = (user=None, *, context=None))]
    fn enabled<'py>(
        key: &Bound<'py, Self>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        flag_enabled(text(key)?, user, false, context)
    }
}

/// The base of `Value`, beside `str`. Without fields, so that both can be bases of one class.
#[pyclass(frozen, subclass, module = "flagstaff._core")]
pub(super) struct DeclaredValue;

#[pymethods]
impl DeclaredValue {
    /// Returns the value for `user`, in its declared type.
    #[pyo3(signature = (user=None, *, context=None))]
    fn get<'py>(
        key: &Bound<'py, Self>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        get_value(text(key)?, None, user, context)
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        parameters: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class.py().import("types")?.call_method1("GenericAlias", (class, parameters))
    }
}

/// The key itself. Raises `TypeError` for an object that was not made by `Flag` or `Value`.
#[inline]
fn text<'a, 'py, T>(key: &'a Bound<'py, T>) -> PyResult<Key<'a, 'py>> {
    Ok(Key::extract(key.as_any().as_borrowed())?)
}
