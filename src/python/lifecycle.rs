//! Refreshes, reconfigures and stops the engine of this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pyo3::prelude::*;

use super::calls;
use super::errors::ConfigurationError;
use super::interrupts::interruptible;
use super::kept_values;
use super::seconds::duration;
use super::start::is_down_for;
use super::state::{ENGINE, LIVE, is_owner};
use crate::postgres::connect::target::Target;
use crate::postgres::error::ErrorKind;

/// Returns True if there is no connection because the server refused the login.
#[pyfunction]
pub(super) fn is_refused() -> bool {
    ENGINE.load().as_ref().is_some_and(|engine| is_down_for(&engine.status(), ErrorKind::Auth))
}

/// Returns True if a request should wait for a poll that is overdue, and asks for the poll.
///
/// It is overdue after the process was suspended, for example. Returns True for at most 0.3 s in an
/// outage. Does not block.
#[pyfunction]
pub(super) fn awaits_poll() -> bool {
    ENGINE.load().as_ref().is_some_and(|engine| {
        // A fork may have left another process's engine, without its threads.
        engine.is_overdue() && is_owner() && engine.ask_for_poll()
    })
}

/// Loads everything now. Releases the GIL; blocks for at most `timeout` seconds.
///
/// Raises `RefreshError` if that fails, and what a signal handler raises meanwhile.
#[pyfunction]
pub(super) fn refresh(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let Some(engine) = ENGINE.load_full() else { return Ok(()) };
    let limit = duration(timeout)?;
    let outcome = interruptible(py, |interrupted| engine.refresh(limit, interrupted));
    if outcome.is_err() {
        // The end of the process ends a load of another thread. That is no error: the thread waits.
        drop(calls::Call::begin(py));
    }
    outcome
}

/// Sets the connection parameters, and those for reports. Does not block.
///
/// Returns True if the first ones changed. Raises `ConfigurationError` if they are not usable; the
/// previous ones stay in use.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
#[pyo3(signature = (settings, of_reports = None))]
pub(super) fn reconfigure(
    settings: BTreeMap<String, String>,
    of_reports: Option<BTreeMap<String, String>>,
) -> PyResult<bool> {
    let engine = ENGINE.load_full();
    let reconfigured = engine.map(|engine| engine.reconfigure(&settings, of_reports.as_ref()));
    Ok(reconfigured.unwrap_or(Ok(false))?)
}

/// Raises `ConfigurationError` if an engine cannot use parameters. Does not connect.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
pub(super) fn check_parameters(parameters: BTreeMap<String, String>) -> PyResult<()> {
    Target::new(&parameters)?;
    Ok(())
}

/// Stops the engine and drops the snapshot; returns True if it stopped within `timeout`.
///
/// Releases the GIL; blocks.
#[pyfunction]
pub(super) fn stop(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let limit = duration(timeout)?;
    let engine = ENGINE.swap(None);
    let stopped = interruptible(py, |interrupted| {
        Ok(engine.is_none_or(|engine| engine.stop(limit, interrupted)))
    });
    // Last: a load that was under way must not publish afterwards.
    LIVE.reset();
    kept_values::drop_outdated(py, None);
    stopped
}

/// Stops the engine at process exit, and keeps the snapshot. Releases the GIL; blocks.
#[pyfunction]
pub(super) fn shutdown(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let limit = duration(timeout)?;
    let until = Instant::now() + limit;
    calls::end();
    let engine = ENGINE.swap(None);
    py.detach(|| {
        let _stopped = engine.is_none_or(|engine| engine.stop(limit, &mut || false));
        calls::wait_until(until);
    });
    Ok(())
}

/// Raises `ConfigurationError` in a second interpreter of the process. Does not block.
#[pyfunction]
pub(super) fn claim_interpreter(interpreter: usize) -> PyResult<()> {
    static CLAIMED: AtomicUsize = AtomicUsize::new(0);
    let first = CLAIMED.compare_exchange(0, interpreter, Ordering::Relaxed, Ordering::Relaxed);
    match first {
        Err(other) if other != interpreter => Err(ConfigurationError::new_err(
            "flagstaff supports one interpreter per process, and this is another one; give each \
             application its own process, as with WSGIApplicationGroup %{GLOBAL} in mod_wsgi",
        )),
        _ => Ok(()),
    }
}
