//! The wake-up of a thread of Python that compares snapshots. The engine's thread never calls Python.

use std::os::fd::{IntoRawFd, RawFd};

use pyo3::prelude::*;

use crate::postgres::change_signal::CHANGE_SIGNAL;

/// Opens a socket and returns its descriptor, which the caller owns. It gets a byte after each
/// published snapshot and each change of the refresh mode. An earlier one gets the end of its stream.
#[pyfunction]
pub(super) fn open_change_signal() -> PyResult<RawFd> {
    Ok(CHANGE_SIGNAL.open()?.into_raw_fd())
}

/// Ends the stream of the socket. Returns at once.
#[pyfunction]
pub(super) fn close_change_signal() {
    CHANGE_SIGNAL.close();
}
