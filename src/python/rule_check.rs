//! Why workers could not read rules or conditions that are about to be written.

use pyo3::prelude::*;

use super::attribute_value::read_value;
use crate::message::Message;
use crate::postgres::texts;
use crate::rules::{self, ParsedRules, RuleError, RuleKind, SegmentConditions};
use crate::{row, steps, stored_value};

/// The first problem of the rules of a flag, with its places; `None` if workers can read them.
#[pyfunction]
pub(super) fn check_rules(py: Python<'_>, text: &str) -> Option<Message> {
    problem(py, || ParsedRules::parse(text, RuleKind::Flag))
}

/// The first problem of the rules of a value, with its places; `None` if workers can read them.
#[pyfunction]
pub(super) fn check_value_rules(py: Python<'_>, text: &str) -> Option<Message> {
    problem(py, || ParsedRules::parse(text, RuleKind::Value))
}

/// The first problem of the conditions of a segment, with its places; `None` if workers can read
/// them.
#[pyfunction]
pub(super) fn check_conditions(py: Python<'_>, text: &str) -> Option<Message> {
    problem(py, || SegmentConditions::parse(text))
}

/// Whether one of the values, a JSON list, can match an attribute of the same type as this one.
#[pyfunction]
pub(super) fn can_match(
    operator: &str,
    values: &str,
    attribute: Bound<'_, PyAny>,
) -> PyResult<bool> {
    let attribute = read_value(attribute)?;
    Ok(attribute.is_none_or(|value| value.with(|value| rules::can_match(operator, values, &value))))
}

/// The codes and English texts of the messages that Python translates.
#[pyfunction]
pub(super) fn message_templates() -> Vec<(&'static str, &'static str)> {
    let templates = [
        rules::TEMPLATES,
        stored_value::TEMPLATES,
        row::TEMPLATES,
        texts::TEMPLATES,
        steps::TEMPLATES,
    ];
    templates.concat().iter().map(|template| (template.code, template.english)).collect()
}

/// Releases the GIL, because patterns can take milliseconds to compile.
fn problem<T: Send>(
    py: Python<'_>,
    parse: impl FnOnce() -> Result<T, RuleError> + Send,
) -> Option<Message> {
    py.detach(parse).err().map(Message::from)
}
