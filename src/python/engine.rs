//! The one engine of this process, and the doors of `flagstaff/_engine/lifecycle.py` to it.
//!
//! Nothing here holds a lock across a call into Python: two threads with first questions would
//! wait for each other, one with the lock, one with the interpreter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::calls::{self, Call, is_ending};
use super::errors::ConfigurationError;
use crate::live::{Door, Live, State};
use crate::overrides::Overrides;
use crate::postgres::engine::{Engine, Options};
use crate::postgres::error::Kind;
use crate::postgres::report::{Mode, Report};
use crate::setting::Setting;
use crate::usage;

static LIVE: Live = Live::new();
pub(super) static ENGINE: ArcSwapOption<Engine> = ArcSwapOption::const_empty();
/// The process that the state belongs to; another one has been forked from it.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// How many questions lie between two looks at what is not worth a look each time.
const ROUND: u32 = 1000;

/// Questions of this round. Two threads may count one together: what matters is that it is counted
/// without a locked instruction, and that a round ends.
static QUESTIONS: AtomicU32 = AtomicU32::new(0);

/// The state to answer from. The first question of a process makes the engine.
#[inline]
pub(super) fn current(py: Python<'_>) -> PyResult<Guard<Option<Arc<State>>>> {
    let current = LIVE.current();
    match current.as_ref().map(|state| state.door) {
        Some(Door::Memory | Door::Direct) => Ok(current),
        _ => begin(py),
    }
}

/// Whether this question is to be answered through Django's own connection: all of this process
/// are, or the one who asks wants to read what their own transaction has written.
#[inline]
pub(super) fn answers_directly(py: Python<'_>, state: &State) -> PyResult<bool> {
    if state.own_writes {
        return wants_own_writes(py);
    }
    Ok(state.door == Door::Direct)
}

#[cold]
fn wants_own_writes(py: Python<'_>) -> PyResult<bool> {
    let _call = Call::begin(py);
    let wants = py.import("flagstaff._engine.direct")?.call_method0("wants_own_writes")?;
    let direct = LIVE.current().as_ref().is_some_and(|state| state.door == Door::Direct);
    Ok(direct || wants.extract()?)
}

#[cold]
fn begin(py: Python<'_>) -> PyResult<Guard<Option<Arc<State>>>> {
    let current = LIVE.current();
    if is_ending() {
        return Ok(current);
    }
    // Who reads their own writes needs no engine for it.
    if current.as_ref().is_some_and(|state| state.own_writes) && wants_own_writes(py)? {
        return Ok(current);
    }
    let _call = Call::begin(py);
    py.import("flagstaff._engine.lifecycle")?.call_method0("begin")?;
    Ok(LIVE.current())
}

/// Counts a question. Each round, looks whether this is a forked child whose fork nobody told of
/// (uWSGI runs no Python hooks), and lets Python log what has happened.
#[inline]
pub(super) fn tick(py: Python<'_>) -> PyResult<()> {
    let questions = QUESTIONS.load(Ordering::Relaxed) + 1;
    if questions < ROUND {
        QUESTIONS.store(questions, Ordering::Relaxed);
        return Ok(());
    }
    QUESTIONS.store(0, Ordering::Relaxed);
    if is_ending() { Ok(()) } else { look_after(py) }
}

#[cold]
fn look_after(py: Python<'_>) -> PyResult<()> {
    let _call = Call::begin(py);
    let engine = py.import("flagstaff._engine.lifecycle")?;
    if OWNER.load(Ordering::Relaxed) != std::process::id() {
        // Python's side has locks of its own that nobody in this process will let go of.
        engine.call_method0("after_fork")?;
    }
    engine.call_method0("look_after").map(drop)
}

/// Has the next question look after what has happened. The engine's thread calls this, and never
/// Python itself. A question that is counted at the same moment may undo it, until the next event.
fn look_after_soon() {
    QUESTIONS.store(ROUND, Ordering::Relaxed);
}

/// Counts a question for a key without a flag, where questions are answered from memory.
#[cold]
pub(super) fn count_unknown(key: &Bound<'_, PyString>, default: bool) {
    let is_in_memory = LIVE.current().as_ref().is_some_and(|state| state.door == Door::Memory);
    if is_in_memory {
        LIVE.unknown().count(key.to_str().unwrap_or_default(), default);
    }
}

/// Tells Python of a question for a key that is not there. May raise.
#[cold]
pub(super) fn tell_unknown(key: &Bound<'_, PyString>, what: &str) -> PyResult<()> {
    if is_ending() {
        return Ok(());
    }
    let _call = Call::begin(key.py());
    let engine = key.py().import("flagstaff._engine.lifecycle")?;
    engine.call_method1("tell_unknown", (key, what)).map(drop)
}

/// Makes the engine, which connects in the background. Returns at once. Questions wait until
/// `answer_from_memory` is called, unless there is an inherited snapshot.
///
/// Raises `ConfigurationError` where the connection settings cannot be used.
#[pyfunction]
#[pyo3(signature = (
    settings, names, *, opaque_values, listen, poll_interval, pool_size, max_staleness,
    usage_interval, host
))]
#[expect(clippy::too_many_arguments, reason = "each has its name in Python")]
pub(super) fn start(
    settings: BTreeMap<String, String>,
    names: HashMap<String, String>,
    opaque_values: bool,
    listen: bool,
    poll_interval: f64,
    pool_size: u32,
    max_staleness: f64,
    usage_interval: f64,
    host: String,
) -> PyResult<()> {
    let (poll_interval, max_staleness) = (duration(poll_interval)?, duration(max_staleness)?);
    let options = Options {
        settings,
        names,
        opaque_values,
        listen,
        poll_interval,
        pool_size,
        max_staleness,
        usage_interval: duration(usage_interval)?,
        host,
        tell: look_after_soon,
    };
    OWNER.store(std::process::id(), Ordering::Relaxed);
    LIVE.open(Door::Starting, false);
    // The one before, if there is one, stops when it is dropped.
    ENGINE.store(Some(Arc::new(Engine::start(&options, &LIVE)?)));
    Ok(())
}

/// Whether the first load is still to come and may come soon: false once there is a snapshot, where
/// the tables are missing, and at the end of the process.
#[pyfunction]
pub(super) fn is_waiting() -> bool {
    if LIVE.snapshot().is_some() || is_ending() {
        return false;
    }
    ENGINE.load().as_ref().is_some_and(|engine| !is_down_for(&engine.report(), Kind::Missing))
}

fn is_down_for(report: &Report, kind: Kind) -> bool {
    let last = report.last_error.as_ref();
    report.mode == Mode::Down && last.is_some_and(|error| error.kind() == kind)
}

/// Answers questions from the snapshot from now on, `default` while there is none.
#[pyfunction]
pub(super) fn answer_from_memory(tell_unknown: bool) {
    LIVE.open(Door::Memory, tell_unknown);
}

/// Answers questions through `flagstaff._engine.direct` from now on.
#[pyfunction]
pub(super) fn answer_directly(tell_unknown: bool) {
    OWNER.store(std::process::id(), Ordering::Relaxed);
    LIVE.open(Door::Direct, tell_unknown);
}

/// Answers as a test has set it: flags by key, and values by key as JSON text. Replaces what was
/// set before.
#[pyfunction]
pub(super) fn set_overrides(
    flags: HashMap<String, bool>,
    values: HashMap<String, String>,
    opaque_values: bool,
) {
    let setting = |text: String| {
        if opaque_values { Setting::Json(text.into()) } else { Setting::from_json(&text) }
    };
    let values = values.into_iter().map(|(key, text)| (key, setting(text)));
    LIVE.set_overrides(Overrides::new(flags, values));
}

/// Says whether somebody may want to read what their own transaction has written.
#[pyfunction]
pub(super) fn set_own_writes(own_writes: bool) {
    LIVE.set_own_writes(own_writes);
}

const YEAR: f64 = 31_536_000.0;

/// A number of seconds as a duration. A year stands for everything that is longer.
pub(super) fn duration(seconds: f64) -> PyResult<Duration> {
    // f64::min would take the year for NaN.
    let bounded = if seconds > YEAR { YEAR } else { seconds };
    Duration::try_from_secs_f64(bounded).map_err(|_| {
        PyValueError::new_err(format!("a timeout is a number of seconds from 0, not {seconds}"))
    })
}

/// Loads everything now. Releases the GIL and waits for at most `timeout` seconds.
///
/// Raises `RefreshError` where that fails; the snapshot is then what it was.
#[pyfunction]
pub(super) fn refresh(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let Some(engine) = ENGINE.load_full() else { return Ok(()) };
    let limit = duration(timeout)?;
    py.detach(|| engine.refresh(limit))?;
    Ok(())
}

/// Whether there is no connection because the server refused the log-in.
#[pyfunction]
pub(super) fn is_refused() -> bool {
    ENGINE.load().as_ref().is_some_and(|engine| is_down_for(&engine.report(), Kind::Auth))
}

/// Connects with these settings from now on, and at once where there is no connection. Returns at
/// once. True where they are others than before.
///
/// Raises `ConfigurationError` where they cannot be used; those before are kept.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "an extracted argument is owned")]
pub(super) fn reconfigure(settings: BTreeMap<String, String>) -> PyResult<bool> {
    let engine = ENGINE.load_full();
    Ok(engine.map_or(Ok(false), |engine| engine.reconfigure(&settings))?)
}

/// Ends the engine and its connections and forgets the snapshot, so that the next question starts
/// anew. Releases the GIL and waits for at most `timeout` seconds. True where all has ended.
#[pyfunction]
pub(super) fn stop(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let limit = duration(timeout)?;
    let engine = ENGINE.swap(None);
    let ended = engine.is_none_or(|engine| py.detach(|| engine.stop(limit)));
    // Afterwards, or a load that was under way would be remembered again.
    LIVE.forget();
    Ok(ended)
}

/// Ends the engine and its connections at the end of the process, and keeps the snapshot: what is
/// asked after this is answered from it, and nothing calls Python any more. Releases the GIL and
/// waits for at most `timeout` seconds.
#[pyfunction]
pub(super) fn farewell(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let limit = duration(timeout)?;
    let until = Instant::now() + limit;
    calls::end();
    let engine = ENGINE.swap(None);
    py.detach(|| {
        let _ended = engine.is_none_or(|engine| engine.stop(limit));
        calls::wait_until(until);
    });
    Ok(())
}

/// Refuses a second interpreter of the process: it would be given the first one's answers.
/// `interpreter` tells one from another.
///
/// Raises `ConfigurationError` there.
#[pyfunction]
pub(super) fn claim(interpreter: usize) -> PyResult<()> {
    static CLAIMED: AtomicUsize = AtomicUsize::new(0);
    let first = CLAIMED.compare_exchange(0, interpreter, Ordering::Relaxed, Ordering::Relaxed);
    match first {
        Err(other) if other != interpreter => Err(ConfigurationError::new_err(
            "flagstaff answers for one interpreter of a process, and this is another one; give \
             each application its own process, as with WSGIApplicationGroup %{GLOBAL} in mod_wsgi",
        )),
        _ => Ok(()),
    }
}

/// Leaves the parent's engine alone in a forked child, and keeps its snapshot as the child's
/// first answers. Returns at once.
#[pyfunction]
pub(super) fn forked() {
    // Dropping it would end the parent's session, using it would corrupt it: its socket is shared
    // and its thread is not here. So it is leaked.
    std::mem::forget(ENGINE.swap(None));
    calls::forked();
    LIVE.set_own_writes(false);
    usage::forked(LIVE.snapshot().as_deref(), LIVE.unknown());
    let door = LIVE.current().as_ref().map(|state| (state.door, state.snapshot.is_some()));
    match door {
        Some((Door::Memory | Door::Inherited | Door::Starting, true)) => {
            LIVE.open(Door::Inherited, false);
        }
        Some((Door::Direct | Door::Unasked, _)) | None => {}
        Some(_) => LIVE.forget(),
    }
    OWNER.store(std::process::id(), Ordering::Relaxed);
}

/// What `flagstaff.status()` is made of.
#[pyfunction]
pub(super) fn report(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (current, engine) = (LIVE.current(), ENGINE.load());
    let state = current.as_ref();
    let snapshot = state.and_then(|state| state.snapshot.as_deref());
    let report = engine.as_ref().map(|engine| engine.report());
    let (mode, report) = match (state.map(|state| state.door), report) {
        (Some(Door::Direct), _) => ("direct", Report::default()),
        (_, Some(report)) => (report.mode.as_str(), report),
        (_, None) => ("idle", Report::default()),
    };
    let fingerprint = snapshot.and_then(crate::snapshot::Snapshot::fingerprint);
    let problems = snapshot.into_iter().flat_map(crate::snapshot::Snapshot::problems);
    let dict = PyDict::new(py);
    dict.set_item("mode", mode)?;
    dict.set_item("ready", mode == "direct" || snapshot.is_some())?;
    dict.set_item("age", snapshot.and_then(|_| LIVE.age()).map(|age| age.as_secs_f64()))?;
    dict.set_item("version", LIVE.swaps())?;
    dict.set_item("token", fingerprint.map(crate::fingerprint::Fingerprint::newest))?;
    dict.set_item("flags", snapshot.map_or(0, crate::snapshot::Snapshot::flag_count))?;
    dict.set_item("values", snapshot.map_or(0, crate::snapshot::Snapshot::setting_count))?;
    dict.set_item("loads", report.loads)?;
    dict.set_item("load_seconds", report.load_time.map(|time| time.as_secs_f64()))?;
    dict.set_item("failures", report.failures)?;
    let last_error = report.last_error.map(|error| error.to_string());
    let why = report.why.or(last_error.as_deref().filter(|_| mode == "down"));
    dict.set_item("why", why)?;
    dict.set_item("last_error", last_error)?;
    dict.set_item("uncollected", report.uncollected)?;
    dict.set_item("problems", problems.map(ToString::to_string).collect::<Vec<_>>())?;
    dict.set_item("pid", std::process::id())?;
    Ok(dict)
}
