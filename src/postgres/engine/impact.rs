//! The users of a project, streamed past the evaluator over a short link of the pool.
//!
//! Flag, allow-list and users are read in one transaction, so they are of one moment. The users
//! come in batches by their primary key: neither side holds more than one of them.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::Engine;
use crate::allow_list::AllowList;
use crate::flag::Flag;
use crate::impact::Impact;
use crate::postgres::error::{Error, Kind};
use crate::subject::Subject;

const DOING: &str = "count the users";

/// What is to be found out, and the statements that read for it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The flag.
    pub key: String,
    /// The rollout that it might have.
    pub percent: i32,
    /// How many users the sample is to hold at most.
    pub sample: usize,
    /// Gives switch, rollout and allow-list of the flag with the key `$1`.
    pub flag: String,
    /// Gives the first batch of primary keys as an array.
    pub first: String,
    /// Gives the batch after the primary key whose text is the bytes `$1`.
    pub next: String,
}

impl Engine {
    /// Counts for whom the answer would change. Blocks for at most `limit`.
    ///
    /// `None` where this link cannot tell: there is no such flag that can be evaluated, or the
    /// users are not here, or not for us to read.
    ///
    /// # Errors
    /// Where the database fails or takes longer.
    pub fn impact(
        self: &Arc<Self>,
        question: Question,
        limit: Duration,
    ) -> Result<Option<Impact>, Error> {
        let (answer, answered) = channel();
        let until = Instant::now() + limit;
        // As with a refresh: a server that hangs keeps this thread, not the caller.
        let engine = self.clone();
        let work = move || drop(answer.send(engine.impact_over_pool(&question, until)));
        let thread = thread::Builder::new().name("flagstaff-impact".into());
        thread.spawn(work).map_err(Error::connect)?;
        let patience = limit + Duration::from_millis(100);
        match answered.recv_timeout(patience).unwrap_or_else(|_| Err(Error::deadline(DOING))) {
            Err(error) if matches!(error.kind(), Kind::Missing | Kind::Permission) => Ok(None),
            outcome => outcome,
        }
    }

    fn impact_over_pool(
        &self,
        question: &Question,
        until: Instant,
    ) -> Result<Option<Impact>, Error> {
        let pool = self.pools.pool();
        let client = pool.get(until.saturating_duration_since(Instant::now()));
        if client.is_err() {
            self.pools.discard(&pool);
        }
        // The link is closed when it is given back, and the transaction with it.
        count(&mut *client?, question, until)
    }
}

fn count(
    client: &mut Client,
    question: &Question,
    until: Instant,
) -> Result<Option<Impact>, Error> {
    let failed = |error| Error::driver(DOING, error);
    client.batch_execute(&begin(until)?).map_err(failed)?;
    let found = client.query_typed(&question.flag, &[(&question.key, Type::TEXT)]);
    // Two rows with one key count as none, as they do in a snapshot.
    let [row] = &found.map_err(failed)?[..] else { return Ok(None) };
    let Some(flag) = flag(row).map_err(failed)? else { return Ok(None) };
    let mut impact = Impact::new(&question.key, flag, question.percent, question.sample);
    let mut rows = client.query_typed(&question.first, &[]).map_err(failed)?;
    while let Some(last) = count_batch(&rows, &mut impact).map_err(failed)? {
        if Instant::now() >= until {
            return Err(Error::deadline(DOING));
        }
        rows = client.query_typed(&question.next, &[(&last, Type::BYTEA)]).map_err(failed)?;
    }
    Ok(Some(impact))
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
        SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', true)
        WHERE pg_catalog.getdatabaseencoding()::text = 'SQL_ASCII'::text",
        left.min(86_400_000)
    ))
}

fn flag(row: &Row) -> Result<Option<Flag>, tokio_postgres::Error> {
    let (enabled, percent) = (row.try_get("enabled")?, row.try_get("rollout_percent")?);
    let (Some(enabled), Some(rollout_percent)) = (enabled, percent) else { return Ok(None) };
    let allowed = if is_of_integers(row) {
        AllowList::of_integers(row.try_get::<_, Vec<i64>>("users")?)
    } else {
        let texts: Vec<Raw<'_>> = row.try_get("users")?;
        AllowList::of_texts(texts.into_iter().filter_map(Raw::text))
    };
    Ok(Some(Flag::detached(enabled, rollout_percent, Arc::new(allowed))))
}

/// Counts the users of a batch, and gives the last one's bytes; `None` where there was none.
fn count_batch(
    rows: &[Row],
    impact: &mut Impact,
) -> Result<Option<Vec<u8>>, tokio_postgres::Error> {
    let [row] = rows else { return Ok(None) };
    if is_of_integers(row) {
        let users: Option<Vec<i64>> = row.try_get("users")?;
        let users = users.unwrap_or_default();
        for user in &users {
            impact.count(&Subject::Integer(*user));
        }
        return Ok(users.last().map(|last| last.to_string().into_bytes()));
    }
    let users: Option<Vec<Raw<'_>>> = row.try_get("users")?;
    let users = users.unwrap_or_default();
    for user in &users {
        match user.text() {
            Some(text) => impact.count(&Subject::Text(text)),
            None => impact.count_unaskable(),
        }
    }
    Ok(users.last().map(|last| last.0.to_vec()))
}

fn is_of_integers(row: &Row) -> bool {
    row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY)
}

/// A text as the server sent it: in a database of the encoding `SQL_ASCII` it need not be one.
#[derive(Clone, Copy, Debug)]
struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(type_: &Type) -> bool {
        <&str as FromSql<'_>>::accepts(type_)
    }
}
