//! Why workers could not read rules or conditions that are about to be written, or Python a value.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::attribute_value::read_value;
use crate::message::Message;
use crate::rules::{self, ParsedRules, RuleKind, SegmentConditions};
use crate::stored_value::undecodable;

/// Returns the first problem of rules in JSON, after its places; None without one.
///
/// Those of a segment are its conditions. Raises `UnicodeEncodeError` for half of a surrogate pair
/// outside of an escape.
#[pyfunction]
#[pyo3(signature = (text, kind = "flag"))]
pub(super) fn check_rules(py: Python<'_>, text: &str, kind: &str) -> Option<Message> {
    // Without the GIL, because patterns can take milliseconds to compile.
    let problem = py.detach(|| match kind {
        "segment" => SegmentConditions::parse(text).err(),
        "value" => ParsedRules::parse(text, RuleKind::Value).err(),
        _ => ParsedRules::parse(text, RuleKind::Flag).err(),
    });
    problem.map(Message::from)
}

/// Returns why Python cannot decode a JSON text; None if it can. Does not check the syntax.
#[pyfunction]
pub(super) fn json_problem(text: &str) -> Option<Message> {
    undecodable(text).map(|fault| fault.template().into())
}

/// Returns True if a text column can hold it: it has no NUL and no half of a surrogate pair.
#[pyfunction]
pub(super) fn is_storable(text: &Bound<'_, PyString>) -> bool {
    text.to_str().is_ok_and(|text| !text.contains('\0'))
}

/// Returns False if none of the values, a JSON list, can match an attribute of this type.
#[pyfunction]
pub(super) fn can_match(
    operator: &str,
    values: &str,
    attribute: Bound<'_, PyAny>,
) -> PyResult<bool> {
    let attribute = read_value(attribute)?;
    Ok(attribute.is_none_or(|value| value.with(|value| rules::can_match(operator, values, &value))))
}
