//! Messages in Python: texts that know their English and values.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::message::{Message, Value};
use crate::postgres::texts as server;
use crate::{declared, row, rules, steps, stored_value};

/// Returns the English of all texts of the extension, for the catalogue.
#[pyfunction]
pub(super) fn texts() -> Vec<&'static str> {
    let templates = [
        rules::TEMPLATES,
        stored_value::TEMPLATES,
        row::TEMPLATES,
        declared::TEMPLATES,
        steps::TEMPLATES,
        server::TEMPLATES,
    ];
    templates.concat().iter().map(|template| template.english).collect()
}

impl<'py> IntoPyObject<'py> for Message {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        static TEXT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let values = PyDict::new(py);
        for (name, value) in self.values {
            values.set_item(name, value)?;
        }
        let text = TEXT.import(py, "flagstaff._text", "Sentence")?;
        text.call((self.template.english,), Some(&values))
    }
}

impl<'py> IntoPyObject<'py> for Value {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        static JOINED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        Ok(match self {
            Self::Text(text) => text.into_pyobject(py)?.into_any(),
            Self::Count(count) => count.into_pyobject(py)?.into_any(),
            Self::Part(part) => part.into_pyobject(py)?,
            Self::List(parts) => JOINED.import(py, "flagstaff._text", "joined")?.call1((parts,))?,
        })
    }
}
