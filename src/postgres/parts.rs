//! The parts of the schema that a load does without if the database lacks them.
//!
//! New code may run before the migration that adds its tables and columns. Its workers then load
//! what is there, and the status says what is missing.

use std::collections::HashMap;

use crate::message::Message;
use crate::postgres::tables::{OPTIONAL_PARTS, OptionalPart};
use crate::postgres::texts;

/// Finds the parts: a part of `identify`.
pub(crate) const FIND_PARTS: &str =
    include_str!("../../python/flagstaff/sql/optional_parts_v1.sql");

/// The optional parts that the project has.
#[derive(Clone, Debug)]
pub(crate) struct ProjectParts {
    parts: Vec<&'static OptionalPart>,
    /// The table of each part, and the column of it, or `None` for the table itself.
    pub(crate) tables: Vec<String>,
    pub(crate) columns: Vec<Option<String>>,
}

/// A part that the database lacks, or that the role may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) part: &'static OptionalPart,
    /// What it means, for the status.
    pub(crate) problem: Message,
}

impl ProjectParts {
    /// The parts that have a name. A project need not have them all.
    pub(crate) fn new(names: &HashMap<String, String>) -> Self {
        let mut project = Self { parts: Vec::new(), tables: Vec::new(), columns: Vec::new() };
        for part in &OPTIONAL_PARTS {
            let column = match &part.column {
                None => None,
                Some(column) => match names.get(column.name) {
                    Some(name) if name != column.instead => Some(name.clone()),
                    _ => continue,
                },
            };
            let Some(table) = names.get(part.table) else { continue };
            project.parts.push(part);
            project.tables.push(table.clone());
            project.columns.push(column);
        }
        project
    }

    /// Whether the project has this part.
    pub(crate) fn contains(&self, part: &OptionalPart) -> bool {
        self.parts.contains(&part)
    }

    /// The parts that cannot be read. `problems` has an item for each part of the project.
    pub(crate) fn absent(&self, problems: Vec<Option<&str>>) -> Vec<Absence> {
        let names = self.tables.iter().zip(&self.columns);
        let parts = self.parts.iter().zip(names).zip(problems);
        let absent = parts.filter_map(|((part, (table, column)), problem)| {
            let effect = ("effect", part.effect.into());
            let table = ("table", table.as_str().into());
            let problem = match (problem?, column) {
                ("forbidden", _) => texts::FORBIDDEN.with([table, effect]),
                (_, None) => texts::NO_TABLE.with([table, effect]),
                (_, Some(column)) => {
                    texts::NO_COLUMN.with([table, ("column", column.as_str().into()), effect])
                }
            };
            Some(Absence { part, problem })
        });
        absent.collect()
    }
}
