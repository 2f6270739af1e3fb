//! Python objects → the values that rules compare.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyDate, PyDateTime, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};

use super::hooks::Hooks;
use crate::rules::Value;

/// The proleptic ordinal of 1970-01-01.
const EPOCH: i32 = 719_163;

/// An object that was read.
pub(super) enum ReadValue<'py> {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Decimal(Bound<'py, PyString>),
    Text(Bound<'py, PyString>),
    Date(i32),
    DateTime(i64),
    List(Vec<Self>),
}

impl ReadValue<'_> {
    /// Calls `with` with the value that rules compare.
    #[inline]
    pub(super) fn with<T>(&self, with: impl FnOnce(Value<'_>) -> T) -> T {
        let Self::List(items) = self else { return with(self.scalar()) };
        let values: Vec<_> = items.iter().map(Self::scalar).collect();
        with(Value::List(&values))
    }

    /// The same for one that is no list. A list in a list matches nothing.
    #[inline]
    fn scalar(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Decimal(text) => text.to_str().map_or(Value::List(&[]), Value::Decimal),
            // A text that UTF-8 cannot encode is there, and equals no text of a rule.
            Self::Text(text) => text.to_str().map_or(Value::List(&[]), Value::Text),
            Self::Date(days) => Value::Date(*days),
            Self::DateTime(utc) => Value::DateTime(*utc),
            Self::List(_) => Value::List(&[]),
        }
    }
}

/// The value of an object, `None` for Python's None. Raises what the object's own code raises.
#[inline]
pub(super) fn read_value(object: Bound<'_, PyAny>) -> PyResult<Option<ReadValue<'_>>> {
    match object.cast_into_exact::<PyString>() {
        Ok(text) => Ok(Some(ReadValue::Text(text))),
        Err(error) => read_other(&error.into_inner()),
    }
}

/// The same for an object that is no plain text.
#[inline(never)]
fn read_other<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<ReadValue<'py>>> {
    if object.is_none() {
        return Ok(None);
    }
    if !is_list(object) {
        return read_scalar(object);
    }
    let mut items = Vec::new();
    for item in object.try_iter()? {
        let item = item?;
        if is_list(&item) {
            items.push(ReadValue::List(Vec::new()));
        } else if !item.is_none() {
            items.extend(read_scalar(&item)?);
        }
    }
    Ok(Some(ReadValue::List(items)))
}

fn read_scalar<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<ReadValue<'py>>> {
    match read_plain(object)? {
        Some(value) => Ok(Some(value)),
        None => special(object),
    }
}

/// The value of a bool, a number or a text; `None` for other objects.
fn read_plain<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<ReadValue<'py>>> {
    if object.is_instance_of::<PyBool>() {
        return object.extract().map(ReadValue::Bool).map(Some);
    }
    if object.is_instance_of::<PyInt>() {
        return integer(object).map(Some);
    }
    if object.is_instance_of::<PyFloat>() {
        return object.extract().map(ReadValue::Float).map(Some);
    }
    Ok(object.cast::<PyString>().ok().map(|text| ReadValue::Text(text.clone())))
}

fn integer<'py>(object: &Bound<'py, PyAny>) -> PyResult<ReadValue<'py>> {
    match object.extract() {
        Ok(value) => Ok(ReadValue::Integer(value)),
        // int() of the object, because str() of an enum's member is its name.
        Err(_) => object.py().get_type::<PyInt>().call1((object,))?.str().map(ReadValue::Decimal),
    }
}

#[cold]
fn special<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<ReadValue<'py>>> {
    let py = object.py();
    if object.is_instance_of::<PyDateTime>() {
        return Hooks::microseconds(py, object).map(ReadValue::DateTime).map(Some);
    }
    if object.is_instance_of::<PyDate>() {
        let ordinal: i32 = object.call_method0(intern!(py, "toordinal"))?.extract()?;
        return Ok(Some(ReadValue::Date(ordinal - EPOCH)));
    }
    if object.is_instance(decimal_type(py)?)? {
        return object.str().map(ReadValue::Decimal).map(Some);
    }
    let plain = Hooks::plain_value(py, object)?;
    if plain.is_none() { Ok(None) } else { read_plain(&plain) }
}

fn is_list(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>()
}

fn decimal_type(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TYPE.import(py, "decimal", "Decimal")
}
