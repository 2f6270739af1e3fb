//! Whether Python can decode a JSON text.

use pyo3::prelude::*;

use crate::stored_value::undecodable;

/// Why Python cannot decode a JSON text, such as "has a number of more than 4,300 digits"; `None`
/// if it can. Does not check the syntax.
#[pyfunction]
pub(super) fn json_problem(text: &str) -> Option<String> {
    undecodable(text).map(|fault| fault.to_string())
}
