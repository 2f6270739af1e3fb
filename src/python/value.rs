//! A stored value → a fresh Python object.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyString};

use super::calls::Call;
use super::hooks::Hooks;
use super::state::LIVE;
use crate::declared::DeclaredValue;
use crate::stored_value::StoredValue;

/// `json.loads`.
static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The object that the model field returns.
pub(super) fn to_python<'py>(py: Python<'py>, stored: &StoredValue) -> PyResult<Bound<'py, PyAny>> {
    Ok(match stored {
        StoredValue::Null => py.None().into_bound(py),
        StoredValue::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        StoredValue::Integer(value) => PyInt::new(py, *value).into_any(),
        StoredValue::Text(value) => PyString::new(py, value).into_any(),
        StoredValue::Json(text) => {
            let _call = Call::begin(py);
            LOADS.import(py, "json", "loads")?.call1((text.as_ref(),))?
        }
    })
}

/// The same object in its declared type.
pub(super) fn to_declared<'py>(
    py: Python<'py>,
    stored: &StoredValue,
    declared: Option<&DeclaredValue>,
) -> PyResult<Bound<'py, PyAny>> {
    match declared.filter(|declared| declared.is_converted && *stored != StoredValue::Null) {
        None => to_python(py, stored),
        Some(declared) => Hooks::declared_object(py, &declared.key, &stored.json()),
    }
}

/// The default of a call, or else the one that code declares for the key.
#[cold]
pub(super) fn default_of<'py>(
    key: &Bound<'py, PyString>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    let declared = LIVE.declared();
    let of_code = || declared.values.get(key.to_str().ok()?);
    match default {
        Some(default) if !default.is_none() => Ok(default),
        _ => match of_code() {
            Some(declared) => to_declared(py, &declared.default, Some(declared)),
            None => Ok(py.None().into_bound(py)),
        },
    }
}

/// The key of a variant, or the default of the call.
#[inline]
pub(super) fn or_default<'py>(
    py: Python<'py>,
    found: Option<Bound<'py, PyString>>,
    default: Option<Bound<'py, PyAny>>,
) -> Bound<'py, PyAny> {
    found.map_or_else(|| or_none(py, default), Bound::into_any)
}

/// The default of a call, which is `None` if it has none.
#[inline]
pub(super) fn or_none<'py>(
    py: Python<'py>,
    default: Option<Bound<'py, PyAny>>,
) -> Bound<'py, PyAny> {
    default.unwrap_or_else(|| py.None().into_bound(py))
}
