//! The rows that a load has read, and what they mean.

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use crate::postgres::text::{Decoder, Text};
use crate::row::{AllowedUsersRow, Fault, FlagRow, Users, ValueRow};
use crate::snapshot::Loaded;

/// The rows of the tables; `None` for a table that is not read.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) flags: Option<Vec<Row>>,
    pub(super) allowed_users: Option<Vec<Row>>,
    pub(super) values: Option<Vec<Row>>,
}

impl Rows {
    /// The texts whose bytes depend on the encoding.
    pub(super) fn encoded_texts(&self) -> Result<Vec<&[u8]>, Error> {
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

    /// Decodes the rows into the tables of a load.
    pub(super) fn decode_into(self, loaded: &mut Loaded, decoder: &Decoder) -> Result<(), Error> {
        loaded.flags = decoded(self.flags, |row| flag(row, decoder))?;
        loaded.allowed_users = decoded(self.allowed_users, |row| allowed_users(row, decoder))?;
        loaded.values = decoded(self.values, |row| value(row, decoder))?;
        Ok(())
    }
}

fn decoded<T>(
    rows: Option<Vec<Row>>,
    decode: impl Fn(&Row) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    rows.map(|rows| rows.iter().map(decode).collect()).transpose()
}

fn flag(row: &Row, decoder: &Decoder) -> Result<FlagRow, Error> {
    Ok(FlagRow {
        pk: decoder.shown(row, "pk")?,
        key: decoder.required(row, "key")?,
        enabled: row.try_get("enabled")?,
        rollout_percent: row.try_get("rollout_percent")?,
        client_side: row.try_get("client_side")?,
    })
}

fn allowed_users(row: &Row, decoder: &Decoder) -> Result<AllowedUsersRow, Error> {
    let flag_pk = decoder.shown(row, "flag_pk")?;
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
    Ok(ValueRow { pk: decoder.shown(row, "pk")?, key: decoder.required(row, "key")?, value })
}
