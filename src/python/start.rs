//! The first evaluation of a process: starts the engine and waits for the first load.
//!
//! It calls Python to read the options, to wait, and if the wait was in vain. No lock is held: the
//! thread that starts the engine holds the GIL, so no other thread starts a second one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};
use pyo3::prelude::*;

use super::calls::is_ending;
use super::hooks::Hooks;
use super::maintenance;
use super::seconds::duration;
use super::state::{ENGINE, LIVE, is_in_mode, is_owner, mode, take_ownership};
use crate::boot_time::since_boot;
use crate::live::{EvaluationMode, State};
use crate::postgres::engine::{Engine, LOAD_TIMEOUT, Options};
use crate::postgres::error::ErrorKind;
use crate::postgres::status::{RefreshMode, StatusReport};

/// What Python reads once, as `flagstaff._engine.lifecycle.StartOptions`.
#[derive(FromPyObject)]
pub(super) struct StartOptions {
    startup_timeout: f64,
    report_unknown: bool,
    /// `None` if the process evaluates directly.
    engine: Option<EngineOptions>,
}

/// `flagstaff._engine.lifecycle.EngineOptions`.
#[derive(FromPyObject)]
struct EngineOptions {
    parameters: BTreeMap<String, String>,
    names: HashMap<String, String>,
    listen: bool,
    poll_interval: f64,
    pool_size: u32,
    pool_idle: f64,
    max_staleness: f64,
    usage_interval: f64,
    measure_interval: f64,
    new_visitors_per_hour: u32,
    host: String,
    release: String,
    /// `None` with the same parameters.
    report_parameters: Option<BTreeMap<String, String>>,
    region: String,
}

/// How long evaluations wait for the first load, and what follows the wait.
struct FirstLoad {
    until: Instant,
    report_unknown: bool,
    /// When the process has started, since boot, if it has inherited a snapshot that was old then. A
    /// load must confirm it.
    outdated_at: Option<Duration>,
}

static FIRST_LOAD: ArcSwapOption<FirstLoad> = ArcSwapOption::const_empty();

/// The state to evaluate with, and whether this evaluation reads through Django's own connection:
/// either the process evaluates directly, or the caller reads what its own transaction has written.
/// The first evaluation of a process starts the engine.
pub(super) fn current(py: Python<'_>) -> PyResult<(Guard<Option<Arc<State>>>, bool)> {
    let current = LIVE.current();
    let own_writes = current.as_ref().is_some_and(|state| state.own_writes);
    // A caller that reads its own writes needs no engine.
    if is_in_mode(EvaluationMode::Direct) || (own_writes && Hooks::reads_own_writes(py)?) {
        return Ok((current, true));
    }
    if !is_in_mode(EvaluationMode::Memory) {
        start(py, false, true)?;
    }
    Ok((LIVE.current(), is_in_mode(EvaluationMode::Direct)))
}

/// The state of a process in which flags are forced off or on, as long as an evaluation may wait for the
/// first load.
pub(super) fn before_first_load() -> Guard<Option<Arc<State>>> {
    let current = LIVE.current();
    let is_waiting = current.as_ref().is_some_and(|state| {
        !matches!(state.mode, EvaluationMode::Memory | EvaluationMode::Direct)
            && !state.own_writes
            && state.overrides.as_ref().is_some_and(|overrides| overrides.forces())
    });
    if is_waiting { current } else { Guard::from_inner(None) }
}

/// Starts the engine unless that is done, and waits for the first load.
///
/// Returns True if there is an engine, False if the process evaluates directly. Blocks for at most
/// `STARTUP_TIMEOUT`, not at all without `wait`. Raises `ConfigurationError` if the settings are
/// not usable.
#[pyfunction]
#[pyo3(signature = (*, in_memory = false, wait = true))]
pub(super) fn start(py: Python<'_>, in_memory: bool, wait: bool) -> PyResult<bool> {
    if is_ending() {
        return Ok(false);
    }
    if !is_started() {
        // None: the code that reads the options evaluates a flag itself.
        let Some(options) = Hooks::read_options(py, in_memory)? else { return Ok(false) };
        // Another thread may have started the engine while this one read the options.
        if !is_started() {
            options.extract::<StartOptions>()?.apply()?;
        }
    }
    if is_in_mode(EvaluationMode::Direct) {
        return Ok(false);
    }
    let is_running = ENGINE.load().as_ref().is_none_or(|engine| engine.ensure_running());
    // Without threads nothing loads. The mode stays, so the next evaluation comes here again.
    if wait && is_running {
        finish(py)?;
    }
    Ok(true)
}

/// Returns True if the first load has not finished and may still succeed. Does not block.
#[pyfunction]
pub(super) fn is_waiting() -> bool {
    if is_loaded() || is_ending() {
        return false;
    }
    ENGINE.load().as_ref().is_some_and(|engine| {
        engine.is_running() && !is_down_for(&engine.status(), ErrorKind::Missing)
    })
}

/// Sets whether unknown keys are reported. Called when the settings change, in a test.
#[pyfunction]
pub(super) fn set_report_unknown(report_unknown: bool) {
    let changed = |first: &Arc<FirstLoad>| Arc::new(FirstLoad { report_unknown, ..**first });
    FIRST_LOAD.rcu(|first| first.as_ref().map(changed));
    if let Some(mode @ (EvaluationMode::Memory | EvaluationMode::Direct)) = mode() {
        LIVE.set_mode(mode, report_unknown);
    }
}

/// Whether there is a snapshot that this process has loaded, or that was up to date at the fork.
fn is_loaded() -> bool {
    let outdated_at = FIRST_LOAD.load().as_ref().and_then(|first| first.outdated_at);
    LIVE.snapshot().is_some() && outdated_at.is_none_or(|start| LIVE.is_current_since(start))
}

/// Whether the engine has no connection because of an error of this kind.
pub(super) fn is_down_for(report: &StatusReport, kind: ErrorKind) -> bool {
    let last = report.last_error.as_ref();
    report.mode == RefreshMode::Down && last.is_some_and(|error| error.kind() == kind)
}

fn is_started() -> bool {
    use EvaluationMode::{Direct, Memory, Starting};
    is_owner() && matches!(mode(), Some(Starting | Memory | Direct))
}

impl StartOptions {
    fn apply(self) -> PyResult<()> {
        let until = Instant::now() + duration(self.startup_timeout)?;
        let report_unknown = self.report_unknown;
        take_ownership();
        let Some(options) = self.engine else {
            LIVE.set_mode(EvaluationMode::Direct, report_unknown);
            return Ok(());
        };
        // An engine would have polled by now.
        let poll_interval = duration(options.poll_interval)?;
        let is_outdated = LIVE.age().is_some_and(|age| age > poll_interval);
        let outdated_at = is_outdated.then(since_boot);
        FIRST_LOAD.store(Some(Arc::new(FirstLoad { until, report_unknown, outdated_at })));
        options.start()
    }
}

impl EngineOptions {
    fn start(self) -> PyResult<()> {
        let options = Options {
            parameters: self.parameters,
            names: self.names,
            listen: self.listen,
            poll_interval: duration(self.poll_interval)?,
            load_timeout: LOAD_TIMEOUT,
            pool_size: self.pool_size,
            pool_idle: duration(self.pool_idle)?,
            max_staleness: duration(self.max_staleness)?,
            usage_interval: duration(self.usage_interval)?,
            measure_interval: duration(self.measure_interval)?,
            host: self.host,
            release: self.release,
            report_parameters: self.report_parameters,
            region: self.region,
            on_event: maintenance::run_soon,
        };
        LIVE.exposures().begin(self.new_visitors_per_hour);
        let before = mode().unwrap_or_default();
        // First: a snapshot is published only in a process that has started.
        LIVE.set_mode(EvaluationMode::Starting, false);
        let engine =
            Engine::start(&options, &LIVE).inspect_err(|_| LIVE.set_mode(before, false))?;
        // An earlier engine stops when it is dropped.
        ENGINE.store(Some(Arc::new(engine)));
        Ok(())
    }
}

/// Waits until the deadline of the first load, and evaluates from memory from then on.
fn finish(py: Python<'_>) -> PyResult<()> {
    let Some(first) = FIRST_LOAD.load_full() else { return Ok(()) };
    if is_waiting() {
        let left = first.until.saturating_duration_since(Instant::now());
        Hooks::wait_for_first_load(py, left.as_secs_f64())?;
    }
    // The engine may have been stopped meanwhile.
    if is_owner() && is_in_mode(EvaluationMode::Starting) {
        LIVE.set_mode(EvaluationMode::Memory, first.report_unknown);
        if LIVE.snapshot().is_none() {
            Hooks::log_late_start(py)?;
        }
    }
    Ok(())
}
