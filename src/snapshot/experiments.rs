//! The rows of the experiments' table → the experiments of the next snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::key_table::{KeyTable, Keyed};
use super::ruled::{Ruled as _, with_rows};
use super::segments::{NextRules, unreadable_rules};
use super::slot::LoadedTable;
use super::unique::Unique;
use crate::allocation::{Allocation, VariantNumber};
use crate::experiment::{Experiment, ExperimentIdentity, ExperimentState, seed};
use crate::primary_key::PrimaryKey;
use crate::row::{ExperimentRow, Fault, Problem, RowKind};
use crate::token_set::Relation;

/// The experiments by key.
pub(super) type Experiments = KeyTable<Experiment>;

impl Keyed for Experiment {
    #[inline]
    fn key(&self) -> &str {
        &self.identity.key
    }
}

impl LoadedTable for Experiments {
    const RELATION: Relation = Relation::EXPERIMENTS;

    type Row = ExperimentRow;
    type Others<'a> = NextRules<'a, Experiment>;

    fn load(
        &self,
        rows: Vec<ExperimentRow>,
        rules: &NextRules<'_, Experiment>,
    ) -> (Self, Vec<Problem>) {
        let mut experiments = Unique::new(RowKind::Experiment, self, rows.len());
        let mut bad = Vec::new();
        for row in rows {
            let (pk, is_off) = (row.pk.clone(), is_off(&row.state));
            match next(row, self, rules) {
                Ok(experiment) => experiments.insert(experiment),
                Err(problem) => bad.push((pk, is_off, problem)),
            }
        }
        // The last good version gets the current segments.
        for key in &experiments.duplicates {
            if let Some(experiment) = experiments.entries.get_mut(key) {
                *experiment = current(experiment, rules);
            }
        }
        // Last: a row that lost its key must not hide the row that has the key now.
        for (pk, is_off, problem) in bad {
            experiments.problems.push(problem);
            if let Some(last) = self.iter().find(|experiment| experiment.identity.pk == pk) {
                let mut last = current(last, rules);
                // A stop needs none of the columns that cannot be read.
                if is_off {
                    last.state = ExperimentState::Off;
                }
                experiments.entries.add(last);
            }
        }
        (experiments.entries, experiments.problems)
    }

    fn update(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<ExperimentRow>,
        rules: &NextRules<'_, Experiment>,
    ) -> Option<Self> {
        with_rows(self, asked, rows.into_iter().map(|row| next(row, self, rules).ok()))
    }

    fn has_changed_others(rules: &NextRules<'_, Experiment>) -> bool {
        rules.segments.differ()
    }

    fn with_others(&self, rules: &NextRules<'_, Experiment>) -> Option<Self> {
        let is_current = rules.are_current(self);
        (!is_current).then(|| self.iter().map(|last| current(last, rules)).collect())
    }

    fn rule_problems(&self) -> Vec<Problem> {
        unreadable_rules(self)
    }
}

/// The experiment with the current segments in its rules.
fn current(experiment: &Experiment, rules: &NextRules<'_, Experiment>) -> Experiment {
    experiment.with_rules(rules.current(experiment))
}

fn next(
    row: ExperimentRow,
    before: &Experiments,
    rules: &NextRules<'_, Experiment>,
) -> Result<Experiment, Problem> {
    let key = row.key.map_err(|fault| Problem::of_key(RowKind::Experiment, &row.pk, fault))?;
    let design =
        Design::new(&row.state, &row.winner, row.variants, row.traffic_percent, row.forced);
    let design =
        design.map_err(|(column, fault)| Problem::of(RowKind::Experiment, &key, column, fault))?;
    let last = before.get(&key).filter(|last| last.identity.pk == row.pk);
    let rules = rules.of(&row.pk, last, row.rules);
    let seed = seed(&key, row.run).into();
    let identity = match last {
        Some(last) => last.identity.clone(),
        None => Arc::new(ExperimentIdentity::new(key, row.pk)),
    };
    let Design { state, allocation, forced } = design;
    Ok(Experiment {
        identity,
        state,
        seed,
        run: row.run,
        allocation: Arc::new(allocation),
        forced: Arc::new(forced),
        rules,
        bucket_by: row.bucket_by,
    })
}

/// Which variants there are, and who gets them.
struct Design {
    state: ExperimentState,
    allocation: Allocation,
    forced: HashMap<Box<str>, VariantNumber>,
}

/// A JSON text of a row, or why it cannot be used.
type Text = Result<Box<str>, Fault>;

impl Design {
    /// The design of these columns, or the column that cannot be used.
    fn new(
        state: &str,
        winner: &str,
        variants: Text,
        traffic_percent: i32,
        overrides: Text,
    ) -> Result<Self, (&'static str, Fault)> {
        let variants = variants.map_err(|fault| ("variants", fault))?;
        let allocation =
            Allocation::parse(&variants, traffic_percent).ok_or(("variants", Fault::Malformed))?;
        let overrides = overrides.map_err(|fault| ("overrides", fault))?;
        let forced = forced(&overrides, &allocation).ok_or(("overrides", Fault::Malformed))?;
        let state = self::state(state, winner, &allocation).ok_or(("state", Fault::Malformed))?;
        Ok(Self { state, allocation, forced })
    }
}

/// The state. A winner that is not a variant cannot be given to anyone.
fn state(state: &str, winner: &str, allocation: &Allocation) -> Option<ExperimentState> {
    match state {
        _ if is_off(state) => Some(ExperimentState::Off),
        "running" => Some(ExperimentState::Running),
        "shipped" => allocation.number(winner).map(ExperimentState::Shipped),
        _ => None,
    }
}

/// Whether every call gets its default in this state.
fn is_off(state: &str) -> bool {
    matches!(state, "draft" | "stopped")
}

/// The variants of forced units, from a JSON object of keys by unit.
fn forced(text: &str, allocation: &Allocation) -> Option<HashMap<Box<str>, VariantNumber>> {
    let stored: BTreeMap<Box<str>, Box<str>> = serde_json::from_str(text).ok()?;
    let number = |(unit, key): (Box<str>, Box<str>)| Some((unit, allocation.number(&key)?));
    stored.into_iter().map(number).collect()
}
