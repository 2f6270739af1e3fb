//! The workers whose snapshots must be equal.

use std::collections::BTreeSet;
use std::sync::Arc;

use flagstaff::live::{EvaluationMode, Live};
use flagstaff::postgres::engine::{Engine, Options};
use flagstaff::postgres::error::{Error, ErrorKind};
use flagstaff::postgres::queries::Names;
use flagstaff::postgres::stepped::{Cause, SteppedWorker};
use flagstaff::snapshot::Snapshot;
use tokio::runtime::{Builder, Runtime};

use super::random::Random;
use super::writers::Missed;
use crate::postgres_shop::Shop;

/// The workers of one run.
pub(super) struct Workers {
    runtime: Runtime,
    /// As in production.
    by_rows: Worker,
    /// Reads whole tables.
    by_tables: Worker,
    /// Loads everything for the first time, again and again.
    fresh: SteppedWorker,
    has_constraints: bool,
    /// What only a load of everything shows.
    pub(super) missed: Missed,
    /// Whether some rows cannot be used.
    pub(super) have_bad_rows: bool,
    pub(super) counts: Counts,
}

/// What the first worker has done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Loads after a change, and those among them that read single rows.
    pub(super) with_changes: usize,
    pub(super) by_rows: usize,
    /// Steps in which all rows can be used, so that a fresh worker has the same.
    usable: usize,
    /// Loads of everything because of changes without any trace, and because of groups that no rule
    /// had named when they were changed.
    missed: usize,
    missed_groups: usize,
    /// Steps without change tokens.
    without_tokens: usize,
    locked: usize,
}

/// How the workers compare after a step.
pub(super) enum Compared {
    Same,
    /// A load gave up waiting for a lock.
    Locked,
    Different(Vec<String>),
}

/// A worker, and where it publishes.
struct Worker {
    live: &'static Live,
    stepped: SteppedWorker,
}

impl Worker {
    async fn start(names: &Names, listen: bool) -> Result<Self, Error> {
        let live: &'static Live = Box::leak(Box::new(Live::new()));
        live.set_mode(EvaluationMode::Memory, false);
        let options = Options { listen, pool_size: 1, ..Shop::options_of(names, "steps") };
        Ok(Self { live, stepped: Engine::stepped(&options, live).await? })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.live.snapshot().expect("it is loaded")
    }
}

impl Workers {
    pub(super) fn start(names: &Names, has_constraints: bool) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (by_rows, by_tables, fresh) = runtime
            .block_on(async {
                let by_rows = Worker::start(names, true).await?;
                let by_tables = Worker::start(names, false).await?;
                Ok::<_, Error>((by_rows, by_tables, Worker::start(names, false).await?.stepped))
            })
            .expect("the first loads");
        Self {
            runtime,
            by_rows,
            by_tables,
            fresh,
            has_constraints,
            missed: Missed::default(),
            have_bad_rows: false,
            counts: Counts::default(),
        }
    }

    /// The transactions that the last load has seen.
    pub(super) fn seen(&self) -> String {
        let snapshot = self.by_rows.snapshot();
        snapshot
            .read_point()
            .map_or("1:1:".into(), |read_point| read_point.transactions.to_string())
    }

    /// Whether some rows cannot be read alone because of triggers, columns or tables.
    pub(super) fn find_odd_catalog(&self) -> bool {
        self.by_rows.stepped.finds_odd_catalog()
    }

    /// Lets all workers load, and compares their snapshots.
    pub(super) fn step(&mut self, random: &mut Random) -> Compared {
        let before = self.by_rows.snapshot();
        let cause = match random.below(100) {
            _ if self.missed.changes => Cause::Everything,
            0..2 => Cause::Everything,
            2..8 => Cause::Poll,
            _ => Cause::Notification,
        };
        let everything = cause == Cause::Everything;
        let Self { runtime, by_rows, by_tables, fresh, .. } = &mut *self;
        let loaded = runtime.block_on(async {
            by_rows.stepped.step(cause).await?;
            by_tables.stepped.read_whole_tables();
            by_tables.stepped.step(if everything { cause } else { Cause::Notification }).await?;
            fresh.read_afresh(by_rows.stepped.has_tokens()).await
        });
        match loaded {
            Ok(fresh) => {
                let missed = std::mem::take(&mut self.missed.changes);
                self.counts.missed += usize::from(missed);
                self.count(&before, everything);
                self.load_missed_groups(&fresh);
                self.compare(&fresh, missed)
            }
            Err(error) if error.kind() == ErrorKind::Locked => {
                self.counts.locked += 1;
                Compared::Locked
            }
            Err(error) => Compared::Different(vec![format!("a load failed: {error:?}")]),
        }
    }

    fn count(&mut self, before: &Snapshot, everything: bool) {
        let now = self.by_rows.snapshot();
        if !everything && now.token_set() != before.token_set() && now.token_set().is_some() {
            self.counts.with_changes += 1;
            self.counts.by_rows += usize::from(self.by_rows.stepped.has_read_rows());
        }
        self.counts.without_tokens += usize::from(now.token_set().is_none());
    }

    /// Loads everything, as a worker does some time, if it lacks changes of groups that no rule had
    /// named.
    fn load_missed_groups(&mut self, fresh: &Snapshot) {
        let is_missed = std::mem::take(&mut self.missed.groups);
        let has_groups = different_groups(&self.by_rows.snapshot(), fresh).is_empty();
        if is_missed && !has_groups {
            self.counts.missed_groups += 1;
            let Self { runtime, by_rows, by_tables, .. } = &mut *self;
            let loads = async {
                by_rows.stepped.step(Cause::Everything).await?;
                by_tables.stepped.step(Cause::Everything).await
            };
            runtime.block_on(loads).expect("the same load as before");
        }
    }

    /// `missed` is whether everything was loaded because of changes without any trace.
    fn compare(&mut self, fresh: &Snapshot, missed: bool) -> Compared {
        let (rows, tables) = (self.by_rows.snapshot(), self.by_tables.snapshot());
        let is_missing = |problem: &String| problem.contains("does not exist");
        self.have_bad_rows = !problems(fresh).iter().all(is_missing);
        let mut found = Vec::new();
        // If two rows have one primary key, either can be the last good version.
        if self.has_constraints || !self.have_bad_rows {
            found.extend(differences("whole tables", &rows, &tables));
        }
        if !self.have_bad_rows {
            self.counts.usable += 1;
            found.extend(differences("a fresh worker", &rows, fresh));
            found.extend(different_groups(&rows, fresh));
        }
        if self.by_rows.stepped.has_tokens() && rows.token_set() != fresh.token_set() {
            let tokens = (rows.token_set(), fresh.token_set());
            found.push(format!("the tokens: {tokens:?}"));
        }
        found.extend(self.by_rows.stepped.take_unnoticed().filter(|_| !missed));
        if found.is_empty() { Compared::Same } else { Compared::Different(found) }
    }
}

fn problems(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.problems().map(ToString::to_string).collect()
}

/// In what a snapshot differs from one that must be the same.
fn differences(of: &str, snapshot: &Snapshot, other: &Snapshot) -> Vec<String> {
    let rows = snapshot.differences(other).into_iter().map(|row| row.to_string());
    let (own, others) = (problems(snapshot), problems(other));
    let problems = own.symmetric_difference(&others).map(|problem| format!("problem {problem}"));
    rows.chain(problems).map(|difference| format!("other than {of}: {difference}")).collect()
}

/// The groups with other members than in `expected`. The first may have more of them.
fn different_groups(snapshot: &Snapshot, expected: &Snapshot) -> Vec<String> {
    let (Some(groups), Some(expected)) = (snapshot.groups(), expected.groups()) else {
        return vec!["no groups".into()];
    };
    let is_same = |name: &&str| groups.members(name) == expected.members(name);
    match expected.names() {
        Some(names) => names
            .into_iter()
            .filter(|name| !is_same(name))
            .map(|name| {
                let members = (groups.members(name), expected.members(name));
                format!("the members of group {name}: {members:?}")
            })
            .collect(),
        None if groups == expected => Vec::new(),
        None => vec![format!("the groups: {groups:?}, not {expected:?}")],
    }
}
