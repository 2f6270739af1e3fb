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

/// What the threads of one engine share.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where snapshots are published.
    pub(crate) live: &'static Live,
    pub(crate) target: Arc<CurrentTarget>,
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
}

impl Context {
    /// Whether polls have confirmed nothing for too long, as after the process was suspended.
    pub(crate) fn is_overdue(&self) -> bool {
        self.live.age().is_some_and(|age| age > self.overdue)
    }
}
