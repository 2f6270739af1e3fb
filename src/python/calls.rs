//! Calls from an evaluation into Python code, which the end of the process waits for.
//!
//! Before Python 3.14, a daemon thread that wants the GIL back after the interpreter has ended is
//! unwound by force, and a Rust frame on its stack aborts the process. So at that time no Rust
//! frame may be below Python code that can release the GIL.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Whether the process ends. Python modules may be gone, so Python code is not called any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// The number of calls that are under way. Negative if one of them has forked.
static UNDER_WAY: AtomicIsize = AtomicIsize::new(0);

/// How long a late call waits for the interpreter to end, which ends its thread too. Limited,
/// because the interpreter may wait for this very thread.
const LATE: Duration = Duration::from_secs(5);

/// The time between two checks for calls that are under way.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

thread_local! {
    /// Whether this thread ends the process. It outlives the interpreter.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the process ends, so that Python code must not be called.
pub(super) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// One call into Python code, from its creation to its drop.
pub(super) struct Call(());

impl Call {
    /// Begins a call. If the process ends, any thread but the one that ends it waits here.
    pub(super) fn begin(py: Python<'_>) -> Self {
        if is_ending() && !ENDS.get() {
            py.detach(|| thread::sleep(LATE));
        }
        // The caller holds the GIL, as `end` does, so `end` cannot run between the check and this.
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Release);
    }
}

/// Marks that this thread ends the process. The caller holds the GIL.
pub(super) fn end() {
    ENDS.set(true);
    ENDING.store(true, Ordering::Relaxed);
}

/// Waits for the calls that are under way, until `until` at most. The caller must not hold the GIL.
pub(super) fn wait_until(until: Instant) {
    while UNDER_WAY.load(Ordering::Acquire) > 0 && Instant::now() < until {
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Resets the state in a forked child, which has no other thread.
pub(super) fn reset_after_fork() {
    ENDS.set(false);
    ENDING.store(false, Ordering::Relaxed);
    UNDER_WAY.store(0, Ordering::Relaxed);
}
