"""What a change of a flag says about those who are not logged in."""

from __future__ import annotations

import pytest

from flagstaff._tables.flag_states import FlagState
from flagstaff.changes.anonymous import anonymous_percents, anonymous_text
from tests.support.conditions import condition

GAINS = "Everybody who is not logged in gains the flag."
LOSES = "Everybody who is not logged in loses the flag."
NOT_LOGGED_IN = [{"conditions": [condition("is_authenticated", "in", False)]}]
LOGGED_IN = [{"conditions": [condition("is_authenticated", "in", True)]}]


@pytest.mark.parametrize(
    ("percents", "unit", "sentence"),
    [
        ((25, 100), "user", GAINS),
        ((100, 25), "user", LOSES),
        ((25, 99), "user", ""),
        ((100, 100), "user", ""),
        ((25, 100), "visitor", "Afterwards 100 % of visitors have the flag, logged in or not."),
        ((100, 25), "visitor", "Afterwards 25 % of visitors have the flag, logged in or not."),
        ((100, 0), "visitor", LOSES),
        ((25, 100), "organization", "Everybody without “organization” gains the flag."),
        ((100, 25), "organization", "Everybody without “organization” loses the flag."),
        ((0, 100), "organization", GAINS),
    ],
)
def test_sentence_says_who_gains_or_loses_100_percent(
    percents: tuple[int, int], unit: str, sentence: str
) -> None:
    assert anonymous_text(percents, unit) == sentence


@pytest.mark.parametrize(
    ("state", "percent"),
    [
        (FlagState(enabled=True, rollout_percent=40), 40),
        (FlagState(enabled=False, rollout_percent=100), 0),
        (FlagState(enabled=True, rollout_percent=0, rules=NOT_LOGGED_IN), 100),
        (FlagState(enabled=True, rollout_percent=40, rules=LOGGED_IN), 40),
    ],
)
def test_rollout_of_a_rule_that_they_meet_comes_before_that_of_the_flag(
    state: FlagState, percent: int
) -> None:
    assert anonymous_percents(FlagState(enabled=True, rollout_percent=7), state) == (7, percent)
