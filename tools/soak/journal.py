"""When what was made to go wrong, so that what was seen can be judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.soak.project import POLL_INTERVAL

# What a worker is given to be up to date again: the longest poll, and five seconds.
GRACE = POLL_INTERVAL * 1.1 + 5


class Period:
    """Stretches of time, of which the last may still go on."""

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Note that it goes on while the block runs."""
        self._stretches.append((time.monotonic(), float("inf")))
        try:
            yield
        finally:
            self._stretches[-1] = (self._stretches[-1][0], time.monotonic())

    def covers(self, moment: float, grace: float = 0) -> bool:
        """Whether the moment is in a stretch, or so soon after it."""
        return any(begin <= moment <= end + grace for begin, end in reversed(self._stretches))

    def has_turned(self, moment: float) -> bool:
        """Whether it has begun or ended so shortly before that nobody need have noticed."""
        edges = [edge for stretch in self._stretches for edge in stretch]
        return any(0 <= moment - edge <= GRACE for edge in edges)

    def last_end(self, moment: float) -> float:
        """When the last stretch before the moment ended."""
        return max((end for _, end in self._stretches if end <= moment), default=float("-inf"))


class StatusLog:
    """What went wrong, by kind."""

    def __init__(self) -> None:
        #: The data cannot be reached, or cannot be read.
        self.outage = Period()
        #: Changes leave no tokens, so that tables may be loaded at different moments.
        self.untold = Period()
        #: The database goes back to what it was.
        self.rewound = Period()
