//! The row of this worker in the register of workers, which says what the worker has applied.
//!
//! The row shows the token of the published snapshot, so it never claims too much. It is written on
//! the engine's connection between two steps, for at most the time of `WRITE`, and not for a while
//! after a failure: a register that is locked or full delays no load by more.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use super::connection::RefreshConnection;
use super::server_info::ServerInfo;
use crate::message::Message;
use crate::postgres::context::Context;
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind, READ_ONLY};
use crate::postgres::random;
use crate::postgres::status::RefreshMode;
use crate::postgres::texts;
use crate::rules::RULE_FORMAT;

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

/// What a worker shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    mode: RefreshMode,
    /// The newest barrier. It is written at once, because a caller waits for it.
    barrier: i64,
    token: i64,
    nonce: i64,
}

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
        context: &Context,
        connection: &RefreshConnection,
        server: &ServerInfo,
        mode: RefreshMode,
        gap: Duration,
    ) -> Option<Instant> {
        if server.standby {
            self.problem = Some(problem((&texts::STANDBY).into()));
            return None;
        }
        let snapshot = context.live.snapshot();
        let tokens = snapshot.as_deref().and_then(|snapshot| snapshot.token_set());
        let [barrier, token, nonce] =
            tokens.map_or([0; 3], |it| [it.newest_barrier(), it.newest(), it.nonce()]);
        let shown = Shown { mode, barrier, token, nonce };
        let due = self.due(shown, gap);
        if due > Instant::now() {
            let is_written = self.written.is_some_and(|(before, _)| before == shown);
            return (!is_written).then_some(due);
        }
        self.may_have_row = true;
        match self.write(shown, mode.as_str(), context, connection, server.pooled, WRITE).await {
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
            let shown = Shown { mode: RefreshMode::Down, barrier: 0, token: 0, nonce: 0 };
            let ended =
                self.write(shown, "ended", context, connection, true, deadline::CLOSE).await;
            self.may_have_row = ended.is_err();
        }
    }

    pub(super) fn may_have_row(&self) -> bool {
        self.may_have_row
    }

    async fn write(
        &self,
        shown: Shown,
        mode: &str,
        context: &Context,
        connection: &RefreshConnection,
        pooled: bool,
        limit: Duration,
    ) -> Result<(), Error> {
        let pid = i64::from(std::process::id());
        let interval = (GAP + context.poll_interval.mul_f64(1.1) + POLL).as_secs_f64();
        let values: [(&(dyn ToSql + Sync), Type); 9] = [
            (&self.secret, Type::TEXT),
            (&context.host, Type::TEXT),
            (&pid, Type::INT8),
            (&i64::from(RULE_FORMAT), Type::INT8),
            (&mode, Type::TEXT),
            (&shown.token, Type::INT8),
            (&shown.nonce, Type::INT8),
            (&pooled, Type::BOOL),
            (&interval, Type::FLOAT8),
        ];
        connection.execute("report", &context.queries.register, &values, limit).await
    }

    /// When the row must be written.
    fn due(&self, shown: Shown, gap: Duration) -> Instant {
        let now = Instant::now();
        let due = self.written.map_or(now, |(before, at)| {
            let is_awaited = (before.mode, before.barrier) != (shown.mode, shown.barrier);
            match (before == shown, is_awaited) {
                (true, _) => at + gap,
                (false, true) => now,
                (false, false) => at + self.gap_of_tokens,
            }
        });
        self.paused_until.map_or(due, |until| due.max(until))
    }
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
