//! Evaluations beside another library of flags, while a project changes over to ours.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::context::Context;
use super::evaluation::Evaluator;
use super::maintenance;
use super::resolution::{ErrorCode, FlagResult, PyResolution, Resolved};
use super::state::{self, LIVE};
use super::subject::UserArgument;
use super::{direct, start};
use crate::differences::Comparison;
use crate::live::EvaluationMode;

/// The result of a flag for which the function `own` may decide in place of its own percentage.
///
/// It is called with the percentage, and may return `None`, if the flag's own rollout of 1 to 99 %
/// decides. An unknown
/// key is neither counted nor reported. Without `is_counted` nothing is counted, no listener is
/// called, no plan measures, and the result is `None` until the process evaluates from memory, for
/// which it does not wait.
#[pyfunction]
#[pyo3(signature = (key, user=None, *, context=None, own=None, is_counted=true))]
pub(super) fn resolve_kept_flag<'py>(
    key: &Bound<'py, PyString>,
    user: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
    own: Option<&Bound<'py, PyAny>>,
    is_counted: bool,
) -> PyResult<Option<Py<PyResolution>>> {
    let py = key.py();
    let (user, context) = (UserArgument::new(user)?, Context::new(context)?);
    let own = |percent: i32| own.map_or(Ok(None), |own| own.call1((percent,))?.extract());
    if !is_counted && !gets_in_memory(py)? {
        return Ok(None);
    }
    maintenance::count_evaluation(py)?;
    let current = start::current_for(key)?;
    let resolved = match current.as_ref() {
        None => Resolved::error(ErrorCode::NotReady, false),
        Some(state) if state::evaluates_directly(py, state)? => {
            if !is_counted {
                return Ok(None);
            }
            direct::kept_flag(key, user, context, own, &Evaluator::of(state))?
        }
        Some(state) if is_counted => Evaluator::of(state).kept_flag(key, user, context, own)?,
        Some(state) => Evaluator::of(state).compared_flag(key, user, context, own)?,
    };
    resolved.to_python(py).map(Some)
}

/// Counts an evaluation by another library, whose result is `theirs`, beside ours.
///
/// `cause` is why they differ, or "equal". The first user and path are kept as an example. Counts
/// nothing unless the process evaluates from memory. Does not block.
#[pyfunction]
pub(super) fn count_difference(
    kind: &str,
    name: &str,
    cause: &str,
    theirs: bool,
    ours: bool,
    user: &str,
    path: &str,
) {
    if is_in_memory() {
        let (kind, name, cause) = (kind.into(), name.into(), cause.into());
        LIVE.differences().count(Comparison { kind, name, cause, theirs, ours }, user, path);
    }
}

/// Whether the process evaluates from memory. Starts the engine, but does not wait for its first
/// load: the other library has the result.
fn gets_in_memory(py: Python<'_>) -> PyResult<bool> {
    // Reading the options again would cost each evaluation by the other library a millisecond.
    static CANNOT_START: AtomicBool = AtomicBool::new(false);
    if is_in_memory() {
        return Ok(true);
    }
    if CANNOT_START.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let has_engine = start::start(py, false, false)
        .inspect_err(|_| CANNOT_START.store(true, Ordering::Relaxed))?;
    if has_engine && !start::is_waiting() {
        start::start(py, false, true)?;
    }
    Ok(is_in_memory())
}

fn is_in_memory() -> bool {
    LIVE.current().as_ref().is_some_and(|state| state.mode == EvaluationMode::Memory)
}
