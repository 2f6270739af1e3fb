//! The border: the only place that picks a Python exception class for an error of the crate.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::{PyErr, import_exception};

use crate::postgres::error::{Error, ErrorKind};

import_exception!(flagstaff.exceptions, ConfigurationError);
import_exception!(flagstaff.exceptions, RefreshError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let causes = chain(&error);
        let text = error.to_string();
        let raised = match error.kind() {
            ErrorKind::Parameters => ConfigurationError::new_err(text),
            _ => RefreshError::new_err(text),
        };
        if let Some(cause) = causes {
            Python::attach(|py| raised.set_cause(py, Some(PyException::new_err(cause))));
        }
        raised
    }
}

/// What the errors below `error` say, outermost first. The driver's own texts name the act and
/// the system's word for the failure; a server's message is left out, as it may quote data.
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
