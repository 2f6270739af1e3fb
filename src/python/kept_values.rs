//! The Python objects of short values, kept so that `get_value` need not create one each time.
//!
//! Only immutable objects are kept; a list or a dict is a fresh object for each caller. The caller
//! holds the GIL, and nothing here releases it, so the objects and their version change together.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::declared_bases::DeclaredValue;
use crate::stored_value::StoredValue;

/// The longest text that is kept, in bytes: to copy it is cheap compared to holding it twice.
const LONGEST: usize = 1024;

/// The objects by key. A `dict` of Python, because it uses the hash that Python keeps in the key.
static OBJECTS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The same by declared keys, found by their identity, and what rules give by key and rule.
static DECLARED: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The version of the values that the objects belong to.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// The object of this key in this version of the values.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub(super) fn get<'py>(key: &Bound<'py, PyString>, version: u64) -> Option<Bound<'py, PyAny>> {
    if !has_plain_hash(key) {
        return get_of_subclass(key, version);
    }
    if VERSION.load(Ordering::Relaxed) != version {
        return None;
    }
    OBJECTS.get(key.py())?.bind(key.py()).get_item(key).ok()?
}

/// The same for a key of a subclass: one of other code could run its own code.
#[inline(never)]
fn get_of_subclass<'py>(key: &Bound<'py, PyString>, version: u64) -> Option<Bound<'py, PyAny>> {
    if key.is_instance_of::<DeclaredValue>() { get_declared(key, version) } else { None }
}

/// The same of a key that code declares.
#[inline]
pub(super) fn get_declared<'py>(
    key: &Bound<'py, PyString>,
    version: u64,
) -> Option<Bound<'py, PyAny>> {
    if VERSION.load(Ordering::Relaxed) != version {
        return None;
    }
    DECLARED.get(key.py())?.bind(key.py()).get_item(key).ok()?
}

/// The object of what a rule gives, by its number, or with 0 of the value itself.
pub(super) fn get_result<'py>(
    key: &Bound<'py, PyString>,
    rule: u8,
    version: u64,
) -> Option<Bound<'py, PyAny>> {
    if VERSION.load(Ordering::Relaxed) != version {
        return None;
    }
    DECLARED.get(key.py())?.bind(key.py()).get_item((key.to_str().ok()?, rule)).ok()?
}

/// Keeps the object of this key. The objects of earlier versions are dropped.
#[cold]
pub(super) fn keep(key: &Bound<'_, PyString>, version: u64, object: &Bound<'_, PyAny>) {
    if has_plain_hash(key) {
        set(&OBJECTS, key, version, object);
    } else if key.is_instance_of::<DeclaredValue>() {
        set(&DECLARED, key, version, object);
    }
}

/// Keeps the object of what a rule gives.
#[cold]
pub(super) fn keep_result(
    key: &Bound<'_, PyString>,
    rule: u8,
    version: u64,
    object: &Bound<'_, PyAny>,
) {
    if let Ok(text) = key.to_str() {
        set(&DECLARED, (text, rule), version, object);
    }
}

fn set<'py>(
    objects: &PyOnceLock<Py<PyDict>>,
    key: impl IntoPyObject<'py>,
    version: u64,
    object: &Bound<'py, PyAny>,
) {
    let py = object.py();
    if version < VERSION.load(Ordering::Relaxed) {
        return;
    }
    if VERSION.swap(version, Ordering::Relaxed) != version {
        clear(py);
    }
    // It fails only without memory. Then the next call creates the object again.
    let _ = objects.get_or_init(py, || PyDict::new(py).unbind()).bind(py).set_item(key, object);
}

fn clear(py: Python<'_>) {
    for objects in [&OBJECTS, &DECLARED] {
        if let Some(objects) = objects.get(py) {
            objects.bind(py).clear();
        }
    }
}

/// Drops the objects, unless they belong to this version: a deleted value must not stay in memory.
pub(super) fn drop_outdated(py: Python<'_>, version: Option<u64>) {
    if version != Some(VERSION.load(Ordering::Relaxed)) {
        clear(py);
    }
}

/// Whether the key is no object of a subclass, whose hash could run Python code.
#[inline]
fn has_plain_hash(key: &Bound<'_, PyString>) -> bool {
    key.is_exact_instance_of::<PyString>()
}

/// Whether its objects are immutable, and not too large to be kept.
pub(super) fn is_kept(value: &StoredValue) -> bool {
    match value {
        StoredValue::Null | StoredValue::Bool(_) | StoredValue::Integer(_) => true,
        StoredValue::Text(text) => text.len() <= LONGEST,
        StoredValue::Json(_) => false,
    }
}
