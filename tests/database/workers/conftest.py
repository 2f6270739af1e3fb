"""A process that serves, and whose waits take no time."""

from collections.abc import Callable

import pytest

from flagstaff._engine import direct
from flagstaff._workers import wait
from tests.support.step_clock import StepClock

SetSteps = Callable[..., None]


@pytest.fixture(autouse=True)
def serving_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is no test runner."""
    monkeypatch.setattr(direct, "is_required", lambda: False)


@pytest.fixture(autouse=True)
def set_steps(monkeypatch: pytest.MonkeyPatch) -> SetSteps:
    """Sets what happens between the queries of the next wait, in order. No time passes."""
    clock = StepClock()
    clock.install(monkeypatch, wait)

    def set_steps(*steps: Callable[[], object]) -> None:
        clock.steps = list(steps)

    return set_steps
