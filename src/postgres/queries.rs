//! The SQL statements of an engine, with the names of the project's tables filled in.

use std::collections::HashMap;

use crate::postgres::error::Error;
use crate::postgres::tables::{TABLES, Table};

/// Quoted names of tables and columns, by their placeholder in the templates.
pub type Names = HashMap<String, String>;

/// The statements that read, and the one that writes usage.
#[derive(Clone, Debug)]
pub struct Queries {
    pub(crate) identify: &'static str,
    pub(crate) token_set: String,
    pub(crate) lock: String,
    /// The query of each table, in the order of [`TABLES`].
    pub(crate) tables: Vec<TableQuery>,
    pub(crate) flush_usage: String,
    /// The parameters of `identify`: the table of tokens, and the tables that a load reads.
    pub(crate) token_table: String,
    pub(crate) loaded_tables: Vec<String>,
    /// Whether the model field decodes every value.
    pub(crate) opaque_values: bool,
}

/// The query of the rows of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableQuery {
    pub(crate) table: &'static Table,
    pub(crate) text: String,
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

/// Makes the server send texts in the encoding of the database. Cursors must be declared before:
/// the server reads statements in the client's encoding too, and names of tables may not be ASCII.
pub(crate) const SEND_ENCODED: &str = "SET LOCAL client_encoding = 'SQL_ASCII'";

impl TableQuery {
    fn new(table: &'static Table, names: &Names) -> Result<Self, Error> {
        Ok(Self { table, text: fill(table.query, names)? })
    }

    /// Declares a cursor for the rows.
    pub(crate) fn declare(&self) -> String {
        format!("DECLARE {} NO SCROLL CURSOR FOR {}", self.cursor(), self.text)
    }

    /// Reads the rows of the cursor.
    pub(crate) fn fetch(&self) -> String {
        format!("FETCH ALL FROM {}", self.cursor())
    }

    fn cursor(&self) -> String {
        format!("flagstaff_{}", self.table.relation.letter())
    }
}

impl Queries {
    /// Fills the templates.
    ///
    /// # Errors
    /// If `names` lacks the placeholder of a template.
    pub fn new(names: &Names, opaque_values: bool) -> Result<Self, Error> {
        let tables = TABLES.iter().map(|table| TableQuery::new(table, names));
        let loaded_tables = TABLES.iter().map(|table| name(table.name, names));
        let loaded_tables = loaded_tables.collect::<Result<Vec<_>, _>>()?;
        let lock = sql!("load_lock_v1").replace("{loaded_tables}", &loaded_tables.join(", "));
        Ok(Self {
            identify: sql!("identify_v1"),
            token_set: fill(sql!("poll_tokens_v1"), names)?,
            // The locks first: a SELECT decides what the transaction sees.
            lock: [&lock, sql!("check_client_v1"), ANY_TEXT].join(";\n"),
            tables: tables.collect::<Result<_, _>>()?,
            flush_usage: fill(sql!("flush_usage_v1"), names)?,
            token_table: name("token_table", names)?,
            loaded_tables,
            opaque_values,
        })
    }
}

/// The name for a placeholder.
fn name(placeholder: &str, names: &Names) -> Result<String, Error> {
    let name = names.get(placeholder).cloned();
    name.ok_or_else(|| Error::parameters(format!("no name was given for {placeholder}")))
}

/// Replaces each `{placeholder}` in one pass, so that a name is never read as a template.
fn fill(template: &str, names: &Names) -> Result<String, Error> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (placeholder, after) = after
            .split_once('}')
            .ok_or_else(|| Error::parameters("a template has an unclosed brace"))?;
        filled.push_str(before);
        filled.push_str(&name(placeholder, names)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
