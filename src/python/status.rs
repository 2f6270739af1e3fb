//! What `flagstaff.status()` shows.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::default_types;
use super::state::{ENGINE, LIVE};
use crate::boot_time::since_boot;
use crate::live::EvaluationMode;
use crate::message::Message;
use crate::overrides::Overrides;
use crate::postgres::status::StatusReport;
use crate::postgres::texts;
use crate::row::{Problem, flags_named};
use crate::snapshot::Snapshot;
use crate::token_set::{MissingEntries, TokenSet};

/// The number of texts. Of more problems, the last text says how many others there are.
const MAX_TEXTS: usize = 100;

/// The texts of the last report. A report with the same problems has the same object.
static TEXTS: ArcSwapOption<ProblemTexts> = ArcSwapOption::const_empty();

/// The texts of problems, and what they are made of.
struct ProblemTexts {
    /// The problems that are not of rows.
    own: Vec<Message>,
    version_of_rows: u64,
    texts: Py<PyTuple>,
}

/// Returns the data of `flagstaff.status()`. Does not block.
#[pyfunction]
pub(super) fn status_report(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (current, engine) = (LIVE.current(), ENGINE.load());
    let state = current.as_ref();
    let snapshot = state.and_then(|state| state.snapshot.as_deref());
    let report = engine.as_ref().map(|engine| engine.status());
    let (mode, report) = match (state.map(|state| state.mode), report) {
        (Some(EvaluationMode::Direct), _) => ("direct", StatusReport::default()),
        (_, Some(report)) => (report.mode.as_str(), report),
        (_, None) => ("idle", StatusReport::default()),
    };
    let dict = PyDict::new(py);
    dict.set_item("mode", mode)?;
    dict.set_item("ready", mode == "direct" || snapshot.is_some())?;
    add_snapshot(&dict, snapshot, &report)?;
    add_problems(&dict, snapshot, &report)?;
    add_loads(&dict, mode, &report)?;
    let overrides = state.and_then(|state| state.overrides.as_deref());
    let forced_off = overrides.map(Overrides::forced_off).unwrap_or_default();
    dict.set_item("forced_off", PyTuple::new(py, forced_off)?)?;
    let forced_on = overrides.map(Overrides::forced_on).unwrap_or_default();
    dict.set_item("forced_on", PyTuple::new(py, forced_on)?)?;
    dict.set_item("pid", std::process::id())?;
    Ok(dict)
}

fn add_snapshot(
    dict: &Bound<'_, PyDict>,
    snapshot: Option<&Snapshot>,
    report: &StatusReport,
) -> PyResult<()> {
    let token = snapshot.and_then(Snapshot::token_set).map(TokenSet::newest);
    let age = snapshot.and_then(|_| LIVE.age());
    let age = age.and_then(|age| report.arrival.age(age, since_boot()));
    dict.set_item("age", age.map(|age| age.as_secs_f64()))?;
    let members = snapshot.and_then(Snapshot::age_of_members);
    dict.set_item("members_age", members.map(|age| age.as_secs_f64()))?;
    dict.set_item("version", LIVE.swaps())?;
    dict.set_item("token", token)?;
    dict.set_item("flags", snapshot.map_or(0, Snapshot::flag_count))?;
    dict.set_item("values", snapshot.map_or(0, Snapshot::value_count))
}

fn add_problems(
    dict: &Bound<'_, PyDict>,
    snapshot: Option<&Snapshot>,
    report: &StatusReport,
) -> PyResult<()> {
    let unguarded = snapshot.and_then(unguarded);
    let unwritten =
        [(&texts::COUNTS, report.measure_problem), (&texts::EXPOSURES, report.exposure_problem)];
    let unwritten = unwritten
        .into_iter()
        .filter_map(|(template, why)| Some(template.with([("problem", why?.into())])));
    let missing = snapshot.and_then(Snapshot::token_set).and_then(missing_entries);
    let problems = report.schema_problems.iter().cloned();
    let version = snapshot.map(Snapshot::values_version);
    let default_types = version.map(|version| default_types::problems(dict.py(), version));
    let default_types = default_types.transpose()?.into_iter().flatten();
    let own = problems.chain(missing).chain(unwritten).chain(unguarded).chain(default_types);
    let own: Vec<_> = own.collect();
    let count = own.len() + snapshot.map_or(0, Snapshot::problem_count);
    dict.set_item("problem_count", count)?;
    dict.set_item("problems", problem_texts(dict.py(), own, snapshot, count)?)
}

/// The texts of all problems. They are made once for each version of the rows' problems.
fn problem_texts(
    py: Python<'_>,
    own: Vec<Message>,
    snapshot: Option<&Snapshot>,
    count: usize,
) -> PyResult<Py<PyTuple>> {
    let version_of_rows = snapshot.map_or(0, Snapshot::problems_version);
    if let Some(last) = TEXTS.load().as_ref()
        && (last.version_of_rows, &last.own) == (version_of_rows, &own)
    {
        return Ok(last.texts.clone_ref(py));
    }
    let of_rows = snapshot.into_iter().flat_map(Snapshot::problems);
    let all = own.iter().chain(of_rows.map(Problem::message));
    let shown = if count > MAX_TEXTS { MAX_TEXTS - 1 } else { count };
    let mut messages: Vec<_> = all.take(shown).cloned().collect();
    if count > shown {
        messages.push(texts::MORE_PROBLEMS.with([("count", (count - shown).into())]));
    }
    let texts = PyTuple::new(py, messages)?.unbind();
    let made = ProblemTexts { own, version_of_rows, texts: texts.clone_ref(py) };
    TEXTS.store(Some(Arc::new(made)));
    Ok(texts)
}

/// What `problems` says about the flags whose plans nobody watches, `None` without one.
fn unguarded(snapshot: &Snapshot) -> Option<Message> {
    let now = Instant::now();
    let first = snapshot.unguarded(now).min()?;
    let flags = flags_named(first, snapshot.unguarded(now).count().saturating_sub(1));
    Some(texts::UNGUARDED.with([("flag", flags.into())]))
}

/// What `problems` says about changes without an entry in the history, `None` without one.
fn missing_entries(token_set: &TokenSet) -> Option<Message> {
    let MissingEntries { count, newest } = token_set.missing();
    let changes = match usize::try_from(*count).unwrap_or_default() {
        0 => return None,
        1 => (&texts::CHANGE_HAS).into(),
        count => texts::CHANGES_HAVE.with([("count", count.into())]).into(),
    };
    let values = [("changes", changes), ("time", (&**newest).into())];
    Some(texts::ENTRIES_MISSING.with(values))
}

fn add_loads(dict: &Bound<'_, PyDict>, mode: &str, report: &StatusReport) -> PyResult<()> {
    let last_error = report.last_error.as_ref().map(|error| error.message());
    let reason = report.reason.as_ref().or(last_error.as_ref().filter(|_| mode == "down"));
    dict.set_item("loads", report.loads)?;
    dict.set_item("load_seconds", report.load_time.map(|time| time.as_secs_f64()))?;
    dict.set_item("failures", report.failures)?;
    dict.set_item("lost_changes", report.lost_changes)?;
    dict.set_item("last_lost_changes", report.last_lost_changes.clone())?;
    dict.set_item("mode_reason", reason.cloned())?;
    dict.set_item("last_error", last_error)?;
    dict.set_item("usage_problem", report.usage_problem.map(Message::from))
}
