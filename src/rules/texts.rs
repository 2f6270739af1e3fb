//! The messages about rules that cannot be read.

use crate::message::{Template, templates};

templates! {
    IN_PLACES, "{places}: {problem}";
    // Places.
    RULE, "rule {number}";
    NAMED_RULE, "rule {number} ({name})";
    CONDITION, "condition {number}";
    VALUE, "value {number}";
    // What is wrong with the JSON text.
    NOT_JSON, "this is not valid JSON: {error}";
    TEXT_TOO_LARGE,
        "the JSON text has more than 256 KiB; use fewer rules, and groups or attributes instead \
         of long lists of values";
    NO_CHARACTER, "a text has an escape that is not a Unicode character; remove it";
    NUL, "a text has the character U+0000, which PostgreSQL cannot store; remove it";
    // What is wrong with its structure.
    WRONG_KIND, "{what} must be {expected}, not {kind}";
    WRONG_LENGTH, "{what} must have 1 to {limit} characters";
    UNKNOWN_MEMBER, "the member {name} is not known to this version; use {known}";
    DUPLICATE_MEMBER, "the member {name} is given twice; remove one";
    MISSING_MEMBER, "the member {name} is missing; add it";
    TOO_MANY_RULES,
        "{count} rules are too many; use at most {limit}, and join rules that differ only in \
         their values";
    TOO_MANY_CONDITIONS,
        "{count} conditions are too many; use at most {limit}, and put the others into a segment \
         of their own";
    TOO_MANY_VALUES,
        "{count} values are too many; use at most {limit}, or test a group or a column that \
         ATTRIBUTES names, or use allowed users";
    TOO_MANY_PATTERNS, "more than {limit} patterns in all; join some with |";
    NO_CONDITIONS, "there are no conditions, which would include everyone; add at least one";
    NO_CONDITIONS_OF_VALUE,
        "there are no conditions, which only the last rule may lack, with a percentage from 1 to \
         99; add one, or change the value itself";
    WRONG_RESULT, "\"value\" {problem}";
    NO_VALUES, "there are no values; add at least one";
    TWO_KINDS, "a condition has either {kind} or {other}; remove one of them";
    NESTED_SEGMENT, "a segment cannot name a segment; add the conditions of that segment here";
    BUCKET_OPERATOR,
        "a condition on a bucket has the operator \"lt\" or \"gte\", not {operator}";
    BUCKET_OF_EXPERIMENT,
        "the name of a bucket must not begin with \"experiment:\", as those of the buckets of \
         experiments do; use another name";
    // What is wrong with a value.
    BUCKET_BOUND,
        "a condition on a bucket has one value, a number from 0 to 100 with at most two decimals, \
         such as 0.25";
    WRONG_PERCENT, "\"rollout_percent\" must be a whole number from 0 to 100";
    UNKNOWN_OPERATOR, "the operator {operator} is not known to this version; use {known}";
    TEXT_TOO_LONG,
        "the text has more than {limit} characters; shorten it, or test a part of it with \
         \"contains\"";
    NUMBER_TOO_LONG, "the number has more than {limit} digits; shorten it";
    EXPONENT_TOO_LARGE, "the exponent of the number is out of range; write a smaller number";
    NOT_A_VERSION, "the text is not a version; write it like \"1.2.3\" or \"2.0.0-beta.1\"";
    WRONG_ISNULL, "the operator \"isnull\" has one value, true or false";
    PATTERN_TOO_LONG,
        "the pattern has more than {limit} characters; write its alternatives as several values";
    PATTERN_TOO_BIG,
        "the pattern is too big; use smaller repetitions and fewer classes such as \\w";
    WRONG_PATTERN, "the pattern is not valid: {reason}";
    // Parts of these sentences.
    THE_RULES, "the rules";
    THE_CONDITIONS, "the conditions";
    A_RULE, "a rule";
    A_CONDITION, "a condition";
    THE_VALUE, "the value";
    NULL, "null";
    BOOL, "a bool";
    NUMBER, "a number";
    TEXT, "a text";
    LIST, "a list";
    OBJECT, "an object";
    TRUE_OR_FALSE, "true or false";
    NUMBER_OR_TEXT, "a number or a text";
    SCALAR, "a bool, a number or a text";
}
