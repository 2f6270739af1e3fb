//! Whether Python can decode a JSON text.

use pyo3::prelude::*;

use crate::stored_value::undecodable;

/// The code of the message why Python cannot decode a JSON text; `None` if it can. Does not check
/// the syntax.
#[pyfunction]
pub(super) fn json_problem(text: &str) -> Option<&'static str> {
    undecodable(text).map(|fault| fault.template().code)
}
