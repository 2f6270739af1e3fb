"""Events in the order of their times, and servers whose cores work through a queue."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count

__all__ = ["Events", "Station"]

Action = Callable[[], None]
#: Less work than this is done: a float is not exact.
_NOTHING = 1e-12


class Events:
    """A clock, and what happens at which time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()

    def at(self, time: float, action: Action) -> None:
        """Runs the action at a time that is not over. Those of one time run in this order."""
        heapq.heappush(self._heap, (time, next(self._order), action))

    def after(self, delay: float, action: Action) -> None:
        """Runs the action after a delay."""
        self.at(self.now + delay, action)

    def run(self, until: float) -> None:
        """Runs all actions until this time."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = until


class Station:
    """Cores that share one queue. `turn` is the time after which a job goes to its end."""

    def __init__(self, events: Events, cores: int, turn: float = math.inf) -> None:
        self._events = events
        self._free = cores
        self._turn = turn
        self._queue: deque[tuple[float, Action]] = deque()
        #: Seconds of CPU time of all cores.
        self.busy = 0.0

    def submit(self, work: float, done: Action) -> None:
        """Adds a job with so many seconds of work."""
        self._queue.append((work, done))
        self._begin()

    def _begin(self) -> None:
        while self._free and self._queue:
            work, done = self._queue.popleft()
            self._free -= 1
            part = min(work, self._turn)
            self.busy += part
            self._events.after(part, lambda left=work - part, done=done: self._end(left, done))  # type: ignore[misc]

    def _end(self, left: float, done: Action) -> None:
        self._free += 1
        if left > _NOTHING:
            self._queue.append((left, done))
        else:
            done()
        self._begin()
