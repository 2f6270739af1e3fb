//! The rows that a load reads, and what they mean.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use crate::postgres::text::{Decoder, Text};
use crate::row::{AllowedUsersRow, Fault, FlagRow, Users, ValueRow};
use crate::snapshot::Loaded;

/// What is kept of each row as it arrives.
pub(super) trait Keep {
    type Flag;
    type AllowedUsers;
    type Value;

    fn flag(&self, row: Row) -> Result<Self::Flag, Error>;
    fn allowed_users(&self, row: Row) -> Result<Self::AllowedUsers, Error>;
    fn value(&self, row: Row) -> Result<Self::Value, Error>;
}

/// Keeps what a row means: the row itself is several times as large.
impl Keep for Decoder {
    type Flag = FlagRow;
    type AllowedUsers = AllowedUsersRow;
    type Value = ValueRow;

    fn flag(&self, row: Row) -> Result<FlagRow, Error> {
        flag(&row, self)
    }

    fn allowed_users(&self, row: Row) -> Result<AllowedUsersRow, Error> {
        allowed_users(&row, self)
    }

    fn value(&self, row: Row) -> Result<ValueRow, Error> {
        value(&row, self)
    }
}

/// Keeps the rows, because the server must decode their texts first.
pub(super) struct Encoded;

impl Keep for Encoded {
    type Flag = Row;
    type AllowedUsers = Row;
    type Value = Row;

    fn flag(&self, row: Row) -> Result<Row, Error> {
        Ok(row)
    }

    fn allowed_users(&self, row: Row) -> Result<Row, Error> {
        Ok(row)
    }

    fn value(&self, row: Row) -> Result<Row, Error> {
        Ok(row)
    }
}

/// The rows of the tables; `None` for a table that is not read.
pub(super) struct Rows<K: Keep> {
    pub(super) flags: Option<Vec<K::Flag>>,
    pub(super) allowed_users: Option<Vec<K::AllowedUsers>>,
    pub(super) values: Option<Vec<K::Value>>,
}

/// The rows of a query, or `None` without one. `expected` is how many there may be.
pub(super) async fn read<T>(
    client: &Client,
    query: Option<&str>,
    expected: usize,
    keep: impl Fn(Row) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    let Some(query) = query else { return Ok(None) };
    let parameters: [(i32, Type); 0] = [];
    let mut rows = pin!(client.query_typed_raw(query, parameters).await?);
    let mut kept = Vec::with_capacity(expected);
    while let Some(row) = rows.try_next().await? {
        kept.push(keep(row)?);
    }
    Ok(Some(kept))
}

impl Rows<Encoded> {
    /// The texts whose bytes depend on the encoding.
    pub(super) fn texts(&self) -> Result<Vec<&[u8]>, Error> {
        let mut texts = Vec::new();
        for row in [&self.flags, &self.allowed_users, &self.values].into_iter().flatten().flatten()
        {
            for (position, column) in row.columns().iter().enumerate() {
                match *column.type_() {
                    Type::TEXT => texts.extend(row.try_get::<_, Option<Text<'_>>>(position)?),
                    Type::TEXT_ARRAY => texts.extend(row.try_get::<_, Vec<Text<'_>>>(position)?),
                    _ => {}
                }
            }
        }
        Ok(texts.into_iter().filter_map(Text::encoded).collect())
    }

    /// The same rows, decoded.
    pub(super) fn decoded(self, decoder: &Decoder) -> Result<Rows<Decoder>, Error> {
        Ok(Rows {
            flags: each(self.flags, |row| decoder.flag(row))?,
            allowed_users: each(self.allowed_users, |row| decoder.allowed_users(row))?,
            values: each(self.values, |row| decoder.value(row))?,
        })
    }
}

impl Rows<Decoder> {
    /// Puts the rows into the tables of a load.
    pub(super) fn fill(self, loaded: &mut Loaded) {
        loaded.flags = self.flags;
        loaded.allowed_users = self.allowed_users;
        loaded.values = self.values;
    }
}

fn each<T>(
    rows: Option<Vec<Row>>,
    decode: impl Fn(Row) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    rows.map(|rows| rows.into_iter().map(decode).collect()).transpose()
}

fn flag(row: &Row, decoder: &Decoder) -> Result<FlagRow, Error> {
    Ok(FlagRow {
        pk: decoder.pk(row, "pk")?,
        key: decoder.required(row, "key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
        rules: Ok(None),
    })
}

fn allowed_users(row: &Row, decoder: &Decoder) -> Result<AllowedUsersRow, Error> {
    let flag_pk = decoder.pk(row, "flag_pk")?;
    if row.columns().iter().any(|column| *column.type_() == Type::INT8_ARRAY) {
        return Ok(AllowedUsersRow::new(flag_pk, Users::Integers(row.try_get("users")?)));
    }
    let read: Vec<Text<'_>> = row.try_get("users")?;
    let users: Vec<_> =
        read.iter().filter_map(|user| decoder.text(*user)).map(Into::into).collect();
    let undecodable = users.len() < read.len();
    Ok(AllowedUsersRow { flag_pk, users: Users::Texts(users), undecodable })
}

fn value(row: &Row, decoder: &Decoder) -> Result<ValueRow, Error> {
    let read: Option<Text<'_>> = row.try_get("value")?;
    let value = if row.try_get("too_large")? {
        Err(Fault::TooLarge)
    } else {
        read.map(|text| decoder.checked(text)).transpose()
    };
    Ok(ValueRow { pk: decoder.pk(row, "pk")?, key: decoder.required(row, "key")?, value })
}
