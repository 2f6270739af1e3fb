//! What is set over the database: by tests, by the environment, and by `read_own_writes()`.

use std::collections::HashMap;

use pyo3::prelude::*;

use super::state::LIVE;
use crate::overrides::Overrides;
use crate::stored_value::StoredValue;

/// Sets by key the results of flags, values as JSON text, and variants of experiments (None for the
/// default of the call), for the whole process. Replaces all earlier overrides of tests.
#[pyfunction]
pub(super) fn set_overrides(
    flags: HashMap<String, bool>,
    values: HashMap<String, String>,
    variants: HashMap<String, Option<String>>,
) {
    let values = values.into_iter().map(|(key, text)| (key, StoredValue::from_json(&text)));
    LIVE.set_overrides(&Overrides::new(flags, values, variants));
}

/// Forces the flags and experiments with these keys off for the whole process, and no others.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
pub(super) fn set_forced_off(keys: Vec<String>) {
    LIVE.set_forced_off(&keys);
}

/// Sets whether a caller of this process may be inside `read_own_writes()`.
#[pyfunction]
pub(super) fn set_own_writes(own_writes: bool) {
    LIVE.set_own_writes(own_writes);
}
