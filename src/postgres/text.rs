//! A text of the database, which need not be one.
//!
//! A database in the encoding `SQL_ASCII` hands out whatever bytes it was given. The driver takes
//! such a text for an error of the whole row, and so of the whole load.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::row::Fault;

/// A text, as far as it is one.
#[derive(Debug)]
pub(super) struct Text {
    /// What can be shown of it.
    pub(super) shown: String,
    /// Whether that is all of it.
    intact: bool,
}

impl Text {
    /// The text, if it is one.
    pub(super) fn checked(self) -> Result<String, Fault> {
        if self.intact { Ok(self.shown) } else { Err(Fault::Undecodable) }
    }
}

impl<'a> FromSql<'a> for Text {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let shown = String::from_utf8_lossy(raw);
        let intact = matches!(shown, std::borrow::Cow::Borrowed(_));
        Ok(Self { shown: shown.into_owned(), intact })
    }

    fn accepts(type_: &Type) -> bool {
        <&str as FromSql<'_>>::accepts(type_)
    }
}

/// The text in this column; `Null` where there is none.
pub(super) fn required(
    row: &Row,
    column: &str,
) -> Result<Result<String, Fault>, tokio_postgres::Error> {
    let text: Option<Text> = row.try_get(column)?;
    Ok(text.ok_or(Fault::Null).and_then(Text::checked))
}

/// What can be shown of the text in this column, which is there.
pub(super) fn shown(row: &Row, column: &str) -> Result<String, tokio_postgres::Error> {
    row.try_get::<_, Text>(column).map(|text| text.shown)
}
