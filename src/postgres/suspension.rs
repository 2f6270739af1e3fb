//! Notices that the process was suspended, as one is that runs only while it serves a request.
//!
//! Every clock goes on while a process is stopped, but a thread that waits then runs much later than
//! it asked for.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::boot_time::since_boot;

/// How late a thread runs after a suspension, at the least. A busy machine delays it by less.
const LATE: Duration = Duration::from_millis(500);

/// When the engine's thread has asked to run next, in nanoseconds since boot; 0 before its first wait.
static NEXT_RUN: AtomicU64 = AtomicU64::new(0);
/// When it last noticed that the process was suspended.
static RESUMED: AtomicU64 = AtomicU64::new(0);

/// The engine's thread starts.
pub(crate) fn thread_starts() {
    store(&NEXT_RUN, Duration::ZERO);
}

/// Waits for `future` until `until`: its output, `None` if it is not ready by then. Also returns for how
/// long the process was suspended after that time, zero if it was not.
pub(crate) async fn wait_until<T>(
    until: Instant,
    future: impl Future<Output = T>,
) -> (Option<T>, Duration) {
    let until = until.max(Instant::now());
    // It may have been suspended at work.
    if is_late() {
        store(&RESUMED, since_boot());
    }
    store(&NEXT_RUN, since_boot() + (until - Instant::now()));
    let output = timeout_at(until, future).await.ok();
    let late = until.elapsed();
    if late < LATE {
        return (output, Duration::ZERO);
    }
    store(&RESUMED, since_boot());
    (output, late)
}

/// When the process was last resumed, as far as the engine's thread has noticed.
pub(crate) fn resumed() -> Duration {
    load(&RESUMED)
}

/// Whether the process was suspended after this time, also if the engine's thread has not run since.
pub(crate) fn is_after(time: Duration) -> bool {
    resumed() > time || (load(&NEXT_RUN) > time && is_late())
}

/// Whether the engine's thread should have run before now.
fn is_late() -> bool {
    let next_run = load(&NEXT_RUN);
    !next_run.is_zero() && next_run + LATE < since_boot()
}

fn store(of: &AtomicU64, time: Duration) {
    of.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
}

fn load(of: &AtomicU64) -> Duration {
    Duration::from_nanos(of.load(Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn wait_that_ends_in_time_notes_no_suspension() {
        for (work, output) in [(SECOND / 2, Some(())), (3 * SECOND, None)] {
            let waited = wait_until(Instant::now() + SECOND, sleep(work)).await;
            assert_eq!(waited, (output, Duration::ZERO));
        }
        // A time that is over.
        let earlier = Instant::now();
        advance(SECOND).await;
        assert_eq!(wait_until(earlier, sleep(SECOND)).await, (None, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_that_ends_late_notes_for_how_long_the_process_was_suspended() {
        let before = since_boot();
        for output in [None, Some(())] {
            let work = async {
                advance(3 * SECOND).await;
                if output.is_none() {
                    sleep(SECOND).await;
                }
            };
            assert_eq!(wait_until(Instant::now() + SECOND, work).await, (output, 2 * SECOND));
        }
        assert!(is_after(before) && resumed() > before);
    }
}
