//! The clock of Python's waits.

use std::sync::LazyLock;
use std::time::Instant;

use pyo3::prelude::*;

/// Seconds since the first call. Tools for tests, such as freezegun, stop Python's clocks, and a
/// wait has to end all the same.
#[pyfunction]
pub(super) fn monotonic() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}
