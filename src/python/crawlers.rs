//! Requests of crawlers, as the function in `IS_CRAWLER` names them.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use super::context::Context;
use super::hooks::Hooks;

/// Whether the setting was read, and names no function.
static UNSET: AtomicBool = AtomicBool::new(false);

/// Whether the evaluation belongs to a request of a crawler. Runs the function once per request.
/// Without the setting it costs one read from memory.
#[inline]
pub(super) fn is_crawler<'py>(py: Python<'py>, context: Context<'_, 'py>) -> PyResult<bool> {
    if UNSET.load(Ordering::Relaxed) { Ok(false) } else { ask(py, context) }
}

#[cold]
fn ask<'py>(py: Python<'py>, context: Context<'_, 'py>) -> PyResult<bool> {
    let [call, snapshot] = context.raw(py);
    let is_crawler = Hooks::is_crawler(py, call, snapshot)?;
    if is_crawler.is_none() {
        UNSET.store(true, Ordering::Relaxed);
    }
    Ok(is_crawler.unwrap_or(false))
}

/// Reads the setting again at the next evaluation that needs it.
pub(super) fn reset() {
    UNSET.store(false, Ordering::Relaxed);
}
