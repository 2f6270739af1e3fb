//! The public interface of the core: evaluations, loads and counts.

mod attributes;
mod bucket;
mod bucketing_unit;
mod conformance;
mod conformance_rules;
mod evaluate;
mod freshness;
mod groups;
mod impact;
mod live;
mod overrides;
mod plans;
mod problems;
mod properties;
mod rows;
mod rule_errors;
mod rule_properties;
mod rules_explained;
mod rules_in_snapshots;
mod snapshot;
mod stored_value;
mod token_set;
mod usage;
mod user_set;
