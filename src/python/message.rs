//! Messages in Python: the code and a dict of the values.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::message::{Message, Value};

impl<'py> IntoPyObject<'py> for Message {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let values = PyDict::new(py);
        for (name, value) in self.values {
            values.set_item(name, value)?;
        }
        (self.template.code, values).into_pyobject(py)
    }
}

impl<'py> IntoPyObject<'py> for Value {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(match self {
            Self::Text(text) => text.into_pyobject(py)?.into_any(),
            Self::Count(count) => count.into_pyobject(py)?.into_any(),
            Self::Part(part) => part.into_pyobject(py)?.into_any(),
            Self::List(parts) => parts.into_pyobject(py)?.into_any(),
        })
    }
}
