"""The steps of a rollout plan as text and as JSON."""

from __future__ import annotations

import pytest

from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.steps import (
    DEFAULT_STEPS,
    Step,
    duration_text,
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


def test_default_steps_are_valid() -> None:
    assert valid_steps(DEFAULT_STEPS) == DEFAULT_STEPS


def test_steps_are_stored_as_json() -> None:
    stored = steps_as_json([Step(5, 3600)])
    assert stored == [{"percent": 5, "seconds": 3600}]
    assert steps_from_json(stored) == (Step(5, 3600),)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (3661, "1 h 1 min"), (129_600, "1 d 12 h")],
)
def test_duration_is_written_in_its_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


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
