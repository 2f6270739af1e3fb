//! The Python objects of short values, kept so that `get_value` need not create one each time.
//!
//! Only immutable objects are kept; a list or a dict is a fresh object for each caller. The caller
//! holds the GIL, and nothing here releases it, so the objects and their version change together.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::stored_value::StoredValue;

/// The longest text that is kept, in bytes: to copy it is cheap compared to holding it twice.
const LONGEST: usize = 1024;

/// The objects by key. A `dict` of Python, because it uses the hash that Python keeps in the key.
static OBJECTS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The version of the values that the objects belong to.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// The object of this key in this version of the values.
#[inline]
pub(super) fn get<'py>(key: &Bound<'py, PyString>, version: u64) -> Option<Bound<'py, PyAny>> {
    if VERSION.load(Ordering::Relaxed) != version || !has_plain_hash(key) {
        return None;
    }
    OBJECTS.get(key.py())?.bind(key.py()).get_item(key).ok()?
}

/// Keeps the object of this key. The objects of earlier versions are dropped.
#[cold]
pub(super) fn keep(
    key: &Bound<'_, PyString>,
    version: u64,
    value: &StoredValue,
    object: &Bound<'_, PyAny>,
) {
    if !is_kept(value) || !has_plain_hash(key) || version < VERSION.load(Ordering::Relaxed) {
        return;
    }
    let objects = OBJECTS.get_or_init(key.py(), || PyDict::new(key.py()).unbind()).bind(key.py());
    if VERSION.swap(version, Ordering::Relaxed) != version {
        objects.clear();
    }
    // It fails only without memory. Then the next call creates the object again.
    let _ = objects.set_item(key, object);
}

/// Drops the objects, unless they belong to this version: a deleted value must not stay in memory.
pub(super) fn drop_outdated(py: Python<'_>, version: Option<u64>) {
    if let Some(objects) = OBJECTS.get(py)
        && version != Some(VERSION.load(Ordering::Relaxed))
    {
        objects.bind(py).clear();
    }
}

/// Whether the key is no object of a subclass, whose hash could run Python code.
#[inline]
fn has_plain_hash(key: &Bound<'_, PyString>) -> bool {
    key.is_exact_instance_of::<PyString>()
}

fn is_kept(value: &StoredValue) -> bool {
    match value {
        StoredValue::Null | StoredValue::Bool(_) | StoredValue::Integer(_) => true,
        StoredValue::Text(text) => text.len() <= LONGEST,
        StoredValue::Json(_) => false,
    }
}
