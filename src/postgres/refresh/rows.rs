//! The rows that a load reads, and what they mean.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use crate::postgres::tables::Slot;
use crate::primary_key::PrimaryKey;
use crate::row::{
    AllowedUsersRow, ExperimentRow, Fault, FlagRow, GroupRow, PlanRow, SegmentRow, Users, ValueRow,
};
use crate::snapshot::{Loaded, Snapshot};

/// Passes the rows of a query to `keep`, each as it arrives.
pub(super) async fn read(
    client: &Client,
    query: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    keep: impl Fn(Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let parameters = parameters.iter().map(|(value, of_type)| (*value, of_type.clone()));
    let mut rows = pin!(client.query_typed_raw(query, parameters).await?);
    while let Some(row) = rows.try_next().await? {
        keep(row)?;
    }
    Ok(())
}

impl Slot {
    /// Marks the table as read, with room for the rows that `base` has.
    pub(super) fn begin(self, loaded: &mut Loaded, base: Option<&Snapshot>) {
        match self {
            Self::Flags => loaded.flags = Some(room(base.map(Snapshot::flag_count))),
            Self::AllowedUsers => loaded.allowed_users = Some(Vec::new()),
            Self::Values => loaded.values = Some(room(base.map(Snapshot::value_count))),
            Self::Segments => loaded.segments = Some(Vec::new()),
            Self::Groups => loaded.groups = Some(Vec::new()),
            Self::Plans => loaded.plans = Some(Vec::new()),
            Self::Experiments => loaded.experiments = Some(Vec::new()),
        }
    }

    /// Adds what a row means: the row itself is several times as large.
    pub(super) fn add(self, loaded: &mut Loaded, row: &Row) -> Result<(), Error> {
        match self {
            Self::Flags => push(&mut loaded.flags, flag(row)?),
            Self::AllowedUsers => push(&mut loaded.allowed_users, allowed_users(row)?),
            Self::Values => push(&mut loaded.values, value(row)?),
            Self::Segments => push(&mut loaded.segments, segment(row)?),
            Self::Groups => push(&mut loaded.groups, group(row)?),
            Self::Plans => push(&mut loaded.plans, plan(row)?),
            Self::Experiments => push(&mut loaded.experiments, experiment(row)?),
        }
        Ok(())
    }
}

/// Room for a little more rows than before: a list that grows takes up to three times its size.
fn room<T>(before: Option<usize>) -> Vec<T> {
    let before = before.unwrap_or_default();
    Vec::with_capacity(before + before / 16)
}

fn push<T>(rows: &mut Option<Vec<T>>, row: T) {
    rows.get_or_insert_default().push(row);
}

fn pk(row: &Row, column: &str) -> Result<PrimaryKey, Error> {
    Ok(row.try_get::<_, &str>(column)?.into())
}

/// The text of a column that must not be NULL, or the fault of the column.
fn required(row: &Row, column: &str) -> Result<Result<Box<str>, Fault>, Error> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(Into::into).ok_or(Fault::Null))
}

fn optional(row: &Row, column: &str) -> Result<Option<Box<str>>, Error> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(Into::into))
}

fn flag(row: &Row) -> Result<FlagRow, Error> {
    Ok(FlagRow {
        pk: pk(row, "pk")?,
        key: required(row, "key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
        rules: optional(row, "rules")?,
        bucket_by: optional(row, "bucket_by")?,
    })
}

fn allowed_users(row: &Row) -> Result<AllowedUsersRow, Error> {
    Ok(AllowedUsersRow {
        flag_pk: pk(row, "flag_pk")?,
        users: users(row, "users")?,
        absent: users(row, "absent")?,
    })
}

/// The primary keys of users.
fn users(row: &Row, column: &str) -> Result<Users, Error> {
    if row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY) {
        return Ok(Users::Integers(row.try_get(column)?));
    }
    Ok(Users::Texts(row.try_get(column)?))
}

fn group(row: &Row) -> Result<GroupRow, Error> {
    let name: &str = row.try_get("name")?;
    Ok(GroupRow { name: name.into(), users: users(row, "users")?, absent: users(row, "absent")? })
}

fn value(row: &Row) -> Result<ValueRow, Error> {
    Ok(ValueRow {
        pk: pk(row, "pk")?,
        key: required(row, "key")?,
        value: if row.try_get("too_large")? {
            Err(Fault::TooLarge)
        } else {
            Ok(row.try_get("value")?)
        },
        is_secret: row.try_get("is_secret")?,
        client_side: row.try_get("client_side")?,
        rules: optional(row, "rules")?,
        bucket_by: optional(row, "bucket_by")?,
    })
}

fn segment(row: &Row) -> Result<SegmentRow, Error> {
    Ok(SegmentRow {
        pk: pk(row, "pk")?,
        key: required(row, "key")?,
        conditions: required(row, "conditions")?,
    })
}

fn experiment(row: &Row) -> Result<ExperimentRow, Error> {
    Ok(ExperimentRow {
        pk: pk(row, "pk")?,
        key: required(row, "key")?,
        state: required(row, "state")?.unwrap_or_default(),
        winner: required(row, "winner")?.unwrap_or_default(),
        run: row.try_get("run")?,
        variants: required(row, "variants")?,
        traffic_percent: row.try_get("traffic_percent")?,
        forced: required(row, "overrides")?,
        rules: optional(row, "rules")?,
        bucket_by: optional(row, "bucket_by")?,
    })
}

fn plan(row: &Row) -> Result<PlanRow, Error> {
    Ok(PlanRow {
        pk: pk(row, "pk")?,
        flag_pk: pk(row, "flag_pk")?,
        key: required(row, "key")?.unwrap_or_default(),
        run: row.try_get("run")?,
        salt: row.try_get("salt")?,
        latency_limits: required(row, "latency_limits")?.unwrap_or_default(),
        guarded_for: row.try_get("guarded_for")?,
    })
}
