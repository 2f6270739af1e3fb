"""Texts that arrive in English are translated for a page, and no other text is changed."""

from __future__ import annotations

from time import process_time

import pytest

from flagstaff._words.known_texts import KnownTexts, _Pattern
from flagstaff._words.rule_problems import rule_problem_text
from flagstaff.changes.known_texts import refusal_text
from flagstaff.validators import condition_problem, rule_problem
from tests.support.marked_texts import marked, unmarked_in
from tests.support.translations import german

IN = {"attribute": "a1", "operator": "in", "values": [1]}
VERSION = {"attribute": "a1", "operator": "version_lt", "values": ["x"]}
WRONG_RULES: tuple[object, ...] = (
    {},
    [1],
    [{}],
    [{"conditions": []}],
    [{"conditions": [IN] * 300}],
    [{"name": 'a": b, "c', "conditions": [{}]}],
    [{"name": "", "conditions": [IN]}],
    [{"conditions": [IN], "rollout_percent": 101}],
    [{"conditions": [IN], "other": 1}],
    [{"conditions": [{**IN, "operator": "is"}]}],
    [{"conditions": [{**IN, "operator": 1}]}],
    [{"conditions": [{**IN, "values": []}]}],
    [{"conditions": [{**IN, "values": [None]}]}],
    [{"conditions": [{**IN, "values": ["x" * 100_000]}]}],
    [{"conditions": [{**IN, "negate": 1}]}],
    [{"conditions": [{**IN, "segment": "s1"}]}],
    [{"conditions": [{**IN, "operator": "regex", "values": ["("]}]}],
    [{"conditions": [{**IN, "operator": "regex", "values": [r"\w{1000}" * 9]}]}],
    [{"conditions": [{**IN, "operator": "isnull"}]}],
    [{"conditions": [IN, VERSION]}],
    [{"conditions": [{**IN, "values": [float("nan")]}]}],
    [{"conditions": [{**IN, "values": ["\0"]}]}],
)


def test_problem_of_rules_and_conditions_is_translated() -> None:
    wrong: tuple[object, ...] = ({}, [], [{"segment": "s1"}], [VERSION])
    problems = [*map(rule_problem, WRONG_RULES), *map(condition_problem, wrong)]
    for problem in problems:
        assert problem
        assert rule_problem_text(problem) == problem
        with marked():
            shown = unmarked_in(rule_problem_text(problem).replace("regex parse error", ""))
        assert not shown or "pattern is not valid" in problem, problem


def test_place_and_kinds_are_translated() -> None:
    texts = {
        "rule %(number)s (%(name)s)": "Regel %(number)s (%(name)s)",
        "condition %(number)s": "Bedingung %(number)s",
        "%(what)s must be %(expected)s, not %(kind)s": "%(what)s: %(expected)s statt %(kind)s",
        "a list": "eine Liste",
        "a number": "eine Zahl",
    }
    problem = 'rule 2 ("a: b"), condition 1: "values" must be a list, not a number'
    with german(texts):
        assert rule_problem_text(problem) == (
            'Regel 2 ("a: b"), Bedingung 1: "values": eine Liste statt eine Zahl'
        )


def test_number_has_the_separators_of_the_language_but_other_texts_are_unchanged() -> None:
    texts = KnownTexts(["%(count)s users, %(ratio)s times, id %(id)s"])
    with german({"%(count)s users, %(ratio)s times, id %(id)s": "%(count)s, %(ratio)s, %(id)s"}):
        assert texts.translate("12,345 users, 2.5 times, id 12345") == "12.345, 2,5, 12345"
        assert refusal_text("anything else: 1,000") == "anything else: 1,000"
        # A key that looks like a number.
        assert "1.5" in refusal_text("a flag 1.5 already exists; change it, or use another key")


@pytest.mark.parametrize(
    ("message", "text", "expected"),
    [
        ("%(a)s has %(b)s", "x has y has z", {"a": "x", "b": "y has z"}),
        ("%(a)s%(b)s!", "xy!", {"a": "x", "b": "y"}),
        ("%(a)s: 5 %% of %(b)s", "x: 5 % of y", {"a": "x", "b": "y"}),
        ("at %(a)s at", "at at", None),
        ("at %(a)s", "at ", None),
        ("%(a)s has %(b)s", " has y", None),
        ("100 %%", "100 %", {}),
    ],
)
def test_placeholders_have_the_shortest_texts(
    message: str, text: str, expected: dict[str, str] | None
) -> None:
    assert _Pattern(message).match(text) == expected


def test_text_that_repeats_parts_of_a_message_is_read_quickly() -> None:
    repeated = "x has y, but version 1 was expected; changes after version " * 300
    start = process_time()
    assert refusal_text(repeated) == repeated
    # A regular expression takes hours.
    assert process_time() - start < 5
