//! A number of seconds, as Python passes it → a duration.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

const YEAR: f64 = 31_536_000.0;

/// The duration of `seconds`, at most a year. Raises `ValueError` if it is negative or NaN.
pub(super) fn duration(seconds: f64) -> PyResult<Duration> {
    // f64::min would return the year for NaN.
    let bounded = if seconds > YEAR { YEAR } else { seconds };
    Duration::try_from_secs_f64(bounded).map_err(|_| {
        PyValueError::new_err(format!("a timeout is a number of seconds from 0, not {seconds}"))
    })
}
