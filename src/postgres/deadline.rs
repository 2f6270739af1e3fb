//! Every wait for the server has a deadline.
//!
//! `connect_timeout` covers the TCP connection only: a stopped server would block the rest of the
//! handshake, and every query, forever. A wait that is over is dropped, which closes its socket; the pool
//! shuts the socket down.
//! A load has no deadline as long as bytes arrive: there may be many, and the line may be slow.
//! A deadline counts the time in which the process runs: what was suspended goes on afterwards.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::postgres::error::Error;
use crate::postgres::suspension;

/// Name look-up, TCP, log-in.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// One address of a host: less than half of [`CONNECT`], so that a host with a dead address of one
/// family is reached at the other.
pub(crate) const ADDRESS: Duration = Duration::from_millis(1400);
/// A poll, or another statement that is cheap for the server.
pub(crate) const STATEMENT: Duration = Duration::from_secs(2);
/// A load that receives nothing.
pub(crate) const LOAD: Duration = Duration::from_secs(15);
/// Closing a connection.
pub(crate) const CLOSE: Duration = Duration::from_millis(200);

/// How often a wait for the server checks whether the process was suspended.
const BEAT: Duration = Duration::from_millis(250);
/// How much longer a caller waits than its work: the work's own error says more.
const GRACE: Duration = Duration::from_millis(100);
/// The time between two checks whether a caller is interrupted.
const SLICE: Duration = Duration::from_millis(50);

/// Waits for `future`, at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut until = tokio::time::Instant::now() + limit;
    let outcome = running_until(&mut until, &mut pin!(future)).await;
    outcome.unwrap_or_else(|| Err(Error::deadline(doing)))
}

/// Waits for `future` until `until`, which a suspension of the process delays by its duration. `None`
/// if the time is over.
async fn running_until<F: Future + Unpin>(
    until: &mut tokio::time::Instant,
    future: &mut F,
) -> Option<F::Output> {
    loop {
        let beat = (tokio::time::Instant::now() + BEAT).min(*until);
        let (output, suspended) = suspension::wait_until(beat, &mut *future).await;
        if output.is_some() || (suspended.is_zero() && beat == *until) {
            return output;
        }
        *until += suspended;
    }
}

/// When a server last sent a byte. Clones share the time.
#[derive(Clone, Debug)]
pub(crate) struct LastByte {
    opened: tokio::time::Instant,
    /// Milliseconds since `opened`.
    after: Arc<AtomicU64>,
}

impl LastByte {
    /// As if a byte had arrived now.
    pub(crate) fn now() -> Self {
        Self { opened: tokio::time::Instant::now(), after: Arc::default() }
    }

    /// Notes that a byte has arrived now.
    pub(crate) fn arrived(&self) {
        let after = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after.store(after, Ordering::Relaxed);
    }

    fn at(&self) -> tokio::time::Instant {
        self.opened + Duration::from_millis(self.after.load(Ordering::Relaxed))
    }
}

/// Waits for `future` as long as the server sends: until `limit` after its last byte.
pub(crate) async fn while_receiving<T>(
    last_byte: &LastByte,
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = pin!(future);
    let mut until = tokio::time::Instant::now() + limit;
    loop {
        if let Some(outcome) = running_until(&mut until, &mut future).await {
            return outcome;
        }
        let extended = last_byte.at() + limit;
        if extended <= until {
            return Err(Error::deadline(doing));
        }
        until = extended;
    }
}

/// Waits for what a thread sends, until `until` or until `interrupted` returns true. Blocks.
pub(crate) fn received<T>(
    receiver: &Receiver<T>,
    until: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<T, RecvTimeoutError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(SLICE)) {
            Err(RecvTimeoutError::Timeout) if left > SLICE && !interrupted() => {}
            outcome => return outcome,
        }
    }
}

/// The same for the result of work, a little longer. Blocks.
pub(crate) fn receive<T>(
    result: &Receiver<Result<T, Error>>,
    until: Instant,
    doing: &'static str,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<T, Error> {
    received(result, until + GRACE, interrupted).unwrap_or_else(|error| match error {
        RecvTimeoutError::Disconnected => Err(Error::lost(doing)),
        RecvTimeoutError::Timeout => Err(Error::deadline(doing)),
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::{self, sleep};

    use super::*;
    use crate::postgres::error::ErrorKind;

    const LIMIT: Duration = Duration::from_secs(15);

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            time::pause();
            future.await
        })
    }

    /// Receives a byte after each of these pauses, in seconds.
    async fn receive_after(pauses: &[u64]) -> (Result<(), Error>, Duration) {
        let last_byte = LastByte::now();
        let begun = time::Instant::now();
        let receiving = async {
            for pause in pauses {
                sleep(Duration::from_secs(*pause)).await;
                last_byte.arrived();
            }
            Ok(())
        };
        let outcome = while_receiving(&last_byte, LIMIT, "load", receiving).await;
        (outcome, begun.elapsed())
    }

    #[test]
    fn wait_for_a_thread_that_sends_nothing_ends_when_it_is_interrupted() {
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        let begun = Instant::now();
        let outcome = received(&receiver, begun + LIMIT, &mut || true);
        assert_eq!(outcome, Err(RecvTimeoutError::Timeout));
        assert!(begun.elapsed() < LIMIT / 10);
    }

    #[test]
    fn wait_goes_on_as_long_as_bytes_arrive() {
        let (outcome, took) = run(receive_after(&[14; 10]));
        assert!(outcome.is_ok());
        assert_eq!(took.as_secs(), 140);
    }

    /// Works, is suspended and works again, for these seconds.
    async fn suspended(before: u64, suspension: u64, after: u64) -> Result<(), Error> {
        sleep(Duration::from_secs(before)).await;
        time::advance(Duration::from_secs(suspension)).await;
        sleep(Duration::from_secs(after)).await;
        Ok(())
    }

    #[test]
    fn deadline_counts_the_time_in_which_the_process_runs() {
        for (after, is_in_time) in [(7, true), (8, false)] {
            let work = || suspended(7, 3600, after);
            let outcome = run(within(LIMIT, "poll", work()));
            assert_eq!(outcome.is_ok(), is_in_time, "{after}");
            let outcome =
                run(async { while_receiving(&LastByte::now(), LIMIT, "load", work()).await });
            assert_eq!(outcome.is_ok(), is_in_time, "{after}");
        }
    }

    #[test]
    fn wait_ends_a_limit_after_the_last_byte() {
        let (outcome, took) = run(receive_after(&[1, 9, 3600]));
        assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Deadline));
        assert_eq!(took.as_secs(), 25);
    }

    #[test]
    fn bytes_before_the_wait_do_not_shorten_it() {
        let took = run(async {
            let last_byte = LastByte::now();
            sleep(Duration::from_secs(3600)).await;
            let begun = time::Instant::now();
            let never = std::future::pending::<Result<(), Error>>();
            assert!(while_receiving(&last_byte, LIMIT, "load", never).await.is_err());
            begun.elapsed()
        });
        assert_eq!(took.as_secs(), 15);
    }
}
