//! The row of a worker behind a pooler in the register of workers. It holds what the session's name
//! would show, but the pooler gives the session to other clients.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use super::connection::RefreshConnection;
use crate::postgres::context::Context;
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::random;

/// The least time between two heartbeats with the same name.
const GAP: Duration = Duration::from_secs(1);
/// The pause after a refusal: a role without the right rarely gets it.
const PAUSE: Duration = Duration::from_secs(600);
/// The time for a heartbeat, for which the next poll waits.
const WRITE: Duration = Duration::from_secs(1);

/// The row of one worker, over all its connections.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// The key of the row: a random text that no other worker or restart has.
    worker: String,
    /// The name that the row has, and when it was written.
    written: Option<(String, Instant)>,
    paused_until: Option<Instant>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        let worker = format!("{:016x}{:016x}", random::bits(), random::bits());
        Self { worker, written: None, paused_until: None }
    }

    /// Writes the name if that is due. A failure is no error: the worker only stays unnamed.
    pub(super) async fn show(
        &mut self,
        name: String,
        context: &Context,
        connection: &RefreshConnection,
    ) {
        if !self.is_due(&name) {
            return;
        }
        let pid = i64::from(std::process::id());
        let interval = context.poll_interval.as_secs_f64();
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.worker, Type::TEXT),
            (&context.host, Type::TEXT),
            (&pid, Type::INT8),
            (&interval, Type::FLOAT8),
            (&name, Type::TEXT),
        ];
        match connection.write(&context.queries.heartbeat, &values, WRITE).await {
            Ok(()) => self.written = Some((name, Instant::now())),
            Err(error) if is_refusal(&error) => self.pause(),
            // If the connection is lost, the next poll finds out.
            Err(_) => {}
        }
    }

    /// Deletes the row, because the worker ends.
    pub(super) async fn end(&self, context: &Context, connection: &RefreshConnection) {
        if self.written.is_some() {
            let values: [(&(dyn ToSql + Sync), Type); 1] = [(&self.worker, Type::TEXT)];
            let statement = &context.queries.end_heartbeat;
            let _ = connection.write(statement, &values, deadline::CLOSE).await;
        }
    }

    fn is_due(&self, name: &str) -> bool {
        let now = Instant::now();
        let shows = |(shown, at): &(String, Instant)| shown == name && now < *at + GAP;
        self.paused_until.is_none_or(|until| until <= now)
            && !self.written.as_ref().is_some_and(shows)
    }

    fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + PAUSE);
    }
}

/// Whether the server has replied that it does not write: without the right or the table, on a
/// read-only connection, or behind a lock.
fn is_refusal(error: &Error) -> bool {
    error.sqlstate().is_some() && error.kind() != ErrorKind::Lost
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn written(name: &str) -> Heartbeat {
        Heartbeat { written: Some((name.into(), Instant::now())), ..Heartbeat::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn same_name_is_written_again_after_a_gap_and_another_at_once() {
        assert!(Heartbeat::new().is_due("a"));
        let heartbeat = written("a");
        assert!(!heartbeat.is_due("a") && heartbeat.is_due("b"));
        advance(GAP).await;
        assert!(heartbeat.is_due("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_pauses_all_names_for_ten_minutes() {
        let mut heartbeat = written("a");
        heartbeat.pause();
        advance(Duration::from_secs(599)).await;
        assert!(!heartbeat.is_due("a") && !heartbeat.is_due("b"));
        advance(Duration::from_secs(1)).await;
        assert!(heartbeat.is_due("a"));
    }

    #[test]
    fn two_workers_have_different_rows() {
        assert_ne!(Heartbeat::new().worker, Heartbeat::new().worker);
    }
}
