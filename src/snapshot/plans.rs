//! The rollout plans: what the workers measure for them, and until when a driver guards them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::slot::LoadedTable;
use crate::primary_key::PrimaryKey;
use crate::row::{PlanRow, Problem};
use crate::token_set::Relation;
use crate::watch::{GuardNumber, Watch};

/// The plans of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans {
    plans: Vec<Plan>,
    /// What measures, by the flag's primary key.
    watches: HashMap<PrimaryKey, Arc<Watch>>,
}

/// A plan that has not ended.
#[derive(Clone, Debug)]
struct Plan {
    pk: PrimaryKey,
    flag_pk: PrimaryKey,
    /// The key of the flag.
    key: Box<str>,
    /// Until when a driver guards it, `None` if no driver is needed now.
    guarded_until: Option<Instant>,
    watch: Option<Arc<Watch>>,
}

impl LoadedTable for Plans {
    const RELATION: Relation = Relation::PLANS;

    type Row = PlanRow;
    /// The present.
    type Others<'a> = Instant;

    fn load(&self, rows: Vec<PlanRow>, now: &Instant) -> (Self, Vec<Problem>) {
        let (mut plans, mut problems) = (Vec::new(), Vec::new());
        for row in rows {
            let (plan, problem) = self.plan(row, now);
            plans.push(plan);
            problems.extend(problem);
        }
        (Self::of(plans), problems)
    }

    fn update(&self, asked: &[PrimaryKey], rows: Vec<PlanRow>, now: &Instant) -> Option<Self> {
        let others = self.plans.iter().filter(|plan| !asked.contains(&plan.pk));
        let mut plans: Vec<_> = others.cloned().collect();
        for row in rows {
            let (plan, problem) = self.plan(row, now);
            if problem.is_some() {
                return None;
            }
            plans.push(plan);
        }
        Some(Self::of(plans))
    }
}

impl Plan {
    fn is_same(&self, other: &Self) -> bool {
        (&self.pk, &self.flag_pk, &self.key) == (&other.pk, &other.flag_pk, &other.key)
            && self.watch.is_some() == other.watch.is_some()
            && self.guarded_until.is_some() == other.guarded_until.is_some()
    }
}

impl Plans {
    fn of(plans: Vec<Plan>) -> Self {
        let watch = |plan: &Plan| Some((plan.flag_pk.clone(), plan.watch.clone()?));
        let watches = plans.iter().filter_map(watch).collect();
        Self { plans, watches }
    }

    /// The plan of a row, and what is wrong with it. A run that goes on keeps what it has measured.
    fn plan(&self, row: PlanRow, now: &Instant) -> (Plan, Option<Problem>) {
        let PlanRow { pk, flag_pk, key, run, salt, latency_limits, guarded_for } = row;
        let guarded_until = guarded_for.map(|seconds| {
            *now + Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
        });
        let (mut watch, mut problem) = (None, None);
        if let Some(run) = run {
            let limits = limits(&latency_limits);
            problem = limits.is_none().then(|| Problem::of_latency_limits(&key));
            let limits = limits.unwrap_or_default();
            let before = self.watches.get(&flag_pk);
            let same = before.filter(|watch| watch.measures(run, &salt, &limits)).cloned();
            watch = Some(same.unwrap_or_else(|| Arc::new(Watch::new(run, &salt, limits))));
        }
        (Plan { pk, flag_pk, key, guarded_until, watch }, problem)
    }

    /// What measures the flag with this primary key.
    pub(super) fn watch(&self, flag: &PrimaryKey) -> Option<Arc<Watch>> {
        self.watches.get(flag).cloned()
    }

    /// All that measure.
    pub(super) fn watches(&self) -> impl Iterator<Item = &Arc<Watch>> {
        self.watches.values()
    }

    /// The flags whose plans no driver has guarded until `now`.
    pub(super) fn unguarded(&self, now: Instant) -> impl Iterator<Item = &str> {
        let is_over = move |plan: &&Plan| plan.guarded_until.is_some_and(|until| until < now);
        self.plans.iter().filter(is_over).map(|plan| &*plan.key)
    }

    /// The flags whose plans are not the same in both, apart from times.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let is_in = |plans: &'a Self, plan: &Plan| plans.plans.iter().any(|one| one.is_same(plan));
        let own = self.plans.iter().filter(move |plan| !is_in(other, plan));
        let others = other.plans.iter().filter(move |plan| !is_in(self, plan));
        own.chain(others).map(|plan| &*plan.key)
    }

    /// Whether these plans measure the same as others.
    pub(super) fn measure_the_same(&self, other: &Self) -> bool {
        let same = |(flag, watch): (&PrimaryKey, &Arc<Watch>)| {
            other.watches.get(flag).is_some_and(|found| Arc::ptr_eq(found, watch))
        };
        self.watches.len() == other.watches.len() && self.watches.iter().all(same)
    }
}

/// The limits of the latency guards, in seconds by number. `None` if they cannot be read.
fn limits(text: &str) -> Option<Vec<(GuardNumber, Duration)>> {
    let seconds: BTreeMap<GuardNumber, f64> = serde_json::from_str(text).ok()?;
    let limit = |(number, seconds)| Some((number, Duration::try_from_secs_f64(seconds).ok()?));
    seconds.into_iter().map(limit).collect()
}
