//! The messages about rows that cannot be used.

use crate::message::{Template, templates};

templates! {
    NULL, "its {column} is NULL";
    DUPLICATE, "several rows have this key";
    JSON, "its {column} {problem}";
    MALFORMED, "its {column} cannot be read; save it in the admin, or with manage.py";
    TOO_LARGE,
        "its {column} is over 1 MiB, or all of them are over 64 MiB; shorten it, or keep large \
         data in a table of your own";
    TOO_MANY_PATTERNS,
        "all rules and segments have over 1,000 regular expressions; use other operators, or \
         share a segment";
    JSON_TEXT, "JSON text";
    // Rows.
    SET_ASIDE, "{row} is set aside: {problem}";
    RULES, "the rules of {row} cannot be read, so {effect}: {problem}";
    DECLARED, "{row} is not as code declares it, so evaluations return the default: {problem}";
    CONDITIONS, "the conditions of segment {key} cannot be read, so {effect}: {problem}";
    GROUPS, "the members of groups cannot be read, so {effect}: {problem}";
    LATENCY_LIMITS,
        "the latency limits of the rollout plan for flag {key} cannot be read, so its latency \
         guards measure nothing: delete the plan and create it again";
    MISSING_SEGMENT, "the rules of {row} name a segment that does not exist: {segment}";
    MISSING_FLAG, "the rules of {row} need a flag that does not exist: {flag}";
    ENDLESS_FLAG,
        "the rules of {row} need a flag whose own conditions form a circle, or go more than four \
         flags deep, so that theirs are false: {flag}";
    OWN_BUCKET,
        "a rule of {row} has a percentage of the bucket {key} by which it selects, so it selects all \
         of these users or none; use another name for the bucket";
    MISSING_GROUP, "the rules of {row} name a group that does not exist: {group}";
    // Parts of these sentences. The first is also a text of Python.
    MORE, "{items} and {others} more";
    FLAG, "flag {key}";
    VALUE, "value {key}";
    SEGMENT, "segment {key}";
    EXPERIMENT, "experiment {key}";
    LAST_RULES, "its last good rules stay";
    DEFAULT, "it returns the default of the call";
    OWN_VALUE, "everyone gets the value itself";
    LAST_CONDITIONS, "its last good conditions stay";
    NO_CONDITIONS, "conditions that name it are false";
    LAST_MEMBERS, "the last known members stay";
    NO_MEMBERS, "conditions on groups are false";
}
