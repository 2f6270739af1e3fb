//! Connects evaluations with the request or task that they belong to, for rollout plans.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::bucketing_unit::unit_text;
use crate::evaluate::{Evaluation, Reason};
use crate::flag::Flag;
use crate::observation::Observation;
use crate::rules::Attributes;
use crate::subject::Subject;
use crate::watch::{Outcome, Watch};

/// The context variable that holds the observation of the current request or task.
static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// One request or task, from its creation to `end`. Notes the evaluations that a rollout plan
/// watches.
#[pyclass(frozen, name = "Observation", module = "flagstaff._core")]
pub(super) struct PyObservation {
    observation: Mutex<Observation>,
    began: Instant,
}

#[pymethods]
impl PyObservation {
    #[new]
    fn new() -> Self {
        Self { observation: Mutex::default(), began: Instant::now() }
    }

    /// Counts the request for each of its users, with the time that it took. `failed` says whether
    /// it failed. Later evaluations are ignored.
    fn end(&self, failed: bool) {
        let outcome = Outcome { failed, took: self.began.elapsed() };
        self.observation.lock().unwrap_or_else(PoisonError::into_inner).end(outcome);
    }
}

/// Sets the context variable that holds the observation of the current request or task. Once per
/// process: a second call does nothing.
#[pyfunction]
pub(super) fn observe_in(variable: Bound<'_, PyAny>) {
    let py = variable.py();
    let _ = CURRENT.set(py, variable.unbind());
}

/// Notes an evaluation of a watched flag for the current request, if the flag's own rollout has
/// decided it.
pub(super) fn note_watched(
    py: Python<'_>,
    flag: &Flag,
    watch: &Arc<Watch>,
    evaluation: Evaluation,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) {
    if evaluation.reason != Reason::Split || evaluation.rule.is_some() {
        return;
    }
    let Some(current) = current(py) else { return };
    let unit = match flag.bucket_by() {
        None => subject.text(|text| watch.unit(text)),
        // At 0 % the unit was not read, and reading it now could draw a visitor.
        Some(_) if evaluation.bucket.is_none() => None,
        Some(name) => attributes.read_unit(name, |unit| unit_text(unit, |text| watch.unit(text))),
    };
    let Some(unit) = unit else { return };
    let observation = &current.get().observation;
    observation.lock().unwrap_or_else(PoisonError::into_inner).note(watch, unit, evaluation.value);
}

/// The observation of the current request or task, if there is one.
fn current(py: Python<'_>) -> Option<Bound<'_, PyObservation>> {
    let variable = CURRENT.get(py)?.bind(py);
    let found = variable.call_method1(intern!(py, "get"), (py.None(),)).ok()?;
    found.cast_into().ok()
}
