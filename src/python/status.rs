//! What `flagstaff.status()` shows.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::state::{ENGINE, LIVE};
use crate::live::EvaluationMode;
use crate::message::Message;
use crate::overrides::Overrides;
use crate::postgres::status::StatusReport;
use crate::postgres::texts;
use crate::snapshot::Snapshot;
use crate::token_set::{MissingEntries, TokenSet};

/// The fields of `flagstaff.status()`, as a dict.
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
    add_snapshot(&dict, snapshot)?;
    add_problems(&dict, snapshot, &report)?;
    add_loads(&dict, mode, &report)?;
    let overrides = state.and_then(|state| state.overrides.as_deref());
    dict.set_item("forced_off", overrides.map(Overrides::forced_off).unwrap_or_default())?;
    dict.set_item("pid", std::process::id())?;
    Ok(dict)
}

fn add_snapshot(dict: &Bound<'_, PyDict>, snapshot: Option<&Snapshot>) -> PyResult<()> {
    let token = snapshot.and_then(Snapshot::token_set).map(TokenSet::newest);
    dict.set_item("age", snapshot.and_then(|_| LIVE.age()).map(|age| age.as_secs_f64()))?;
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
    let rows = snapshot.into_iter().flat_map(Snapshot::problems);
    let rows = rows.map(|problem| problem.message().clone());
    let unguarded = snapshot.into_iter().flat_map(|snapshot| snapshot.unguarded(Instant::now()));
    let unguarded =
        unguarded.map(|flag| texts::UNGUARDED.with([("key", format!("{flag:?}").into())]));
    let unwritten =
        [(&texts::COUNTS, report.measure_problem), (&texts::EXPOSURES, report.exposure_problem)];
    let unwritten = unwritten
        .into_iter()
        .filter_map(|(template, why)| Some(template.with([("problem", why?.into())])));
    let missing = snapshot.and_then(Snapshot::token_set).and_then(missing_entries);
    let problems = report.schema_problems.iter().cloned();
    let problems: Vec<_> =
        problems.chain(missing).chain(unwritten).chain(unguarded).chain(rows).collect();
    dict.set_item("problems", problems)
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
    dict.set_item("mode_reason", reason.cloned())?;
    dict.set_item("last_error", last_error)?;
    dict.set_item("usage_problem", report.usage_problem.map(Message::from))
}
