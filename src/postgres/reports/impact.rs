//! The impact of a rollout: streams the users over a pooled connection and evaluates each.
//!
//! Allowed users and users are read in one transaction, so at the same point in time. The
//! users come in ranges of table pages: neither side holds more than some pages of them, and the
//! server reads each page once, whatever the primary key is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Instant;

use postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::flag::Flag;
use crate::impact::Impact;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::ANY_TEXT;
use crate::postgres::text::Text;
use crate::postgres::threads;
use crate::subject::Subject;
use crate::user_set::UserSet;

pub(crate) const DOING: &str = "count the users";
/// The number of pages in a range. A page holds up to about 220 users.
const PAGES_PER_RANGE: u32 = 64;

/// What to compute, and the statements that read for it.
#[derive(Clone, Debug)]
pub struct ImpactQuery {
    /// The flag.
    pub key: String,
    /// `enabled` and the rollout in percent, before and after.
    pub states: ((bool, i32), (bool, i32)),
    /// The maximum number of users in the sample.
    pub sample: usize,
    /// Reads the allowed users of the flag with the key `$1`.
    pub allowed_users: String,
    /// Reads the number of pages of the table `$1`; NULL if it has none.
    pub extent: String,
    /// Reads the primary keys from the page of `$1` to that of `$2`, as arrays.
    pub users: String,
    /// The quoted table of the users.
    pub table: String,
}

/// Computes the impact over a pooled connection. `until` bounds each statement on the server.
///
/// Returns `None` if this connection cannot: the flag does not exist, or the table of the users is
/// missing, not readable, or hides rows.
pub(crate) fn compute(
    client: &mut Client,
    query: &ImpactQuery,
    until: Instant,
) -> Result<Option<Impact>, Error> {
    let outcome = match count(client, query, until) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Missing | ErrorKind::Permission | ErrorKind::RowSecurity
            ) =>
        {
            Ok(None)
        }
        outcome => outcome,
    };
    if outcome.is_ok() {
        client.batch_execute("ROLLBACK").map_err(|error| Error::driver(DOING, error))?;
    }
    outcome
}

fn count(
    client: &mut Client,
    query: &ImpactQuery,
    until: Instant,
) -> Result<Option<Impact>, Error> {
    let failed = |error| Error::driver(DOING, error);
    client.batch_execute(&begin(until)?).map_err(failed)?;
    let flags = client.query_typed(&query.allowed_users, &[(&query.key, Type::TEXT)]);
    // Two rows with the same key count as none, as in a snapshot.
    let [flag] = &flags.map_err(failed)?[..] else { return Ok(None) };
    let allowed = Arc::new(allowed_users(flag).map_err(failed)?);
    let state = |(enabled, percent)| Flag::detached(enabled, percent, Arc::clone(&allowed));
    let (before, after) = query.states;
    let impact = Impact::between(&query.key, state(before), state(after), query.sample);
    let extent = [(&query.table as &(dyn ToSql + Sync), Type::TEXT)];
    let extent = client.query_typed(&query.extent, &extent).map_err(failed)?;
    let pages = extent.first().map(|row| row.try_get("pages")).transpose().map_err(failed)?;
    let Some(pages) = pages.flatten() else { return Ok(None) };
    // The server reads the next pages while these are counted.
    let (send, read) = sync_channel(1);
    let (done, counted) = channel();
    threads::spawn("flagstaff-count", DOING, move || drop(done.send(count_rows(&read, impact))))?;
    read_ranges(client, query, pages, &send)?;
    drop(send);
    let counted = counted.recv().map_err(|_| Error::lost(DOING))?;
    counted.map(Some).map_err(failed)
}

/// Reads range by range, until all is read or the receiver is gone.
fn read_ranges(
    client: &mut Client,
    query: &ImpactQuery,
    pages: i64,
    send: &SyncSender<Vec<Row>>,
) -> Result<(), Error> {
    for (from, to) in ranges(pages) {
        let range = [(&from as &(dyn ToSql + Sync), Type::TEXT), (&to, Type::TEXT)];
        let rows = client.query_typed(&query.users, &range);
        if send.send(rows.map_err(|error| Error::driver(DOING, error))?).is_err() {
            break;
        }
    }
    Ok(())
}

fn count_rows(
    read: &Receiver<Vec<Row>>,
    mut impact: Impact,
) -> Result<Impact, tokio_postgres::Error> {
    for rows in read {
        rows.iter().try_for_each(|row| count_batch(row, &mut impact))?;
    }
    Ok(impact)
}

/// The start and the end of each range. The last one is open, because the table may have grown
/// since its pages were counted.
fn ranges(pages: i64) -> impl Iterator<Item = (String, String)> {
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    let at = |page: u32| format!("({page},0)");
    (0..=pages).step_by(PAGES_PER_RANGE as usize).map(move |from| {
        let to = from.saturating_add(PAGES_PER_RANGE);
        (at(from), at(if to > pages { u32::MAX } else { to }))
    })
}

/// Begins a read-only transaction. Its lock timeout keeps a migration from waiting behind it.
fn begin(until: Instant) -> Result<String, Error> {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    if left == 0 {
        // For the server, 0 means no limit.
        return Err(Error::deadline(DOING));
    }
    Ok(format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
        SET LOCAL lock_timeout = '500ms';
        SET LOCAL statement_timeout = {};
        SET LOCAL row_security = off;
        {ANY_TEXT}",
        left.min(86_400_000)
    ))
}

fn allowed_users(row: &Row) -> Result<UserSet, tokio_postgres::Error> {
    if has_integer_keys(row) {
        return Ok(UserSet::of_integers(row.try_get::<_, Vec<i64>>("users")?));
    }
    let texts: Vec<Text<'_>> = row.try_get("users")?;
    Ok(UserSet::of_texts(texts.into_iter().filter_map(Text::valid)))
}

fn count_batch(row: &Row, impact: &mut Impact) -> Result<(), tokio_postgres::Error> {
    if has_integer_keys(row) {
        let users: Option<Vec<i64>> = row.try_get("users")?;
        for user in users.into_iter().flatten() {
            impact.count(&Subject::Integer(user));
        }
        return Ok(());
    }
    let users: Option<Vec<Text<'_>>> = row.try_get("users")?;
    for user in users.into_iter().flatten() {
        match user.valid() {
            Some(text) => impact.count(&Subject::Text(text)),
            None => impact.count_unreadable(),
        }
    }
    Ok(())
}

fn has_integer_keys(row: &Row) -> bool {
    row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY)
}
