//! The messages about rules that cannot be read. Python has the same, with their translations.

use crate::message::{Template, templates};

templates! {
    IN_PLACES, "rules_problem", "%(places)s: %(problem)s";
    // Places.
    RULE, "rule_place", "rule %(number)s";
    NAMED_RULE, "named_rule_place", "rule %(number)s (%(name)s)";
    CONDITION, "condition_place", "condition %(number)s";
    VALUE, "value_place", "value %(number)s";
    // What is wrong with the JSON text.
    NOT_JSON, "rules_not_json", "this is not valid JSON: %(error)s";
    TEXT_TOO_LARGE, "rules_too_large",
        "the JSON text has more than 256 KiB; use fewer rules, and groups or attributes instead of \
         long lists of values";
    NO_CHARACTER, "rules_wrong_escape",
        "a text has an escape that is not a Unicode character; remove it";
    NUL, "rules_nul",
        "a text has the character U+0000, which PostgreSQL cannot store; remove it";
    // What is wrong with its structure.
    WRONG_KIND, "rules_wrong_kind", "%(what)s must be %(expected)s, not %(kind)s";
    WRONG_LENGTH, "rules_wrong_length", "%(what)s must have 1 to %(limit)s characters";
    UNKNOWN_MEMBER, "rules_unknown_member",
        "the member %(name)s is not known to this version; use %(known)s";
    DUPLICATE_MEMBER, "rules_duplicate_member", "the member %(name)s is given twice; remove one";
    MISSING_MEMBER, "rules_missing_member", "the member %(name)s is missing; add it";
    TOO_MANY_RULES, "too_many_rules",
        "%(count)s rules are too many; use at most %(limit)s, and join rules that differ only in \
         their values";
    TOO_MANY_CONDITIONS, "too_many_conditions",
        "%(count)s conditions are too many; use at most %(limit)s, and put the others into a segment \
         of their own";
    TOO_MANY_VALUES, "too_many_values",
        "%(count)s values are too many; use at most %(limit)s, or test a group or a column that \
         ATTRIBUTES names, or use allowed users";
    TOO_MANY_PATTERNS, "too_many_patterns",
        "more than %(limit)s patterns in all; join some with |";
    NO_CONDITIONS, "no_conditions",
        "there are no conditions, which would include everyone; add at least one";
    NO_CONDITIONS_OF_VALUE, "no_conditions_of_value",
        "there are no conditions, which only the last rule may lack, with a percentage from 1 to 99; \
         add one, or change the value itself";
    NULL_RESULT, "rule_null_result", "\"value\" must not be null; write a value, such as 25";
    WRONG_RESULT, "rule_wrong_result", "\"value\" %(problem)s";
    NO_VALUES, "no_values", "there are no values; add at least one";
    SEGMENT_AND_MEMBER, "segment_and_member",
        "a condition has either \"segment\" or %(other)s; remove one of them";
    NESTED_SEGMENT, "nested_segment",
        "a segment cannot name a segment; add the conditions of that segment here";
    // What is wrong with a value.
    WRONG_PERCENT, "rule_wrong_percent",
        "\"rollout_percent\" must be a whole number from 0 to 100";
    UNKNOWN_OPERATOR, "unknown_operator",
        "the operator %(operator)s is not known to this version; use %(known)s";
    TEXT_TOO_LONG, "condition_text_too_long",
        "the text has more than %(limit)s characters; shorten it, or test a part of it with \
         \"contains\"";
    NUMBER_TOO_LONG, "condition_number_too_long",
        "the number has more than %(limit)s digits; shorten it";
    EXPONENT_TOO_LARGE, "condition_exponent_too_large",
        "the exponent of the number is out of range; write a smaller number";
    NOT_A_VERSION, "not_a_version",
        "the text is not a version; write it like \"1.2.3\" or \"2.0.0-beta.1\"";
    WRONG_ISNULL, "wrong_isnull", "the operator \"isnull\" has one value, true or false";
    PATTERN_TOO_LONG, "pattern_too_long",
        "the pattern has more than %(limit)s characters; write its alternatives as several values";
    PATTERN_TOO_BIG, "pattern_too_big",
        "the pattern is too big; use smaller repetitions and fewer classes such as \\w";
    WRONG_PATTERN, "wrong_pattern", "the pattern is not valid: %(reason)s";
    // Parts of these sentences.
    THE_RULES, "part_the_rules", "the rules";
    THE_CONDITIONS, "part_the_conditions", "the conditions";
    A_RULE, "part_a_rule", "a rule";
    A_CONDITION, "part_a_condition", "a condition";
    THE_VALUE, "part_the_value", "the value";
    NULL, "kind_null", "null";
    BOOL, "kind_bool", "a bool";
    NUMBER, "kind_number", "a number";
    TEXT, "kind_text", "a text";
    LIST, "kind_list", "a list";
    OBJECT, "kind_object", "an object";
    TRUE_OR_FALSE, "kind_true_or_false", "true or false";
    NUMBER_OR_TEXT, "kind_number_or_text", "a number or a text";
    SCALAR, "kind_scalar", "a bool, a number or a text";
}
