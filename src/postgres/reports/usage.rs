//! The thread that collects usage and writes it from time to time. No evaluation waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::counts::left_of_hour;
use super::usage_buffer::{UsageBuffer, unix_seconds};
use crate::postgres::context::Context;
use crate::postgres::error::Error;
use crate::postgres::random::jittered;
use crate::postgres::threads;

/// The time for the last flush of an engine that is dropped without a call of `stop`.
const LAST_FLUSH: Duration = Duration::from_millis(600);

/// Starts the thread. Returns the sender that stops it and carries the time for the last flush;
/// `None` if usage is not collected. The thread drops `ended` at its end.
pub(crate) fn start(
    context: Arc<Context>,
    ended: Sender<()>,
) -> Result<Option<Sender<Duration>>, Error> {
    if context.usage_interval.is_zero() {
        context.status.set_usage_problem(Some("USAGE_INTERVAL is 0"));
        return Ok(None);
    }
    if let Some(inherited) = context.live.snapshot() {
        context.registry.add(&inherited);
    }
    let (stop, stopped) = channel();
    let work = move || {
        run(&context, &stopped);
        drop(ended);
    };
    threads::spawn("flagstaff-usage", "start", work)?;
    Ok(Some(stop))
}

/// Collects at every flush and at the end of every hour, until it is stopped or the engine is
/// dropped.
fn run(context: &Arc<Context>, stopped: &Receiver<Duration>) {
    let mut buffer = UsageBuffer::new(context.clone());
    let mut due = Instant::now() + jittered(context.usage_interval);
    loop {
        let left = Duration::from_secs(left_of_hour(unix_seconds()));
        let wait = due.saturating_duration_since(Instant::now()).min(left);
        let signal = stopped.recv_timeout(wait);
        buffer.add(context.registry.take(context.live.unknown_keys()));
        match signal {
            Ok(limit) => return buffer.finish(limit),
            Err(RecvTimeoutError::Disconnected) => return buffer.finish(LAST_FLUSH),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= due {
            due = Instant::now() + jittered(buffer.flush());
        }
    }
}
