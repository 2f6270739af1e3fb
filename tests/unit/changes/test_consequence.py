"""What a change of a flag means for the users, and when it needs a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from flagstaff._engine.impact import ChangeImpact
from flagstaff._tables.flag_states import FlagState
from flagstaff.changes.consequence import Consequence, consequence
from flagstaff.models import FeatureFlag
from tests.support.impacts import change_impact
from tests.support.models_of_others import flag_fields, model_of

NONE, NARROWS, WIDENS, TO_MOST = Consequence

RULE = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
ON = FlagState(enabled=True, rollout_percent=25, rules=[], bucket_by="user")
OFF = replace(ON, enabled=False)
RULES, ALL = {"rules": [RULE]}, {"rollout_percent": 100}


def counted(gain: int, lose: int, after: int, users: int = 100, *, unsure: int = 0) -> ChangeImpact:
    return change_impact(users, gain, lose, after, unsure=unsure)


def on(**fields: Any) -> FlagState:
    return replace(ON, **fields)


def off(**fields: Any) -> FlagState:
    return replace(OFF, **fields)


def test_consequences_are_ordered() -> None:
    assert NONE < NARROWS < WIDENS < TO_MOST


NO_USERS = counted(0, 0, 0, users=0)
# Users that cannot be counted, so the fields decide.
UNKNOWN = (None, NO_USERS, counted(0, 0, 0, unsure=1), counted(1, 0, 1, unsure=99))


@pytest.mark.parametrize(
    ("before", "after", "impacts", "expected"),
    [
        # No result changes.
        *((state, state, (None, counted(0, 0, 0)), NONE) for state in (ON, OFF)),
        (OFF, off(rollout_percent=100), (None, counted(0, 0, 0)), NONE),
        (OFF, off(rules=[RULE]), (None, counted(0, 0, 0)), NONE),
        (OFF, off(bucket_by="visitor"), (None, counted(0, 0, 0)), NONE),
        # Turning off narrows whatever else changes.
        (ON, OFF, (None, counted(0, 25, 0)), NARROWS),
        (ON, off(rollout_percent=100), (None, counted(0, 25, 0)), NARROWS),
        (ON, off(bucket_by="visitor", **RULES), (None, counted(0, 25, 0)), NARROWS),
        # The rollout of a flag that is on.
        (ON, on(rollout_percent=5), [counted(0, 20, 5)], NARROWS),
        (ON, on(rollout_percent=50), [counted(25, 0, 50)], WIDENS),
        (ON, on(rollout_percent=51), [counted(26, 0, 51)], TO_MOST),
        (ON, on(rollout_percent=100), [counted(75, 0, 100)], TO_MOST),
        # A raised rollout widens although no counted user gains: visitors are not counted.
        (ON, on(rollout_percent=26), (None, counted(0, 0, 0), NO_USERS), WIDENS),
        # A flag that is turned on.
        (OFF, ON, [counted(25, 0, 25)], WIDENS),
        (off(rollout_percent=0), on(rollout_percent=0), [counted(2, 0, 2)], WIDENS),
        (off(rollout_percent=0), on(rollout_percent=0), [counted(60, 0, 60)], TO_MOST),
        (off(rollout_percent=0), on(rollout_percent=0), [counted(0, 0, 0)], NARROWS),
        # A rollout of all is most whatever is counted.
        *(
            (before, on(**ALL), (None, counted(0, 0, 1), counted(1, 0, 1)), TO_MOST)
            for before in (OFF, ON, off(**ALL), off(**RULES, **ALL))
        ),
        # Other rules: some gain and some lose.
        (ON, on(**RULES), [counted(1, 20, 6)], WIDENS),
        (ON, on(**RULES), [counted(30, 0, 55)], TO_MOST),
        (on(**RULES), ON, [counted(0, 3, 25), counted(0, 0, 25)], NARROWS),
        # More than half had the flag before, too.
        (on(rollout_percent=60), on(rollout_percent=61), [counted(1, 0, 61)], TO_MOST),
        (on(rollout_percent=60), on(rollout_percent=59), [counted(0, 1, 59)], NARROWS),
        # Exactly half is not most.
        (OFF, on(rollout_percent=50), [counted(2, 0, 2, users=4)], WIDENS),
        (OFF, on(rollout_percent=50), [counted(3, 0, 3, users=5)], TO_MOST),
        # Users that cannot be counted.
        (ON, on(rollout_percent=50), UNKNOWN, WIDENS),
        (ON, on(rollout_percent=51), UNKNOWN, TO_MOST),
        (ON, on(rollout_percent=5), UNKNOWN, NARROWS),
        (OFF, ON, UNKNOWN, WIDENS),
        (off(rollout_percent=60), on(rollout_percent=60), UNKNOWN, TO_MOST),
        (off(rollout_percent=0), on(rollout_percent=0), UNKNOWN, NARROWS),
        (off(rollout_percent=0, **RULES), on(rollout_percent=0, **RULES), UNKNOWN, TO_MOST),
        (ON, on(**RULES), UNKNOWN, TO_MOST),
        (on(**RULES), ON, UNKNOWN, TO_MOST),
        (on(**RULES), on(rollout_percent=5, **RULES), UNKNOWN, NARROWS),
        (on(rollout_percent=60), on(rollout_percent=60, **RULES), UNKNOWN, TO_MOST),
        # Another unit of a flag that is on, at any rollout.
        *(
            (ON, on(bucket_by="visitor", rollout_percent=n), [None], TO_MOST)
            for n in (0, 5, 25, 100)
        ),
        # Another unit of a flag that is turned on: its rollout decides.
        (OFF, on(bucket_by="visitor"), [None], WIDENS),
        (OFF, on(bucket_by="visitor", rollout_percent=60), [None], TO_MOST),
    ],
)
def test_consequence_of_a_change(
    before: FlagState,
    after: FlagState,
    impacts: Sequence[ChangeImpact | None],
    expected: Consequence,
) -> None:
    for impact in impacts:
        assert consequence(before, after, impact) is expected


def test_state_has_the_rules_and_the_unit_or_the_defaults() -> None:
    fields: dict[str, Any] = {"key": "a", "enabled": True, "rollout_percent": 25}
    flag = FeatureFlag(rules=[RULE], bucket_by="visitor", **fields)
    assert FlagState.of(flag) == on(bucket_by="visitor", **RULES)
    without: tuple[Any, ...] = (None, [])
    for rules in without:
        assert FlagState.of(FeatureFlag(rules=rules, **fields)) == ON
    # A model that lacks both.
    assert FlagState.of(model_of("Switch", flag_fields())(**fields)) == ON
