//! Whether Python can decode a JSON text.

use pyo3::prelude::*;

use crate::message::Message;
use crate::stored_value::undecodable;

/// Why Python cannot decode a JSON text; `None` if it can. Does not check the syntax.
#[pyfunction]
pub(super) fn json_problem(text: &str) -> Option<Message> {
    undecodable(text).map(|fault| fault.template().into())
}
