//! One cycle of reading and publishing.

use std::sync::Arc;
use std::time::Duration;

use super::read::Read;
use crate::boot_time::since_boot;
use crate::postgres::change_signal::CHANGE_SIGNAL;
use crate::postgres::context::Context;
use crate::postgres::error::Error;
use crate::snapshot::Snapshot;
use crate::token_set::TokenSet;

/// A cycle that has begun. The caller reads the tables and then publishes.
pub(super) struct Cycle<'a> {
    context: &'a Context,
    base: Option<Arc<Snapshot>>,
    read_at: Duration,
}

impl<'a> Cycle<'a> {
    /// Begins a cycle. Must come before the reading.
    pub(super) fn begin(context: &'a Context) -> Self {
        Self { context, base: context.live.snapshot(), read_at: since_boot() }
    }

    /// The snapshot that the next one is built from.
    pub(super) fn base(&self) -> Option<&Snapshot> {
        self.base.as_deref()
    }

    /// Publishes the snapshot that was read, which must be built from the base. Does nothing once the
    /// engine was stopped: a successor may publish already.
    ///
    /// # Errors
    /// If the read is from a standby that is behind the base.
    pub(super) fn publish(self, Read { snapshot: next, standby, .. }: Read) -> Result<(), Error> {
        // The first snapshot declares nothing, and code may declare more meanwhile.
        let next = next.with_declared(&self.context.live.declared());
        if standby && self.is_behind(next.token_set()) {
            return Err(Error::behind());
        }
        let Self { context, base, read_at } = self;
        // Other problems are logged, and objects of old values dropped: one may be a secret.
        let versions =
            |snapshot: &Snapshot| (snapshot.problems_version(), snapshot.values_version());
        let is_event = base.as_deref().map(versions) != Some(versions(&next));
        // Before publishing: from then on evaluations count.
        context.registry.add(&next);
        context.watches.add(&next);
        if !context.signals.is_stopped() && context.live.publish(base.as_ref(), next, read_at) {
            CHANGE_SIGNAL.send();
            context.status.loaded(since_boot().saturating_sub(read_at), is_event);
        }
        Ok(())
    }

    /// Whether the tokens of a standby are older than those of the base, and the base is not too
    /// old to be kept.
    fn is_behind(&self, read: Option<&TokenSet>) -> bool {
        let newest = |tokens: Option<&TokenSet>| tokens.map_or(0, TokenSet::newest);
        newest(read) < newest(self.base().and_then(Snapshot::token_set))
            && self.context.live.age().is_some_and(|age| age < self.context.max_staleness)
    }
}
