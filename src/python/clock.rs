//! The clock of Python's waits.

use std::sync::LazyLock;
use std::time::Instant;

use pyo3::prelude::*;

/// Returns seconds of a clock that tools for tests, such as freezegun, do not stop.
#[pyfunction]
pub(super) fn monotonic() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}
