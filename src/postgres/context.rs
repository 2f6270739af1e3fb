//! What the threads of one engine share.

use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;
use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::target::CurrentTarget;
use crate::postgres::queries::Queries;
use crate::postgres::signals::Signals;
use crate::postgres::status::SharedStatus;
use crate::usage::CounterRegistry;
use crate::watch_registry::WatchRegistry;

/// The time between two reports from behind replication, of usage and of the row in the register. With
/// [`jittered`](crate::postgres::random::jittered) it stays within what `worker_function_v1.sql` expects.
pub(crate) const REGION_GAP: Duration = Duration::from_secs(122);
/// What the threads of one engine share.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where snapshots are published.
    pub(crate) live: &'static Live,
    pub(crate) target: CurrentTarget,
    /// Where reports are written: the same server, or the primary behind replication.
    pub(crate) report_target: Arc<CurrentTarget>,
    /// The primary, if the project has another alias for it.
    pub(crate) primary: Option<CurrentTarget>,
    pub(crate) pool: Pool,
    pub(crate) queries: Queries,
    pub(crate) status: SharedStatus,
    pub(crate) signals: Signals,
    pub(crate) registry: CounterRegistry,
    pub(crate) watches: WatchRegistry,
    /// Whether to ask for notifications.
    pub(crate) listen: bool,
    pub(crate) poll_interval: Duration,
    /// The age above which the snapshot is overdue: with polls that end in time, it stays below.
    pub(crate) overdue: Duration,
    /// The longest time in which a load receives nothing.
    pub(crate) load_timeout: Duration,
    pub(crate) usage_interval: Duration,
    pub(crate) measure_interval: Duration,
    /// How long the snapshot is preferred to a standby that is behind it.
    pub(crate) max_staleness: Duration,
    /// The name of this machine.
    pub(crate) host: String,
    /// The build of the project, empty without one.
    pub(crate) release: String,
    /// The region of this worker, empty without one.
    pub(crate) region: String,
}

impl Context {
    /// Whether reports can be written at the primary.
    pub(crate) fn reports_elsewhere(&self) -> bool {
        self.primary.is_some()
    }

    /// Whether reports go to the primary, from behind replication: each may be a log-in there.
    pub(crate) fn reports_from_region(&self) -> bool {
        let target = self.report_target.load();
        self.primary.as_ref().is_some_and(|primary| Arc::ptr_eq(&target, &primary.load()))
    }

    /// Lets reports go to the primary, behind replication, or to the server of the engine.
    pub(crate) fn set_report_target(&self, is_behind_replication: bool) {
        let primary = self.primary.as_ref().filter(|_| is_behind_replication);
        let target = primary.unwrap_or(&self.target).load_full();
        if !Arc::ptr_eq(&target, &self.report_target.load()) {
            self.report_target.store(target);
            self.pool.keep_if_frequent(self.reports_from_region());
        }
    }

    /// Whether polls have confirmed nothing for too long, as after the process was suspended.
    pub(crate) fn is_overdue(&self) -> bool {
        self.live.age().is_some_and(|age| age > self.overdue)
    }
}
