"""When each fault was active, to judge the results of that time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.soak.project import POLL_INTERVAL

# Seconds that a worker has to catch up: the longest poll interval, and five seconds.
GRACE = POLL_INTERVAL * 1.1 + 5


class Periods:
    """Periods of time; the last may still be open."""

    def __init__(self) -> None:
        self._periods: list[tuple[float, float]] = []

    @contextmanager
    def record(self) -> Iterator[None]:
        """Records the duration of the block."""
        self._periods.append((time.monotonic(), float("inf")))
        try:
            yield
        finally:
            self._periods[-1] = (self._periods[-1][0], time.monotonic())

    def covers(self, at: float, grace: float = 0) -> bool:
        """Returns True if the time is in a period, or at most `grace` seconds after it."""
        return any(begin <= at <= end + grace for begin, end in reversed(self._periods))

    def has_changed(self, at: float) -> bool:
        """Returns True if a period started or ended too recently for workers to notice."""
        edges = [edge for period in self._periods for edge in period]
        return any(0 <= at - edge <= GRACE for edge in edges)

    def last_end(self, at: float) -> float:
        """Returns the end of the last period before this time."""
        return max((end for _, end in self._periods if end <= at), default=float("-inf"))


class FaultLog:
    """The times of faults, by kind."""

    def __init__(self) -> None:
        #: The database cannot be reached or read.
        self.outage = Periods()
        #: Changes write no tokens, so tables may be loaded at different times.
        self.without_tokens = Periods()
        #: The database is restored to an earlier state.
        self.rewound = Periods()
