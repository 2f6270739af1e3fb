//! A text of the database, which need not be one.
//!
//! A database in the encoding `SQL_ASCII` hands out whatever bytes it was given. The driver takes
//! such a text for an error of the whole row, and so of the whole load.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::row::Fault;

/// A text as the server sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The text, if it is one.
    pub(crate) fn intact(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The text, or what is wrong with it.
    pub(crate) fn checked(self) -> Result<String, Fault> {
        self.intact().map(Into::into).ok_or(Fault::Undecodable)
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

/// The text in this column; `Null` where there is none.
pub(crate) fn required(
    row: &Row,
    column: &str,
) -> Result<Result<String, Fault>, tokio_postgres::Error> {
    let text: Option<Text<'_>> = row.try_get(column)?;
    Ok(text.ok_or(Fault::Null).and_then(Text::checked))
}

/// What can be shown of the text in this column, which is there.
pub(crate) fn shown(row: &Row, column: &str) -> Result<String, tokio_postgres::Error> {
    let Text(raw) = row.try_get(column)?;
    Ok(String::from_utf8_lossy(raw).into_owned())
}
