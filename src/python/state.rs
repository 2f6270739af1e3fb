//! The state of this process: its snapshot, its engine, and the evaluation mode.
//!
//! No lock is held across a call into Python: two threads with first evaluations would deadlock,
//! one with the lock and one with the GIL.

use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use crate::live::{EvaluationMode, Live};
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

/// The evaluation mode of the process, `None` before the first evaluation.
pub(super) fn mode() -> Option<EvaluationMode> {
    LIVE.current().as_ref().map(|state| state.mode)
}

/// Whether the process is in this mode now.
pub(super) fn is_in_mode(expected: EvaluationMode) -> bool {
    mode() == Some(expected)
}
