//! The state machine of the engine's thread: connect, keep up to date, wait after a failure,
//! repeat.
//!
//! LISTEN is an optimisation, the poll is the guarantee: a lost notification costs at most one poll
//! interval. LISTEN comes before the first load, every new connection loads everything, and a
//! failed load publishes nothing. An attempt during which the process was suspended is no failure: it
//! begins again at once, because the process may run only for a moment.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::connection::RefreshConnection;
use super::register::Register;
use super::session::{Kept, Session};
use crate::boot_time::since_boot;
use crate::postgres::connect::target::Target;
use crate::postgres::context::Context;
use crate::postgres::deadline::within;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::random::fraction;
use crate::postgres::suspension;

/// The time for a new connection at the worker's end.
const END: Duration = Duration::from_millis(500);

/// Keeps the snapshot up to date until the engine is stopped.
pub(crate) async fn run(context: &Arc<Context>) {
    suspension::thread_starts();
    let (mut backoff, mut kept) = (Backoff::default(), Kept::new(context));
    // The position of the server to try first: the next one after a standby that is behind.
    let mut first = 0;
    while !context.signals.is_stopped() {
        let (target, began) = (context.target.load_full(), since_boot());
        let connected = use_connection(context, &target, &mut first, &mut backoff, &mut kept);
        let Err(error) = Box::pin(connected).await else { break };
        if context.signals.is_stopped() {
            break;
        }
        let resumed = suspension::resumed();
        if resumed > began && !context.live.is_current_since(resumed) {
            continue;
        }
        let pause = backoff.next(error.kind(), fraction());
        context.status.down(error);
        wait(context, pause, &target).await;
    }
    end(context, &mut kept.register).await;
}

/// Uses one connection, from connecting to its end. `Ok` if the engine was stopped.
async fn use_connection(
    context: &Arc<Context>,
    target: &Target,
    first: &mut usize,
    backoff: &mut Backoff,
    kept: &mut Kept,
) -> Result<(), Error> {
    let signals = &context.signals;
    let opening = RefreshConnection::open(target, take(first), signals.notifier());
    let connection = signals.unless_stopped(opening).await?;
    let alternatives = target.has_alternatives();
    let serving = Box::pin(serve(context, &connection, alternatives, backoff, &mut *kept));
    let outcome = signals.unless_stopped(serving).await;
    if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Behind) {
        *first = connection.position() + 1;
    }
    if signals.is_stopped() {
        kept.register.end(context, &connection).await;
    }
    connection.close().await;
    outcome
}

async fn serve(
    context: &Arc<Context>,
    connection: &RefreshConnection,
    has_alternatives: bool,
    backoff: &mut Backoff,
    kept: &mut Kept,
) -> Result<(), Error> {
    let mut session = Session::open(context, connection, has_alternatives, kept).await?;
    let outcome = session.serve().await;
    if session.has_loaded() {
        backoff.reset();
    }
    outcome
}

/// Deletes the worker's row over a new connection, if the last one was in a load or is lost.
async fn end(context: &Arc<Context>, register: &mut Register) {
    register.end_in_region(context);
    if register.may_have_row() {
        let target = context.target.load_full();
        let opening = RefreshConnection::open(&target, 0, context.signals.notifier());
        if let Ok(connection) = within(END, "end", opening).await {
            register.end(context, &connection).await;
            connection.close().await;
        }
    }
}

/// Waits before the next attempt. Ends early on a wake-up or if the target has changed.
async fn wait(context: &Context, pause: Duration, tried: &Arc<Target>) {
    // Discards the wake-up of the lost connection, which must not shorten the wait.
    let _ = context.signals.woken().now_or_never();
    let signals = &context.signals;
    let has_changed = !Arc::ptr_eq(tried, &context.target.load());
    if signals.is_stopped() || has_changed || signals.is_attempt_requested() {
        return;
    }
    suspension::wait_until(Instant::now() + pause, context.signals.woken()).await;
}
