"""Why workers cannot read rules. src/rules/texts.rs and src/row/texts.rs have the same texts."""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _

#: The code of a message of Rust, and its values.
RuleMessage: TypeAlias = tuple[str, dict[str, "str | int | RuleMessage"]]
#: The places of a problem, and what is wrong there.
RuleProblem: TypeAlias = tuple[list[RuleMessage], RuleMessage]

_IN_PLACES: Final = Template("rules_problem", _("%(places)s: %(problem)s"))
_TEMPLATES: Final = {
    template.code: template
    for template in (
        # Places.
        Template("rule_place", _("rule %(number)s")),
        Template("named_rule_place", _("rule %(number)s (%(name)s)")),
        Template("condition_place", _("condition %(number)s")),
        Template("value_place", _("value %(number)s")),
        # What is wrong with the JSON text.
        Template("rules_not_json", _("this is not valid JSON: %(error)s")),
        Template("rules_too_large", _("the JSON text has more than 256 KiB; use fewer values")),
        Template(
            "rules_wrong_escape",
            _("a text has an escape that is not a Unicode character; remove it"),
        ),
        Template(
            "rules_nul",
            _("a text has the character U+0000, which PostgreSQL cannot store; remove it"),
        ),
        # What is wrong with its structure.
        Template("rules_wrong_kind", _("%(what)s must be %(expected)s, not %(kind)s")),
        Template("rules_wrong_length", _("%(what)s must have 1 to %(limit)s characters")),
        Template(
            "rules_unknown_member",
            _("the member %(name)s is not known to this version; use %(known)s"),
        ),
        Template("rules_duplicate_member", _("the member %(name)s is given twice; remove one")),
        Template("rules_missing_member", _("the member %(name)s is missing; add it")),
        Template("too_many_rules", _("%(count)s rules are too many; use at most %(limit)s")),
        Template(
            "too_many_conditions", _("%(count)s conditions are too many; use at most %(limit)s")
        ),
        Template("too_many_values", _("%(count)s values are too many; use at most %(limit)s")),
        Template("too_many_patterns", _("more than %(limit)s patterns in all; join some with |")),
        Template(
            "no_conditions",
            _("there are no conditions, which would include everyone; add at least one"),
        ),
        Template("no_values", _("there are no values; add at least one")),
        Template(
            "segment_and_member",
            _('a condition has either "segment" or %(other)s; remove one of them'),
        ),
        Template(
            "nested_segment",
            _("a segment cannot name a segment; add the conditions of that segment here"),
        ),
        # What is wrong with a value.
        Template("rule_wrong_percent", _('"rollout_percent" must be a whole number from 0 to 100')),
        Template(
            "unknown_operator",
            _("the operator %(operator)s is not known to this version; use %(known)s"),
        ),
        Template(
            "condition_text_too_long", _("the text has more than %(limit)s characters; shorten it")
        ),
        Template(
            "condition_number_too_long", _("the number has more than %(limit)s digits; shorten it")
        ),
        Template(
            "condition_exponent_too_large",
            _("the exponent of the number is out of range; write a smaller number"),
        ),
        Template(
            "not_a_version", _('the text is not a version; write it like "1.2.3" or "2.0.0-beta.1"')
        ),
        Template("wrong_isnull", _('the operator "isnull" has one value, true or false')),
        Template(
            "pattern_too_long", _("the pattern has more than %(limit)s characters; shorten it")
        ),
        Template(
            "pattern_too_big",
            _("the pattern is too big; use smaller repetitions and fewer classes such as \\w"),
        ),
        Template("wrong_pattern", _("the pattern is not valid: %(reason)s")),
        # Parts of these sentences.
        Template("part_the_rules", _("the rules")),
        Template("part_the_conditions", _("the conditions")),
        Template("part_a_rule", _("a rule")),
        Template("part_a_condition", _("a condition")),
        Template("part_the_value", _("the value")),
        Template("kind_null", _("null")),
        Template("kind_bool", _("a bool")),
        Template("kind_number", _("a number")),
        Template("kind_text", _("a text")),
        Template("kind_list", _("a list")),
        Template("kind_object", _("an object")),
        Template("kind_true_or_false", _("true or false")),
        Template("kind_number_or_text", _("a number or a text")),
        Template("kind_scalar", _("a bool, a number or a text")),
        # Columns, whose text is stored.
        Template("column_null", _("its %(column)s is NULL")),
        Template("column_not_unique", _("several rows have this key")),
        Template("column_undecodable", _("its %(column)s cannot be decoded as UTF-8")),
        Template("column_of_unreadable_json", _("its %(column)s %(problem)s")),
        Template(
            "column_malformed",
            _("its %(column)s cannot be read; save it in the admin, or with manage.py"),
        ),
        Template(
            "column_too_large",
            _("its %(column)s is over 1 MiB, or all of them are over 64 MiB"),
        ),
        Template(
            "column_of_large_rules",
            _("its JSON text is over 256 KiB, the limit; use fewer values"),
        ),
        Template(
            "column_of_large_rows",
            _(
                "the JSON texts of all rows are over %(limit)s MiB, and it is one of the largest; "
                "use fewer values"
            ),
        ),
        Template(
            "column_of_many_patterns",
            _(
                "all rules and segments have over 1,000 regular expressions; use other operators, "
                "or share a segment"
            ),
        ),
        Template("column_json_text", _("JSON text")),
    )
}


def message_of_problem(problem: RuleProblem) -> Message:
    """Returns the message of a problem that the parser has found."""
    places, text = problem
    if not places:
        return _message(text)
    return _IN_PLACES(places=[_message(place) for place in places], problem=_message(text))


def rule_place(number: int, name: str | None = None) -> Message:
    """Returns the place of a rule, with its name in quotes if it has one."""
    if name is None:
        return _TEMPLATES["rule_place"](number=str(number))
    return _TEMPLATES["named_rule_place"](number=str(number), name=name)


def split_places(problem: Message) -> tuple[list[Message], Message]:
    """Returns the places of a problem, and what is wrong there."""
    if problem.template is not _IN_PLACES:
        return [], problem
    places, text = problem.values["places"], problem.values["problem"]
    return cast("list[Message]", places), cast("Message", text)


def in_value(problem: Message) -> Message:
    """Returns the problem of a condition without the places of its rule and of itself."""
    places, text = split_places(problem)
    inner = [place for place in places if place.code == "value_place"]
    return _IN_PLACES(places=inner, problem=text) if inner else text


def _message(message: RuleMessage) -> Message:
    code, values = message
    return _TEMPLATES[code](
        **{
            name: _message(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
    )
