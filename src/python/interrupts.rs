//! Waits that a signal can end, such as Ctrl-C.

use pyo3::prelude::*;

use crate::postgres::error::Error;

/// Runs `wait` without the GIL. In the main thread, handlers of signals run meanwhile: the argument
/// of `wait`, which it calls from time to time, returns true once a handler has raised.
///
/// Raises what the handler has raised, or the error of `wait`.
pub(super) fn interruptible<T: Send>(
    py: Python<'_>,
    wait: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<T, Error> + Send,
) -> PyResult<T> {
    // Another thread runs no handlers, and must not take the GIL while the interpreter ends.
    let runs_handlers = is_main_thread(py)?;
    let mut raised = None;
    let outcome = py.detach(|| {
        wait(&mut || {
            if runs_handlers {
                raised = Python::attach(|py| py.check_signals().err());
            }
            raised.is_some()
        })
    });
    raised.map_or_else(|| Ok(outcome?), Err)
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    main.eq(threading.call_method0("get_ident")?)
}
