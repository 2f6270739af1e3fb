//! Requests of crawlers, as the function in `IS_CRAWLER` names them.

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;

use super::calls::{Call, is_ending};
use super::context::Context;

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// Whether there is a function, as far as it was read.
static CONFIGURED: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether the evaluation belongs to a request of a crawler. Runs the function once per request.
/// Without the setting it costs one read from memory.
#[inline]
pub(super) fn is_crawler<'py>(py: Python<'py>, context: Context<'_, 'py>) -> PyResult<bool> {
    if CONFIGURED.load(Ordering::Relaxed) == NO { Ok(false) } else { ask(py, context) }
}

#[cold]
fn ask<'py>(py: Python<'py>, context: Context<'_, 'py>) -> PyResult<bool> {
    if is_ending() {
        return Ok(false);
    }
    let _call = Call::begin(py);
    let module = py.import("flagstaff._engine.attributes")?;
    if CONFIGURED.load(Ordering::Relaxed) == UNKNOWN {
        let is_configured = module.call_method0("has_crawler_function")?.is_truthy()?;
        CONFIGURED.store(if is_configured { YES } else { NO }, Ordering::Relaxed);
        if !is_configured {
            return Ok(false);
        }
    }
    let [call, snapshot] = context.raw(py);
    module.call_method1("is_crawler", (call, snapshot))?.is_truthy()
}

/// Reads the setting again at the next evaluation that needs it.
pub(super) fn reset() {
    CONFIGURED.store(UNKNOWN, Ordering::Relaxed);
}
