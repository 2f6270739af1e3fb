//! Values of another type than the default of their call: they are returned, and are a problem.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use super::maintenance;
use super::state::LIVE;
use crate::declared::{Form, default_type};
use crate::message::Message;

/// The version of the values, the form of the default, and that of the value.
type Found = (u64, String, String);

/// What was found, by key.
static FOUND: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// Returns the value, and notes that its type differs from that of the default of its call.
// It takes the value: borrowed, each call would store and load it again.
#[inline]
pub(super) fn compared<'py>(
    key: &Bound<'py, PyString>,
    default: Option<&Bound<'py, PyAny>>,
    value: Bound<'py, PyAny>,
    version: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    match default {
        Some(default) if default.get_type_ptr() != value.get_type_ptr() => {
            of_other_type(key, default, value, version)
        }
        _ => Ok(value),
    }
}

#[cold]
#[inline(never)]
fn of_other_type<'py>(
    key: &Bound<'py, PyString>,
    default: &Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    version: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    note_types(key, default, &value, version)?;
    Ok(value)
}

fn note_types(
    key: &Bound<'_, PyString>,
    default: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    version: Option<u64>,
) -> PyResult<()> {
    let py = key.py();
    let (Some(expected), Some(present)) = (form_of(default), form_of(value)) else {
        return Ok(());
    };
    let is_declared = || key.to_str().is_ok_and(|key| LIVE.declared().values.contains_key(key));
    if expected == present || is_declared() {
        return Ok(());
    }
    let found = FOUND.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    let (text, version) = (key.to_str()?, version.unwrap_or_default());
    let last = found.get_item(text)?.map(|last| last.extract::<Found>()).transpose()?;
    if last.is_none_or(|(last, ..)| last != version) {
        found.set_item(text, (version, expected.name(), present.name()))?;
        maintenance::run_soon();
    }
    Ok(())
}

/// The keys whose values of this version differ from the default of a call.
pub(super) fn problems(py: Python<'_>, version: u64) -> PyResult<Vec<Message>> {
    let mut problems = Vec::new();
    for (key, last) in FOUND.get(py).into_iter().flat_map(|found| found.bind(py)) {
        let (of_version, expected, present) = last.extract::<Found>()?;
        let forms = (Form::named(&expected), Form::named(&present));
        if let (true, (Some(expected), Some(present))) = (of_version == version, forms) {
            problems.push(default_type(&key.extract::<String>()?, expected, present));
        }
    }
    Ok(problems)
}

/// The form of an object; `None` for null, and for an object that JSON does not read.
fn form_of(object: &Bound<'_, PyAny>) -> Option<Form> {
    if object.is_exact_instance_of::<PyBool>() {
        Some(Form::Boolean)
    } else if object.is_exact_instance_of::<PyInt>() || object.is_exact_instance_of::<PyFloat>() {
        Some(Form::Number)
    } else if object.is_exact_instance_of::<PyString>() {
        Some(Form::String)
    } else if object.is_exact_instance_of::<PyList>() {
        Some(Form::Array)
    } else if object.is_exact_instance_of::<PyDict>() {
        Some(Form::Object)
    } else {
        None
    }
}
