"""The guards of a rollout plan as text and as JSON."""

from __future__ import annotations

import pytest

from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.guards import (
    Guard,
    guards_as_json,
    guards_from_json,
    latency_limits,
    parse_guard,
    valid_guards,
)

PATH = "tests.unit.rollouts.test_guards.fine"
ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
CALLED = Guard("callable", path=PATH)


def fine(plan: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("text", "guard"),
    [
        ("errors", ERRORS),
        ("latency=0.5", SLOW),
        (f"call={PATH}", CALLED),
        ("errors,limit=1.5,tolerated=1.2,action=hold", Guard("errors", 1.5, 1.2, "hold")),
        (" latency = 2 , limit = 3 ", Guard("latency", limit=3, seconds=2)),
    ],
)
def test_guard_is_parsed(text: str, guard: Guard) -> None:
    assert parse_guard(text) == guard


@pytest.mark.parametrize("text", ["", "error", "errors=1", "latency", "call", "call="])
def test_text_that_is_no_guard_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlanError, match='write "errors"'):
        parse_guard(text)


@pytest.mark.parametrize("text", ["latency=x", "errors,limit=x", "errors,tolerated=x"])
def test_text_in_place_of_a_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlanError, match=f"'x' of '{text}' is not a number; write a number"):
        parse_guard(text)


def test_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidPlanError, match="'limits=2' of 'errors,limits=2' is not an option"):
        parse_guard("errors,limits=2")


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (Guard("traffic"), "is not a kind of guard"),
        ("errors,action=page", 'neither "rollback" nor "hold"'),
        ("errors,limit=1", "option limit .* above tolerated, which is 1$"),
        ("errors,limit=2,tolerated=3", "option limit .* above tolerated, which is 3$"),
        ("errors,limit=nan", "option limit"),
        ("errors,limit=inf", "option limit"),
        ("errors,tolerated=0.5", "option tolerated .* at least 1 and below 20$"),
        ("errors,tolerated=20,limit=30", "option tolerated"),
        ("latency=0", "the time of the guard"),
        ("latency=inf", "the time of the guard"),
        (Guard("latency"), "the time of the guard"),
        ("call=tests.unit.rollouts.test_guards.missing", "cannot be imported: ImportError"),
        ("call=nowhere", "cannot be imported: ImportError"),
        ("call=tests.unit.rollouts.test_guards.PATH", "is not a function"),
    ],
)
def test_invalid_guard_is_refused(guard: Guard | str, message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        valid_guards([guard])


def test_guard_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidPlanError, match="is there twice; remove one"):
        valid_guards(["errors", "errors,limit=3"])


def test_two_latency_guards_with_different_times_are_valid() -> None:
    assert len(valid_guards(["latency=0.5", "latency=1"])) == 2


@pytest.mark.parametrize("guard", [ERRORS, SLOW, CALLED, Guard("errors", 3, 1.5, "hold")])
def test_guard_survives_json_and_text(guard: Guard) -> None:
    assert guards_from_json(guards_as_json([guard])) == (guard,)
    assert parse_guard(str(guard)) == guard


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "errors",
        [{}],
        [{"kind": "errors", "unknown": 1}],
        [{"kind": "errors", "limit": "2"}],
        [{"kind": "magic"}],
        [{"kind": "latency"}],
        [{"kind": "latency", "seconds": -1}],
    ],
)
def test_guards_that_cannot_be_read_are_refused(stored: object) -> None:
    with pytest.raises(InvalidPlanError):
        guards_from_json(stored)


def test_latency_limits_have_the_number_of_their_guard() -> None:
    assert latency_limits([ERRORS, SLOW, CALLED, Guard("latency", seconds=2)]) == {"2": 0.5, "4": 2}
