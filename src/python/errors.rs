//! Errors of the crate → Python exceptions. The only place that chooses the class.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::{PyErr, import_exception};

use super::hooks::Hooks;
use crate::message::Message;
use crate::postgres::error::{Error, ErrorKind};

import_exception!(flagstaff.exceptions, ConfigurationError);
import_exception!(flagstaff.exceptions, FlagstaffError);
import_exception!(flagstaff.exceptions, RefreshError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let raise: fn(Py<PyAny>) -> Self = match error.kind() {
            ErrorKind::Parameters => ConfigurationError::new_err,
            _ => RefreshError::new_err,
        };
        Python::attach(|py| {
            let raised = raising(py, error.message(), raise);
            if let Some(cause) = chain(&error) {
                raised.set_cause(py, Some(PyException::new_err(cause)));
            }
            raised
        })
    }
}

/// The exception with this message, or what keeps it from being created.
pub(super) fn raising(py: Python<'_>, message: Message, raise: fn(Py<PyAny>) -> PyErr) -> PyErr {
    Hooks::message_of(py, message).map_or_else(|error| error, raise)
}

/// The texts of the causes of `error`, outermost first. Leaves out the server's message, which may
/// quote data.
fn chain(error: &Error) -> Option<String> {
    let mut texts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<tokio_postgres::error::DbError>().is_some() {
            break;
        }
        texts.push(error.to_string());
        cause = error.source();
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}
