//! A text column, which may hold bytes that are not UTF-8.
//!
//! A database in the encoding `SQL_ASCII` stores any bytes. The driver would fail the whole row,
//! and so the whole load.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::row::Fault;

/// The bytes of a text column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The text, `None` if it is not UTF-8.
    pub(crate) fn valid(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The text, or the fault of the column.
    pub(crate) fn checked(self) -> Result<String, Fault> {
        self.valid().map(Into::into).ok_or(Fault::Undecodable)
    }
}

impl<'a> FromSql<'a> for Text<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(type_: &Type) -> bool {
        <&str as FromSql<'_>>::accepts(type_)
    }
}

/// The text of a column that must not be NULL, or the fault of the column.
pub(crate) fn required(
    row: &Row,
    column: &str,
) -> Result<Result<String, Fault>, tokio_postgres::Error> {
    let text: Option<Text<'_>> = row.try_get(column)?;
    Ok(text.ok_or(Fault::Null).and_then(Text::checked))
}

/// The text of a column that is never NULL, with replacement characters for invalid bytes.
pub(crate) fn shown(row: &Row, column: &str) -> Result<String, tokio_postgres::Error> {
    let Text(raw) = row.try_get(column)?;
    Ok(String::from_utf8_lossy(raw).into_owned())
}
