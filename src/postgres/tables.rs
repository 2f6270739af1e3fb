//! The tables that a load reads.
//!
//! A further table is an entry of [`TABLES`], with its query, and a [`Slot`]. A load locks all of
//! them, but reads only those whose tokens have changed, and a poll is one round trip for any
//! number of them. A table that is newer than the first version is one of the [`OPTIONAL_PARTS`],
//! too.

use crate::message::Template;
use crate::postgres::texts;
use crate::token_set::Relation;

/// A table that a load reads.
#[derive(Debug)]
pub(crate) struct Table {
    /// What its tokens are about.
    pub(crate) relation: Relation,
    /// The placeholder of its name.
    pub(crate) name: &'static str,
    /// The template of the query of its rows.
    pub(crate) query: &'static str,
    /// Where its rows go.
    pub(crate) slot: Slot,
    /// Whether it may have so many rows that without change tokens only some polls read it.
    pub(crate) is_large: bool,
}

/// The field of [`Loaded`](crate::snapshot::Loaded) that holds the rows of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    Flags,
    AllowedUsers,
    Values,
    Segments,
    Groups,
    Plans,
    Experiments,
}

/// A table or column that a database need not have, because a later version has added it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OptionalPart {
    /// The placeholder of the table.
    pub(crate) table: &'static str,
    /// The column, or `None` for the table itself.
    pub(crate) column: Option<OptionalColumn>,
    /// What follows if it cannot be read.
    pub(crate) effect: &'static Template,
}

/// A column that a table need not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OptionalColumn {
    /// The placeholder of its name.
    pub(crate) name: &'static str,
    /// What is read instead of a column that is missing.
    pub(crate) instead: &'static str,
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../python/flagstaff/sql/", $name, ".sql"))
    };
}

/// The tables, in the order in which they are locked and read.
pub(crate) static TABLES: [Table; 6] = [
    Table {
        relation: Relation::FLAGS,
        name: "flag_table",
        query: sql!("load_flags_v1"),
        slot: Slot::Flags,
        is_large: false,
    },
    Table {
        relation: Relation::ALLOWED_USERS,
        name: "allowed_users_table",
        query: sql!("load_allowed_users_v1"),
        slot: Slot::AllowedUsers,
        is_large: true,
    },
    Table {
        relation: Relation::VALUES,
        name: "value_table",
        query: sql!("load_values_v1"),
        slot: Slot::Values,
        is_large: false,
    },
    Table {
        relation: Relation::SEGMENTS,
        name: "segment_table",
        query: sql!("load_segments_v1"),
        slot: Slot::Segments,
        is_large: false,
    },
    PLANS,
    EXPERIMENTS,
];

/// The rollout plans, of projects that install their app.
pub(crate) const PLANS: Table = Table {
    relation: Relation::PLANS,
    name: "plan_table",
    query: sql!("load_plans_v1"),
    slot: Slot::Plans,
    is_large: false,
};

/// The experiments, of projects that install their app.
pub(crate) const EXPERIMENTS: Table = Table {
    relation: Relation::EXPERIMENTS,
    name: "experiment_table",
    query: sql!("load_experiments_v1"),
    slot: Slot::Experiments,
    is_large: false,
};

/// The groups of users. A second step of a load reads those that rules name. They are not locked:
/// a migration of a project's own tables must not keep a change of a flag from workers.
pub(crate) static GROUPS: Table = Table {
    relation: Relation::GROUPS,
    name: "membership_table",
    query: sql!("load_groups_v1"),
    slot: Slot::Groups,
    is_large: true,
};

/// The parts that a load does without if they cannot be read.
pub(crate) static OPTIONAL_PARTS: [OptionalPart; 9] = [
    OptionalPart {
        table: "flag_table",
        column: Some(OptionalColumn { name: "flag_rules", instead: "NULL::jsonb" }),
        effect: &texts::NO_RULES,
    },
    OptionalPart {
        table: "flag_table",
        column: Some(OptionalColumn { name: "flag_bucket_by", instead: "NULL::text" }),
        effect: &texts::BY_USER,
    },
    OptionalPart {
        table: "value_table",
        column: Some(OptionalColumn { name: "value_secret", instead: "false" }),
        effect: &texts::NO_SECRETS,
    },
    OptionalPart {
        table: "value_table",
        column: Some(OptionalColumn { name: "value_client_side", instead: "false" }),
        effect: &texts::NO_VALUES_FOR_BROWSERS,
    },
    OptionalPart {
        table: "value_table",
        column: Some(OptionalColumn { name: "value_rules", instead: "NULL::jsonb" }),
        effect: &texts::NO_VALUE_RULES,
    },
    OptionalPart {
        table: "value_table",
        column: Some(OptionalColumn { name: "value_bucket_by", instead: "NULL::text" }),
        effect: &texts::VALUES_BY_USER,
    },
    OptionalPart { table: "segment_table", column: None, effect: &texts::NO_SEGMENTS },
    OptionalPart { table: "plan_table", column: None, effect: &texts::NO_PLANS },
    OptionalPart { table: "experiment_table", column: None, effect: &texts::NO_EXPERIMENTS },
];
