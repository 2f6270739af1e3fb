"""The conditions in the JSON of rules. Ignores what is not a rule: SQL can write any JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from flagstaff._words.text import Text, joined, localized, marked, truncated

#: The core has the same for its own problems.
IN_PLACES = marked("{places}: {problem}")
_VALUE_PLACE = "value {number}"

#: The percentage of a rule without one.
ALL = 100
_GROUPS = "groups"

# The length of a rule's name in a message: SQL can write names of any length.
_MAX_NAME = 102


def places_of(rules: object) -> Iterator[tuple[Text, dict[str, Any]]]:
    """Yields the rules, each with its place, such as 'rule 2 ("beta")'."""
    for number, rule in enumerate(objects_in(rules), start=1):
        name = rule.get("name")
        shown = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
        yield rule_place(number, shown if isinstance(name, str) else None), rule


def conditions_of(rules: object) -> Iterator[tuple[Text, dict[str, Any]]]:
    """Yields the conditions of rules, each with the place of its rule."""
    for place, rule in places_of(rules):
        for condition in objects_in(rule.get("conditions")):
            yield place, condition


def new_conditions(
    rules: object, stored: object = None
) -> Iterator[tuple[Text | None, dict[str, Any]]]:
    """Yields the conditions that are not `stored`, each with the place of its rule.

    The conditions of a segment, in place of rules, have no place.
    """
    # As JSON: for Python, 1 equals true.
    kept = {json.dumps(one, sort_keys=True) for _place, one in _placed_conditions(stored)}
    for place, condition in _placed_conditions(rules):
        if json.dumps(condition, sort_keys=True) not in kept:
            yield place, condition


def _placed_conditions(rules: object) -> Iterator[tuple[Text | None, dict[str, Any]]]:
    yield from conditions_of(rules)
    yield from ((None, one) for one in objects_in(rules))


def partial_rules(rules: object) -> Iterator[tuple[Text, int]]:
    """Yields the places of the rules that keep users out, with their percentages."""
    for place, rule in places_of(rules):
        percent = rule.get("rollout_percent", ALL)
        if isinstance(percent, int) and percent < ALL:
            yield place, percent


def with_all_users(rules: object) -> list[dict[str, Any]]:
    """Returns readable rules with 100 % in the place of each percentage."""
    return [{**rule, "rollout_percent": ALL} for rule in objects_in(rules)]


def named_segments(rules: object) -> Iterator[tuple[str, Text]]:
    """Yields the segments that rules name, each with its place."""
    for place, condition in conditions_of(rules):
        if isinstance(key := condition.get("segment"), str):
            yield key, place


def named_attributes(rules: object) -> Iterator[str]:
    """Yields the names of the attributes that rules read, or conditions in place of rules."""
    for one in objects_in(rules):
        for condition in (one, *objects_in(one.get("conditions"))):
            if isinstance(name := condition.get("attribute"), str):
                yield name


def groups_of(rules: object) -> set[str]:
    """Returns the names of the groups that rules name, or conditions in place of rules."""
    conditions = [*(condition for _, condition in conditions_of(rules)), *objects_in(rules)]
    lists = (
        condition.get("values")
        for condition in conditions
        # Other operators have patterns, or parts of names.
        if condition.get("attribute") == _GROUPS and condition.get("operator") == "in"
    )
    return {
        value
        for values in lists
        for value in filter(_is_text, values if isinstance(values, list | tuple) else ())
    }


def reads_groups(rules: object) -> bool:
    """Whether rules, or conditions in place of rules, depend on groups."""
    return _GROUPS in named_attributes(rules)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def can_grant(rules: object) -> bool:
    """Whether a rule can give the flag to a user. True if the rules cannot be read."""
    if rules is None or rules == []:
        return False
    if not isinstance(rules, list | tuple):
        return True
    return any(rule.get("rollout_percent") != 0 for rule in objects_in(rules))


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    # json.dumps writes a tuple as a list.
    for one in value if isinstance(value, list | tuple) else ():
        yield one if isinstance(one, dict) else {}


def rule_place(number: int, name: str | None = None) -> Text:
    """Returns the place of a rule, with its name in quotes if it has one."""
    if name is None:
        return Text("rule {number}", number=str(number))
    return Text("rule {number} ({name})", number=str(number), name=name)


def problem_at(place: Text, problem: Text) -> Text:
    """Returns a problem with its place before it."""
    return Text(IN_PLACES, places=joined([place]), problem=problem)


def split_places(problem: Text) -> tuple[list[Text], Text]:
    """Returns the places of a problem, and what is wrong there."""
    if problem.english != IN_PLACES:
        return [], problem
    places, text = cast("list[Text]", [*problem.values.values()])
    return cast("list[Text]", [*places.values.values()]), text


def in_value(problem: Text) -> Text:
    """Returns the problem of a condition without the places of its rule and of itself."""
    places, text = split_places(problem)
    inner = [place for place in places if place.english == _VALUE_PLACE]
    return problem_at(inner[0], text) if inner else text


def sentence(problem: str) -> str:
    """Returns a problem in the reader's language as a sentence."""
    text = localized(problem)
    return f"{text[0].upper()}{text[1:]}."
