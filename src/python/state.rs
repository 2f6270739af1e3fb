//! The state of this process: its snapshot, its engine, and the evaluation mode.
//!
//! No lock is held across a call into Python: two threads with first evaluations would deadlock,
//! one with the lock and one with the GIL.

use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;

use super::calls::Call;
use super::hooks::Hooks;
use crate::live::{EvaluationMode, Live, State};
use crate::postgres::engine::Engine;

/// The snapshot of this process, and what it is evaluated with.
pub(super) static LIVE: Live = Live::new();
/// The engine of this process; none in a process that evaluates directly.
pub(super) static ENGINE: ArcSwapOption<Engine> = ArcSwapOption::const_empty();
/// The id of the process that the state belongs to. Differs in a forked child.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Makes this process the owner of the state.
pub(super) fn take_ownership() {
    OWNER.store(std::process::id(), Ordering::Relaxed);
}

/// Whether this process has set up the state, and did not inherit it by a fork.
pub(super) fn is_owner() -> bool {
    OWNER.load(Ordering::Relaxed) == std::process::id()
}

/// Whether this evaluation reads through Django's own connection: either the process evaluates
/// directly, or the caller reads what its own transaction has written.
#[inline]
pub(super) fn evaluates_directly(py: Python<'_>, state: &State) -> PyResult<bool> {
    if state.own_writes {
        return reads_own_writes(py);
    }
    Ok(state.mode == EvaluationMode::Direct)
}

#[cold]
pub(super) fn reads_own_writes(py: Python<'_>) -> PyResult<bool> {
    let _call = Call::begin(py);
    Ok(is_in_mode(EvaluationMode::Direct) || Hooks::reads_own_writes(py)?)
}

/// The evaluation mode of the process, `None` before the first evaluation.
pub(super) fn mode() -> Option<EvaluationMode> {
    LIVE.current().as_ref().map(|state| state.mode)
}

/// Whether the process is in this mode now.
pub(super) fn is_in_mode(expected: EvaluationMode) -> bool {
    mode() == Some(expected)
}
