"""The users of a simulated site: how active they are, who is inside, and whose requests fail.

Requests of a user are a Poisson process, whose failing requests are a Poisson process too. Users
of a class are alike, so it is exact to draw the number of failing requests of a class in a minute
and then a user for each, and to draw how many users of a class are seen for the first time. Only
the user of a failing request that would not have been seen yet is chosen among the new ones.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import NamedTuple

from tools.simulation.sampling import binomial, poisson

__all__ = [
    "CLASSES",
    "ERROR",
    "GUARD_BITS",
    "MOST_FAILING",
    "Failure",
    "Minute",
    "Site",
    "Users",
    "swing",
]

#: (share of users, requests an hour, how many times as often their requests fail). Heavy-tailed:
#: 1 % of the users make a third of the requests. The last two are broken clients.
CLASSES = (
    (0.500, 0.1, 1.0),
    (0.250, 0.3, 1.0),
    (0.122, 0.8, 1.0),
    (0.060, 2.0, 1.0),
    (0.040, 5.0, 1.0),
    (0.020, 15.0, 1.0),
    (0.004, 60.0, 1.0),
    (0.001, 200.0, 1.0),
    (0.002, 1.0, 30.0),
    (0.001, 20.0, 30.0),
)
#: The bits of a failure: an error, slower than the first limit, slower than the second.
ERROR, SLOW, SLOWER = 1, 2, 4
GUARD_BITS = (ERROR, SLOW, SLOWER)
# Three in ten errors are timeouts, which are slow too; all requests over the second limit are over
# the first. So the guards are correlated.
_KINDS = (ERROR, ERROR | SLOW | SLOWER, SLOW, SLOW | SLOWER)
_TIMEOUTS = 0.3
#: The share of requests that fail is at most this, whoever sends them.
MOST_FAILING = 0.6
_MINUTES = 60
_DAY = 24 * 60
_SWING = 0.6
_CLASS_BITS = 4


@dataclass(frozen=True)
class Site:
    """The traffic of a site without harm."""

    users_per_hour: float
    #: Shares of the requests.
    errors: float
    slow: float = 0.01
    slower: float = 0.003


class Failure(NamedTuple):
    """A failing request, as the first of a user's retries."""

    inside: int
    user: int
    kind: int


class Minute(NamedTuple):
    """What happens in a minute; pairs are outside and inside."""

    new_users: tuple[int, int]
    requests: tuple[int, int]
    failures: list[Failure]


def swing(phase: float, at: int) -> float:
    """Returns the traffic of a minute as a part of the mean of a day."""
    return 1 + _SWING * math.sin(phase + 2 * math.pi * at / _DAY)


class Users:
    """All users of a site in one simulated plan."""

    def __init__(self, source: random.Random, site: Site, harm: float = 1.0) -> None:
        """Draws the time of day. Inside, errors are `harm` times as frequent."""
        self._source, self._site, self._harm = source, site, harm
        seen_in_an_hour = sum(share * -math.expm1(-rate) for share, rate, _ in CLASSES)
        pool = site.users_per_hour / seen_in_an_hour
        self._all = [round(pool * share) for share, _, _ in CLASSES]
        self._sizes = [[*self._all], [0] * len(CLASSES)]
        self._seen = [[0] * len(CLASSES), [0] * len(CLASSES)]
        self._cells: list[list[float]] = [[], []]
        self._percent = 0
        self._phase = source.random() * 2 * math.pi

    def begin_step(self, percent: int) -> None:
        """Moves users inside, who stay inside, and forgets who has been seen."""
        moving = (percent - self._percent) / (100 - self._percent)
        for kind, outside in enumerate(self._sizes[0]):
            moved = binomial(self._source, outside, moving)
            self._sizes[0][kind] -= moved
            self._sizes[1][kind] += moved
        self._percent = percent
        self._seen = [[0] * len(CLASSES), [0] * len(CLASSES)]
        self._cells = [
            [*itertools.accumulate(self._failing(side, self._harm if side else 1.0))]
            for side in (0, 1)
        ]

    def usual_error_share(self, retries: float) -> float:
        """Returns the share of requests with an error without harm; retries fail as well."""
        users = [size * rate for size, (_, rate, _) in zip(self._all, CLASSES, strict=True)]
        errors = sum(
            many * min(self._site.errors * often, MOST_FAILING)
            for many, (_, _, often) in zip(users, CLASSES, strict=True)
        )
        return errors * (1 + retries) / (sum(users) + errors * retries)

    def minute(self, at: int) -> Minute:
        """Returns the events of the minute."""
        hours = swing(self._phase, at) / _MINUTES
        failures: list[Failure] = []
        new, requests = [0, 0], [0, 0]
        for side in (0, 1):
            before = [*self._seen[side]]
            self._see(side, hours)
            failures += self._failures(side, hours, before)
            new[side] = sum(self._seen[side]) - sum(before)
            mean = sum(
                size * rate for size, (_, rate, _) in zip(self._sizes[side], CLASSES, strict=True)
            )
            requests[side] = poisson(self._source, mean * hours)
        return Minute((new[0], new[1]), (requests[0], requests[1]), failures)

    def _failing(self, side: int, harm: float) -> list[float]:
        """Returns failing requests an hour, by class and kind of failure."""
        site = self._site
        shares = (
            site.errors * (1 - _TIMEOUTS) * harm,
            site.errors * _TIMEOUTS * harm,
            site.slow - site.slower,
            site.slower,
        )
        return [
            size * rate * min(share * often, MOST_FAILING)
            for size, (_, rate, often) in zip(self._sizes[side], CLASSES, strict=True)
            for share in shares
        ]

    def _see(self, side: int, hours: float) -> None:
        seen = self._seen[side]
        for kind, (_, rate, _) in enumerate(CLASSES):
            unseen = self._sizes[side][kind] - seen[kind]
            if unseen:
                seen[kind] += binomial(self._source, unseen, -math.expm1(-rate * hours))

    def _failures(self, side: int, hours: float, before: list[int]) -> list[Failure]:
        cells, source = self._cells[side], self._source
        number = poisson(source, cells[-1] * hours)
        if not number:
            return []
        found = []
        for cell in source.choices(range(len(cells)), cum_weights=cells, k=number):
            group, kind = divmod(cell, len(_KINDS))
            seen = self._seen[side]
            user = int(source.random() * self._sizes[side][group])
            if user >= seen[group]:
                user = before[group] + int(source.random() * (seen[group] - before[group]))
                seen[group] = max(seen[group], user + 1)
            found.append(Failure(side, user << _CLASS_BITS | group, _KINDS[kind]))
        return found
