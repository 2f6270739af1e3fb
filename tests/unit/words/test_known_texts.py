"""Texts that arrive in English are translated for a page, and no other text is changed."""

from __future__ import annotations

from time import process_time

import pytest

from flagstaff._words.known_texts import KnownTexts, _Pattern
from flagstaff._words.rule_problems import rule_problem_text
from flagstaff.changes.known_texts import refusal_text
from flagstaff.experiments.known_texts import EXPERIMENT_TEXTS
from flagstaff.rollouts.known_texts import PLAN_TEXTS
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


EVENTS = (
    "created with the steps 5 % for 1 h 30 min, 100 %",
    "started: rollout 0 → 5 %",
    "step 2 of 3: rollout 5 → 25 %; fine after 1,200 users inside: only the brake compares errors",
    "step 2 begins anew: workers had no memory left for all counts, so the evidence was incomplete",
    "holds: waits for data: no user inside has been seen yet",
    "holds: errors: 60 of 1,006 users inside failed, 190 of 18,628 outside; 5.8 times as often",
    "rolled back by errors: 6 of 9 users inside failed, 1 of 99 outside; 60 times as often",
    "rolled back by latency over 0.5 s: 6 of 9 users inside were slower, 1 of 99 outside",
    "rolled back by brake: 6 of 15 users inside failed, none of 35 outside",
    "rolled back by a person",
    "rolled back: rollout 0 %; reason: 1",
    "rolled back: rollout 0 %, and the flag was disabled, because a rule can grant it",
    "rolled back: the flag f1 no longer exists, so no rollout was changed",
    "resumed at the first step again: rollout 0 → 5 %, the evidence begins anew",
    (
        "applied by 1 of 2 connected workers within 5.0 s; "
        '"flags plan KEY status --json" lists the others'
    ),
    "the server lists no worker",
    "paused: the flag was deleted",
    "paused: the flag was renamed to f1",
    "rolled back by brake: 3 of 9 users inside failed, none of 9 outside",
    "not started, the flag is disabled; enable it with 1",
    "not started, the flag was changed more than 1000 times",
    (
        "paused: the flag was changed, and the history does not say by whom: 1; so it was not "
        "rolled back, but it had tripped: brake: 3 of 9 users inside failed, none of 9 outside"
    ),
    (
        "paused: 1; run-jobs will roll it back, because it has tripped: latency over 0.5 s: 6 of 9 "
        "users inside were slower, 1 of 99 outside"
    ),
    "rolled back by a guard whose reason cannot be stored",
    "the rollout plan of f1 is rolled back and cannot be paused; possible next: 1",
    "the rollout plan of f1 cannot jump, because 1; pause and resume it first: 1",
    "f1 is at 100 % already, so a plan has no steps; lower its rollout first",
    "the percentage 150 is not a whole number from 1 to 100",
)


@pytest.mark.parametrize("start", ["rolled back by ", "holds: ", "continues; it held because: "])
def test_start_of_an_event_is_no_name_of_a_guard(start: str) -> None:
    text = f"{start}brake: 160 of 198 users inside failed, none of 3,033 outside"
    words = {
        "brake: %(inside)s of %(users_inside)s users inside failed, none of %(users)s outside": "B",
        "rolled back by %(why)s": "rolled back by %(why)s",
        "holds: %(why)s": "holds: %(why)s",
        "continues; it held because: %(why)s": "continues; it held because: %(why)s",
    }
    with german(words):
        assert PLAN_TEXTS.translate(text) == f"{start}B"


# Of an experiment.
NOTES = (
    "created with n1 1, n2 3; 100 % of all units take part",
    "analysis: primary metric m1; guardrails m2 (0.01); planned users 4,000; method fixed",
    "shuffled (2): the exposures so far are no longer reported",
    (
        "x1 has started, so its planned users cannot change: a change after a look would make "
        "results invalid. Metrics can be added to those that it has"
    ),
)


@pytest.mark.parametrize(
    ("texts", "text"),
    [*((PLAN_TEXTS, text) for text in EVENTS), *((EXPERIMENT_TEXTS, text) for text in NOTES)],
)
def test_text_of_a_plan_or_an_experiment_is_translated(texts: KnownTexts, text: str) -> None:
    assert texts.translate(text) == text
    with marked():
        assert not unmarked_in(texts.translate(text).replace("flags plan KEY status", ""))


def test_change_that_pauses_a_plan_keeps_its_actor_and_values() -> None:
    texts = {"%(actor)s changed the flag: %(change)s": "%(actor)s hat geändert: %(change)s"}
    with german(texts):
        assert PLAN_TEXTS.translate("done changed the flag: enabled true → false") == (
            "done hat geändert: enabled true → false"
        )


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
