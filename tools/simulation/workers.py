"""The workers of a simulated site: failing clients retry, and what is counted arrives late."""

from __future__ import annotations

import math
import random
from collections import Counter

from tools.simulation.sampling import binomial
from tools.simulation.users import ERROR, GUARD_BITS, Failure, Minute

__all__ = ["MEAN_RETRIES", "Stored"]

_WORKERS = 8
_FLUSH_SECONDS = 5.0
_MINUTE = 60
# Every second client retries, on any worker, after 4 s on average, and fails again in 60 %.
_AGAIN = 0.6
# The bit of a user whose client retries.
_RETRYING = 16
_RETRY_SECONDS = 4.0
#: The mean number of failing retries after a failing request.
MEAN_RETRIES = 0.5 * _AGAIN / (1 - _AGAIN)


class Stored:
    """What the database knows in one step: each user once, from the first flush with the user."""

    def __init__(self, source: random.Random) -> None:
        """Draws the offset of each worker's flushes."""
        self._source = source
        self._offsets = [source.random() * _FLUSH_SECONDS for _ in range(_WORKERS)]
        # The mean part of a minute after the last flush.
        waits = [(_MINUTE - offset) % _FLUSH_SECONDS for offset in self._offsets]
        self._late = sum(waits) / _WORKERS / _MINUTE
        self._waiting_users = [0, 0]
        self._waiting: list[Failure] = []
        # By side and minute of arrival.
        self._errors: Counter[tuple[int, int]] = Counter()
        self._retries: Counter[tuple[int, int]] = Counter()
        #: Outside and inside: users seen, requests, and per guard the users who failed.
        self.users = [0, 0]
        self.requests = [0, 0]
        self.failed: list[tuple[set[int], set[int]]] = [(set(), set()) for _ in GUARD_BITS]
        #: By minute, the requests and their errors inside.
        self.inside: list[tuple[int, int]] = []

    def add(self, at: int, minute: Minute) -> None:
        """Stores what the workers flush in the minute `at`, also of the minute before."""
        waiting, self._waiting = self._waiting, []
        for failure in waiting:
            self._fail(failure)
        for side in (0, 1):
            late = binomial(self._source, minute.new_users[side], self._late)
            self.users[side] += self._waiting_users[side] + minute.new_users[side] - late
            self._waiting_users[side] = late
        for failure in minute.failures:
            if self._first_flush(at, failure) <= (at + 1) * _MINUTE:
                self._fail(failure)
            else:
                self._waiting.append(failure)
        retries = [self._retries.pop((side, at), 0) for side in (0, 1)]
        for side in (0, 1):
            self.requests[side] += minute.requests[side] + retries[side]
        self.inside.append((minute.requests[1] + retries[1], self._errors.pop((1, at), 0)))

    def _first_flush(self, at: int, failure: Failure) -> float:
        """Returns when the first failing request of a user arrives, and counts all of them."""
        source, now = self._source, (at + self._source.random()) * _MINUTE
        first = self._flush(now)
        self._count(failure, first)
        while failure.user & _RETRYING and source.random() < _AGAIN:
            now += source.expovariate(1 / _RETRY_SECONDS)
            flushed = self._flush(now)
            first = min(first, flushed)
            self._count(failure, flushed)
            self._retries[failure.inside, self._minute_of(flushed)] += 1
        return first

    def _flush(self, now: float) -> float:
        """Returns the next flush of the worker that happens to answer."""
        offset = self._offsets[int(self._source.random() * _WORKERS)]
        return offset + math.ceil((now - offset) / _FLUSH_SECONDS) * _FLUSH_SECONDS

    def _count(self, failure: Failure, flushed: float) -> None:
        if failure.kind & ERROR:
            self._errors[failure.inside, self._minute_of(flushed)] += 1

    def _minute_of(self, flushed: float) -> int:
        return max(math.ceil(flushed / _MINUTE) - 1, 0)

    def _fail(self, failure: Failure) -> None:
        for bit, failed in zip(GUARD_BITS, self.failed, strict=True):
            if failure.kind & bit:
                failed[failure.inside].add(failure.user)
