//! The tables that a load reads.
//!
//! A further table is an entry of [`TABLES`], with its query, and a [`Slot`]. A load locks all of
//! them, but reads only those whose tokens have changed, and a poll is one round trip for any
//! number of them.

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
    /// How some of its rows are queried.
    pub(crate) of_keys: OfKeys,
    /// The columns of the keys in its tokens: their placeholders, or their names. None for groups, whose
    /// triggers have no arguments.
    pub(crate) key_columns: &'static [&'static str],
    /// Where its rows go.
    pub(crate) slot: Slot,
    /// Whether it may have so many rows that without change tokens only some polls read it.
    pub(crate) is_large: bool,
}

/// The query of the rows with some keys. The names of types are placeholders that a project lacks
/// if the keys have another type than integers, UUIDs or texts: equal texts must be equal keys.
#[derive(Debug)]
pub(crate) enum OfKeys {
    /// The query of the table with a condition.
    Restricted { condition: &'static str, key_types: &'static [&'static str] },
    /// A query of its own, for keys that are pairs: which of the pairs exist.
    Query { template: &'static str, key_types: &'static [&'static str] },
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

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../python/flagstaff/sql/", $name, ".sql"))
    };
}

macro_rules! of_pk {
    ($column:literal, $type:literal) => {
        OfKeys::Restricted {
            condition: concat!(
                "WHERE {",
                $column,
                "} OPERATOR(pg_catalog.=) ANY ($1::text[]::{",
                $type,
                "}[])"
            ),
            key_types: &[$type],
        }
    };
}

/// The rows of a table of flagstaff itself.
const OF_ID: OfKeys = OfKeys::Restricted {
    condition: "WHERE id OPERATOR(pg_catalog.=) ANY ($1::text[]::int8[])",
    key_types: &[],
};

/// The tables, in the order in which they are locked and read.
pub(crate) static TABLES: [Table; 6] = [
    Table {
        relation: Relation::FLAGS,
        name: "flag_table",
        query: sql!("load_flags_v1"),
        of_keys: of_pk!("flag_pk", "flag_pk_type"),
        key_columns: &["flag_pk"],
        slot: Slot::Flags,
        is_large: false,
    },
    Table {
        relation: Relation::ALLOWED_USERS,
        name: "allowed_users_table",
        query: sql!("load_allowed_users_v1"),
        of_keys: OfKeys::Query {
            template: sql!("load_some_allowed_users_v1"),
            key_types: &["flag_pk_type", "allowed_users_user_type"],
        },
        key_columns: &["allowed_users_flag", "allowed_users_user"],
        slot: Slot::AllowedUsers,
        is_large: true,
    },
    Table {
        relation: Relation::VALUES,
        name: "value_table",
        query: sql!("load_values_v1"),
        of_keys: of_pk!("value_pk", "value_pk_type"),
        key_columns: &["value_pk"],
        slot: Slot::Values,
        is_large: false,
    },
    Table {
        relation: Relation::SEGMENTS,
        name: "segment_table",
        query: sql!("load_segments_v1"),
        of_keys: of_pk!("segment_pk", "segment_pk_type"),
        key_columns: &["segment_pk"],
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
    of_keys: OF_ID,
    key_columns: &["id"],
    slot: Slot::Plans,
    is_large: false,
};

/// The experiments, of projects that install their app.
pub(crate) const EXPERIMENTS: Table = Table {
    relation: Relation::EXPERIMENTS,
    name: "experiment_table",
    query: sql!("load_experiments_v1"),
    of_keys: OF_ID,
    key_columns: &["id"],
    slot: Slot::Experiments,
    is_large: false,
};

/// The groups of users. A second step of a load reads those that rules name. They are not locked:
/// a migration of a project's own tables must not keep a change of a flag from workers.
pub(crate) static GROUPS: Table = Table {
    relation: Relation::GROUPS,
    name: "membership_table",
    query: sql!("load_groups_v1"),
    of_keys: OfKeys::Query {
        template: sql!("load_some_groups_v1"),
        key_types: &["group_pk_type", "membership_user_key_type"],
    },
    key_columns: &[],
    slot: Slot::Groups,
    is_large: true,
};
