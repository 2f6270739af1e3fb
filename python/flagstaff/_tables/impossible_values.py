"""Values of conditions that never match, because the attribute has another type or form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timezone
from typing import Any, Final, NamedTuple
from uuid import UUID

from flagstaff._core import can_match
from flagstaff._tables.known_attributes import Attribute, AttributeType, known_attributes
from flagstaff._words.rule_parts import new_conditions, problem_at
from flagstaff._words.text import Sentence, say

_PATTERN: Final = say('no text can match this pattern; check where "^" and "$" are')
_CAPITALS: Final = say("if it is a UUID, Django shows it in lower case; write it so")
_ADDRESS: Final = say(
    "an e-mail address is mostly stored without capital letters; write it as it is stored"
)
_MOMENT: Final = say('it is a date; use "in", "lt" or "gte" with one like "2026-03-01T12:00:00Z"')


_ORDERED: Final = say(
    'if it is a number or a date, write one, such as 42 or "2026-03-01T12:00:00Z"'
)


class _Kind(NamedTuple):
    """What can be written for attributes of a type."""

    #: An attribute of the type.
    sample: object
    hint: str


_KINDS: Final[Mapping[AttributeType, _Kind]] = {
    AttributeType.BOOL: _Kind(
        sample=True,
        hint=say('it is true or false; use "in" (is one of) with true or false'),
    ),
    AttributeType.NUMBER: _Kind(0, say("it is a number; write one, such as 42")),
    AttributeType.DATE: _Kind(date.min, _MOMENT),
    AttributeType.DATETIME: _Kind(datetime.min.replace(tzinfo=timezone.utc), _MOMENT),
    # Also a version, which the operators for versions compare.
    AttributeType.TEXT: _Kind("0", say('it is a text; write one, such as "42"')),
    AttributeType.GROUPS: _Kind("0", say("it has the names of groups; write one as a text")),
    AttributeType.UUID: _Kind(
        "0",
        say('it is a UUID in lower case, such as "550e8400-e29b-41d4-a716-446655440000"'),
    ),
}
_PARTS = ("contains", "startswith", "endswith")
_ORDER = ("lt", "lte", "gt", "gte")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_EMAIL = re.compile(r"[^@\s]*@[^@\s]+\.[^@\s]+")


class Impossible(NamedTuple):
    """A condition with a value that never matches."""

    problem: Sentence
    #: Whether the attribute is known, so that the value is refused.
    is_certain: bool


def impossible_problem(rules: object, stored: object = None) -> Sentence | None:
    """Returns why readable rules, or conditions in place of rules, are refused; None if not.

    Conditions that are `stored` are left out: they must not stop another change.
    """
    impossible = _impossible_values(rules, stored)
    return next((value.problem for value in impossible if value.is_certain), None)


def doubts(rules: object, stored: object = None) -> list[Sentence]:
    """Returns why values of new conditions may never match, which is no reason to refuse them."""
    return [value.problem for value in _impossible_values(rules, stored) if not value.is_certain]


def _impossible_values(rules: object, stored: object) -> Iterator[Impossible]:
    """Yields the conditions that never match, each with the place of its rule."""
    attributes = known_attributes()
    for place, condition in new_conditions(rules, stored):
        if impossible := impossible_value(condition, attributes):
            yield (
                impossible
                if place is None
                else impossible._replace(problem=problem_at(place, impossible.problem))
            )


def impossible_value(
    condition: Mapping[str, Any], attributes: Mapping[str, Attribute]
) -> Impossible | None:
    """Returns the first value of a condition that never matches; None if there is none.

    `attributes` are the known ones. The message has no value, which may be personal data.
    """
    name, operator, values = (
        condition.get(member) for member in ("attribute", "operator", "values")
    )
    if not isinstance(name, str) or not isinstance(values, list | tuple) or operator == "isnull":
        return None
    kind = attributes[name].type if name in attributes else AttributeType.OTHER
    for number, value in enumerate(values, start=1):
        if hint := _hint_for(str(operator), value, kind):
            problem = say(
                'value {number} never matches "{attribute}": {hint}',
                number=str(number),
                attribute=name,
                hint=say(hint),
            )
            is_guess = hint in (_CAPITALS, _ADDRESS, _ORDERED)
            return Impossible(problem, is_certain=name in attributes and not is_guess)
    return None


def _hint_for(operator: str, value: object, kind: AttributeType) -> str | None:
    """Returns what to write in place of a value that never matches; None if it can match."""
    sample, hint = _KINDS.get(kind, ("0", None))
    values = json.dumps([value])
    if operator == "regex" and not can_match(operator, values, "0"):
        return _PATTERN
    if hint and not can_match(operator, values, sample):
        return hint
    if kind is AttributeType.UUID:
        return hint if _is_no_uuid(operator, value) else None
    return _guess(operator, value, is_typed=hint is not None) if isinstance(value, str) else None


def _guess(operator: str, text: str, *, is_typed: bool) -> str | None:
    """Returns what to write in place of a text that probably never matches; None for others."""
    if operator in _ORDER and not is_typed:
        is_moment = can_match(operator, json.dumps([text]), _KINDS[AttributeType.DATETIME].sample)
        return None if is_moment else _ORDERED
    if operator not in ("in", *_PARTS) or text == text.lower():
        return None
    if _UUID.fullmatch(text):
        return _CAPITALS
    return _ADDRESS if _EMAIL.fullmatch(text) else None


def _is_no_uuid(operator: str, value: object) -> bool:
    """Whether no UUID, as Django shows it, equals the value or has it as a part."""
    if operator.startswith("version_"):
        return True
    if operator in _PARTS:
        return not set(str(value)) <= set("0123456789abcdef-")
    try:
        return operator == "in" and value != str(UUID(str(value)))
    except ValueError:
        return True
