//! The SQL statements of an engine, with the names of the project's tables filled in.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::postgres::error::Error;

/// Quoted names of tables and columns, by their placeholder in the templates.
pub type Names = HashMap<String, String>;

/// The statements that read, and the one that writes usage.
#[derive(Clone, Debug)]
pub struct Queries {
    pub(crate) identify: &'static str,
    pub(crate) token_set: String,
    pub(crate) lock: String,
    pub(crate) rows: RowQueries,
    /// The same, for texts in the encoding of the database.
    pub(crate) encoded_rows: RowQueries,
    pub(crate) flush_usage: String,
    /// The parameters of `identify`: the tables of tokens, flags, allowed users and values.
    pub(crate) tables: [String; 4],
    /// Whether the model field decodes every value.
    pub(crate) opaque_values: bool,
}

/// The statements that read the rows of a load.
#[derive(Clone, Debug)]
pub(crate) struct RowQueries {
    /// Runs before the others, in the same transaction.
    pub(crate) preparation: Option<String>,
    pub(crate) flags: Cow<'static, str>,
    pub(crate) allowed_users: Cow<'static, str>,
    pub(crate) values: Cow<'static, str>,
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../python/flagstaff/sql/", $name, ".sql"))
    };
}

/// Lets a transaction read any bytes as text, if the database stores any.
pub(crate) const ANY_TEXT: &str = sql!("any_text_v1");

/// Decodes texts in the encoding of the database.
pub(crate) const DECODE_TEXTS: &str = sql!("decode_texts_v1");

impl RowQueries {
    fn new(names: &Names) -> Result<Self, Error> {
        Ok(Self {
            preparation: None,
            flags: fill(sql!("load_flags_v1"), names)?.into(),
            allowed_users: fill(sql!("load_allowed_users_v1"), names)?.into(),
            values: fill(sql!("load_values_v1"), names)?.into(),
        })
    }

    /// The same rows, with the bytes of each text in the encoding of the database.
    ///
    /// The server reads statements in the client's encoding too, and names of tables may not be
    /// ASCII. So cursors are declared before the encoding changes.
    fn encoded(&self) -> Self {
        let Self { flags, allowed_users, values, .. } = self;
        let preparation = format!(
            "DECLARE flagstaff_flags NO SCROLL CURSOR FOR {flags};
            DECLARE flagstaff_allowed_users NO SCROLL CURSOR FOR {allowed_users};
            DECLARE flagstaff_values NO SCROLL CURSOR FOR {values};
            SET LOCAL client_encoding = 'SQL_ASCII'"
        );
        Self {
            preparation: Some(preparation),
            flags: "FETCH ALL FROM flagstaff_flags".into(),
            allowed_users: "FETCH ALL FROM flagstaff_allowed_users".into(),
            values: "FETCH ALL FROM flagstaff_values".into(),
        }
    }
}

impl Queries {
    /// Fills the templates.
    ///
    /// # Errors
    /// If `names` lacks the placeholder of a template.
    pub fn new(names: &Names, opaque_values: bool) -> Result<Self, Error> {
        let table = |placeholder: &str| fill(&format!("{{{placeholder}}}"), names);
        let rows = RowQueries::new(names)?;
        Ok(Self {
            identify: sql!("identify_v1"),
            token_set: fill(sql!("poll_tokens_v1"), names)?,
            // The locks first: a SELECT decides what the transaction sees.
            lock: [&fill(sql!("load_lock_v1"), names)?, sql!("check_client_v1"), ANY_TEXT]
                .join(";\n"),
            encoded_rows: rows.encoded(),
            rows,
            flush_usage: fill(sql!("flush_usage_v1"), names)?,
            tables: [
                table("token_table")?,
                table("flag_table")?,
                table("allowed_users_table")?,
                table("value_table")?,
            ],
            opaque_values,
        })
    }
}

/// Replaces each `{placeholder}` in one pass, so that a name is never read as a template.
fn fill(template: &str, names: &Names) -> Result<String, Error> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (placeholder, after) = after
            .split_once('}')
            .ok_or_else(|| Error::parameters("a template has an unclosed brace"))?;
        let name = names
            .get(placeholder)
            .ok_or_else(|| Error::parameters(format!("no name was given for {placeholder}")))?;
        filled.push_str(before);
        filled.push_str(name);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
