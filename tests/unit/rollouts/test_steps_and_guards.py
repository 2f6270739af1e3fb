"""The steps and the guards of a rollout plan as texts."""

import pytest

from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.steps_and_guards import (
    Guard,
    Step,
    defaults_for,
    latency_limits,
    parse_guard,
    parse_guards,
    parse_step,
    parse_steps,
    require_functions,
)
from tests.support.guards import ORDERS_FINE


@pytest.mark.parametrize(
    ("text", "step", "stored"),
    [
        ("5:1h", Step(5, 3600), "5:1h"),
        ("5%:90s", Step(5, 90), "5:1m30s"),
        (" 25 : 1d12h ", Step(25, 129_600), "25:1d12h"),
        ("50:2w", Step(50, 1_209_600), "50:2w"),
        ("100", Step(100, 0), "100"),
    ],
)
def test_step_survives_being_stored_as_text(text: str, step: Step, stored: str) -> None:
    assert parse_step(text) == step
    assert (str(step), parse_step(stored)) == (stored, step)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        *(
            ([text], "is not a step; write a percentage from 1 to 100")
            for text in ("", "5:", "5:1", "5:1y", "0:1h", "101:1h", "-5:1h", "5:1h!", "\u0665:1h")
        ),
        ([], "has no steps"),
        (["5:1h", "5:1h"], "each step must be higher"),
        (["25:1h", "5:1h"], "each step must be higher"),
        (["5"], "has no time"),
        (["5:1h", "50"], "has no time"),
        (["5:54w"], "at most 365 d"),
    ],
)
def test_invalid_steps_are_refused(steps: list[str], message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        parse_steps(steps)


def test_last_step_at_all_users_needs_no_time() -> None:
    assert parse_steps(["5:1h", "100"]) == (Step(5, 3600), Step(100, 0))


@pytest.mark.parametrize(
    ("users", "first", "required"),
    [
        *((None, "5:1d", 100), (30_000, "1:1d", 100), (29_999, "5:1d", 100)),
        *((2_000, "5:1d", 100), (1_999, "25:1d", 100), (400, "25:1d", 100), (399, "25:1d", 50)),
    ],
)
def test_defaults_follow_the_users_of_a_day(users: float | None, first: str, required: int) -> None:
    defaults = defaults_for(users)
    assert (str(defaults.steps[0]), defaults.required_users) == (first, required)


ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
CALLED = Guard("function", path=ORDERS_FINE)


@pytest.mark.parametrize(
    ("text", "guard", "stored"),
    [
        ("errors", ERRORS, "errors,limit=2,action=rollback"),
        ("errors,limit=1.5,action=hold", Guard("errors", 1.5, "hold"), None),
        ("latency=0.5", SLOW, "latency=0.5,limit=2,action=rollback"),
        (" latency = 2 , limit = 3 ", Guard("latency", 3, seconds=2), None),
        ("latency=0.1234567", Guard("latency", seconds=0.1234567), None),
        (f"function={ORDERS_FINE}", CALLED, f"function={ORDERS_FINE},action=rollback"),
    ],
)
def test_guard_survives_being_stored_as_text(text: str, guard: Guard, stored: str | None) -> None:
    assert parse_guard(text) == guard
    assert parse_guard(str(guard)) == guard
    assert stored in {None, str(guard)}


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        *(
            (text, 'is not a guard; write "errors"')
            for text in ("", "error", "errors=1", "latency", "function", "function=")
        ),
        ("errors,limits=2", "'limits=2' of 'errors,limits=2' is not an option"),
        ("errors,action=page", "write limit=2, action=rollback or action=hold"),
        *((f"errors,limit={limit}", "above 1 and up to 1,000") for limit in ("x", "1", "nan")),
        *((f"latency={time}", "above 0 and up to 3,600") for time in ("x", "0", "inf", "nan")),
        (f"function={__name__}.missing", "cannot be imported: ImportError"),
        ("function=nowhere", "cannot be imported: ImportError"),
        (f"function={__name__}.ORDERS_FINE", "is not a function"),
    ],
)
def test_invalid_guard_is_refused(guard: str, message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        require_functions(parse_guards([guard]))


def test_guard_that_is_given_twice_is_refused_unless_its_time_is_another() -> None:
    with pytest.raises(InvalidPlanError, match="is given twice; remove one"):
        parse_guards(["errors", "errors,limit=3"])
    assert len(parse_guards(["latency=0.5", "latency=1"])) == 2


def test_latency_limits_have_the_number_of_their_guard() -> None:
    assert latency_limits([ERRORS, SLOW, CALLED, Guard("latency", seconds=2)]) == {"2": 0.5, "4": 2}
