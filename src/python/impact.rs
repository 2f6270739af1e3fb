//! `flagstaff.impact`: computes it over the pool, or over users that Django reads.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::interrupts::interruptible;
use super::seconds::duration;
use super::state::ENGINE;
use super::subject::UserArgument;
use crate::allowed_users::AllowedUsers;
use crate::flag::Flag;
use crate::impact::Impact;
use crate::postgres::reports::impact::ImpactQuery;

/// `enabled`, rollout, the numbers of users in total, with the flag, gaining and losing it, and the
/// sample.
type Counted = (bool, i32, u64, u64, u64, u64, Vec<String>);

/// Computes the impact over a pooled connection. Releases the GIL and blocks for at most `timeout`
/// seconds. `statements` read the flag, the extent of `table` (the users), and the users on some of
/// its pages. Returns None if there is no engine, or if its connection cannot compute it.
///
/// Raises `RefreshError` if the database fails or takes longer.
#[pyfunction]
pub(super) fn impact(
    py: Python<'_>,
    key: String,
    percent: i32,
    sample: usize,
    statements: (String, String, String),
    table: String,
    timeout: f64,
) -> PyResult<Option<Counted>> {
    let Some(engine) = ENGINE.load_full() else { return Ok(None) };
    let limit = duration(timeout)?;
    let (flag, extent, users) = statements;
    let query = ImpactQuery { key, percent, sample, flag, extent, users, table };
    let impact = interruptible(py, |interrupted| engine.impact(query, limit, interrupted))?;
    Ok(impact.map(counted))
}

/// Computes the impact on these users. `flag` is `enabled`, rollout and allowed users as texts.
///
/// Raises what iterating over `users` raises.
#[pyfunction]
pub(super) fn impact_on(
    key: &str,
    percent: i32,
    sample: usize,
    flag: (bool, i32, Vec<String>),
    users: &Bound<'_, PyIterator>,
) -> PyResult<Counted> {
    let (enabled, rollout_percent, allowed) = flag;
    let allowed_users = Arc::new(AllowedUsers::of_texts(allowed));
    let flag = Flag::detached(enabled, rollout_percent, allowed_users);
    let mut impact = Impact::new(key, flag, percent, sample);
    for user in users {
        if let Some(user) = UserArgument::new(Some(&user?))? {
            user.with_subject(|subject| impact.count(&subject))?;
        }
    }
    Ok(counted(impact))
}

fn counted(impact: Impact) -> Counted {
    let (enabled, rollout_percent) = (impact.flag().enabled, impact.flag().rollout_percent);
    let Impact { users, have, gain, lose, .. } = impact;
    let sample = impact.into_sample().into_iter().map(Into::into).collect();
    (enabled, rollout_percent, users, have, gain, lose, sample)
}
