//! The wake-up of a thread of Python that compares snapshots. The engine's thread never calls Python.

use std::os::fd::{IntoRawFd, RawFd};

use pyo3::prelude::*;

use crate::postgres::change_signal::CHANGE_SIGNAL;

/// Opens a socket and returns its descriptor, which the caller owns. Does not block.
///
/// It gets bytes when a snapshot is published or the refresh mode changes. An earlier socket gets
/// the end of its stream. Raises `OSError`.
#[pyfunction]
pub(super) fn open_change_signal() -> PyResult<RawFd> {
    Ok(CHANGE_SIGNAL.open()?.into_raw_fd())
}

/// Ends the stream of the socket. Does not block.
#[pyfunction]
pub(super) fn close_change_signal() {
    CHANGE_SIGNAL.close();
}
