//! The Python code that questions call, and the end of the process, which waits for it.
//!
//! Before Python 3.14 a daemon thread that wants the interpreter back once that ends has its stack
//! unwound by force. No Rust frame lets that through: the process would abort. So none of ours is
//! to be on a thread's stack by then, below Python code that may let go of the interpreter.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Whether the process ends: modules may be gone, and nothing is begun or told any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// How many questions are in Python code. Less than none where one of them has forked.
static UNDER_WAY: AtomicIsize = AtomicIsize::new(0);

/// How long a call that comes late waits for the interpreter to end, which it does not survive.
/// Not for ever: it may be that the end waits for this very thread.
const LATE: Duration = Duration::from_secs(5);

const NAP: Duration = Duration::from_millis(1);

thread_local! {
    /// Whether this is the thread that ends the process. It outlives the interpreter.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the process ends, so that Python code is not to be called any more.
pub(super) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// One call of Python code by a question, from its making to its drop.
pub(super) struct Call(());

impl Call {
    /// Begins a call. Where the process ends already, another thread waits here.
    pub(super) fn begin(py: Python<'_>) -> Self {
        if is_ending() && !ENDS.get() {
            py.detach(|| thread::sleep(LATE));
        }
        // The end sets its mark with the interpreter in its hand, as we have it here: it cannot
        // come between that look and this.
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Release);
    }
}

/// Marks that the process ends, by this thread.
pub(super) fn end() {
    ENDS.set(true);
    ENDING.store(true, Ordering::Relaxed);
}

/// Waits for the calls that are under way, until `until`. The interpreter must be let go of.
pub(super) fn wait_until(until: Instant) {
    while UNDER_WAY.load(Ordering::Acquire) > 0 && Instant::now() < until {
        thread::sleep(NAP);
    }
}

/// Begins anew in a forked child, where no other thread is.
pub(super) fn forked() {
    ENDS.set(false);
    ENDING.store(false, Ordering::Relaxed);
    UNDER_WAY.store(0, Ordering::Relaxed);
}
