"""What a change of a flag means for the users, and when it needs a confirmation."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff._engine.impact import ChangeImpact
from flagstaff.admin.consequence import Consequence, FlagState, consequence
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of

NONE, NARROWS, WIDENS, TO_MOST = Consequence

RULE = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
ON = FlagState(enabled=True, rollout_percent=25, rules=[], unit="user")
OFF = ON._replace(enabled=False)
RULES, ALL = {"rules": [RULE]}, {"rollout_percent": 100}


def counted(gain: int, lose: int, after: int, users: int = 100) -> ChangeImpact:
    return ChangeImpact(users=users, gain=gain, lose=lose, after=after)


def on(**fields: Any) -> FlagState:
    return ON._replace(**fields)


def off(**fields: Any) -> FlagState:
    return OFF._replace(**fields)


def test_consequences_are_ordered() -> None:
    assert NONE < NARROWS < WIDENS < TO_MOST


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ON, ON),
        (OFF, OFF),
        (OFF, off(rollout_percent=100)),
        (OFF, off(rules=[RULE])),
        (OFF, off(unit="visitor")),
    ],
)
@pytest.mark.parametrize("impact", [None, counted(0, 0, 0)])
def test_change_without_another_result_has_no_consequence(
    before: FlagState, after: FlagState, impact: ChangeImpact | None
) -> None:
    assert consequence(before, after, impact) is NONE


@pytest.mark.parametrize("after", [OFF, off(rollout_percent=100), off(unit="visitor", **RULES)])
@pytest.mark.parametrize("impact", [None, counted(0, 25, 0)])
def test_turning_off_narrows_whatever_else_changes(
    after: FlagState, impact: ChangeImpact | None
) -> None:
    assert consequence(ON, after, impact) is NARROWS


@pytest.mark.parametrize(
    ("before", "after", "impact", "expected"),
    [
        # The rollout of a flag that is on.
        (ON, on(rollout_percent=5), counted(0, 20, 5), NARROWS),
        (ON, on(rollout_percent=50), counted(25, 0, 50), WIDENS),
        (ON, on(rollout_percent=51), counted(26, 0, 51), TO_MOST),
        (ON, on(rollout_percent=100), counted(75, 0, 100), TO_MOST),
        # A flag that is turned on.
        (OFF, ON, counted(25, 0, 25), WIDENS),
        (off(rollout_percent=0), on(rollout_percent=0), counted(2, 0, 2), WIDENS),
        (off(rollout_percent=0), on(rollout_percent=0), counted(60, 0, 60), TO_MOST),
        (off(rollout_percent=0), on(rollout_percent=0), counted(0, 0, 0), NARROWS),
        # Other rules: some gain and some lose.
        (ON, on(**RULES), counted(1, 20, 6), WIDENS),
        (ON, on(**RULES), counted(30, 0, 55), TO_MOST),
        (on(**RULES), ON, counted(0, 3, 25), NARROWS),
        (on(**RULES), ON, counted(0, 0, 25), NARROWS),
        # More than half had the flag before, too.
        (on(rollout_percent=60), on(rollout_percent=61), counted(1, 0, 61), TO_MOST),
        (on(rollout_percent=60), on(rollout_percent=59), counted(0, 1, 59), NARROWS),
        # Exactly half is not most.
        (OFF, on(rollout_percent=50), counted(2, 0, 2, users=4), WIDENS),
        (OFF, on(rollout_percent=50), counted(3, 0, 3, users=5), TO_MOST),
    ],
)
def test_consequence_of_counted_users(
    before: FlagState, after: FlagState, impact: ChangeImpact, expected: Consequence
) -> None:
    assert consequence(before, after, impact) is expected


@pytest.mark.parametrize("impact", [None, counted(0, 0, 0), counted(0, 0, 0, users=0)])
def test_raised_rollout_widens_although_no_counted_user_gains(impact: ChangeImpact | None) -> None:
    """Visitors are not counted."""
    assert consequence(ON, on(rollout_percent=26), impact) is WIDENS


@pytest.mark.parametrize("before", [OFF, ON, off(**ALL), off(**RULES, **ALL)])
def test_rollout_of_all_is_most_whatever_is_counted(before: FlagState) -> None:
    for impact in (None, counted(0, 0, 1), counted(1, 0, 1)):
        assert consequence(before, on(**ALL), impact) is TO_MOST


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ON, on(rollout_percent=50), WIDENS),
        (ON, on(rollout_percent=51), TO_MOST),
        (ON, on(rollout_percent=5), NARROWS),
        (OFF, ON, WIDENS),
        (off(rollout_percent=60), on(rollout_percent=60), TO_MOST),
        (off(rollout_percent=0), on(rollout_percent=0), NARROWS),
        (off(rollout_percent=0, **RULES), on(rollout_percent=0, **RULES), TO_MOST),
        (ON, on(**RULES), TO_MOST),
        (on(**RULES), ON, TO_MOST),
        (on(**RULES), on(rollout_percent=5, **RULES), NARROWS),
        (on(rollout_percent=60), on(rollout_percent=60, **RULES), TO_MOST),
    ],
)
@pytest.mark.parametrize("impact", [None, counted(0, 0, 0, users=0)])
def test_fields_decide_if_users_cannot_be_counted(
    before: FlagState, after: FlagState, expected: Consequence, impact: ChangeImpact | None
) -> None:
    assert consequence(before, after, impact) is expected


@pytest.mark.parametrize("percent", [0, 5, 25, 100])
def test_another_unit_of_a_flag_that_is_on_is_most(percent: int) -> None:
    after = on(unit="visitor", rollout_percent=percent)
    assert consequence(ON, after, None) is TO_MOST


def test_another_unit_of_a_flag_that_is_turned_on_is_judged_by_its_rollout() -> None:
    assert consequence(OFF, on(unit="visitor"), None) is WIDENS
    assert consequence(OFF, on(unit="visitor", rollout_percent=60), None) is TO_MOST


@pytest.mark.parametrize("rules", [None, []])
def test_state_of_a_flag_without_rules_has_an_empty_list(rules: object) -> None:
    flag = FeatureFlag(key="a", enabled=True, rollout_percent=25, rules=rules)
    assert FlagState.of(flag) == ON


def test_state_has_the_rules_and_the_unit() -> None:
    flag = FeatureFlag(key="a", enabled=True, rollout_percent=25, rules=[RULE], bucket_by="visitor")
    assert FlagState.of(flag) == on(unit="visitor", **RULES)


def test_state_of_a_model_without_rules_and_unit_has_the_defaults() -> None:
    model = model_of("Switch", flag_fields())
    assert FlagState.of(model(key="a", enabled=True, rollout_percent=25)) == ON
