//! The floor: the least that an evaluation in Rust can cost. A map in an `ArcSwap`, the primary key
//! from the user's attribute, one SHA-256, through a bare PyO3 function. It checks no types, reads
//! no allowed users and counts nothing. It is not tuned to what is measured against it.

use std::collections::HashMap;
use std::sync::LazyLock;

use arc_swap::ArcSwap;
use pyo3::prelude::*;
use pyo3::types::PyString;
use sha2::{Digest, Sha256};

#[derive(Default)]
struct Table {
    flags: HashMap<String, (bool, u32)>,
    values: HashMap<String, String>,
}

static TABLE: LazyLock<ArcSwap<Table>> = LazyLock::new(ArcSwap::default);

/// Fills the table: flags as (key, enabled, percent), values as (key, text).
#[pyfunction]
fn fill(flags: Vec<(String, bool, u32)>, values: Vec<(String, String)>) {
    let flags = flags.into_iter().map(|(key, enabled, percent)| (key, (enabled, percent)));
    let table = Table { flags: flags.collect(), values: values.into_iter().collect() };
    TABLE.store(table.into());
}

/// Returns true if the flag is on for the user.
#[pyfunction]
fn enabled(key: &str, user: &Bound<'_, PyAny>) -> PyResult<bool> {
    let table = TABLE.load();
    let Some(&(true, percent)) = table.flags.get(key) else { return Ok(false) };
    if percent >= 100 {
        return Ok(true);
    }
    let pk: i64 = user.getattr(pyo3::intern!(user.py(), "id"))?.extract()?;
    Ok(bucket(key, pk) < percent)
}

fn bucket(key: &str, pk: i64) -> u32 {
    let mut text = itoa::Buffer::new();
    let hash = Sha256::new().chain_update(key).chain_update(":").chain_update(text.format(pk));
    let words = hash.finalize();
    let words = words.as_chunks().0.iter().map(|word| u64::from(u32::from_be_bytes(*word)));
    words.fold(0, |remainder, word| ((u64::from(remainder) << 32 | word) % 100) as u32)
}

/// Returns the text of a value.
#[pyfunction]
fn lookup<'py>(py: Python<'py>, key: &str) -> Option<Bound<'py, PyString>> {
    TABLE.load().values.get(key).map(|text| PyString::new(py, text))
}

/// The floor.
#[pymodule]
mod floor {
    #[pymodule_export]
    use super::{enabled, fill, lookup};
}
