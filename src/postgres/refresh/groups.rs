//! The second step of a load: the groups that the rules of the first step refer to.
//!
//! They are tables of the project, so a fault of theirs never fails a load: a change of a flag
//! arrives without them.

use std::cell::RefCell;
use std::time::Instant;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error as DriverError};

use super::read::{DOING, Loaded, Read, commit, is_of_keys};
use super::rows;
use crate::groups::{GroupReferences, Groups};
use crate::postgres::error::Error;
use crate::postgres::queries::TableQuery;
use crate::row::GroupRow;
use crate::snapshot::{self, Snapshot};
use crate::token_set::changes::Change;

/// Neither a lock on a table of the project nor a slow view may keep a change of a flag for long.
/// The statement timeout counts the sending, too.
const SHORT_TIMEOUTS: &str = "SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '5s'";

/// The second step of a load.
pub(super) struct GroupStep<'a> {
    pub(super) client: &'a Client,
    pub(super) query: &'a TableQuery,
    /// What has changed in the groups since the base of the snapshot.
    pub(super) change: Change,
    /// Whether groups are read that could not be read before.
    pub(super) retries: bool,
}

impl GroupStep<'_> {
    /// Adds the groups to what was read, and commits the transaction of the load. `None` if all
    /// groups must be read.
    pub(super) async fn add_to(&self, read: Read) -> Result<Option<Read>, DriverError> {
        if let Some(pairs) = self.changed_members(&read.snapshot) {
            return self.with_members(read, pairs).await;
        }
        self.with_groups(read).await.map(Some)
    }

    /// The pairs of a group and a user to ask for, if these are all that can have changed.
    fn changed_members(&self, snapshot: &Snapshot) -> Option<&[Box<str>]> {
        match &self.change {
            Change::Rows(pairs) if snapshot.wanted_groups(false).is_none() => Some(pairs),
            _ => None,
        }
    }

    async fn with_members(
        &self,
        read: Read,
        pairs: &[Box<str>],
    ) -> Result<Option<Read>, DriverError> {
        let Some(query) = &self.query.of_keys else {
            return self.with_groups(read).await.map(Some);
        };
        let names = read.snapshot.groups().and_then(Groups::names);
        let values =
            [(&pairs as &(dyn ToSql + Sync), Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
        let began = Instant::now();
        match self.rows(query, &values).await {
            Ok(rows) => {
                let snapshot = read.snapshot.with_members(rows);
                Ok(snapshot.map(|snapshot| Read { snapshot, ..read }))
            }
            Err(error) if is_of_keys(&error) => Err(error),
            Err(error) => self.without(read, error, began).await.map(Some),
        }
    }

    async fn with_groups(&self, read: Read) -> Result<Read, DriverError> {
        let Some(references) = self.wanted(&read.snapshot) else {
            commit(self.client).await?;
            return Ok(read);
        };
        let began = Instant::now();
        let groups = self.read(&references).await;
        self.with(read, references, groups, began).await
    }

    /// The groups that must be read. Those that could not be read are left to a full load: a change
    /// of a flag must not wait for them again.
    fn wanted(&self, snapshot: &Snapshot) -> Option<GroupReferences> {
        if snapshot.has_unreadable_groups() && !self.retries {
            return None;
        }
        snapshot.wanted_groups(self.change != Change::Nothing)
    }

    async fn with(
        &self,
        read: Read,
        references: GroupReferences,
        groups: Result<Vec<GroupRow>, DriverError>,
        began: Instant,
    ) -> Result<Read, DriverError> {
        match groups {
            Ok(groups) => {
                let members = (!references.is_empty()).then(|| began.elapsed());
                let loaded = Loaded { members, ..read.loaded };
                let snapshot = read.snapshot.with_groups(references, groups);
                Ok(Read { snapshot, loaded, ..read })
            }
            Err(error) => self.without(read, error, began).await,
        }
    }

    /// Keeps the last good groups, because these cannot be read, unless the connection has ended.
    async fn without(
        &self,
        read: Read,
        error: DriverError,
        began: Instant,
    ) -> Result<Read, DriverError> {
        if self.client.is_closed() {
            return Err(error);
        }
        let _ = self.client.batch_execute("ROLLBACK").await;
        let why = Error::driver(DOING, error).message();
        let snapshot = read.snapshot.with_unreadable_groups(why);
        let loaded = Loaded { failed_groups: Some(began.elapsed()), ..read.loaded };
        Ok(Read { snapshot, loaded, ..read })
    }

    async fn read(&self, references: &GroupReferences) -> Result<Vec<GroupRow>, DriverError> {
        if references.is_empty() {
            commit(self.client).await?;
            return Ok(Vec::new());
        }
        let names = references.names();
        self.rows(&self.query.text, &[(&names, Type::TEXT_ARRAY)]).await
    }

    /// The groups of a query, which ends the transaction.
    async fn rows(
        &self,
        query: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<GroupRow>, DriverError> {
        let found = RefCell::new(snapshot::Loaded::default());
        let keep = |row| self.query.slot.add(&mut found.borrow_mut(), &row);
        let (limited, read, committed) = tokio::join!(
            self.client.batch_execute(SHORT_TIMEOUTS),
            rows::read(self.client, query, values, keep),
            commit(self.client),
        );
        limited.and(read).and(committed)?;
        Ok(found.into_inner().groups.unwrap_or_default())
    }
}
