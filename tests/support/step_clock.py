"""A clock for tests that advances only in `sleep`, and runs a step of the test in each."""

from collections.abc import Callable
from types import ModuleType
from typing import final

import pytest


@final
class StepClock:
    """Replaces the clock of a module. Each sleep runs the next step."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self._now = 0.0

    def install(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        """Lets a module sleep and measure time with this clock."""
        monkeypatch.setattr(module, "time", self)
        monkeypatch.setattr(module, "monotonic", self.monotonic)

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        if self.steps:
            self.steps.pop(0)()
