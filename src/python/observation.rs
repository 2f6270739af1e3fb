//! Connects evaluations with the request or task that they belong to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyException;
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

/// The context variable that holds the observation of the current request or task. `None` in a
/// process that observes nothing.
static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// One request or task, as a context manager. Evaluations in the block belong to it, and its end
/// counts it for each of its users, for rollout plans.
///
/// An exception is a failure. A block that is cancelled, for example by `SystemExit`, is not
/// counted. Blocks may be nested: an evaluation belongs to the innermost one.
#[pyclass(frozen, name = "Observation", module = "flagstaff._core")]
pub(super) struct PyObservation {
    /// Emptied at the end, because a task that the request has started may outlive it.
    request: Mutex<Option<Py<PyAny>>>,
    /// `None` if it is not counted.
    observation: Option<Mutex<Observation>>,
    began: Instant,
    failed: AtomicBool,
    /// What restores the observation before this one.
    token: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl PyObservation {
    #[new]
    #[pyo3(signature = (request=None, *, is_counted=true))]
    fn new(request: Option<Py<PyAny>>, is_counted: bool) -> Self {
        Self {
            request: Mutex::new(request),
            observation: is_counted.then(Mutex::default),
            began: Instant::now(),
            failed: AtomicBool::new(false),
            token: PyOnceLock::new(),
        }
    }

    /// Whether it has failed without an exception, as a response of status 500 has.
    #[getter]
    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_failed(&self, failed: bool) {
        self.failed.store(failed, Ordering::Relaxed);
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let variable = CURRENT.get_or_try_init(py, || {
            let class = py.import("contextvars")?.getattr("ContextVar")?;
            class.call1(("flagstaff_observation",)).map(Bound::unbind)
        })?;
        let own = slf.get();
        // A task that a request runs in place reads the attributes of that request.
        let mut request = lock(&own.request);
        if request.is_none() {
            *request = observed_request(py);
        }
        drop(request);
        let token = variable.bind(py).call_method1(intern!(py, "set"), (slf,))?;
        let _ = own.token.set(py, token.unbind());
        Ok(slf.clone())
    }

    #[pyo3(signature = (_of_type, error, _traceback))]
    fn __exit__(
        &self,
        _of_type: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        let py = error.py();
        if let (Some(variable), Some(token)) = (CURRENT.get(py), self.token.get(py)) {
            // Fails in another context than that of the beginning, where there is nothing to
            // restore.
            let _ = variable.bind(py).call_method1(intern!(py, "reset"), (token,));
        }
        // Dropped without the lock, because the destructor may run any code.
        let request = lock(&self.request).take();
        drop(request);
        if let Some(observation) = &self.observation
            && (error.is_none() || error.is_instance_of::<PyException>())
        {
            let failed = self.failed() || !error.is_none();
            lock(observation).end(Outcome { failed, took: self.began.elapsed() });
        }
    }
}

/// The request of the current observation. `None` outside of a request, and after its end.
#[pyfunction]
pub(super) fn observed_request(py: Python<'_>) -> Option<Py<PyAny>> {
    let current = current(py)?;
    let request = lock(&current.get().request);
    request.as_ref().map(|request| request.clone_ref(py))
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
    let current = current(py);
    let observation = current.as_ref().and_then(|current| current.get().observation.as_ref());
    let Some(observation) = observation else { return };
    let unit = match flag.bucket_by() {
        None => subject.text(|text| watch.unit(text)),
        // At 0 % the unit was not read, and reading it now could draw a visitor.
        Some(_) if evaluation.bucket.is_none() => None,
        Some(name) => attributes.read_unit(name, |unit| unit_text(unit, |text| watch.unit(text))),
    };
    let Some(unit) = unit else { return };
    lock(observation).note(watch, unit, evaluation.value);
}

/// The observation of the current request or task, if there is one.
fn current(py: Python<'_>) -> Option<Bound<'_, PyObservation>> {
    let variable = CURRENT.get(py)?.bind(py);
    let found = variable.call_method1(intern!(py, "get"), (py.None(),)).ok()?;
    found.cast_into().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
