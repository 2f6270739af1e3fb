"""A process that serves, and whose waits take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flagstaff._engine import direct
from flagstaff._workers import tracker, wait
from tests.support.sql import rows
from tests.support.step_clock import StepClock

SetSteps = Callable[..., None]


@pytest.fixture(autouse=True)
def serving_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process is no test runner, and has not waited before."""
    monkeypatch.setattr(direct, "is_required", lambda: False)
    monkeypatch.setattr(tracker, "_remembered", {})
    yield
    # The flush between tests does not know this table.
    rows("DELETE FROM flagstaff_report")


@pytest.fixture(autouse=True)
def set_steps(monkeypatch: pytest.MonkeyPatch) -> SetSteps:
    """Sets what happens between the queries of the next wait, in order. No time passes."""
    clock = StepClock()
    clock.install(monkeypatch, wait)

    def set_steps(*steps: Callable[[], object]) -> None:
        clock.steps = list(steps)

    return set_steps
