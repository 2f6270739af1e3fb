//! Why workers could not read rules or conditions that are about to be written.

use pyo3::prelude::*;

use crate::rules::{ParsedRules, RuleError, SegmentConditions};

/// The first problem of the rules of a flag, with its place; `None` if workers can read them.
#[pyfunction]
pub(super) fn check_rules(py: Python<'_>, text: &str) -> Option<String> {
    problem(py, || ParsedRules::parse(text))
}

/// The first problem of the conditions of a segment, with its place; `None` if workers can read
/// them.
#[pyfunction]
pub(super) fn check_conditions(py: Python<'_>, text: &str) -> Option<String> {
    problem(py, || SegmentConditions::parse(text))
}

/// Releases the GIL, because patterns can take milliseconds to compile.
fn problem<T: Send>(
    py: Python<'_>,
    parse: impl FnOnce() -> Result<T, RuleError> + Send,
) -> Option<String> {
    py.detach(parse).err().map(|error| error.to_string())
}
