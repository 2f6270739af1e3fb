//! `flagstaff.impact`: computes it over the pool, or over users that Django reads.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use super::attribute_value::read_value;
use super::errors::{FlagstaffError, raising};
use super::hooks::Hooks;
use super::interrupts::interruptible;
use super::seconds::duration;
use super::state::ENGINE;
use super::subject::UserArgument;
use crate::flag::Flag;
use crate::impact::{Decided, Impact, Reach, ValueImpact, ValueState};
use crate::postgres::reports::impact::ImpactQuery;
use crate::postgres::texts;
use crate::row_rules::RowRules;
use crate::rules::{Attribute, Attributes, RuleKind, SegmentConditions, Value};
use crate::subject::Subject;
use crate::targeting::Targeting;
use crate::user_set::UserSet;

/// A state of a flag: `enabled`, rollout, the JSON text of its rules, and the attribute that it
/// buckets by.
type State = (bool, i32, Option<String>, Option<String>);

/// A state of a value: the JSON texts of the value itself and of its rules, and the attribute that
/// they bucket by.
type OwnState = (String, Option<String>, Option<String>);

/// The numbers of users for whom a rule decides, of those who have the flag, and of further users for
/// whom it may decide.
type DecidedCounts = (u64, u64, u64);

/// The numbers of users who have a flag, who may have it, and who are allowed users; the users for whom
/// each rule decides, and for whom the rollout decides.
type ReachCounts = (u64, u64, u64, Vec<DecidedCounts>, DecidedCounts);

/// The numbers of users in total, gaining and losing the flag, the sample, and whom it reaches before and
/// after.
type Counted = (u64, u64, u64, Vec<String>, (ReachCounts, ReachCounts));

/// The numbers of users in total and of those whose value changes, the sample, and who has another
/// value than the value itself before and after.
type CountedValue = (u64, u64, Vec<String>, (ReachCounts, ReachCounts));

/// Computes the impact over a pooled connection. Releases the GIL and blocks for at most `timeout`
/// seconds. `states` are `enabled` and rollout before and after. `statements` read the allowed users,
/// the extent of `table` (the users), and the users on some of its pages. Returns None if there is no
/// engine, or if its connection cannot compute it.
///
/// Raises `RefreshError` if the database fails or takes longer.
#[pyfunction]
pub(super) fn impact(
    py: Python<'_>,
    key: String,
    states: ((bool, i32), (bool, i32)),
    sample: usize,
    statements: (String, String, String),
    table: String,
    timeout: f64,
) -> PyResult<Option<Counted>> {
    let Some(engine) = ENGINE.load_full() else { return Ok(None) };
    let limit = duration(timeout)?;
    let (allowed_users, extent, users) = statements;
    let query = ImpactQuery { key, states, sample, allowed_users, extent, users, table };
    let impact = interruptible(py, |interrupted| engine.impact(query, limit, interrupted))?;
    Ok(impact.map(counted))
}

/// Computes the impact on these users of another state of a flag. `states` are the states before and
/// after, `allowed_users` texts of primary keys, and `segments` JSON texts by key. Each of `users` is
/// a tuple of the primary key and the attributes whose names are the first of `names`. The result of a
/// user may depend on the attributes whose names are the second.
///
/// Raises what iterating over `users` raises, and `FlagstaffError` if the rules cannot be read.
#[pyfunction]
pub(super) fn impact_on(
    key: &str,
    sample: usize,
    states: (State, State),
    allowed_users: Vec<String>,
    segments: HashMap<String, String>,
    users: &Bound<'_, PyIterator>,
    names: (Vec<String>, HashSet<String>),
) -> PyResult<Counted> {
    let segments = parse_segments(segments);
    let allowed_users = Arc::new(UserSet::of_texts(allowed_users));
    let flag = |(enabled, rollout_percent, rules, bucket_by): State| -> PyResult<Flag> {
        let targeting =
            targeting_of(users.py(), key, (rules, bucket_by), RuleKind::Flag, &segments)?;
        let flag = Flag::detached(enabled, rollout_percent, allowed_users.clone());
        Ok(Flag { targeting, ..flag })
    };
    let mut impact = Impact::between(key, flag(states.0)?, flag(states.1)?, sample);
    let (names, unknown) = names;
    for_each(users, (&names, &unknown), |subject, attributes, is_known| {
        impact.count_with(subject, attributes, is_known);
    })?;
    Ok(counted(impact))
}

/// Computes the impact on these users of another state of a value, as `impact_on` does. `states` are
/// JSON texts of the value itself and of its rules, and the attribute that they bucket by. Equal
/// results must have equal texts.
#[pyfunction]
pub(super) fn impact_on_value(
    key: &str,
    sample: usize,
    states: (OwnState, OwnState),
    segments: HashMap<String, String>,
    users: &Bound<'_, PyIterator>,
    names: (Vec<String>, HashSet<String>),
) -> PyResult<CountedValue> {
    let segments = parse_segments(segments);
    let value = |(own, rules, bucket_by): OwnState| -> PyResult<ValueState> {
        let targeting =
            targeting_of(users.py(), key, (rules, bucket_by), RuleKind::Value, &segments)?;
        Ok(ValueState { own: own.into(), targeting })
    };
    let mut impact = ValueImpact::between(key, (value(states.0)?, value(states.1)?), sample);
    let (names, unknown) = names;
    for_each(users, (&names, &unknown), |subject, attributes, is_known| {
        impact.count_with(subject, attributes, is_known);
    })?;
    let (users, changed) = (impact.users, impact.changed);
    let reach = (reach_counts(&impact.reach.0), reach_counts(&impact.reach.1));
    Ok((users, changed, texts_of(impact.into_sample()), reach))
}

/// The conditions of segments by key, given as JSON texts. One that cannot be read is missing.
fn parse_segments(texts: HashMap<String, String>) -> HashMap<String, Arc<SegmentConditions>> {
    let parse = |(key, text): (String, String)| {
        Some((key, Arc::new(SegmentConditions::parse(&text).ok()?)))
    };
    texts.into_iter().filter_map(parse).collect()
}

/// Calls `count` for each user with its attributes and what says whether one is known.
fn for_each(
    users: &Bound<'_, PyIterator>,
    (names, unknown): (&[String], &HashSet<String>),
    mut count: impl FnMut(&Subject<'_>, &Columns<'_, '_>, &dyn Fn(&str) -> bool),
) -> PyResult<()> {
    for row in users {
        let attributes = Columns { row: row?.cast_into()?, names, interrupt: Cell::new(None) };
        let user = attributes.row.get_item(0)?;
        if let Some(user) = UserArgument::new(Some(&user))? {
            user.with_subject(|subject| {
                count(&subject, &attributes, &|name| !unknown.contains(name));
            })?;
        }
        attributes.interrupt.take().map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn targeting_of(
    py: Python<'_>,
    key: &str,
    (rules, bucket_by): (Option<String>, Option<String>),
    kind: RuleKind,
    segments: &HashMap<String, Arc<SegmentConditions>>,
) -> PyResult<Option<Arc<Targeting>>> {
    let rules = rules.map(|text| rules_of(py, key, text, kind, segments)).transpose()?.flatten();
    Ok(Targeting::new(rules, bucket_by.map(Into::into)))
}

fn rules_of(
    py: Python<'_>,
    key: &str,
    text: String,
    kind: RuleKind,
    segments: &HashMap<String, Arc<SegmentConditions>>,
) -> PyResult<Option<Arc<RowRules>>> {
    let rules = RowRules::next(None, Ok(text.into()), kind, |_| None);
    let Some(rules) = rules else { return Ok(None) };
    match rules.unreadable() {
        Some(why) => {
            let values = [("key", format!("{key:?}").into()), ("problem", why.into())];
            let why = match kind {
                RuleKind::Flag => texts::UNREADABLE_RULES.with(values),
                RuleKind::Value => texts::UNREADABLE_VALUE_RULES.with(values),
            };
            let message = texts::NOT_COUNTED.with([("why", why.into())]);
            Err(raising(py, message, FlagstaffError::new_err))
        }
        None => Ok(Some(rules.with_segments(|key| segments.get(key).cloned()))),
    }
}

/// The attributes of a user that are columns, as rules read those of a user object.
struct Columns<'a, 'py> {
    /// The primary key, and a value for each name.
    row: Bound<'py, PyTuple>,
    names: &'a [String],
    /// What ends the count, such as `KeyboardInterrupt`.
    interrupt: Cell<Option<PyErr>>,
}

impl Attributes for Columns<'_, '_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        if name == "is_authenticated" {
            return with(Attribute::Value(Value::Bool(true)));
        }
        let column = self.names.iter().position(|column| column == name);
        let item = column.and_then(|column| self.row.get_item(column + 1).ok());
        let Some(item) = item else { return with(Attribute::Missing) };
        if matches!(name, "is_staff" | "is_superuser") {
            return with(
                item.is_truthy()
                    .map_or(Attribute::Missing, |value| Attribute::Value(Value::Bool(value))),
            );
        }
        match read_value(item) {
            Ok(Some(value)) => value.with(|value| with(Attribute::Value(value))),
            Ok(None) => with(Attribute::Missing),
            // As in an evaluation, an attribute whose code raises is missing.
            Err(error) => {
                if !error.is_instance_of::<PyException>(self.row.py()) {
                    self.interrupt.set(Some(error));
                }
                with(Attribute::Missing)
            }
        }
    }

    fn utc(&self, wall: i64) -> i64 {
        Hooks::utc_of(self.row.py(), wall).unwrap_or_else(|error| {
            self.interrupt.set(Some(error));
            wall
        })
    }
}

fn counted(impact: Impact) -> Counted {
    let (users, gain, lose) = (impact.users, impact.gain, impact.lose);
    let reach = (reach_counts(&impact.reach.0), reach_counts(&impact.reach.1));
    (users, gain, lose, texts_of(impact.into_sample()), reach)
}

fn texts_of(sample: Vec<Box<str>>) -> Vec<String> {
    sample.into_iter().map(Into::into).collect()
}

fn reach_counts(reach: &Reach) -> ReachCounts {
    let counts = |decided: &Decided| (decided.subjects, decided.on, decided.unsure);
    let rules = reach.rules.iter().map(counts).collect();
    (reach.on, reach.unsure, reach.allowed, rules, counts(&reach.others))
}
