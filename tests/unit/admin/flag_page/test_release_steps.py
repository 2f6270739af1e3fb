"""The course of a rollout from entries of the history, and the lines and columns of the picture."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as zones

import pytest

from flagstaff._engine.usage import HourlyUsage
from flagstaff.admin.flag.page.release_chart import columns_of, line_of
from flagstaff.admin.flag.page.release_data import (
    Count,
    State,
    Step,
    counts_of,
    rollout_of,
    steps_of,
)
from flagstaff.admin.flag.page.release_period import Period
from flagstaff.admin.svg import path

START = datetime(2026, 11, 25, tzinfo=zones.utc)
PERIOD = Period(
    "24h",
    tuple(START + timedelta(hours=number) for number in range(10)),
    end=START + timedelta(hours=10),
    present=START + timedelta(hours=9),
)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("enabled", "percent", "rollout"),
    [
        ("true", "25", 25),
        ("false", "25", 0),
        ("true", "900", 100),
        ("true", None, None),
        ("true", "²", None),
        ("true", "2.5", None),
        (None, "25", None),
        ("maybe", "25", None),
    ],
)
def test_rollout_of_a_row_is_a_percentage_or_unknown(
    enabled: str | None, percent: str | None, rollout: int | None
) -> None:
    assert rollout_of(enabled, percent) == rollout


def test_state_before_the_period_is_the_first_step() -> None:
    states = [State(at(-50), 0, 5), State(at(2), 5, 25)]
    assert steps_of(states, PERIOD, now=25) == (Step(at(0), 5), Step(at(2), 25))


def test_history_that_begins_in_the_period_is_unknown_before() -> None:
    steps = steps_of([State(at(2), 5, 25)], PERIOD, now=25)
    assert steps == (Step(at(0), 5, is_known=False), Step(at(2), 25))


def test_flag_created_in_the_period_has_no_rollout_before() -> None:
    steps = steps_of([State(at(2), None, 25, is_creation=True)], PERIOD, now=25)
    assert steps == (Step(at(0), None), Step(at(2), 25))


def test_flag_without_entries_has_its_present_rollout() -> None:
    assert steps_of([], PERIOD, now=40) == (Step(at(0), 40, is_known=False),)


def test_entry_that_leaves_the_rollout_as_it_was_is_no_step() -> None:
    states = [State(at(-1), 0, 5), State(at(2), 5, 5), State(at(3), 5, 10)]
    assert steps_of(states, PERIOD, now=10) == (Step(at(0), 5), Step(at(3), 10))


def test_times_of_steps_follow_the_order_of_the_entries_until_the_present() -> None:
    states = [State(at(-1), 0, 1), State(at(5), 1, 2), State(at(4), 2, 3), State(at(99), 3, 4)]
    steps = steps_of(states, PERIOD, now=4)
    assert [step.at for step in steps] == [at(0), at(5), at(5), at(9)]


def drawn(*steps: Step, is_known: bool = True) -> str:
    return path("course", line_of(steps, PERIOD, is_known=is_known)).split('d="')[1].split('"')[0]


def test_line_goes_up_at_a_step_and_ends_at_the_present() -> None:
    assert drawn(Step(at(0), 0), Step(at(5), 50)) == "M0 80V80H500V40H900"


def test_line_starts_at_the_creation_and_has_a_gap_while_the_flag_was_deleted() -> None:
    line = drawn(Step(at(0), None), Step(at(1), 100), Step(at(2), None), Step(at(3), 50))
    assert line == "M100 0V0H200M300 40V40H900"


def test_unknown_part_is_a_line_of_its_own_that_the_known_one_begins_at() -> None:
    steps = Step(at(0), 0, is_known=False), Step(at(5), 50)
    assert drawn(*steps, is_known=False) == "M0 80V80H500"
    assert drawn(*steps) == "M500 80V40H900"


def test_few_columns_have_a_space_and_many_have_none() -> None:
    few = "".join(map(str, columns_of([0.5, 0.0], [0.0, 0.5, 1.0])))
    assert few == "('M', 0, 56)('H', 50.0)('V', 28.0)('H', 450.0)('V', 56)"
    edges = [number / 50 for number in range(51)]
    many = [command for command in columns_of([1.0] * 50, edges) if command[0] == "H"]
    assert many[:3] == [("H", 0.0), ("H", 20.0), ("H", 20.0)]


def test_hours_are_added_to_days_and_those_of_a_clock_ahead_to_the_present_one() -> None:
    days = Period("30d", (at(0), at(24)), end=at(48), present=at(30))
    hours = [
        HourlyUsage(at(hour), "a", result, count, at(hour))
        for hour in (-1, 0, 23.5, 24, 47, 50)
        for result, count in (("true", 1), ("false", 10))
    ]
    assert counts_of(hours, days) == (Count(2, 20), Count(3, 30))
