//! What is set over the database: by tests, by the environment, and by `read_own_writes()`.

use std::collections::HashMap;

use pyo3::prelude::*;

use super::state::LIVE;
use crate::overrides::Overrides;
use crate::stored_value::StoredValue;

/// Replaces all test overrides by these. Does not block.
#[pyfunction]
pub(super) fn set_overrides(
    flags: HashMap<String, bool>,
    values: HashMap<String, String>,
    variants: HashMap<String, Option<String>>,
    flags_of_users: HashMap<String, HashMap<String, bool>>,
) {
    let values = values.into_iter().map(|(key, text)| (key, StoredValue::from_json(&text)));
    let overrides = Overrides::new(flags, values, variants);
    LIVE.set_overrides(&overrides.with_flags_of_users(flags_of_users));
}

/// Turns off the flags and experiments with these keys in this process, and no others.
///
/// Does not block.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
pub(super) fn set_forced_off(keys: Vec<String>) {
    LIVE.set_forced_off(&keys);
}

/// Turns on the flags with these keys in this process, and no others.
///
/// Those that are forced off stay off. Does not block.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
pub(super) fn set_forced_on(keys: Vec<String>) {
    LIVE.set_forced_on(&keys);
}

/// Sets whether any `read_own_writes` block is open. Does not block.
#[pyfunction]
pub(super) fn set_own_writes(own_writes: bool) {
    LIVE.set_own_writes(own_writes);
}
