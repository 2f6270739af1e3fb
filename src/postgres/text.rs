//! A text column, which may hold bytes that cannot be decoded.
//!
//! A database in the encoding `SQL_ASCII` stores any bytes, and some other encodings have bytes
//! without a Unicode character. The driver would fail the whole row, and so the whole load.

use std::collections::HashMap;
use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::primary_key::PrimaryKey;
use crate::row::Fault;

/// The bytes of a text column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The text, `None` if it is not UTF-8.
    pub(crate) fn valid(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The bytes, `None` if they are the same in every encoding.
    pub(crate) fn encoded(self) -> Option<&'a [u8]> {
        (!self.0.is_ascii()).then_some(self.0)
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

/// Decodes the text columns of a load.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The texts that the server has decoded, by their bytes; `None` if it cannot. All other texts
    /// are UTF-8 already.
    pub(crate) decoded: HashMap<Vec<u8>, Option<String>>,
}

impl Decoder {
    /// The text, `None` if it cannot be decoded.
    pub(crate) fn text<'a>(&'a self, text: Text<'a>) -> Option<&'a str> {
        match self.decoded.get(text.0) {
            Some(decoded) => decoded.as_deref(),
            None => text.valid(),
        }
    }

    /// The text, or the fault of its column.
    pub(crate) fn checked<T: for<'a> From<&'a str>>(&self, text: Text<'_>) -> Result<T, Fault> {
        self.text(text).map(Into::into).ok_or(Fault::Undecodable)
    }

    /// The text of a column that must not be NULL, or the fault of the column.
    pub(crate) fn required(
        &self,
        row: &Row,
        column: &str,
    ) -> Result<Result<Box<str>, Fault>, tokio_postgres::Error> {
        let text: Option<Text<'_>> = row.try_get(column)?;
        Ok(text.ok_or(Fault::Null).and_then(|text| self.checked(text)))
    }

    /// A primary key, which is never NULL.
    pub(crate) fn pk(&self, row: &Row, column: &str) -> Result<PrimaryKey, tokio_postgres::Error> {
        Ok(self.escaped(row.try_get(column)?))
    }

    /// The primary key with this text. One that cannot be decoded is escaped: different bytes must
    /// stay different, because rows are joined by their primary keys.
    fn escaped(&self, text: Text<'_>) -> PrimaryKey {
        self.text(text).map_or_else(|| text.0.escape_ascii().to_string().into(), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_undecodable_texts_stay_different() {
        let decoder = Decoder::default();
        let [one, other] = [b"a\x81", b"a\x8d"].map(|bytes| decoder.escaped(Text(bytes)));
        assert_eq!((one, other), ("a\\x81".into(), "a\\x8d".into()));
    }

    #[test]
    fn text_that_the_server_has_decoded_replaces_its_bytes() {
        let texts = [(b"caf\xe9".to_vec(), Some("caf\u{e9}".into())), (b"\xc3\xa9".to_vec(), None)];
        let decoder = Decoder { decoded: texts.into() };
        assert_eq!(decoder.text(Text(b"caf\xe9")), Some("caf\u{e9}"));
        // UTF-8 by coincidence.
        assert_eq!(decoder.text(Text("\u{e9}".as_bytes())), None);
        assert_eq!(decoder.text(Text(b"cafe")), Some("cafe"));
    }
}
