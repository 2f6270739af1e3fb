"""The users of a simulated site: how active they are, who is inside, and whose requests fail.

Requests of a user are a Poisson process, whose failing requests are a Poisson process too. Users
of a class are alike, so it is exact to draw the number of failing requests of a class in a minute
and then a user for each, and to draw how many users of a class are seen for the first time. Only
the user of a failing request that would not have been seen yet is chosen among the new ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ERROR",
    "GUARD_BITS",
    "MOST_FAILING",
    "OFTEN",
    "RATES",
    "SHARES",
    "Failure",
    "Minute",
    "Site",
    "Users",
    "swing",
]

# (share of users, requests an hour, how many times as often their requests fail). Heavy-tailed:
# 1 % of the users make a third of the requests. The last two are broken clients.
_CLASSES = (
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
SHARES, RATES, OFTEN = np.array(_CLASSES).T
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
    """All users of a site in one simulated plan. Rows of its arrays are outside and inside."""

    def __init__(self, source: np.random.Generator, site: Site, harm: float = 1.0) -> None:
        """Draws the time of day. Inside, errors are `harm` times as frequent."""
        self._source = source
        seen_in_an_hour = (SHARES * -np.expm1(-RATES)).sum()
        everyone = np.rint(site.users_per_hour / seen_in_an_hour * SHARES).astype(np.int64)
        self._sizes = np.array([everyone, np.zeros_like(everyone)])
        self._seen = np.zeros_like(self._sizes)
        self._shares = np.array([_failing_shares(site, 1.0), _failing_shares(site, harm)])
        self._percent = 0
        self._phase = source.random() * 2 * math.pi

    def begin_step(self, percent: int) -> None:
        """Moves users inside, who stay inside, and forgets who has been seen."""
        moving = (percent - self._percent) / (100 - self._percent)
        moved = self._source.binomial(self._sizes[0], moving)
        self._sizes += [-moved, moved]
        self._percent = percent
        self._seen[:] = 0

    def minute(self, at: int) -> Minute:
        """Returns the events of the minute."""
        source, hours = self._source, swing(self._phase, at) / _MINUTES
        before = self._seen.copy()
        self._seen += source.binomial(self._sizes - before, -np.expm1(-RATES * hours))
        requests = self._sizes * RATES * hours
        failing = source.poisson(requests[:, :, np.newaxis] * self._shares)
        failures = [
            Failure(side, self._user(side, group, before) << _CLASS_BITS | group, _KINDS[kind])
            for side, group, kind in np.argwhere(failing).tolist()
            for _ in range(failing[side, group, kind])
        ]
        new_outside, new_inside = (self._seen - before).sum(axis=1).tolist()
        outside, inside = source.poisson(requests.sum(axis=1)).tolist()
        return Minute((new_outside, new_inside), (outside, inside), failures)

    def _user(self, side: int, group: int, before: npt.NDArray[np.int64]) -> int:
        """Returns a user of a failing request, whom the site has seen then."""
        seen, known = int(self._seen[side, group]), int(before[side, group])
        user = int(self._source.random() * self._sizes[side, group])
        if user >= seen:
            user = known + int(self._source.random() * (seen - known))
            self._seen[side, group] = max(seen, user + 1)
        return user


def _failing_shares(site: Site, harm: float) -> npt.NDArray[np.float64]:
    """Returns the shares of failing requests, by class and kind of failure."""
    timeouts, others = site.errors * _TIMEOUTS * harm, site.errors * (1 - _TIMEOUTS) * harm
    kinds = np.array([others, timeouts, site.slow - site.slower, site.slower])
    shares: npt.NDArray[np.float64] = np.minimum(OFTEN[:, np.newaxis] * kinds, MOST_FAILING)
    return shares
