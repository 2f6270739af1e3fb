//! Compares two snapshots: how many users get another result in the second one.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use super::attribute_value::read_value;
use super::direct::{self, Rows};
use super::hooks::Hooks;
use super::subject::UserArgument;
use crate::assign::assign;
use crate::evaluate::{evaluate, evaluate_value};
use crate::experiment::ExperimentState;
use crate::groups::GroupsOf;
use crate::row_rules::RowRules;
use crate::rules::{Attribute, Attributes, GROUPS, Rules, Value};
use crate::snapshot::Snapshot;
use crate::stored_value::StoredValue;
use crate::subject::Subject;
use crate::value_rules::ValueRules;

/// The numbers of users who gain a flag, who lose it, who have it before and after, and whose result
/// differs. Those of a value and of an experiment have the last one only.
type Counts = (u64, u64, u64, u64, u64);

/// The rows of some flags, values and experiments before a change and after it.
#[pyclass(frozen)]
pub(super) struct Comparison {
    before: Snapshot,
    after: Snapshot,
    /// "flag", "value" or "experiment", and the key.
    keys: Vec<(String, String)>,
}

/// What a subject gets.
#[derive(PartialEq)]
enum Result<'a> {
    Flag(bool),
    Value(Option<&'a StoredValue>),
    Variant(Option<&'a str>),
}

#[pymethods]
impl Comparison {
    /// Compares rows as `flagstaff._engine.direct.read_all` returns them. Reads the groups that rules
    /// name.
    ///
    /// Rules that cannot be read after the change stay those of before, as in a worker.
    #[new]
    fn new(
        py: Python<'_>,
        before: Rows,
        after: Rows,
        keys: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let next = |snapshot: &Snapshot, rows| {
            direct::with_groups(py, snapshot.next(direct::loaded(rows)))
        };
        let before = next(&Snapshot::default(), before)?;
        Ok(Self { after: next(&before, after)?, before, keys })
    }

    /// What the results of each key depend on: the names of attributes, those of bucketing units
    /// included; `None` if its rules could never be read.
    fn attributes(&self) -> Vec<Option<BTreeSet<&str>>> {
        let of_key = |(kind, key): &(String, String)| {
            let mut names = BTreeSet::new();
            for snapshot in [&self.before, &self.after] {
                let (rules, unit) = inputs(snapshot, kind, key);
                let rules =
                    rules.map(|rules| rules.rules()).map_or(Some(None), |rules| rules.map(Some))?;
                names.extend(rules.map_or(&[][..], Rules::attributes).iter().map(|name| &**name));
                names.extend(unit);
            }
            Some(names)
        };
        self.keys.iter().map(of_key).collect()
    }

    /// Counts for how many of the users some result differs, and the users of each key. Each of `users`
    /// is a tuple of the primary key, None for an anonymous user, and the attributes that `names` has.
    /// Others are unknown, and conditions on them false.
    ///
    /// Raises what iterating over `users` raises.
    fn count(
        &self,
        users: &Bound<'_, PyIterator>,
        names: Vec<String>,
    ) -> PyResult<(u64, Vec<Counts>)> {
        let (mut changed, mut counts) = (0, vec![Counts::default(); self.keys.len()]);
        for row in users {
            let row = row?.cast_into::<PyTuple>()?;
            let (pk, interrupt) = (row.get_item(0)?, Cell::new(None));
            let user = UserArgument::new(Some(&pk).filter(|pk| !pk.is_none()))?;
            let mut evaluate = |subject: Subject<'_>| {
                let [before, after] = [&self.before, &self.after].map(|snapshot| Columns {
                    row: &row,
                    names: &names,
                    subject,
                    snapshot,
                    interrupt: &interrupt,
                });
                let mut differs = false;
                for (counts, (kind, key)) in counts.iter_mut().zip(&self.keys) {
                    differs |= add(counts, &before.result(kind, key), &after.result(kind, key));
                }
                changed += u64::from(differs);
            };
            match user {
                Some(user) => user.with_subject(evaluate)?,
                None => evaluate(Subject::Anonymous),
            }
            interrupt.take().map_or(Ok(()), Err)?;
        }
        Ok((changed, counts))
    }
}

/// Counts a user. Returns whether its result differs.
fn add(counts: &mut Counts, before: &Result<'_>, after: &Result<'_>) -> bool {
    let [had, has] = [before, after].map(|result| u64::from(*result == Result::Flag(true)));
    counts.0 += has & !had & 1;
    counts.1 += had & !has & 1;
    counts.2 += had;
    counts.3 += has;
    counts.4 += u64::from(before != after);
    before != after
}

/// The rules of a row that decide now, and the attribute that its percentages bucket by.
fn inputs<'a>(
    snapshot: &'a Snapshot,
    kind: &str,
    key: &str,
) -> (Option<&'a RowRules>, Option<&'a str>) {
    let found = match kind {
        "flag" => {
            snapshot.flag(key).filter(|flag| flag.enabled).map(|flag| (flag.rules(), flag.unit()))
        }
        "value" => snapshot
            .value(key)
            .and_then(|value| value.rules())
            .map(|rules| (rules.targeting.rules.as_ref(), rules.unit())),
        _ => snapshot
            .experiment(key)
            .filter(|found| found.state == ExperimentState::Running)
            .map(|found| (found.rules.as_ref(), found.bucket_by.as_deref())),
    };
    found.map_or((None, None), |(rules, unit)| (rules.map(|rules| &**rules), unit))
}

/// The attributes of a user that the database knows.
struct Columns<'a, 'py> {
    /// The primary key, and a value for each name.
    row: &'a Bound<'py, PyTuple>,
    names: &'a [String],
    subject: Subject<'a>,
    snapshot: &'a Snapshot,
    /// What ends the count, such as `KeyboardInterrupt`.
    interrupt: &'a Cell<Option<PyErr>>,
}

impl<'a> Columns<'a, '_> {
    fn result(&self, kind: &str, key: &str) -> Result<'a> {
        let (snapshot, subject) = (self.snapshot, &self.subject);
        match kind {
            "flag" => {
                let flag = snapshot.flag(key);
                Result::Flag(flag.is_some_and(|flag| evaluate(key, flag, subject, self).value))
            }
            "value" => Result::Value(snapshot.value(key).map(|stored| {
                let decided = |rules: &'a Arc<ValueRules>| {
                    rules.result_of(evaluate_value(key, &rules.targeting, subject, self))
                };
                stored.rules().and_then(decided).unwrap_or(stored.value())
            })),
            _ => Result::Variant(snapshot.experiment(key).and_then(|experiment| {
                let variant = assign(experiment, subject, self).variant?;
                Some(experiment.allocation.key(variant))
            })),
        }
    }
}

impl Attributes for Columns<'_, '_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        let is_user = self.subject != Subject::Anonymous;
        let column = self.names.iter().position(|column| column == name);
        let item = column.filter(|_| is_user).and_then(|column| self.row.get_item(column + 1).ok());
        match (name, item) {
            ("is_authenticated", _) => with(Attribute::Value(Value::Bool(is_user))),
            (GROUPS, _) => with(self.snapshot.groups().map_or(Attribute::Missing, |groups| {
                Attribute::Value(Value::Groups(GroupsOf::new(groups, self.subject)))
            })),
            ("is_staff" | "is_superuser", None) if !is_user => {
                with(Attribute::Value(Value::Bool(false)))
            }
            ("is_staff" | "is_superuser", item) => {
                let value = item.and_then(|item| item.is_truthy().ok());
                with(value.map_or(Attribute::Missing, |value| Attribute::Value(Value::Bool(value))))
            }
            (_, None) if column.is_none() => with(Attribute::Unknown),
            (_, None) => with(Attribute::Missing),
            (_, Some(item)) => match read_value(item) {
                Ok(Some(value)) => value.with(|value| with(Attribute::Value(value))),
                Ok(None) => with(Attribute::Missing),
                // As in an evaluation, an attribute whose code raises is missing.
                Err(error) => {
                    if !error.is_instance_of::<PyException>(self.row.py()) {
                        self.interrupt.set(Some(error));
                    }
                    with(Attribute::Missing)
                }
            },
        }
    }

    fn utc(&self, wall: i64) -> i64 {
        Hooks::utc_of(self.row.py(), wall).unwrap_or_else(|error| {
            self.interrupt.set(Some(error));
            wall
        })
    }
}
