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
use crate::token_set::TokenSet;

/// The time for a write, for which the next load may wait.
const WRITE: Duration = Duration::from_millis(500);
/// The longest time without a write, if there are polls.
const GAP: Duration = Duration::from_secs(20);
/// The pause after a refusal: a role without the right rarely gets it, and the server logs each.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

const UNDEFINED_FUNCTION: &str = "42883";

/// What a worker shows of itself. A change is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    mode: RefreshMode,
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
    paused_until: Option<Instant>,
    may_have_row: bool,
    /// Why the worker does not report.
    pub(super) problem: Option<Message>,
}

impl Register {
    pub(super) fn new() -> Self {
        let secret = format!("{:016x}{:016x}", random::bits(), random::bits());
        Self { secret, written: None, paused_until: None, may_have_row: false, problem: None }
    }

    /// Notes that the worker has another connection.
    pub(super) fn connected(&mut self) {
        (self.written, self.paused_until) = (None, None);
    }

    /// Writes the row if that is due. A failure is no error: the worker only does not report.
    pub(super) async fn report(
        &mut self,
        context: &Context,
        connection: &RefreshConnection,
        server: &ServerInfo,
        mode: RefreshMode,
    ) {
        if server.standby {
            self.problem = Some(problem((&texts::STANDBY).into()));
            return;
        }
        let snapshot = context.live.snapshot();
        let token_set = snapshot.as_deref().and_then(|snapshot| snapshot.token_set());
        let token = token_set.map_or(0, TokenSet::newest);
        let shown = Shown { mode, token, nonce: token_set.map_or(0, TokenSet::nonce) };
        if !self.is_due(shown) {
            return;
        }
        self.may_have_row = true;
        match self.write(shown, mode.as_str(), context, connection, server.pooled, WRITE).await {
            Ok(()) => {
                (self.written, self.problem) = (Some((shown, Instant::now())), None);
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
    }

    /// Deletes the row, because the worker ends.
    pub(super) async fn end(&self, context: &Context, connection: &RefreshConnection) {
        if self.may_have_row {
            let shown = Shown { mode: RefreshMode::Down, token: 0, nonce: 0 };
            let _ = self.write(shown, "ended", context, connection, true, deadline::CLOSE).await;
        }
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
        let interval = (context.poll_interval.mul_f64(1.1) + Duration::from_secs(10)).as_secs_f64();
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

    fn is_due(&self, shown: Shown) -> bool {
        let now = Instant::now();
        let is_current = |(before, at): &(Shown, Instant)| *before == shown && now < *at + GAP;
        self.paused_until.is_none_or(|until| until <= now)
            && !self.written.as_ref().is_some_and(is_current)
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

    const SHOWN: Shown = Shown { mode: RefreshMode::Live, token: 7, nonce: 1 };

    #[tokio::test(start_paused = true)]
    async fn row_is_written_again_after_a_gap_and_at_once_if_it_changes() {
        let mut register = Register::new();
        assert!(register.is_due(SHOWN));
        register.written = Some((SHOWN, Instant::now()));
        assert!(!register.is_due(SHOWN) && register.is_due(Shown { token: 8, ..SHOWN }));
        assert!(register.is_due(Shown { nonce: 2, ..SHOWN }));
        assert!(register.is_due(Shown { mode: RefreshMode::Poll, ..SHOWN }));
        advance(GAP).await;
        assert!(register.is_due(SHOWN));
        register.connected();
        assert!(register.is_due(SHOWN));
    }

    #[tokio::test(start_paused = true)]
    async fn row_is_not_written_during_a_pause() {
        let mut register = Register::new();
        register.paused_until = Some(Instant::now() + GAP);
        assert!(!register.is_due(SHOWN));
        advance(GAP).await;
        assert!(register.is_due(SHOWN));
    }

    #[test]
    fn two_workers_have_different_rows() {
        assert_ne!(Register::new().secret, Register::new().secret);
    }
}
