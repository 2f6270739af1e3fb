//! The workers whose snapshots must be equal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::super::clock::Clock;
use super::super::super::connection::RefreshConnection;
use super::super::super::heartbeat::Heartbeat;
use super::super::super::load::{Scope, load};
use super::super::super::statements::{PreparedClient, Statements};
use super::super::Session;
use super::random::Random;
use super::shop::parameters;
use super::writers::Missed;
use crate::live::{EvaluationMode, Live};
use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::context::Context;
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::parts::{Absence, FIND_PARTS};
use crate::postgres::queries::{LoadQueries, Names, Queries, READ_POINT};
use crate::postgres::signals::Signals;
use crate::postgres::status::SharedStatus;
use crate::postgres::threads;
use crate::snapshot::Snapshot;
use crate::usage::CounterRegistry;
use crate::watch_registry::WatchRegistry;

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(100_000);

/// The workers of one run.
pub(super) struct Workers {
    runtime: Runtime,
    /// As in production.
    by_rows: Worker,
    /// Reads whole tables.
    by_tables: Worker,
    fresh: Fresh,
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

/// Why a worker loads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Woken,
    Poll,
    Everything,
}

/// A worker without a thread.
struct Worker {
    context: &'static Context,
    session: Session<'static>,
}

impl Worker {
    /// Starts a worker, and loads everything.
    async fn start(names: &Names, listen: bool) -> Result<Self, Error> {
        let live: &'static Live = Box::leak(Box::new(Live::new()));
        live.set_mode(EvaluationMode::Memory, false);
        let target = Arc::new(CurrentTarget::from_pointee(Target::new(&parameters())?));
        let context: &'static Context = Box::leak(Box::new(Context {
            live,
            pool: Pool::new(target.clone(), 1, Duration::ZERO),
            target,
            queries: Queries::new(names, false)?,
            status: SharedStatus::new(|| {}),
            signals: Signals::default(),
            registry: CounterRegistry::default(),
            watches: WatchRegistry::default(),
            listen,
            poll_interval: NEVER,
            overdue: NEVER,
            load_timeout: deadline::LOAD,
            usage_interval: Duration::ZERO,
            measure_interval: NEVER,
            max_staleness: NEVER,
            host: "steps".into(),
        }));
        Ok(Self { context, session: Self::connect(context).await? })
    }

    /// A session that has loaded everything.
    async fn connect(context: &'static Context) -> Result<Session<'static>, Error> {
        let wake = Arc::new(Notify::new());
        let connection = RefreshConnection::open(&context.target.load(), 0, wake).await?;
        let connection: &'static RefreshConnection = Box::leak(Box::new(connection));
        let heartbeat = Box::leak(Box::new(Heartbeat::new()));
        let mut session = Session::open(context, connection, false, heartbeat).await?;
        session.load_everything().await?;
        Ok(session)
    }

    /// Does what is due after a notification or at a poll, or loads everything.
    async fn step(&mut self, way: Way) -> Result<(), Error> {
        // No load is due by time, unless this step makes it due.
        let clock = &mut self.session.clock;
        if clock.full > Instant::now() {
            // As after a load of everything.
            *clock = Clock::starting_now(NEVER);
            clock.full = Instant::now() + NEVER;
        }
        if way == Way::Everything {
            clock.everything_is_due();
        }
        let is_woken = way == Way::Woken || !self.session.server.has_tokens();
        match self.session.load_due(is_woken).await {
            // A worker connects again after a column is gone.
            Err(error) if error.kind() == ErrorKind::Missing => {
                self.session = Self::connect(self.context).await?;
                Ok(())
            }
            loaded => loaded,
        }
    }

    /// Whether the last step has read single rows: everything is verified soon.
    fn has_read_rows(&self) -> bool {
        let full = self.session.clock.full;
        full > Instant::now() && full < Instant::now() + Duration::from_secs(61)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.context.live.snapshot().expect("it is loaded")
    }
}

impl Workers {
    pub(super) fn start(names: &Names, has_constraints: bool) -> Self {
        let runtime = threads::runtime("start").expect("a runtime");
        let (by_rows, by_tables, fresh) = runtime
            .block_on(async {
                let by_rows = Worker::start(names, true).await?;
                let by_tables = Worker::start(names, false).await?;
                Ok::<_, Error>((by_rows, by_tables, Fresh::connect(names).await?))
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
        let Session { server, load_queries, .. } = &self.by_rows.session;
        let inherits = || {
            let snapshot = self.by_rows.snapshot();
            let tables = snapshot.token_set().map(|token_set| token_set.tables().len());
            tables.is_some_and(|tables| tables > load_queries.names.len())
        };
        !server.has_tokens()
            || !server.names_rows
            || !server.absent.is_empty()
            || server.key_arguments.iter().any(|arguments| arguments.len() == 2)
            || inherits()
    }

    /// Lets all workers load, and compares their snapshots.
    pub(super) fn step(&mut self, random: &mut Random) -> Compared {
        let before = self.by_rows.snapshot();
        let way = match random.below(100) {
            _ if self.missed.changes => Way::Everything,
            0..2 => Way::Everything,
            2..8 => Way::Poll,
            _ => Way::Woken,
        };
        let everything = way == Way::Everything;
        let Self { runtime, by_rows, by_tables, fresh, .. } = &mut *self;
        let loaded = runtime.block_on(async {
            by_rows.step(way).await?;
            for table in &mut by_tables.session.load_queries.tables {
                table.of_keys = None;
            }
            if let Some(groups) = &mut by_tables.session.load_queries.groups {
                groups.of_keys = None;
            }
            by_tables.step(if everything { way } else { Way::Woken }).await?;
            let tokens = by_rows.session.server.has_tokens();
            fresh.load(tokens).await
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
            self.counts.by_rows += usize::from(self.by_rows.has_read_rows());
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
                by_rows.step(Way::Everything).await?;
                by_tables.step(Way::Everything).await
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
        if self.by_rows.session.server.has_tokens() && rows.token_set() != fresh.token_set() {
            let tokens = (rows.token_set(), fresh.token_set());
            found.push(format!("the tokens: {tokens:?}"));
        }
        if let Some(unnoticed) =
            self.by_rows.session.verification.unnoticed.take().filter(|_| !missed)
        {
            found.push(unnoticed.to_string());
        }
        if found.is_empty() { Compared::Same } else { Compared::Different(found) }
    }
}

/// A worker that loads everything for the first time, again and again.
struct Fresh {
    client: Client,
    statements: Statements,
    queries: Queries,
    /// The statements without the parts that the database lacks.
    load_queries: (Vec<Absence>, LoadQueries),
}

impl Fresh {
    async fn connect(names: &Names) -> Result<Self, Error> {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("the server takes connections");
        tokio::spawn(connection);
        let (queries, statements) = (Queries::new(names, false)?, Statements::default());
        let names = [Type::TEXT_ARRAY, Type::TEXT_ARRAY];
        let prepared: [(&str, &[Type]); 2] = [(&queries.token_set, &[]), (READ_POINT, &names)];
        let prepared =
            PreparedClient { client: &client, statements: &statements }.prepare(&prepared);
        prepared.await.map_err(|error| Error::driver("start", error))?;
        let load_queries = (Vec::new(), queries.load_from(&[], &[])?);
        Ok(Self { client, statements, queries, load_queries })
    }

    async fn load(&mut self, tokens: bool) -> Result<Snapshot, Error> {
        let failed = |error| Error::driver("load", error);
        let parts = &self.queries.parts;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&parts.tables, Type::TEXT_ARRAY), (&parts.columns, Type::TEXT_ARRAY)];
        let rows = self.client.query_typed(FIND_PARTS, &parameters).await.map_err(failed)?;
        let problems: Result<_, _> = rows.iter().map(|row| row.try_get("problem")).collect();
        let absent = parts.absent(problems.map_err(failed)?);
        if absent != self.load_queries.0 {
            let queries = self.queries.load_from(&absent, &[])?;
            self.load_queries = (absent, queries);
        }
        let client = PreparedClient { client: &self.client, statements: &self.statements };
        let scope = Scope::Everything { tokens };
        Ok(load(client, &self.load_queries.1, scope, None).await?.snapshot)
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
