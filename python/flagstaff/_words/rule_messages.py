"""The places in the messages about rules."""

from __future__ import annotations

from typing import cast

from flagstaff._words.core_messages import IN_PLACES, NAMED_RULE_PLACE, RULE_PLACE
from flagstaff._words.message import Message, localized


def rule_place(number: int, name: str | None = None) -> Message:
    """Returns the place of a rule, with its name in quotes if it has one."""
    if name is None:
        return RULE_PLACE(number=str(number))
    return NAMED_RULE_PLACE(number=str(number), name=name)


def split_places(problem: Message) -> tuple[list[Message], Message]:
    """Returns the places of a problem, and what is wrong there."""
    if problem.template is not IN_PLACES:
        return [], problem
    places, text = problem.values["places"], problem.values["problem"]
    return cast("list[Message]", places), cast("Message", text)


def in_value(problem: Message) -> Message:
    """Returns the problem of a condition without the places of its rule and of itself."""
    places, text = split_places(problem)
    inner = [place for place in places if place.code == "value_place"]
    return IN_PLACES(places=inner, problem=text) if inner else text


def sentence(problem: str) -> str:
    """Returns a problem in the reader's language as a sentence."""
    text = localized(problem)
    return f"{text[0].upper()}{text[1:]}."
