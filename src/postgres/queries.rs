//! The SQL statements of an engine, with the names of the project's tables filled in.

use std::collections::HashMap;

use crate::postgres::error::Error;
use crate::postgres::parts::{Absence, FIND_PARTS, ProjectParts};
use crate::postgres::tables::{
    EXPERIMENTS, GROUPS, OPTIONAL_PARTS, OptionalColumn, OptionalPart, PLANS, Slot, TABLES, Table,
};
use crate::token_set::Relation;

/// Quoted names of tables and columns, by their placeholder in the templates.
pub type Names = HashMap<String, String>;

/// The statements that read, and those that write what was counted.
#[derive(Clone, Debug)]
pub struct Queries {
    pub(crate) identify: String,
    pub(crate) token_set: String,
    pub(crate) heartbeat: String,
    pub(crate) end_heartbeat: String,
    pub(crate) flush_usage: String,
    /// `None` if the project has no rollout plans.
    pub(crate) flush_measurements: Option<String>,
    /// `None` if the project has no experiments.
    pub(crate) flush_exposures: Option<String>,
    /// `None` if the project compares with no other library.
    pub(crate) flush_differences: Option<String>,
    /// The parameters of `identify`: the optional parts, the table of tokens, and the tables that
    /// every load reads.
    pub(crate) parts: ProjectParts,
    pub(crate) token_table: String,
    pub(crate) required_tables: Vec<String>,
    opaque_values: bool,
    names: Names,
}

/// The statements of a load from a database with certain parts.
#[derive(Clone, Debug)]
pub(crate) struct LoadQueries {
    pub(crate) lock: String,
    pub(crate) token_set: String,
    /// The names of the tables, for [`WATCHED_TABLES`].
    pub(crate) names: Vec<String>,
    /// The query of each table, in the order of [`TABLES`].
    pub(crate) tables: Vec<TableQuery>,
    /// The query of the groups with the names `$1`, or of all groups if it is NULL; `None` if the
    /// project's groups cannot be read.
    pub(crate) groups: Option<TableQuery>,
    /// Whether the model field decodes every value.
    pub(crate) opaque_values: bool,
}

/// The query of the rows of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableQuery {
    pub(crate) relation: Relation,
    pub(crate) slot: Slot,
    pub(crate) is_large: bool,
    pub(crate) text: String,
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../python/flagstaff/sql/", $name, ".sql"))
    };
}

/// Finds the tables that a load reads, and those that inherit from them.
pub(crate) const WATCHED_TABLES: &str = sql!("watched_tables_v1");

/// Lets a transaction read any bytes as text, if the database stores any.
pub(crate) const ANY_TEXT: &str = sql!("any_text_v1");

/// Decodes texts in the encoding of the database.
pub(crate) const DECODE_TEXTS: &str = sql!("decode_texts_v1");

/// Makes the server send texts in the encoding of the database. Cursors must be declared before:
/// the server reads statements in the client's encoding too, and names of tables may not be ASCII.
pub(crate) const SEND_ENCODED: &str = "SET LOCAL client_encoding = 'SQL_ASCII'";

impl TableQuery {
    fn new(table: &Table, names: &Names) -> Result<Self, Error> {
        let Table { relation, slot, is_large, .. } = *table;
        Ok(Self { relation, slot, is_large, text: fill(table.query, names)? })
    }

    /// Declares a cursor for the rows.
    pub(crate) fn declare(&self) -> String {
        // A cursor takes no parameters. The groups are those of all names then.
        let text = self.text.replace("$1", "NULL");
        format!("DECLARE {} NO SCROLL CURSOR FOR {text}", self.cursor())
    }

    /// Reads the rows of the cursor.
    pub(crate) fn fetched(&self) -> Self {
        Self { text: format!("FETCH ALL FROM {}", self.cursor()), ..self.clone() }
    }

    fn cursor(&self) -> String {
        format!("flagstaff_{}", self.relation.letter())
    }
}

impl Queries {
    /// Fills the templates.
    ///
    /// # Errors
    /// If `names` lacks the placeholder of a template.
    pub fn new(names: &Names, opaque_values: bool) -> Result<Self, Error> {
        let required = TABLES.iter().filter(|table| !is_optional(table));
        let required = required.map(|table| name(table.name, names));
        let queries = Self {
            identify: sql!("identify_v1").replace("{optional_parts}", FIND_PARTS),
            token_set: fill(sql!("poll_tokens_v1"), names)?,
            heartbeat: fill(sql!("heartbeat_v1"), names)?,
            end_heartbeat: fill(sql!("end_heartbeat_v1"), names)?,
            flush_usage: fill_flush(sql!("flush_usage_v1"), names)?,
            flush_measurements: flush_of(PLANS.name, sql!("flush_measurements_v1"), names)?,
            flush_exposures: flush_of(EXPERIMENTS.name, sql!("flush_exposures_v1"), names)?,
            flush_differences: flush_of("difference_table", sql!("flush_differences_v1"), names)?,
            parts: ProjectParts::new(names),
            token_table: name("token_table", names)?,
            required_tables: required.collect::<Result<_, _>>()?,
            opaque_values,
            names: names.clone(),
        };
        queries.load_without(&[]).map(|_| queries)
    }

    /// The statements of a load without these parts.
    ///
    /// # Errors
    /// If the project's names lack the placeholder of a template.
    pub(crate) fn load_without(&self, absent: &[Absence]) -> Result<LoadQueries, Error> {
        let is_absent = |part: &&OptionalPart| {
            !self.parts.contains(part) || absent.iter().any(|absence| absence.part == *part)
        };
        let (mut names, mut tables) = (self.names.clone(), TABLES.iter().collect::<Vec<_>>());
        for part in OPTIONAL_PARTS.iter().filter(is_absent) {
            if let Some(OptionalColumn { name, instead }) = part.column {
                names.insert(name.into(), instead.into());
            } else {
                tables.retain(|table| table.name != part.table);
            }
        }
        let loaded = tables.iter().map(|table| name(table.name, &names));
        let loaded = loaded.collect::<Result<Vec<_>, _>>()?;
        let lock = sql!("load_lock_v1").replace("{loaded_tables}", &loaded.join(", "));
        let tables = tables.into_iter().map(|table| TableQuery::new(table, &names));
        let has_groups = names.contains_key(GROUPS.name);
        Ok(LoadQueries {
            groups: has_groups.then(|| TableQuery::new(&GROUPS, &names)).transpose()?,
            // The locks first: a SELECT decides what the transaction sees.
            lock: [&lock, sql!("check_client_v1"), ANY_TEXT].join(";\n"),
            token_set: self.token_set.clone(),
            names: loaded,
            tables: tables.collect::<Result<_, _>>()?,
            opaque_values: self.opaque_values,
        })
    }
}

/// The flush of a project that has this table.
fn flush_of(table: &str, template: &str, names: &Names) -> Result<Option<String>, Error> {
    names.contains_key(table).then(|| fill_flush(template, names)).transpose()
}

/// Fills the template of a flush, which begins like that of all reports.
fn fill_flush(template: &str, names: &Names) -> Result<String, Error> {
    fill(&template.replace("{accepted}", sql!("accept_flush_v1").trim_end()), names)
}

fn is_optional(table: &Table) -> bool {
    OPTIONAL_PARTS.iter().any(|part| part.column.is_none() && part.table == table.name)
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
