//! Compares two snapshots: how many users get another result in the second one.

use std::collections::BTreeSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use super::attribute_value::read_value;
use super::direct::{self, Rows};
use super::hooks::Hooks;
use super::state::LIVE;
use super::subject::with_key;
use crate::assign::assign;
use crate::evaluate::{evaluate, evaluate_value};
use crate::experiment::ExperimentState;
use crate::flag::Flag;
use crate::groups::GroupsOf;
use crate::prerequisites::Prerequisites;
use crate::row_rules::RowRules;
use crate::rules::{Attribute, Attributes, GROUPS, Value};
use crate::snapshot::{Snapshot, Stored};
use crate::stored_value::StoredValue;
use crate::subject::Subject;

/// The users who gain a flag, who lose it, who have it before and after, and whose result differs. A
/// value and an experiment have the last number only.
type Counts = [u64; 5];

/// The rows of some flags, values and experiments before a change and after it.
#[pyclass(frozen)]
pub(super) struct Comparison {
    snapshots: [Snapshot; 2],
    /// "flag", "value" or "experiment", and the key.
    keys: Vec<(String, String)>,
}

/// What a subject gets; none for a flag that it does not have.
#[derive(Clone, Copy, PartialEq)]
enum Outcome<'a> {
    On,
    Value(&'a StoredValue),
    Variant(&'a str),
}

#[pymethods]
impl Comparison {
    /// Takes rows as `direct.read_all` returns them, and "flag", "value" or "experiment".
    ///
    /// The flags that rules need must be among the rows: others are unknown, and conditions on them
    /// false. Reads the groups that rules name; raises `NotReadyError` if that fails. Rules that
    /// cannot be read after the change stay those of before, as in a worker.
    #[new]
    fn new(
        py: Python<'_>,
        before: Rows,
        after: Rows,
        keys: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let next = |last: &Snapshot, rows| {
            direct::with_groups(last.next(direct::loaded(rows)), |names| {
                Hooks::read_groups(py, names)
            })
        };
        let before = next(&Snapshot::declaring(LIVE.declared()), before)?;
        let after = next(&before, after)?;
        Ok(Self { snapshots: [before, after], keys })
    }

    /// Returns what the results of each key depend on, before and after.
    ///
    /// That includes bucketing units and needed flags. None stands for unreadable rules.
    fn attributes(&self) -> Vec<Option<(BTreeSet<&str>, BTreeSet<&str>)>> {
        let [before, after] = &self.snapshots;
        let of_key = |(kind, key): &(String, String)| {
            Some((names(before, kind, key)?, names(after, kind, key)?))
        };
        self.keys.iter().map(of_key).collect()
    }

    /// Returns for how many of the users some result differs, and the users of each key.
    ///
    /// These are who gain a flag, lose it, have it before and after, and whose result differs. A
    /// user is a primary key, None for an anonymous one, and the attributes that `names` has.
    /// Others are unknown, and conditions on them false. Raises what iterating over `users` raises.
    fn count(
        &self,
        users: &Bound<'_, PyIterator>,
        names: Vec<String>,
    ) -> PyResult<(u64, Vec<Counts>)> {
        let (mut changed, mut counts) = (0, vec![Counts::default(); self.keys.len()]);
        let names = names.into_boxed_slice();
        for row in users {
            let (row, names) = (&row?.cast_into::<PyTuple>()?, &names);
            let pk = row.get_item(0)?;
            let evaluate = |subject: Subject<'_>| {
                let of_user = |snapshot| Columns { row, names, subject, snapshot };
                let [before, after] = self.snapshots.each_ref().map(of_user);
                let mut differs = false;
                for (counts, (kind, key)) in counts.iter_mut().zip(&self.keys) {
                    differs |= add(counts, before.outcome(kind, key), after.outcome(kind, key));
                }
                changed += u64::from(differs);
            };
            with_key(&pk, false, evaluate)?;
        }
        Ok((changed, counts))
    }
}

/// Counts a user. Returns whether its result differs.
fn add(counts: &mut Counts, before: Option<Outcome<'_>>, after: Option<Outcome<'_>>) -> bool {
    let [had, has] = [&before, &after].map(|outcome| *outcome == Some(Outcome::On));
    let differs = before != after;
    for (count, is) in counts.iter_mut().zip([has && !had, had && !has, had, has, differs]) {
        *count += u64::from(is);
    }
    differs
}

/// The attributes that a row depends on; `None` if its rules could never be read.
fn names<'a>(snapshot: &'a Snapshot, kind: &str, key: &str) -> Option<BTreeSet<&'a str>> {
    let (rules, unit) = inputs(snapshot, kind, key);
    let mut names = BTreeSet::from_iter(unit);
    if let Some(rules) = rules {
        names.extend(rules.rules()?.attributes().iter().map(|name| &**name));
    }
    Some(names)
}

/// The rules of a row that decide now, and the attribute that its percentages bucket by.
fn inputs<'a>(
    snapshot: &'a Snapshot,
    kind: &str,
    key: &str,
) -> (Option<&'a Arc<RowRules>>, Option<&'a str>) {
    if kind == "flag" {
        let flag = snapshot.flag(key).filter(|flag| flag.enabled);
        return (flag.and_then(Flag::rules), flag.and_then(Flag::unit));
    }
    if kind == "value" {
        let rules = snapshot.value(key).and_then(Stored::rules);
        let own = rules.and_then(|rules| rules.targeting.rules.as_ref());
        return (own, rules.and_then(|rules| rules.unit()));
    }
    let found = snapshot.experiment(key).filter(|one| one.state == ExperimentState::Running);
    let unit = found.and_then(|found| found.bucket_by.as_deref());
    (found.and_then(|found| found.rules.as_ref()), unit)
}

/// The attributes of a user that the database knows.
struct Columns<'a, 'py> {
    /// The primary key, and a value for each name.
    row: &'a Bound<'py, PyTuple>,
    names: &'a [String],
    subject: Subject<'a>,
    snapshot: &'a Snapshot,
}

impl<'a> Columns<'a, '_> {
    fn outcome(&self, kind: &str, key: &str) -> Option<Outcome<'a>> {
        let (snapshot, subject) = (self.snapshot, &self.subject);
        if kind == "flag" {
            let flag = snapshot.flag(key)?;
            return evaluate(key, flag, subject, self).value.then_some(Outcome::On);
        }
        if kind == "value" {
            let stored = snapshot.value(key)?;
            let by_rule = stored.rules().and_then(|rules| {
                rules.result_of(evaluate_value(key, &rules.targeting, subject, self))
            });
            return Some(Outcome::Value(by_rule.unwrap_or(stored.value())));
        }
        let experiment = snapshot.experiment(key)?;
        let variant = assign(experiment, subject, self).variant?;
        Some(Outcome::Variant(experiment.allocation.key(variant)))
    }
}

impl Attributes for Columns<'_, '_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        let is_user = self.subject != Subject::Anonymous;
        match name {
            "is_authenticated" => return with(Attribute::Value(Value::Bool(is_user))),
            "is_staff" | "is_superuser" if !is_user => {
                return with(Attribute::Value(Value::Bool(false)));
            }
            GROUPS => {
                let groups = self.snapshot.groups().map(|all| GroupsOf::new(all, self.subject));
                let value = |groups| Attribute::Value(Value::Groups(groups));
                return with(groups.map_or(Attribute::Missing, value));
            }
            _ => {}
        }
        let column = self.names.iter().position(|column| column == name);
        let Some(column) = column else { return with(Attribute::Unknown) };
        // As in an evaluation: an attribute whose code raises is missing, and any column may hold a
        // permission.
        let given = self.row.get_item(column + 1);
        if matches!(name, "is_staff" | "is_superuser") {
            let value = given.and_then(|given| given.is_truthy()).map(Value::Bool);
            return with(value.map_or(Attribute::Missing, Attribute::Value));
        }
        match given.and_then(read_value).ok().flatten() {
            Some(value) => value.with(|value| with(Attribute::Value(value))),
            None => with(Attribute::Missing),
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        let flags = Prerequisites { snapshot: self.snapshot, overrides: None, is_use: false };
        flags.result(key, &self.subject, self)
    }

    fn utc(&self, wall: i64) -> i64 {
        Hooks::utc_of(self.row.py(), wall).unwrap_or(wall)
    }
}
