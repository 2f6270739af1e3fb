//! The rows that a load reads, and what they mean.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::size_limit::SizeLimit;
use crate::postgres::tables::Slot;
use crate::postgres::text::{Decoder, Text};
use crate::row::{
    AllowedUsersRow, ExperimentRow, Fault, FlagRow, GroupRow, MAX_RULES_SIZE, PlanRow, SegmentRow,
    Users, ValueRow,
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

/// The sizes of the tables with rules.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    rules: SizeLimit,
    rules_of_values: SizeLimit,
    conditions: SizeLimit,
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
    pub(super) fn add(
        self,
        loaded: &mut Loaded,
        sizes: &mut Sizes,
        row: &Row,
        decoder: &Decoder,
    ) -> Result<(), Error> {
        match self {
            Self::Flags => {
                let flags = loaded.flags.get_or_insert_default();
                sizes.rules.push(flags, flag(row, decoder)?, MAX_RULES_SIZE);
            }
            Self::AllowedUsers => push(&mut loaded.allowed_users, allowed_users(row, decoder)?),
            Self::Values => {
                let values = loaded.values.get_or_insert_default();
                sizes.rules_of_values.push(values, value(row, decoder)?, MAX_RULES_SIZE);
            }
            Self::Segments => {
                let segments = loaded.segments.get_or_insert_default();
                sizes.conditions.push(segments, segment(row, decoder)?, MAX_RULES_SIZE);
            }
            Self::Groups => {
                loaded.groups.get_or_insert_default().extend(group(row, decoder)?);
            }
            Self::Plans => push(&mut loaded.plans, plan(row, decoder)?),
            Self::Experiments => push(&mut loaded.experiments, experiment(row, decoder)?),
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

/// The texts of a row whose bytes depend on the encoding.
pub(super) fn texts(row: &Row) -> Result<Vec<&[u8]>, Error> {
    let mut texts = Vec::new();
    for (position, column) in row.columns().iter().enumerate() {
        match *column.type_() {
            Type::TEXT => texts.extend(row.try_get::<_, Option<Text<'_>>>(position)?),
            Type::TEXT_ARRAY => texts.extend(row.try_get::<_, Vec<Text<'_>>>(position)?),
            _ => {}
        }
    }
    Ok(texts.into_iter().filter_map(Text::encoded).collect())
}

/// The JSON text of the rules of a row, `None` without any.
fn rules(row: &Row, decoder: &Decoder) -> Result<Result<Option<Box<str>>, Fault>, Error> {
    let rules: Option<Text<'_>> = row.try_get("rules")?;
    let rules: Result<Option<Box<str>>, Fault> =
        rules.map(|text| decoder.checked(text)).transpose();
    Ok(match rules {
        // No JSON text is empty.
        Ok(Some(text)) if text.is_empty() => Err(Fault::TooLarge),
        rules => rules,
    })
}

/// The attribute that a row buckets by, `None` for the user.
fn bucket_by(row: &Row, decoder: &Decoder) -> Result<Option<Box<str>>, Error> {
    let bucket_by: Option<Text<'_>> = row.try_get("bucket_by")?;
    Ok(bucket_by.map(|text| decoder.text(text).unwrap_or_default().into()))
}

fn flag(row: &Row, decoder: &Decoder) -> Result<FlagRow, Error> {
    Ok(FlagRow {
        pk: decoder.pk(row, "pk")?,
        key: decoder.required(row, "key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
        rules: rules(row, decoder)?,
        bucket_by: bucket_by(row, decoder)?,
    })
}

fn allowed_users(row: &Row, decoder: &Decoder) -> Result<AllowedUsersRow, Error> {
    let flag_pk = decoder.pk(row, "flag_pk")?;
    let (users, some_undecodable) = self::users(row, "users", decoder)?;
    let (absent, more_undecodable) = self::users(row, "absent", decoder)?;
    let undecodable = some_undecodable || more_undecodable;
    Ok(AllowedUsersRow { flag_pk, users, absent, undecodable })
}

/// The primary keys of users, and whether there are more, which cannot be decoded.
fn users(row: &Row, column: &str, decoder: &Decoder) -> Result<(Users, bool), Error> {
    if row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY) {
        return Ok((Users::Integers(row.try_get(column)?), false));
    }
    let read: Vec<Text<'_>> = row.try_get(column)?;
    let users: Vec<_> =
        read.iter().filter_map(|user| decoder.text(*user)).map(Into::into).collect();
    let undecodable = users.len() < read.len();
    Ok((Users::Texts(users), undecodable))
}

/// A group; `None` if its name cannot be decoded, which no rule can name.
fn group(row: &Row, decoder: &Decoder) -> Result<Option<GroupRow>, Error> {
    let Ok(name) = decoder.required(row, "name")? else { return Ok(None) };
    let (users, _) = self::users(row, "users", decoder)?;
    let (absent, _) = self::users(row, "absent", decoder)?;
    Ok(Some(GroupRow { name, users, absent }))
}

fn value(row: &Row, decoder: &Decoder) -> Result<ValueRow, Error> {
    let read: Option<Text<'_>> = row.try_get("value")?;
    let value = if row.try_get("too_large")? {
        Err(Fault::TooLarge)
    } else {
        read.map(|text| decoder.checked(text)).transpose()
    };
    Ok(ValueRow {
        pk: decoder.pk(row, "pk")?,
        key: decoder.required(row, "key")?,
        value,
        is_secret: row.try_get("is_secret")?,
        client_side: row.try_get("client_side")?,
        rules: rules(row, decoder)?,
        bucket_by: bucket_by(row, decoder)?,
    })
}

fn segment(row: &Row, decoder: &Decoder) -> Result<SegmentRow, Error> {
    let conditions = if row.try_get("too_large")? {
        Err(Fault::TooLarge)
    } else {
        decoder.required(row, "conditions")?
    };
    Ok(SegmentRow { pk: decoder.pk(row, "pk")?, key: decoder.required(row, "key")?, conditions })
}

fn experiment(row: &Row, decoder: &Decoder) -> Result<ExperimentRow, Error> {
    let text =
        |name| -> Result<Box<str>, Error> { Ok(decoder.required(row, name)?.unwrap_or_default()) };
    Ok(ExperimentRow {
        pk: decoder.pk(row, "pk")?,
        key: decoder.required(row, "key")?,
        state: text("state")?,
        winner: text("winner")?,
        shuffle: row.try_get("shuffle")?,
        phase: row.try_get("phase")?,
        variants: decoder.required(row, "variants")?,
        allocation: decoder.required(row, "allocation")?,
        forced: decoder.required(row, "overrides")?,
        rules: rules(row, decoder)?,
        bucket_by: bucket_by(row, decoder)?,
    })
}

fn plan(row: &Row, decoder: &Decoder) -> Result<PlanRow, Error> {
    let text =
        |name| -> Result<Box<str>, Error> { Ok(decoder.required(row, name)?.unwrap_or_default()) };
    Ok(PlanRow {
        pk: decoder.pk(row, "pk")?,
        flag_pk: decoder.pk(row, "flag_pk")?,
        key: text("key")?,
        run: row.try_get("run")?,
        salt: row.try_get("salt")?,
        latency_limits: text("latency_limits")?,
        guarded_for: row.try_get("guarded_for")?,
    })
}
