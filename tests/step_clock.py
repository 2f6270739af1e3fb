"""A clock that goes on when somebody sleeps by it, and something else happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

__all__ = ["StepClock"]


@final
class StepClock:
    """Stands in for the module `time`. With each sleep the next of the steps is taken."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        if self.steps:
            self.steps.pop(0)()
