"""The conditions in the JSON of rules. Ignores what is not a rule: SQL can write any JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from flagstaff._words.text import Sentence, joined, localized, say, truncated

#: The core has the same for its own problems.
IN_PLACES = say("{places}: {problem}")

#: The percentage of a rule without one.
ALL = 100
_GROUPS = "groups"

# PostgreSQL orders names by length, which puts the values before the attribute.
_ORDER = (
    "name",
    "segment",
    "attribute",
    "operator",
    "values",
    "negate",
    "conditions",
    "rollout_percent",
    "value",
)

# The length of a rule's name in a message: SQL can write names of any length.
_MAX_NAME = 102


def places_of(rules: object) -> Iterator[tuple[Sentence, dict[str, Any]]]:
    """Yields the rules, each with its place, such as 'rule 2 ("beta")'."""
    for number, rule in enumerate(objects_in(rules), start=1):
        place, name = say("rule {number}", number=str(number)), rule.get("name")
        if isinstance(name, str):
            shown = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
            place = say("rule {number} ({name})", number=str(number), name=shown)
        yield place, rule


def conditions_of(rules: object) -> Iterator[tuple[Sentence, dict[str, Any]]]:
    """Yields the conditions of rules, each with the place of its rule."""
    for place, rule in places_of(rules):
        for condition in objects_in(rule.get("conditions")):
            yield place, condition


def new_conditions(
    rules: object, stored: object = None
) -> Iterator[tuple[Sentence | None, dict[str, Any]]]:
    """Yields the conditions that are not `stored`, each with the place of its rule.

    The conditions of a segment, in place of rules, have no place.
    """
    # As JSON: for Python, 1 equals true.
    stored_texts = {
        json.dumps(condition, sort_keys=True) for _place, condition in _placed_conditions(stored)
    }
    for place, condition in _placed_conditions(rules):
        if json.dumps(condition, sort_keys=True) not in stored_texts:
            yield place, condition


def _placed_conditions(rules: object) -> Iterator[tuple[Sentence | None, dict[str, Any]]]:
    yield from conditions_of(rules)
    yield from ((None, condition) for condition in objects_in(rules))


def partial_rules(rules: object) -> Iterator[tuple[Sentence, int]]:
    """Yields the places of the rules that keep users out, with their percentages."""
    for place, rule in places_of(rules):
        percent = rule.get("rollout_percent", ALL)
        if isinstance(percent, int) and percent < ALL:
            yield place, percent


def named_segments(rules: object) -> Iterator[tuple[str, Sentence]]:
    """Yields the segments that rules name, each with its place."""
    for place, condition in conditions_of(rules):
        if isinstance(key := condition.get("segment"), str):
            yield key, place


def groups_of(rules: object) -> set[str]:
    """Returns the names of the groups that rules name, or conditions in place of rules."""
    return {
        value
        for _, condition in _placed_conditions(rules)
        # Other operators have patterns, or parts of names.
        if condition.get("attribute") == _GROUPS and condition.get("operator") == "in"
        for value in _listed(condition.get("values"))
        if isinstance(value, str)
    }


def reads_groups(rules: object) -> bool:
    """Whether rules, or conditions in place of rules, depend on groups."""
    return any(condition.get("attribute") == _GROUPS for _, condition in _placed_conditions(rules))


def can_grant(rules: object) -> bool:
    """Whether a rule can give the flag to a user. True if the rules cannot be read."""
    if isinstance(rules, list | tuple):
        return any(rule.get("rollout_percent") != 0 for rule in objects_in(rules))
    return rules is not None


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    return (item if isinstance(item, dict) else {} for item in _listed(value))


def _listed(value: object) -> Sequence[Any]:
    # json.dumps writes a tuple as a list.
    return value if isinstance(value, list | tuple) else ()


def problem_at(place: Sentence, problem: Sentence) -> Sentence:
    """Returns a problem with its place before it."""
    return say(IN_PLACES, places=joined([place]), problem=problem)


def sentence(problem: str) -> str:
    """Returns a problem in the reader's language as a sentence."""
    text = localized(problem)
    return f"{text[0].upper()}{text[1:]}."


def in_reading_order(rules: Any) -> Any:
    """Returns rules or conditions with the members of each object as people write them."""
    if isinstance(rules, list):
        return [in_reading_order(item) for item in rules]
    if not isinstance(rules, dict):
        return rules
    names = sorted(rules, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {name: in_reading_order(rules[name]) for name in names}
