//! The floor: the least that an evaluation in Rust can cost. A map in an `ArcSwap`, the primary key
//! from the user's attribute, a search in a sorted list of allowed users, one SHA-256, through a bare
//! PyO3 function. A value is a Python object that is there already. It checks no types and counts
//! nothing. It is not tuned to what is measured against it.

use std::collections::HashMap;
use std::sync::LazyLock;

use arc_swap::ArcSwap;
use pyo3::prelude::*;
use sha2::{Digest, Sha256};

#[derive(Default)]
struct Table {
    flags: HashMap<String, Flag>,
    values: HashMap<String, Py<PyAny>>,
}

struct Flag {
    enabled: bool,
    percent: u32,
    allowed: Box<[i64]>,
}

static TABLE: LazyLock<ArcSwap<Table>> = LazyLock::new(ArcSwap::default);

/// Fills the table: flags as (key, enabled, percent), values by key, and allowed users in order by
/// the key of their flag.
#[pyfunction]
fn fill(
    flags: Vec<(String, bool, u32)>,
    values: HashMap<String, Py<PyAny>>,
    mut allowed: HashMap<String, Vec<i64>>,
) {
    let flags = flags.into_iter().map(|(key, enabled, percent)| {
        let allowed = allowed.remove(&key).unwrap_or_default().into();
        (key, Flag { enabled, percent, allowed })
    });
    let table = Table { flags: flags.collect(), values };
    TABLE.store(table.into());
}

/// Returns true if the flag is on for the user.
#[pyfunction]
fn enabled(key: &str, user: &Bound<'_, PyAny>) -> PyResult<bool> {
    let table = TABLE.load();
    let Some(flag @ Flag { enabled: true, .. }) = table.flags.get(key) else { return Ok(false) };
    if flag.percent >= 100 {
        return Ok(true);
    }
    let pk: i64 = user.getattr(pyo3::intern!(user.py(), "id"))?.extract()?;
    Ok(flag.allowed.binary_search(&pk).is_ok() || bucket(key, pk) < flag.percent)
}

fn bucket(key: &str, pk: i64) -> u32 {
    let mut text = itoa::Buffer::new();
    let hash = Sha256::new().chain_update(key).chain_update(":").chain_update(text.format(pk));
    let words = hash.finalize();
    let words = words.as_chunks().0.iter().map(|word| u64::from(u32::from_be_bytes(*word)));
    words.fold(0, |remainder, word| ((u64::from(remainder) << 32 | word) % 100) as u32)
}

/// Returns a value.
#[pyfunction]
fn lookup(py: Python<'_>, key: &str) -> Option<Py<PyAny>> {
    TABLE.load().values.get(key).map(|value| value.clone_ref(py))
}

/// The floor.
#[pymodule]
mod floor {
    #[pymodule_export]
    use super::{enabled, fill, lookup};
}
