//! The messages about rows that cannot be used. Python has the same, with their translations.

use crate::message::{Template, templates};

templates! {
    NULL, "column_null", "its %(column)s is NULL";
    DUPLICATE, "column_not_unique", "several rows have this key";
    UNDECODABLE, "column_undecodable", "its %(column)s cannot be decoded as UTF-8";
    JSON, "column_of_unreadable_json", "its %(column)s %(problem)s";
    MALFORMED, "column_malformed",
        "its %(column)s cannot be read; save it in the admin, or with manage.py";
    TOO_LARGE, "column_too_large",
        "its %(column)s is over 1 MiB, or all of them are over 64 MiB; shorten it, or keep large \
         data in a table of your own";
    RULES_TOO_LARGE, "column_of_large_rules",
        "its JSON text is over 256 KiB, the limit; use fewer rules, and groups or attributes instead \
         of long lists of values";
    ALL_TOO_LARGE, "column_of_large_rows",
        "the JSON texts of all rows are over %(limit)s MiB, and it is one of the largest; use \
         groups, attributes or segments instead of long lists of values";
    TOO_MANY_PATTERNS, "column_of_many_patterns",
        "all rules and segments have over 1,000 regular expressions; use other operators, or share a \
         segment";
    JSON_TEXT, "column_json_text", "JSON text";
    // Rows.
    SET_ASIDE, "row_set_aside", "%(row)s is set aside: %(problem)s";
    RULES, "unreadable_rules", "the rules of %(row)s cannot be read, so %(effect)s: %(problem)s";
    CONDITIONS, "unreadable_conditions",
        "the conditions of segment %(key)s cannot be read, so %(effect)s: %(problem)s";
    GROUPS, "unreadable_groups",
        "the members of groups cannot be read, so %(effect)s: %(problem)s";
    LATENCY_LIMITS, "unreadable_latency_limits",
        "the latency limits of the rollout plan for flag %(key)s cannot be read, so its latency \
         guards measure nothing: delete the plan and create it again";
    MISSING_SEGMENT, "rules_missing_segment",
        "rule %(number)s of %(row)s names a segment that does not exist: %(segment)s";
    MISSING_GROUP, "rules_missing_group",
        "the rules of %(row)s name a group that does not exist: %(group)s";
    // Parts of these sentences.
    FLAG, "row_of_flag", "flag %(key)s";
    VALUE, "row_of_value", "value %(key)s";
    SEGMENT, "row_of_segment", "segment %(key)s";
    EXPERIMENT, "row_of_experiment", "experiment %(key)s";
    ALLOWED_USER, "row_of_allowed_user", "a user of flag %(key)s";
    LAST_RULES, "last_rules_stay", "its last good rules stay";
    DEFAULT, "default_of_call", "it returns the default of the call";
    OWN_VALUE, "own_value_of_row", "everyone gets the value itself";
    LAST_CONDITIONS, "last_conditions_stay", "its last good conditions stay";
    NO_CONDITIONS, "segment_is_false", "conditions that name it are false";
    LAST_MEMBERS, "last_members_stay", "the last known members stay";
    NO_MEMBERS, "groups_are_false", "conditions on groups are false";
}
