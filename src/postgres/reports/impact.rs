//! The users of a project, streamed past the evaluator over a short connection of the pool.
//!
//! Flag, allow-list and users are read in one transaction, so they are of one moment. The users
//! come page by page of their table: neither side holds more than some pages of them, and the
//! server looks at each page once, whatever the primary key is and whenever it was vacuumed.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::allowed_users::AllowedUsers;
use crate::flag::Flag;
use crate::impact::Impact;
use crate::postgres::connect::pools::Pools;
use crate::postgres::error::Error;
use crate::postgres::queries::ANY_TEXT;
use crate::postgres::text::Text;
use crate::subject::Subject;

pub(crate) const DOING: &str = "count the users";
/// How many pages come at once. One of them holds up to some 220 users.
const STEP: u32 = 64;

/// What is to be found out, and the statements that read for it.
#[derive(Clone, Debug)]
pub struct ImpactQuery {
    /// The flag.
    pub key: String,
    /// The rollout that it might have.
    pub percent: i32,
    /// How many users the sample is to hold at most.
    pub sample: usize,
    /// Gives switch, rollout and allow-list of the flag with the key `$1`.
    pub flag: String,
    /// Gives how many pages the table `$1` has; NULL where it has none.
    pub extent: String,
    /// Gives the primary keys from the page of `$1` on to that of `$2` as an array.
    pub users: String,
    /// The table of the users, quoted.
    pub table: String,
}

/// Counts over a pooled connection. Blocks.
pub(crate) fn count_over_pool(
    pools: &Pools,
    query: &ImpactQuery,
    until: Instant,
) -> Result<Option<Impact>, Error> {
    let pool = pools.pool();
    let client = pool.get(until.saturating_duration_since(Instant::now()));
    if client.is_err() {
        pools.discard(&pool);
    }
    // The connection is closed when it is given back, and the transaction with it.
    count(&mut *client?, query, until)
}

fn count(
    client: &mut Client,
    query: &ImpactQuery,
    until: Instant,
) -> Result<Option<Impact>, Error> {
    let failed = |error| Error::driver(DOING, error);
    client.batch_execute(&begin(until)?).map_err(failed)?;
    let found = client.query_typed(&query.flag, &[(&query.key, Type::TEXT)]);
    // Two rows with one key count as none, as they do in a snapshot.
    let [row] = &found.map_err(failed)?[..] else { return Ok(None) };
    let Some(flag) = flag(row).map_err(failed)? else { return Ok(None) };
    let impact = Impact::new(&query.key, flag, query.percent, query.sample);
    let extent = [(&query.table as &(dyn ToSql + Sync), Type::TEXT)];
    let extent = client.query_typed(&query.extent, &extent).map_err(failed)?;
    let pages = extent.first().map(|row| row.try_get("pages")).transpose().map_err(failed)?;
    let Some(pages) = pages.flatten() else { return Ok(None) };
    thread::scope(|scope| {
        // While some pages are counted, the server reads the next ones.
        let (send, read) = sync_channel(1);
        let work = move || count_all(&read, impact);
        let counting = thread::Builder::new().name("flagstaff-count".into());
        let counting = counting.spawn_scoped(scope, work).map_err(Error::connect)?;
        read_all(client, query, pages, until, &send)?;
        drop(send);
        let counted = counting.join().unwrap_or_else(|panic| resume_unwind(panic));
        counted.map(Some).map_err(failed)
    })
}

/// Reads step by step, until all is read or nobody takes it any more.
fn read_all(
    client: &mut Client,
    query: &ImpactQuery,
    pages: i64,
    until: Instant,
    send: &SyncSender<Vec<Row>>,
) -> Result<(), Error> {
    for (from, to) in steps(pages) {
        if Instant::now() >= until {
            return Err(Error::deadline(DOING));
        }
        let step = [(&from as &(dyn ToSql + Sync), Type::TEXT), (&to, Type::TEXT)];
        let rows = client.query_typed(&query.users, &step);
        if send.send(rows.map_err(|error| Error::driver(DOING, error))?).is_err() {
            break;
        }
    }
    Ok(())
}

fn count_all(
    read: &Receiver<Vec<Row>>,
    mut impact: Impact,
) -> Result<Impact, tokio_postgres::Error> {
    for row in read.iter().flatten() {
        count_batch(&row, &mut impact)?;
    }
    Ok(impact)
}

/// Where each step begins and where it ends. The last one ends beyond all pages: the table may have
/// been written anew on more of them since they were counted.
fn steps(pages: i64) -> impl Iterator<Item = (String, String)> {
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    let at = |page: u32| format!("({page},0)");
    (0..=pages).step_by(STEP as usize).map(move |from| {
        let to = from.saturating_add(STEP);
        (at(from), at(if to > pages { u32::MAX } else { to }))
    })
}

/// Opens one moment that is only read. No migration waits behind it for longer than a load.
fn begin(until: Instant) -> Result<String, Error> {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    if left == 0 {
        // The server takes nought for no limit at all.
        return Err(Error::deadline(DOING));
    }
    Ok(format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
        SET LOCAL lock_timeout = '500ms';
        SET LOCAL statement_timeout = {};
        {ANY_TEXT}",
        left.min(86_400_000)
    ))
}

fn flag(row: &Row) -> Result<Option<Flag>, tokio_postgres::Error> {
    let (enabled, percent) = (row.try_get("enabled")?, row.try_get("rollout_percent")?);
    let (Some(enabled), Some(rollout_percent)) = (enabled, percent) else { return Ok(None) };
    let allowed = if is_of_integers(row) {
        AllowedUsers::of_integers(row.try_get::<_, Vec<i64>>("users")?)
    } else {
        let texts: Vec<Text<'_>> = row.try_get("users")?;
        AllowedUsers::of_texts(texts.into_iter().filter_map(Text::intact))
    };
    Ok(Some(Flag::detached(enabled, rollout_percent, Arc::new(allowed))))
}

fn count_batch(row: &Row, impact: &mut Impact) -> Result<(), tokio_postgres::Error> {
    if is_of_integers(row) {
        let users: Option<Vec<i64>> = row.try_get("users")?;
        for user in users.into_iter().flatten() {
            impact.count(&Subject::Integer(user));
        }
        return Ok(());
    }
    let users: Option<Vec<Text<'_>>> = row.try_get("users")?;
    for user in users.into_iter().flatten() {
        match user.intact() {
            Some(text) => impact.count(&Subject::Text(text)),
            None => impact.count_unreadable(),
        }
    }
    Ok(())
}

fn is_of_integers(row: &Row) -> bool {
    row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY)
}
