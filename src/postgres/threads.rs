//! Starts threads that take no signals, and runs the work of each.
//!
//! A signal for the process goes to any thread that does not block it. The application decides
//! which of its threads do, so a thread of ours must never be the one: a section that may not be
//! interrupted would be, and `sigwait` would miss signals.

use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use tokio::runtime::{Builder, Runtime};

use crate::postgres::error::Error;

/// A thread gets these for errors of its own. Blocked, they would end the process without a report.
const OF_ERRORS: [Signal; 7] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

/// Starts a thread of this name. `doing` is part of the error.
///
/// # Errors
/// If the process has reached a limit.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let thread = thread::Builder::new().name(name.into());
    without_signals(|| thread.spawn(work)).map_err(|error| Error::resources(doing, error))
}

/// A runtime for one thread. `doing` is part of the error.
///
/// # Errors
/// If the process has reached a limit.
pub(crate) fn runtime(doing: &'static str) -> Result<Runtime, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::resources(doing, error))
}

/// Runs `future` on a runtime of this thread, whose end closes what the future has left open.
/// `doing` is part of the error. Blocks.
///
/// # Errors
/// The error of `future`, or that the process has reached a limit.
pub(crate) fn block_on<T>(
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let runtime = runtime(doing)?;
    let outcome = runtime.block_on(future);
    // Does not wait for a name look-up that hangs.
    runtime.shutdown_background();
    outcome
}

/// Calls `start` with all signals blocked, because a new thread inherits the mask.
fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let mut signals = SigSet::all();
    for signal in OF_ERRORS {
        signals.remove(signal);
    }
    let mut before = SigSet::empty();
    let blocked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), Some(&mut before));
    let started = start();
    if blocked.is_ok() {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
    started
}
