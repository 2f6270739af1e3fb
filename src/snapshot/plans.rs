//! The rollout plans: what the workers measure for them, and until when a driver guards them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::slot::LoadedTable;
use crate::primary_key::PrimaryKey;
use crate::row::{PlanRow, Problem};
use crate::watch::{GuardNumber, Watch};

/// The plans of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans {
    watches: HashMap<PrimaryKey, Arc<Watch>>,
    /// The flags whose rollout a plan controls, and until when a driver guards them.
    guarded: Box<[(Box<str>, Instant)]>,
}

impl LoadedTable for Plans {
    type Row = PlanRow;
    /// The present.
    type Others<'a> = Instant;

    /// A run that goes on keeps what it has measured.
    fn load(&self, rows: Vec<PlanRow>, now: &Instant) -> (Self, Vec<Problem>) {
        let (mut watches, mut guarded, mut problems) = (HashMap::new(), Vec::new(), Vec::new());
        for PlanRow { flag_pk, key, run, salt, latency_limits, guarded_for } in rows {
            if let Some(seconds) = guarded_for {
                let left = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
                guarded.push((key.clone(), *now + left));
            }
            let Some(run) = run else { continue };
            let limits = limits(&latency_limits);
            if limits.is_none() {
                problems.push(Problem::of_latency_limits(&key));
            }
            let limits = limits.unwrap_or_default();
            let before = self.watches.get(&flag_pk);
            let same = before.filter(|watch| watch.measures(run, &salt, &limits)).cloned();
            let watch = same.unwrap_or_else(|| Arc::new(Watch::new(run, &salt, limits)));
            watches.insert(flag_pk, watch);
        }
        (Self { watches, guarded: guarded.into() }, problems)
    }
}

impl Plans {
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
        let guarded = self.guarded.iter();
        guarded.filter(move |(_, until)| *until < now).map(|(flag, _)| &**flag)
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
