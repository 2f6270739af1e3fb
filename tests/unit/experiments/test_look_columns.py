"""Which looks the JSON of a report has."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from flagstaff.experiments.look_columns import as_columns

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
ARM = SimpleNamespace(value=1.0, standard_error=0.1)


def look(hour: int) -> Any:
    """A look: of each ten, that of hour 3 is the most certain, that of hour 6 the most harmful."""
    return SimpleNamespace(
        at=START + timedelta(hours=hour),
        units=hour,
        control=ARM,
        treatment=ARM,
        difference=SimpleNamespace(is_enough=True),
        p_value=0.01 if hour % 10 == 3 else 0.5,
        harm_bound=0.1 if hour % 10 == 6 else 0.0,
    )


@pytest.mark.parametrize(
    ("count", "is_guardrail", "kept"),
    [
        (0, True, []),
        (48, True, list(range(48))),
        (480, False, [hour for hour in range(480) if hour % 10 in {3, 9}]),
        (480, True, [hour for hour in range(480) if hour % 10 in {3, 6, 9}]),
        (475, False, [hour for hour in range(475) if hour % 10 in {3, 9}] + [474]),
    ],
)
def test_long_experiment_keeps_the_last_look_of_each_period_and_those_that_can_decide(
    count: int, is_guardrail: bool, kept: list[int]
) -> None:
    columns = as_columns([look(hour) for hour in range(count)], is_guardrail=is_guardrail)
    assert columns.units == kept
    assert columns.count == count
