"""A clock for tests that advances only in `sleep`, and runs a step of the test in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

__all__ = ["StepClock"]


@final
class StepClock:
    """Replaces the module `time`. Each sleep runs the next step."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        if self.steps:
            self.steps.pop(0)()
