//! Connects evaluations with the request or task that they belong to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::hooks::Hooks;
use super::preview::Preview;
use super::state::LIVE;
use crate::bucketing_unit::{VISITOR, unit_text};
use crate::evaluate::{Evaluation, Reason};
use crate::flag::Flag;
use crate::observation::{Observation, Origin};
use crate::rules::Attributes;
use crate::subject::Subject;
use crate::watch::{Outcome, Watch};

/// The context variable that holds the observation of the current request or task. `None` in a
/// process that observes nothing.
static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// One request or task, as a context manager. Its end counts it for each of its users.
///
/// Evaluations of flags with a rollout plan belong to the innermost block that they are in. An
/// exception is a failure; a block that `SystemExit` or a cancellation ends is not counted, and
/// neither is one without `is_counted`. `request` is what `observed_request()` returns, by default
/// that of the block around it. `preview` has what its user previews, which a block in it with the
/// same request has, too: the primary key as text, the results by key, and the flags from before they
/// were checked.
#[pyclass(frozen, name = "Observation", module = "flagstaff._core")]
pub(super) struct PyObservation {
    /// Emptied at the end, because a task that the request has started may outlive it.
    request: Mutex<Option<Py<PyAny>>>,
    /// Emptied at the end, too.
    preview: Mutex<Option<Arc<Preview>>>,
    /// Whether it was checked for this block, and not for the one around it.
    has_own_preview: bool,
    /// `None` if it is not counted.
    observation: Option<Mutex<Observation>>,
    began: Instant,
    /// Nanoseconds that are not measured.
    excluded: AtomicU64,
    failed: AtomicBool,
    is_cancelled: AtomicBool,
    /// What restores the observation before this one.
    token: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl PyObservation {
    #[new]
    #[pyo3(signature = (request=None, *, is_counted=true, preview=None))]
    fn new(request: Option<Py<PyAny>>, is_counted: bool, preview: Option<Preview>) -> Self {
        Self {
            request: Mutex::new(request),
            has_own_preview: preview.is_some(),
            preview: Mutex::new(preview.map(Arc::new)),
            observation: is_counted.then(Mutex::default),
            began: Instant::now(),
            excluded: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
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

    /// Leaves seconds out of the measured time, because the server has waited for its client.
    fn exclude(&self, seconds: f64) {
        let waited = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.excluded.fetch_add(waited, Ordering::Relaxed);
    }

    /// Leaves the request out, because its client has ended it.
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let variable = CURRENT.get_or_try_init(py, || {
            let class = py.import("contextvars")?.getattr("ContextVar")?;
            class.call1(("flagstaff_observation",)).map(Bound::unbind)
        })?;
        let own = slf.get();
        let outer = observed_request(py);
        let mut request = lock(&own.request);
        match (&*request, outer) {
            // A task that a request runs in place reads the attributes of that request, but it is no
            // page of its user.
            (None, outer) => *request = outer,
            (Some(request), Some(outer)) if !own.has_own_preview && request.is(&outer) => {
                *lock(&own.preview) = preview(py);
            }
            _ => {}
        }
        drop(request);
        let token = variable.bind(py).call_method1(intern!(py, "set"), (slf,))?;
        if own.has_own_preview {
            LIVE.count_previews(1);
        }
        let _ = own.token.set(py, token.unbind());
        Ok(slf.clone())
    }

    #[pyo3(signature = (_of_type, error, _traceback))]
    fn __exit__(
        &self,
        _of_type: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = error.py();
        if let (Some(variable), Some(token)) = (CURRENT.get(py), self.token.get(py)) {
            // Fails in another context than that of the beginning, where there is nothing to
            // restore.
            let _ = variable.bind(py).call_method1(intern!(py, "reset"), (token,));
        }
        *lock(&self.preview) = None;
        if self.has_own_preview {
            LIVE.count_previews(-1);
        }
        // Dropped without the lock, because the destructor may run any code.
        let request = lock(&self.request).take();
        if let Some(observation) = &self.observation
            && !self.is_cancelled.load(Ordering::Relaxed)
            && (error.is_none() || error.is_instance_of::<PyException>())
        {
            let failed = self.failed() || !error.is_none();
            let outcome = Outcome { failed, took: self.took() };
            let is_empty = lock(observation).is_empty();
            let request = request.filter(|_| !is_empty);
            let origin = request.map(|request| origin(request.bind(py))).transpose()?;
            lock(observation).end(outcome, &origin.unwrap_or_default());
        }
        Ok(())
    }
}

impl PyObservation {
    fn took(&self) -> Duration {
        let excluded = Duration::from_nanos(self.excluded.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(excluded)
    }
}

/// Where a request came from. Calls a function of the project.
fn origin(request: &Bound<'_, PyAny>) -> PyResult<Origin> {
    let (network, drawn_at) = Hooks::origin_of(request.py(), request)?;
    Ok(Origin { network, drawn_at })
}

/// Returns the request of the innermost `Observation`; None outside of one and after its end.
#[pyfunction]
pub(super) fn observed_request(py: Python<'_>) -> Option<Py<PyAny>> {
    let current = current(py)?;
    let request = lock(&current.get().request);
    request.as_ref().map(|request| request.clone_ref(py))
}

/// What the user of the current request previews; `None` if a load may have ended it.
pub(super) fn preview(py: Python<'_>) -> Option<Arc<Preview>> {
    let current = current(py)?;
    let preview = lock(&current.get().preview).clone();
    preview.filter(|preview| preview.is_current())
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
    let is_visitor = flag.bucket_by() == Some(VISITOR);
    lock(observation).note(watch, unit, evaluation.value, is_visitor);
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
