"""The workers of a simulated site: failing clients retry, and what is counted arrives late."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from tools.simulation.users import GUARD_BITS, Failure, Minute

__all__ = ["Stored"]

_WORKERS = 8
_FLUSH_SECONDS = 5.0
_MINUTE = 60
# Every second client retries, on any worker, after 4 s on average, and fails again in 60 %.
_AGAIN = 0.6
# The bit of a user whose client retries.
_RETRYING = 16
_RETRY_SECONDS = 4.0


class Stored:
    """What the database knows in one step: each user once, from the first flush with the user."""

    def __init__(self, source: np.random.Generator) -> None:
        """Draws the offset of each worker's flushes."""
        self._source = source
        self._offsets = [source.random() * _FLUSH_SECONDS for _ in range(_WORKERS)]
        # The mean part of a minute after the last flush.
        waits = [(_MINUTE - offset) % _FLUSH_SECONDS for offset in self._offsets]
        self._late = sum(waits) / _WORKERS / _MINUTE
        self._waiting_users = [0, 0]
        self._waiting: list[Failure] = []
        # By side and minute of arrival.
        self._retries: Counter[tuple[int, int]] = Counter()
        #: Outside and inside: users seen, requests, and per guard the users who failed.
        self.users = [0, 0]
        self.requests = [0, 0]
        self.failed: list[tuple[set[int], set[int]]] = [(set(), set()) for _ in GUARD_BITS]

    def add(self, at: int, minute: Minute) -> None:
        """Stores what the workers flush in the minute `at`, also of the minute before."""
        waiting, self._waiting = self._waiting, []
        for failure in waiting:
            self._fail(failure)
        for side in (0, 1):
            late = int(self._source.binomial(minute.new_users[side], self._late))
            self.users[side] += self._waiting_users[side] + minute.new_users[side] - late
            self._waiting_users[side] = late
        for failure in minute.failures:
            if self._first_flush(at, failure) <= (at + 1) * _MINUTE:
                self._fail(failure)
            else:
                self._waiting.append(failure)
        for side in (0, 1):
            self.requests[side] += minute.requests[side] + self._retries.pop((side, at), 0)

    def _first_flush(self, at: int, failure: Failure) -> float:
        """Returns when the first failing request of a user arrives, and counts the retries."""
        source, now = self._source, (at + self._source.random()) * _MINUTE
        first = self._flush(now)
        while failure.user & _RETRYING and source.random() < _AGAIN:
            now += source.exponential(_RETRY_SECONDS)
            flushed = self._flush(now)
            first = min(first, flushed)
            self._retries[failure.inside, max(math.ceil(flushed / _MINUTE) - 1, 0)] += 1
        return first

    def _flush(self, now: float) -> float:
        """Returns the next flush of the worker that happens to answer."""
        offset = self._offsets[int(self._source.random() * _WORKERS)]
        return offset + math.ceil((now - offset) / _FLUSH_SECONDS) * _FLUSH_SECONDS

    def _fail(self, failure: Failure) -> None:
        for bit, failed in zip(GUARD_BITS, self.failed, strict=True):
            if failure.kind & bit:
                failed[failure.inside].add(failure.user)
