//! The SQL statements of an engine, with the names of the project's tables filled in.

use std::collections::HashMap;

use crate::postgres::error::Error;
use crate::postgres::tables::{EXPERIMENTS, GROUPS, OfKeys, PLANS, Slot, TABLES, Table};
use crate::token_set::Relation;

/// Quoted names of tables and columns, by their placeholder in the templates.
pub type Names = HashMap<String, String>;

/// The statements that read, and those that write what was counted.
#[derive(Clone, Debug)]
pub struct Queries {
    pub(crate) identify: String,
    /// The same without the catalog.
    pub(crate) identify_briefly: String,
    pub(crate) token_set: String,
    pub(crate) new_tokens: String,
    /// Writes the worker's row in the register.
    pub(crate) register: String,
    /// The same from behind replication, with the region.
    pub(crate) register_in_region: String,
    /// Whether the token table has a token with this id and random number.
    pub(crate) has_token: String,
    /// Reads the echo, behind replication.
    pub(crate) echo: String,
    pub(crate) flush_usage: String,
    /// `None` if the project has no rollout plans.
    pub(crate) flush_measurements: Option<String>,
    /// `None` if the project has no experiments.
    pub(crate) flush_exposures: Option<String>,
    /// The parameters of `identify` and of [`SUBSCRIPTION`]: the tables of tokens and of the echo, and
    /// the tables that a load reads.
    pub(crate) token_table: String,
    pub(crate) echo_table: String,
    pub(crate) loaded_tables: Vec<String>,
    /// The names of all tables that matter to a load, for [`READ_POINT`].
    pub(crate) all_tables: Vec<String>,
    names: Names,
}

/// The statements of a load from a database with certain parts.
#[derive(Clone, Debug)]
pub(crate) struct LoadQueries {
    pub(crate) lock: String,
    pub(crate) token_set: String,
    pub(crate) has_token: String,
    pub(crate) new_tokens: String,
    /// The names of the tables, for [`READ_POINT`].
    pub(crate) names: Vec<String>,
    /// The names of all tables that matter to a load, for [`READ_POINT`].
    pub(crate) all_names: Vec<String>,
    /// The query of each table, in the order of [`TABLES`].
    pub(crate) tables: Vec<TableQuery>,
    /// The query of the groups with the names `$1`, or of all groups if it is NULL; `None` if the
    /// project's groups cannot be read.
    pub(crate) groups: Option<TableQuery>,
}

/// The query of the rows of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableQuery {
    pub(crate) relation: Relation,
    pub(crate) slot: Slot,
    pub(crate) is_large: bool,
    pub(crate) text: String,
    /// The query of the rows with the keys `$1`. `None` if the keys cannot be compared as texts.
    pub(crate) of_keys: Option<String>,
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../python/flagstaff/sql/", $name, ".sql"))
    };
}

/// Says how the tables of a subscriber arrive.
pub(crate) const SUBSCRIPTION: &str = sql!("subscription_v1");
/// Finds out where in the history of the database a load reads.
pub(crate) const READ_POINT: &str = sql!("read_point_v1");
/// Says which server it is.
pub(crate) const SERVER: &str = sql!("server_v1");
const HAS_TOKEN: &str = "SELECT EXISTS (SELECT FROM {token_table} \
    WHERE id OPERATOR(pg_catalog.=) $1 AND nonce OPERATOR(pg_catalog.=) $2) AS has_token";

impl TableQuery {
    fn new(table: &Table, names: &Names) -> Result<Self, Error> {
        let Table { relation, slot, is_large, .. } = *table;
        let of_keys = table.of_keys.filled(table.query, names)?;
        let text = fill(&table.query.replace(RESTRICTION, ""), names)?;
        Ok(Self { relation, slot, is_large, text, of_keys })
    }
}

impl Queries {
    /// Fills the templates.
    ///
    /// # Errors
    /// If `names` lacks the placeholder of a template.
    pub fn new(names: &Names) -> Result<Self, Error> {
        let queries = Self {
            identify: identify(&format!("(SELECT catalog FROM ({}) AS it)", read_point_of("$3"))),
            identify_briefly: identify("NULL::int8"),
            token_set: fill(sql!("poll_tokens_v1"), names)?,
            new_tokens: fill(sql!("new_tokens_v1"), names)?,
            register: fill("SELECT {worker_function}($1, $2, $3, $4, $5, $6, $7, $8, $9)", names)?,
            register_in_region: fill(
                "SELECT {worker_function}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
                 $12, $13)",
                names,
            )?,
            flush_usage: fill_flush(sql!("flush_usage_v1"), names)?,
            flush_measurements: flush_of(PLANS.name, sql!("flush_measurements_v1"), names)?,
            flush_exposures: flush_of(EXPERIMENTS.name, sql!("flush_exposures_v1"), names)?,
            has_token: fill(HAS_TOKEN, names)?,
            echo: fill(sql!("echo_v1"), names)?,
            token_table: name("token_table", names)?,
            echo_table: name("echo_table", names)?,
            loaded_tables: loaded_tables(names)
                .map(|table| name(table.name, names))
                .collect::<Result<_, _>>()?,
            all_tables: all_tables(names),
            names: names.clone(),
        };
        queries.load_from(&[]).map(|_| queries)
    }

    /// The statements of a load. Only tables whose token triggers have the `key_arguments` that name
    /// the project's columns are read by rows.
    ///
    /// # Errors
    /// If the project's names lack the placeholder of a template.
    pub(crate) fn load_from(&self, key_arguments: &[Vec<u8>]) -> Result<LoadQueries, Error> {
        let names = &self.names;
        let lock = sql!("load_lock_v1").replace("{loaded_tables}", &self.loaded_tables.join(", "));
        let tables = loaded_tables(names).map(|table| {
            let query = TableQuery::new(table, names)?;
            let has_keys = table.are_keys(key_arguments, names);
            Ok(TableQuery { of_keys: query.of_keys.filter(|_| has_keys), ..query })
        });
        let has_groups = names.contains_key(GROUPS.name);
        Ok(LoadQueries {
            groups: has_groups.then(|| TableQuery::new(&GROUPS, names)).transpose()?,
            // The locks first: a SELECT decides what the transaction sees.
            lock: [&lock, sql!("check_client_v1")].join(";\n"),
            token_set: self.token_set.clone(),
            has_token: self.has_token.clone(),
            new_tokens: self.new_tokens.clone(),
            names: self.loaded_tables.clone(),
            all_names: self.all_tables.clone(),
            tables: tables.collect::<Result<_, Error>>()?,
        })
    }
}

/// `identify` with this expression for the catalog.
fn identify(catalog: &str) -> String {
    sql!("identify_v1").replace("{catalog}", catalog)
}

/// The tables that a load reads: those of apps only if the project has installed them.
fn loaded_tables(names: &Names) -> impl Iterator<Item = &'static Table> {
    TABLES.iter().filter(|table| {
        ![PLANS.name, EXPERIMENTS.name].contains(&table.name) || names.contains_key(table.name)
    })
}

/// [`READ_POINT`] with one parameter for both lists of tables.
fn read_point_of(tables: &str) -> String {
    READ_POINT.replace("$2", tables).replace("$1", tables)
}

/// The names of the tokens' table, and of all tables that a load may read.
fn all_tables(names: &Names) -> Vec<String> {
    let tables = TABLES.iter().map(|table| table.name).chain(["token_table"]);
    tables.filter_map(|table| names.get(table)).cloned().collect()
}

impl Table {
    /// Whether the token triggers of this table give the keys by which its rows are queried.
    fn are_keys(&self, arguments: &[Vec<u8>], names: &Names) -> bool {
        let columns = self.key_columns.iter().map(|name| match names.get(*name) {
            Some(column) => unquoted(column),
            None => (*name).into(),
        });
        let relation = self.relation.letter().to_string();
        let expected: String =
            [relation].into_iter().chain(columns).map(|part| part + "\0").collect();
        let start = &expected.as_bytes()[..2];
        let mut own = arguments.iter().filter(|given| given.starts_with(start) && given.len() > 2);
        own.all(|given| given == expected.as_bytes())
    }
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None => name.into(),
    }
}

/// Where the query of a table takes the condition for its rows.
const RESTRICTION: &str = "{restriction}";

impl OfKeys {
    /// The query of the rows with the keys `$1`.
    fn filled(&self, whole: &str, names: &Names) -> Result<Option<String>, Error> {
        let (template, key_types) = match self {
            Self::Restricted { condition, key_types } => {
                (whole.replace(RESTRICTION, condition), key_types)
            }
            Self::Query { template, key_types } => ((*template).into(), key_types),
        };
        let has_types = key_types.iter().all(|name| names.contains_key(*name));
        has_types.then(|| fill(&template, names)).transpose()
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

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &Table = &TABLES[0];
    const ALLOWED_USERS: &Table = &TABLES[1];

    /// A table and columns whose names need quotes, apart from one.
    fn names() -> Names {
        let names = [
            ("flag_table", "flags"),
            ("flag_pk", r#""the ""Id""""#),
            ("flag_pk_type", "int8"),
            ("flag_key", "key"),
            ("flag_enabled", "enabled"),
            ("flag_rollout", "rollout"),
            ("flag_client_side", "client_side"),
            ("flag_rules", "rules"),
            ("flag_bucket_by", "bucket_by"),
            ("allowed_users_flag", "flag_id"),
            ("allowed_users_user", r#""user""#),
        ];
        names.map(|(place, name)| (place.to_owned(), name.to_owned())).into()
    }

    /// Whether these are the arguments of triggers that give the keys of the table.
    fn are_keys(table: &Table, triggers: &[&[&str]]) -> bool {
        let bytes = |arguments: &&[&str]| -> Vec<u8> {
            arguments.iter().flat_map(|one| [one.as_bytes(), b"\0"].concat()).collect()
        };
        table.are_keys(&triggers.iter().map(bytes).collect::<Vec<_>>(), &names())
    }

    #[test]
    fn triggers_with_the_column_of_the_query_give_the_keys() {
        assert!(are_keys(FLAGS, &[&["f", r#"the "Id""#]]));
        assert!(are_keys(ALLOWED_USERS, &[&["m", "flag_id", "user"]]));
        // This column has no placeholder.
        assert!(are_keys(&PLANS, &[&["p", "id"]]));
    }

    #[test]
    fn triggers_with_other_columns_do_not_give_the_keys() {
        for column in ["id", "the Id", r#"the "id""#, r#""the ""Id""""#, r#"the "Id" "#, ""] {
            assert!(!are_keys(FLAGS, &[&["f", column]]), "{column}");
        }
        assert!(!are_keys(FLAGS, &[&["f", r#"the "Id""#, "key"]]));
        for columns in [&["m", "user", "flag_id"][..], &["m", "flag_id"], &["m", "flag_id", "id"]] {
            assert!(!are_keys(ALLOWED_USERS, &[columns]), "{columns:?}");
        }
    }

    #[test]
    fn each_trigger_of_the_table_must_give_the_keys() {
        assert!(!are_keys(FLAGS, &[&["f", r#"the "Id""#], &["f", "id"]]));
        assert!(!are_keys(FLAGS, &[&["f", "id"], &["f", r#"the "Id""#]]));
        assert!(are_keys(FLAGS, &[&["k", "id"], &["f", r#"the "Id""#], &["m", "id"]]));
    }

    #[test]
    fn triggers_without_columns_give_no_keys_that_could_be_others() {
        assert!(are_keys(FLAGS, &[]) && are_keys(FLAGS, &[&["f"]]));
        assert!(!are_keys(FLAGS, &[&["f"], &["f", "id"]]));
    }

    #[test]
    fn query_of_some_rows_is_that_of_all_rows_with_a_condition() {
        let TableQuery { text, of_keys, .. } = TableQuery::new(FLAGS, &names()).expect("all names");
        let condition = r#"WHERE "the ""Id""" OPERATOR(pg_catalog.=) ANY ($1::text[]::int8[])"#;
        let of_keys = of_keys.expect("a query");
        assert_eq!(of_keys.replace(condition, ""), text);
        assert_eq!(of_keys.matches(condition).count(), 1);
        assert!(!text.contains("$1"));
    }

    #[test]
    fn keys_without_a_type_that_is_compared_as_text_are_not_queried() {
        let mut names = names();
        names.remove("flag_pk_type");
        assert_eq!(TableQuery::new(FLAGS, &names).expect("all names").of_keys, None);
    }
}
