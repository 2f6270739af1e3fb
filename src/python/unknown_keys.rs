//! Evaluations of keys that do not exist, reported to Python.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::calls::{Call, is_ending};
use super::hooks::Hooks;

/// Reports to Python that a key does not exist. `what` is "flag" or "value". Raises
/// `UnknownFlagError` or `UnknownValueError` if `UNKNOWN_KEY` is "raise".
#[cold]
pub(super) fn report(key: &Bound<'_, PyString>, what: &str) -> PyResult<()> {
    if is_ending() {
        return Ok(());
    }
    let _call = Call::begin(key.py());
    Hooks::report_unknown_key(key.py(), key, what)
}
