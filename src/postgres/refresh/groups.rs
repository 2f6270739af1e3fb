//! The second step of a load: the groups that the rules of the first step refer to.
//!
//! They are tables of the project, so a fault of theirs never fails a load: a change of a flag
//! arrives without them.

use std::cell::RefCell;
use std::time::Instant;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error as DriverError, Row};

use super::encoded_texts::{decoder_of, is_undecodable};
use super::read::{DOING, Read, commit};
use super::rows::{self, Sizes};
use crate::groups::GroupReferences;
use crate::postgres::error::Error;
use crate::postgres::queries::{ANY_TEXT, SEND_ENCODED, TableQuery};
use crate::postgres::text::Decoder;
use crate::row::GroupRow;
use crate::snapshot::{Loaded, Snapshot};

/// Neither a lock on a table of the project nor a slow view may keep a change of a flag for long.
/// The statement timeout counts the sending, too.
const SHORT_TIMEOUTS: &str = "SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '5s'";

/// Begins the transaction of groups whose texts are decoded afterwards.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL row_security = off";

/// The second step of a load.
pub(super) struct GroupStep<'a> {
    pub(super) client: &'a Client,
    pub(super) query: &'a TableQuery,
    /// Whether the groups may have changed since the base of the snapshot.
    pub(super) changed: bool,
    /// Whether groups are read that could not be read before.
    pub(super) retries: bool,
}

impl GroupStep<'_> {
    /// Adds the groups to what was read, and commits the transaction of the load.
    pub(super) async fn add_to(&self, read: Read) -> Result<Read, DriverError> {
        let Some(references) = self.wanted(&read.snapshot) else {
            commit(self.client).await?;
            return Ok(read);
        };
        let began = Instant::now();
        match self.read(&references).await {
            Err(error) if is_undecodable(&error) => Err(error),
            groups => self.with(read, references, groups, began).await,
        }
    }

    /// The same after the transaction of the load, for texts that are decoded afterwards.
    pub(super) async fn add_encoded_to(&self, read: Read) -> Result<Read, DriverError> {
        let Some(references) = self.wanted(&read.snapshot) else { return Ok(read) };
        let began = Instant::now();
        if references.is_empty() {
            return self.with(read, references, Ok(Vec::new()), began).await;
        }
        // All of them, because the names cannot be compared before they are decoded.
        self.with(read, GroupReferences::All, self.read_encoded().await, began).await
    }

    /// The groups that must be read. Those that could not be read are left to a full load: a change
    /// of a flag must not wait for them again.
    fn wanted(&self, snapshot: &Snapshot) -> Option<GroupReferences> {
        if snapshot.has_unreadable_groups() && !self.retries {
            return None;
        }
        snapshot.wanted_groups(self.changed)
    }

    async fn with(
        &self,
        read: Read,
        references: GroupReferences,
        groups: Result<Vec<GroupRow>, DriverError>,
        began: Instant,
    ) -> Result<Read, DriverError> {
        let (snapshot, failed_groups) = match groups {
            Ok(groups) => (read.snapshot.with_groups(references, groups), None),
            Err(error) if self.client.is_closed() => return Err(error),
            Err(error) => {
                let _ = self.client.batch_execute("ROLLBACK").await;
                let why = Error::driver(DOING, error).message();
                (read.snapshot.with_unreadable_groups(why), Some(began.elapsed()))
            }
        };
        Ok(Read { snapshot, failed_groups, ..read })
    }

    async fn read(&self, references: &GroupReferences) -> Result<Vec<GroupRow>, DriverError> {
        if references.is_empty() {
            commit(self.client).await?;
            return Ok(Vec::new());
        }
        let found = RefCell::new(Vec::new());
        let keep = |row| {
            found.borrow_mut().extend(self.groups(&[row], &Decoder::default())?);
            Ok(())
        };
        let names = references.names();
        let names = [(&names as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
        let (limited, read, committed) = tokio::join!(
            self.client.batch_execute(SHORT_TIMEOUTS),
            rows::read(self.client, &self.query.text, &names, keep),
            commit(self.client),
        );
        limited.and(read).and(committed)?;
        Ok(found.into_inner())
    }

    async fn read_encoded(&self) -> Result<Vec<GroupRow>, DriverError> {
        let declare = [BEGIN, ANY_TEXT, SHORT_TIMEOUTS, &self.query.declare(), SEND_ENCODED];
        self.client.batch_execute(&declare.join(";\n")).await?;
        let found = RefCell::new(Vec::new());
        let keep = |row| {
            found.borrow_mut().push(row);
            Ok(())
        };
        rows::read(self.client, &self.query.fetched().text, &[], keep).await?;
        commit(self.client).await?;
        let found = found.into_inner();
        let decoder = decoder_of(self.client, found.iter()).await?;
        self.groups(&found, &decoder)
    }

    /// What these rows mean.
    fn groups(&self, rows: &[Row], decoder: &Decoder) -> Result<Vec<GroupRow>, DriverError> {
        let (mut loaded, mut sizes) = (Loaded::default(), Sizes::default());
        for row in rows {
            self.query.slot.add(&mut loaded, &mut sizes, row, decoder)?;
        }
        Ok(loaded.groups.unwrap_or_default())
    }
}
