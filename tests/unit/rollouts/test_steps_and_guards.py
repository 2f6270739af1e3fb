"""The steps and the guards of a rollout plan as text and as JSON."""

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
from flagstaff.rollouts.steps import (
    DEFAULT_STEPS,
    Step,
    parse_step,
    steps_as_json,
    steps_from_json,
    valid_steps,
)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("5:1h", Step(5, 3600)),
        ("5%:90s", Step(5, 90)),
        (" 25 : 1d12h ", Step(25, 129_600)),
        ("50:2w", Step(50, 1_209_600)),
        ("100", Step(100, 0)),
    ],
)
def test_step_is_parsed(text: str, step: Step) -> None:
    assert parse_step(text) == step


@pytest.mark.parametrize(
    "text", ["", "5:", "5:1", "5:1y", "five:1h", "-5:1h", "5:1h!", "\u0665:1h"]
)
def test_text_that_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlanError, match="is not a step; write"):
        parse_step(text)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "has no steps"),
        (["5:1h", "5:1h"], "each step must be higher"),
        (["25:1h", "5:1h"], "each step must be higher"),
        (["0:1h"], "whole number from 1 to 100"),
        (["101:1h"], "whole number from 1 to 100"),
        ([Step(True, 60)], "whole number from 1 to 100"),
        (["5"], "has no time"),
        (["5:1h", "50"], "has no time"),
        (["5:54w"], "at most 365 d"),
        ([Step(5, float("nan"))], "at most 365 d"),
    ],
)
def test_invalid_steps_are_refused(steps: list[Step | str], message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        valid_steps(steps)


def test_last_step_at_all_users_needs_no_time() -> None:
    assert valid_steps(["5:1h", "100"]) == (Step(5, 3600), Step(100, 0))
    assert valid_steps(DEFAULT_STEPS) == DEFAULT_STEPS


def test_steps_are_stored_as_json() -> None:
    stored = steps_as_json([Step(5, 3600)])
    assert stored == [{"percent": 5, "seconds": 3600}]
    assert steps_from_json(stored) == (Step(5, 3600),)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        5,
        "5:1h",
        [],
        [{}],
        [{"percent": "5", "seconds": 60}],
        [{"percent": 5, "seconds": "60"}],
        [{"percent": 5, "seconds": -1}],
        [{"percent": 5, "seconds": float("inf")}],
        [{"percent": 7000, "seconds": 60}],
    ],
)
def test_steps_that_cannot_be_read_are_refused(stored: object) -> None:
    with pytest.raises(InvalidPlanError):
        steps_from_json(stored)


# Guards.

PATH = f"{__name__}.fine"
ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
CALLED = Guard("function", path=PATH)


def fine(plan: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("text", "guard"),
    [
        ("errors", ERRORS),
        ("latency=0.5", SLOW),
        (f"function={PATH}", CALLED),
        ("errors,limit=1.5,tolerated=1.2,action=hold", Guard("errors", 1.5, 1.2, "hold")),
        (" latency = 2 , limit = 3 ", Guard("latency", limit=3, seconds=2)),
    ],
)
def test_guard_is_parsed(text: str, guard: Guard) -> None:
    assert parse_guard(text) == guard


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (text, 'write "errors"')
            for text in ("", "error", "errors=1", "latency", "function", "function=")
        ),
        ("latency=x", "'x' of 'latency=x' is not a number; write a number"),
        ("errors,limit=x", "'x' of 'errors,limit=x' is not a number; write a number"),
        ("errors,tolerated=x", "'x' of 'errors,tolerated=x' is not a number; write a number"),
        ("errors,limits=2", "'limits=2' of 'errors,limits=2' is not an option"),
    ],
)
def test_text_that_is_no_guard_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidPlanError, match=problem):
        parse_guard(text)


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
        (
            f"function={__name__}.missing",
            "cannot be imported: ImportError",
        ),
        ("function=nowhere", "cannot be imported: ImportError"),
        (f"function={__name__}.PATH", "is not a function"),
    ],
)
def test_invalid_guard_is_refused(guard: Guard | str, message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        valid_guards([guard])


def test_guard_that_is_given_twice_is_refused_unless_its_time_is_another() -> None:
    with pytest.raises(InvalidPlanError, match="is given twice; remove one"):
        valid_guards(["errors", "errors,limit=3"])
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
