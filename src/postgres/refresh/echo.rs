//! Whether changes of the primary still arrive at a server behind replication.
//!
//! A silent link looks like an idle one, and a cascade hides that its first link is cut. So workers at the
//! primary change one row, the echo, which is replicated like the flags. While this worker sees it
//! change, by its own clock, its flags are those of the primary. The views of the server only say why
//! nothing arrives.

use std::time::Duration;

use tokio_postgres::Row;

use super::connection::RefreshConnection;
use super::server_info::ServerInfo;
use super::subscription::Subscription;
use crate::boot_time::since_boot;
use crate::message::{Message, Template};
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::Queries;
use crate::postgres::status::Arrival;
use crate::postgres::texts;

/// The longest time without an echo, unless it announces another one: twice the longest time
/// between two reports at the primary.
const LIMIT: Duration = Duration::from_secs(60);
/// The least time between two readings.
const GAP: Duration = Duration::from_secs(1);
/// The pause after a refusal, which the server logs.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// What a server can say about why nothing arrives, in the order of what is most likely the cause. The
/// views are not the same on all servers, so each query may fail.
const CAUSES_AT_A_STANDBY: [(&str, &Template); 3] = [
    ("pg_catalog.pg_is_in_recovery() AND pg_catalog.pg_is_wal_replay_paused()", &texts::PAUSED),
    ("NOT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)", &texts::NO_RECEIVER),
    (
        "pg_catalog.pg_last_wal_replay_lsn() OPERATOR(pg_catalog.<) \
         pg_catalog.pg_last_wal_receive_lsn()",
        &texts::NOT_REPLAYED,
    ),
];
const CAUSES_AT_A_SUBSCRIBER: [(&str, &Template); 2] = [
    (
        "EXISTS (SELECT FROM pg_catalog.pg_stat_subscription_stats AS c \
         JOIN pg_catalog.pg_subscription AS s ON s.oid OPERATOR(pg_catalog.=) c.subid \
         WHERE c.apply_error_count OPERATOR(pg_catalog.>) 0 AND s.subdbid OPERATOR(pg_catalog.=) \
         (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))",
        &texts::NOT_APPLIED,
    ),
    (
        "NOT EXISTS (SELECT FROM pg_catalog.pg_stat_subscription AS w \
         JOIN pg_catalog.pg_subscription AS s ON s.oid OPERATOR(pg_catalog.=) w.subid \
         WHERE w.pid IS NOT NULL AND s.subdbid OPERATOR(pg_catalog.=) \
         (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))",
        &texts::NO_APPLY_WORKER,
    ),
];

/// The row of the echo.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EchoRow {
    number: i64,
    /// How soon the next one is due; `None` if no worker is left that writes it.
    due_within: Option<Duration>,
}

impl EchoRow {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let seconds: Option<f64> = row.try_get("due_within")?;
        let due_within = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self { number: row.try_get("number")?, due_within })
    }
}

/// What a worker has seen of the echo, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// What the connection has shown last.
    last: Option<EchoRow>,
    /// The highest number on any connection.
    highest: Option<i64>,
    /// Whether it has changed while this worker looked, or was changed at the primary by its report.
    is_written: bool,
    /// The number that this worker has found at the primary, and when, since boot. It must arrive.
    expected: Option<(i64, Duration)>,
    /// When it last changed, or when this worker began to look, since boot.
    since: Option<Duration>,
    /// When it is read next, since boot.
    due: Duration,
    /// Why the age is high, or not known.
    pub(super) problem: Option<Message>,
}

impl Echo {
    /// Notes that the worker has another connection, perhaps to another server.
    pub(super) fn connected(&mut self) {
        (self.last, self.due) = (None, Duration::ZERO);
    }

    /// Notes the number that this worker has found at the primary after this time since boot. So a copy
    /// that is always late, or another history, is not taken for the primary.
    pub(super) fn reported(&mut self, (number, at): (i64, Duration)) {
        self.is_written = true;
        // The first one has to arrive first, unless the primary has gone back.
        self.expected = match self.expected {
            Some(before) if before.0 <= number => Some(before),
            _ => Some((number, at)),
        };
    }

    /// Reads the echo if that is due. Returns whether changes arrive, `None` if nothing was read. A
    /// failure is no error: it is only not known.
    pub(super) async fn read(
        &mut self,
        queries: &Queries,
        connection: &RefreshConnection,
        server: &ServerInfo,
    ) -> Option<Arrival> {
        if !server.is_behind_replication() {
            *self = Self::default();
            return Some(Arrival::Certain);
        }
        let now = since_boot();
        if now < self.due {
            return None;
        }
        self.due = now + GAP;
        let subscription = server.subscription.as_ref().filter(|_| !server.standby);
        if let Some(lacking) = subscription.and_then(Subscription::lacking_echo) {
            return Some(self.not_known(lacking));
        }
        let read = connection.read_echo(queries).await;
        let row = read.and_then(|row| {
            let row = row.as_ref().map(EchoRow::from_row).transpose();
            row.map_err(|error| Error::driver("poll", error))
        });
        match row {
            Ok(row) => {
                let arrival = self.note(row, now);
                self.problem = match arrival {
                    Arrival::Certain => None,
                    Arrival::Unknown => Some(not_known((&texts::NO_ECHO).into())),
                    Arrival::SilentSince(_) => {
                        let cause = cause(connection, server).await;
                        Some(texts::SILENT.with([("problem", cause.into())]))
                    }
                };
                Some(arrival)
            }
            // The next step finds out that the connection is lost.
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Deadline) => None,
            Err(error) => {
                self.due = now + AFTER_REFUSAL;
                Some(self.not_known(refusal(&error)))
            }
        }
    }

    fn not_known(&mut self, why: Message) -> Arrival {
        self.problem = Some(not_known(why));
        Arrival::Unknown
    }

    /// Notes what a reading has shown.
    fn note(&mut self, row: Option<EchoRow>, now: Duration) -> Arrival {
        let since = *self.since.get_or_insert(now);
        let number = row.map(|row| row.number);
        let has_changed = match self.last {
            Some(last) => number != Some(last.number),
            // Another server may be behind the one before, and stand still.
            None => self.highest.is_some() && number > self.highest,
        };
        let due_within = row.and_then(|row| row.due_within);
        (self.last, self.highest) = (row, number.max(self.highest));
        let limit = due_within.map_or(LIMIT, |due_within| 2 * due_within);
        if has_changed {
            (self.is_written, self.since, self.highest) = (true, Some(now), number);
        }
        match self.expected {
            Some((expected, _)) if number >= Some(expected) => self.expected = None,
            Some((_, at)) if now > at + limit => return Arrival::SilentSince(at),
            Some(_) | None => {}
        }
        if has_changed || now <= since + limit {
            return Arrival::Certain;
        }
        match (due_within, self.expected) {
            (Some(_), _) | (_, Some(_)) if self.is_written => Arrival::SilentSince(since),
            _ => Arrival::Unknown,
        }
    }
}

fn not_known(why: Message) -> Message {
    texts::AGE_UNKNOWN.with([("problem", why.into())])
}

/// Why the echo cannot be read.
fn refusal(error: &Error) -> Message {
    match error.kind() {
        ErrorKind::Permission => (&texts::MAY_NOT_READ_ECHO).into(),
        ErrorKind::Missing => (&texts::NO_ECHO_TABLE).into(),
        _ => error.message(),
    }
}

/// Why nothing arrives, as far as the server knows.
async fn cause(connection: &RefreshConnection, server: &ServerInfo) -> Message {
    if let Some(lacking) = server.subscription.as_ref().and_then(|it| it.lacking.clone()) {
        return lacking;
    }
    let causes: &[(&str, &'static Template)] =
        if server.standby { &CAUSES_AT_A_STANDBY } else { &CAUSES_AT_A_SUBSCRIBER };
    for (condition, cause) in causes {
        if connection.holds(condition).await {
            return (*cause).into();
        }
    }
    (&texts::NO_CAUSE).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn row(number: i64) -> EchoRow {
        EchoRow { number, due_within: Some(30 * SECOND) }
    }

    /// What a worker concludes from the readings at these seconds.
    fn arrivals<const N: usize>(readings: [(u32, EchoRow); N]) -> [Arrival; N] {
        let mut echo = Echo::default();
        readings.map(|(at, row)| echo.note(Some(row), at * SECOND))
    }

    #[test]
    fn echo_that_changes_keeps_the_age_and_one_that_stands_still_is_silent_since_its_last_change() {
        let readings = [(0, row(7)), (20, row(8)), (80, row(8)), (81, row(8)), (90, row(9))];
        let silent = Arrival::SilentSince(20 * SECOND);
        let certain = Arrival::Certain;
        assert_eq!(arrivals(readings), [certain, certain, certain, silent, certain]);
    }

    #[test]
    fn echo_that_was_never_seen_to_change_does_not_say_how_old_the_flags_are() {
        for still in [Some(row(7)), None, Some(EchoRow { number: 7, due_within: None })] {
            let mut echo = Echo::default();
            let arrivals = [0, 60, 61].map(|at| echo.note(still, at * SECOND));
            assert_eq!(arrivals, [Arrival::Certain, Arrival::Certain, Arrival::Unknown]);
        }
    }

    #[test]
    fn echo_after_which_no_worker_writes_another_is_not_silent() {
        let last = EchoRow { number: 9, due_within: None };
        let readings = [(0, row(7)), (20, row(8)), (30, last), (300, last)];
        assert_eq!(arrivals(readings)[2..], [Arrival::Certain, Arrival::Unknown]);
    }

    #[test]
    fn echo_that_is_announced_for_later_is_not_silent_before() {
        let rare = |number| EchoRow { number, due_within: Some(400 * SECOND) };
        let readings = [(0, rare(7)), (20, rare(8)), (820, rare(8)), (821, rare(8))];
        let silent = Arrival::SilentSince(20 * SECOND);
        assert_eq!(arrivals(readings)[2..], [Arrival::Certain, silent]);
    }

    #[test]
    fn copy_that_is_always_late_is_silent_since_the_report_that_has_not_arrived() {
        let mut echo = Echo::default();
        echo.note(Some(row(7)), Duration::ZERO);
        echo.reported((100, 10 * SECOND));
        echo.reported((106, 130 * SECOND));
        let arrivals = [20, 40, 70, 71].map(|at| {
            let number = 7 + i64::from(at) / 20;
            echo.note(Some(row(number)), at * SECOND)
        });
        let certain = Arrival::Certain;
        assert_eq!(arrivals, [certain, certain, certain, Arrival::SilentSince(10 * SECOND)]);
        assert_eq!(echo.note(Some(row(100)), 80 * SECOND), certain);
    }

    #[test]
    fn report_that_has_found_an_older_history_is_expected_in_place_of_the_one_before() {
        let mut echo = Echo::default();
        echo.note(Some(row(7)), Duration::ZERO);
        echo.reported((100, 10 * SECOND));
        echo.reported((8, 60 * SECOND));
        assert_eq!(echo.note(Some(row(8)), 75 * SECOND), Arrival::Certain);
    }

    #[test]
    fn report_of_this_worker_proves_that_the_echo_is_written() {
        let mut echo = Echo::default();
        echo.note(Some(row(7)), Duration::ZERO);
        echo.reported((8, 10 * SECOND));
        let silent = Arrival::SilentSince(10 * SECOND);
        assert_eq!(echo.note(Some(row(7)), 71 * SECOND), silent);
    }

    #[test]
    fn another_server_that_stands_still_does_not_reset_the_age() {
        let mut echo = Echo::default();
        echo.note(Some(row(7)), Duration::ZERO);
        echo.note(Some(row(8)), 20 * SECOND);
        for (at, number) in [(50, 5), (80, 8), (110, 5), (140, 8)] {
            echo.connected();
            let expected =
                if at > 80 { Arrival::SilentSince(20 * SECOND) } else { Arrival::Certain };
            assert_eq!(echo.note(Some(row(number)), at * SECOND), expected, "{at}");
        }
        // Only a change on one connection shows that an older history goes on.
        assert_eq!(echo.note(Some(row(6)), 150 * SECOND), Arrival::Certain);
    }
}
