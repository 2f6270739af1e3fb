//! Work that an evaluation does now and then: it drops the objects of earlier values, detects a
//! fork and lets Python write its log.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pyo3::prelude::*;

use super::hooks::Hooks;
use super::kept_values;
use super::state::{self, LIVE};
use crate::boot_time::since_boot;

/// The number of evaluations between two runs of the maintenance.
const ROUND: u32 = 1000;

/// The evaluations of this round. Two threads may count one together: the count must need no locked
/// instruction and the round must end, nothing more.
static EVALUATIONS: AtomicU32 = AtomicU32::new(0);

/// The second, since boot, in which Python last wrote its log: a report of the state costs as much as
/// a hundred evaluations.
static LAST_LOG: AtomicU64 = AtomicU64::new(0);

/// Counts an evaluation. Runs the maintenance once a round.
#[inline]
pub(super) fn count_evaluation(py: Python<'_>) -> PyResult<()> {
    let evaluations = EVALUATIONS.load(Ordering::Relaxed) + 1;
    if evaluations < ROUND {
        EVALUATIONS.store(evaluations, Ordering::Relaxed);
        return Ok(());
    }
    EVALUATIONS.store(0, Ordering::Relaxed);
    run(py)
}

#[cold]
fn run(py: Python<'_>) -> PyResult<()> {
    let version = LIVE.snapshot().map(|snapshot| snapshot.values_version());
    kept_values::drop_outdated(py, version);
    // uWSGI forks without Python's hooks. Python's locks may then be held by threads that are gone.
    if !state::is_owner() {
        Hooks::after_fork(py)?;
    }
    let now = since_boot().as_secs();
    if LAST_LOG.swap(now, Ordering::Relaxed) == now { Ok(()) } else { Hooks::run_maintenance(py) }
}

/// Makes the next evaluation run the maintenance. The engine's thread calls this, because it never
/// calls Python. A concurrent evaluation may undo it, until the next event.
pub(super) fn run_soon() {
    LAST_LOG.store(0, Ordering::Relaxed);
    EVALUATIONS.store(ROUND, Ordering::Relaxed);
}
