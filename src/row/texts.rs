//! The messages about columns that cannot be used. Python has the same, with their translations.

use crate::message::{Template, templates};

templates! {
    NULL, "column_null", "its %(column)s is NULL";
    DUPLICATE, "column_not_unique", "several rows have this key";
    UNDECODABLE, "column_undecodable", "its %(column)s cannot be decoded as UTF-8";
    JSON, "column_of_unreadable_json", "its %(column)s %(problem)s";
    MALFORMED, "column_malformed",
        "its %(column)s cannot be read; save it in the admin, or with manage.py";
    TOO_LARGE, "column_too_large", "its %(column)s is over 1 MiB, or all of them are over 64 MiB";
    RULES_TOO_LARGE, "column_of_large_rules",
        "its JSON text is over 256 KiB, the limit; use fewer values";
    ALL_TOO_LARGE, "column_of_large_rows",
        "the JSON texts of all rows are over %(limit)s MiB, and it is one of the largest; use fewer \
         values";
    TOO_MANY_PATTERNS, "column_of_many_patterns",
        "all rules and segments have over 1,000 regular expressions; use other operators, or share a \
         segment";
    JSON_TEXT, "column_json_text", "JSON text";
}
