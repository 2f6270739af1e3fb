//! The row of this worker in the register of workers, which says what the worker has applied.
//!
//! The row shows the token of the published snapshot, so it never claims too much. It is written on
//! the engine's connection between two steps, for at most the time of `WRITE`, and not for a while
//! after a failure: a register that is locked or full delays no load by more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::RefreshConnection;
use super::lost_changes::ServerId;
use super::region_report::{RegionReport, Sent};
use super::register_row::{OWN_PARAMETERS, RegisterRow, Shown};
use super::server_info::ServerInfo;
use crate::message::Message;
use crate::postgres::context::Context;
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind, READ_ONLY};
use crate::postgres::random;
use crate::postgres::status::RefreshMode;
use crate::postgres::texts;

/// The time for a write, for which the next load may wait.
const WRITE: Duration = Duration::from_millis(500);
/// The longest time without a write, if there are polls.
pub(super) const GAP: Duration = Duration::from_secs(20);
/// The same when a load begins, which may take long.
pub(super) const GAP_BEFORE_LOAD: Duration = Duration::from_secs(5);
/// The least time between two writes because of tokens, about: there may be many in a second, and
/// workers that write at the same moment wait for each other. `workers_v1.sql` allows for it.
const GAP_OF_TOKENS: Duration = Duration::from_secs(5);
/// How long the statements of a poll may take.
const POLL: Duration = Duration::from_secs(4);
/// The pause after a refusal: a role without the right rarely gets it, and the server logs each.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

const UNDEFINED_FUNCTION: &str = "42883";

/// The row of one engine, over all its connections. A forked child has an engine of its own.
#[derive(Debug)]
pub(super) struct Register {
    /// A random text. The row's key is its hash, so no other session can write the row.
    secret: String,
    /// What the row shows, and when it was written; `None` if the connection is another one.
    written: Option<(Shown, Instant)>,
    /// The time until it shows other tokens.
    gap_of_tokens: Duration,
    paused_until: Option<Instant>,
    may_have_row: bool,
    /// The reports from behind replication.
    region: RegionReport,
    sent: Option<Sent>,
    /// The server that the worker reads, if it says which one it is.
    pub(super) server_id: Option<ServerId>,
    /// Why the worker does not report.
    pub(super) problem: Option<Message>,
}

impl Register {
    pub(super) fn new() -> Self {
        let secret = format!("{:016x}{:016x}", random::bits(), random::bits());
        Self {
            secret,
            written: None,
            gap_of_tokens: GAP_OF_TOKENS,
            paused_until: None,
            may_have_row: false,
            region: RegionReport::default(),
            sent: None,
            server_id: None,
            problem: None,
        }
    }

    /// Notes that the worker has another connection.
    pub(super) fn connected(&mut self) {
        (self.written, self.paused_until) = (None, None);
    }

    /// Writes the row if it is due. `gap` is the longest time without a write. Returns when tokens that
    /// the row does not show yet are due. A failure is no error: the worker only does not report.
    pub(super) async fn report(
        &mut self,
        context: &Arc<Context>,
        connection: &RefreshConnection,
        server: &ServerInfo,
        mode: RefreshMode,
        gap: Duration,
    ) -> Option<Instant> {
        let in_region = server.is_behind_replication() && context.reports_elsewhere();
        let shown = shown(context, mode, in_region);
        if in_region {
            self.report_from_region(context, shown);
            return None;
        }
        if server.standby {
            self.problem = Some(problem((&texts::STANDBY).into()));
            return None;
        }
        let due = self.due(shown, gap);
        if due > Instant::now() {
            let is_written = self.written.is_some_and(|(before, _)| before == shown);
            return (!is_written).then_some(due);
        }
        self.may_have_row = true;
        let row = RegisterRow::new(&self.secret, context, shown, mode.as_str());
        let interval = (GAP + context.poll_interval.mul_f64(1.1) + POLL).as_secs_f64();
        match write(&row.within(interval, server.pooled), context, connection, WRITE).await {
            Ok(()) => {
                (self.written, self.problem) = (Some((shown, Instant::now())), None);
                self.gap_of_tokens = random::jittered(GAP_OF_TOKENS);
            }
            // The next step finds out that the connection is lost.
            Err(error) if error.kind() == ErrorKind::Lost => {}
            Err(error) => {
                let (pause, why) = match refusal(&error) {
                    Some(why) => (AFTER_REFUSAL, why),
                    None => (GAP, error.message()),
                };
                self.paused_until = Some(Instant::now() + pause);
                self.problem = Some(problem(why));
            }
        }
        None
    }

    /// Deletes the row, because the worker ends.
    pub(super) async fn end(&mut self, context: &Context, connection: &RefreshConnection) {
        if self.may_have_row {
            let row = self.last_row(context).within(0.0, true);
            self.may_have_row = write(&row, context, connection, deadline::CLOSE).await.is_err();
        }
    }

    /// Deletes the row at the primary, because the worker ends. Blocks for half a second at most.
    pub(super) fn end_in_region(&mut self, context: &Arc<Context>) {
        self.region.end(self.last_row(context), context);
    }

    fn last_row(&self, context: &Context) -> RegisterRow {
        RegisterRow::new(&self.secret, context, Shown::NOTHING, "ended")
    }

    /// Begins a report to the primary if it is due.
    fn report_from_region(&mut self, context: &Arc<Context>, shown: Shown) {
        match self.region.ended() {
            None => {}
            Some(Ok(sent)) => (self.sent, self.problem) = (sent.or(self.sent), None),
            Some(Err(error)) => {
                self.problem = Some(problem(refusal(&error).unwrap_or_else(|| error.message())));
            }
        }
        let row = RegisterRow::new(&self.secret, context, shown, shown.mode.as_str());
        self.region.report(row.read_from(self.server_id.clone()), shown, context);
    }

    pub(super) fn may_have_row(&self) -> bool {
        self.may_have_row
    }

    /// The echo that the last report has found at the primary, once.
    pub(super) fn take_sent(&mut self) -> Option<Sent> {
        self.sent.take()
    }

    /// When the row must be written.
    fn due(&self, shown: Shown, gap: Duration) -> Instant {
        let now = Instant::now();
        let due = self.written.map_or(now, |(before, at)| {
            match (before == shown, shown.is_awaited_after(before)) {
                (true, _) => at + gap,
                (false, true) => now,
                (false, false) => at + self.gap_of_tokens,
            }
        });
        self.paused_until.map_or(due, |until| due.max(until))
    }
}

/// What a worker shows of its snapshot. Not every barrier asks a worker behind replication.
fn shown(context: &Context, mode: RefreshMode, in_region: bool) -> Shown {
    let snapshot = context.live.snapshot();
    let tokens = snapshot.as_deref().and_then(|snapshot| snapshot.token_set());
    let [barrier, token, nonce] = tokens.map_or([0; 3], |it| {
        let barrier = if in_region { it.newest_asking() } else { it.newest_barrier() };
        [barrier, it.newest(), it.nonce()]
    });
    Shown { mode, barrier, token, nonce }
}

async fn write(
    row: &RegisterRow,
    context: &Context,
    connection: &RefreshConnection,
    limit: Duration,
) -> Result<(), Error> {
    connection
        .execute("report", &context.queries.register, &row.parameters()[..OWN_PARAMETERS], limit)
        .await
}

fn problem(why: Message) -> Message {
    texts::UNREGISTERED.with([("problem", why.into())])
}

/// Why the server refuses each write; `None` if the next one may succeed.
fn refusal(error: &Error) -> Option<Message> {
    match (error.kind(), error.sqlstate()) {
        (ErrorKind::Permission, _) => Some((&texts::MAY_NOT_REPORT).into()),
        (_, Some(UNDEFINED_FUNCTION)) => Some((&texts::NO_REGISTER).into()),
        (_, Some(READ_ONLY)) => Some((&texts::READ_ONLY).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SHOWN: Shown = Shown { mode: RefreshMode::Live, barrier: 5, token: 7, nonce: 1 };

    fn due_in(register: &Register, shown: Shown, gap: Duration) -> Duration {
        register.due(shown, gap).saturating_duration_since(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn row_is_written_after_a_gap_and_for_a_barrier_or_a_mode_at_once() {
        let mut register = Register::new();
        assert_eq!(due_in(&register, SHOWN, GAP), Duration::ZERO);
        register.written = Some((SHOWN, Instant::now()));
        for (shown, gap, expected) in [
            (SHOWN, GAP, GAP),
            (SHOWN, GAP_BEFORE_LOAD, GAP_BEFORE_LOAD),
            (Shown { token: 8, ..SHOWN }, GAP, GAP_OF_TOKENS),
            (Shown { nonce: 2, ..SHOWN }, GAP, GAP_OF_TOKENS),
            (Shown { barrier: 8, token: 8, ..SHOWN }, GAP, Duration::ZERO),
            (Shown { mode: RefreshMode::Poll, ..SHOWN }, GAP, Duration::ZERO),
        ] {
            assert_eq!(due_in(&register, shown, gap), expected, "{shown:?} {gap:?}");
        }
        advance(GAP).await;
        assert_eq!(due_in(&register, SHOWN, GAP), Duration::ZERO);
        register.written = Some((SHOWN, Instant::now()));
        register.connected();
        assert_eq!(due_in(&register, SHOWN, GAP), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn row_is_not_written_during_a_pause() {
        let mut register = Register::new();
        register.paused_until = Some(Instant::now() + AFTER_REFUSAL);
        assert_eq!(due_in(&register, SHOWN, GAP), AFTER_REFUSAL);
        advance(AFTER_REFUSAL).await;
        assert_eq!(due_in(&register, SHOWN, GAP), Duration::ZERO);
    }

    #[test]
    fn two_workers_have_different_rows() {
        assert_ne!(Register::new().secret, Register::new().secret);
    }
}
