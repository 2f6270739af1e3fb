"""Plans whose users share networks, and an attacker with two networks, in `make sim`.

The first users of a network count in each worker, and one failing user of a network counts. So a
plan without harm may trip in at most 5 %, whether 1 % or 90 % of the users are in one network, also
if all users of that network fail together. An attacker has one IPv4 and one IPv6 network, only
cookies inside, and failing requests all the time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from flagstaff.rollouts.statistics import CARDINALITY_ERROR, share_error
from flagstaff.rollouts.steps_and_guards import (
    SPARE_NETWORKS,
    Guard,
    GuardCounts,
    Step,
    StepEvidence,
)
from flagstaff.rollouts.verdict import judge
from tools.simulation.sampling import run_all, share_bound

__all__ = ["SITES", "Site", "run", "trips"]

_PERCENTS = (1, 5, 25, 50)
_STEPS = [Step(percent, 3600) for percent in (*_PERCENTS, 100)]
_WORKERS, _USERS_PER_NETWORK = 4, 4
_LOOKS = 60
# The networks of the attacker; the large one of the site is 0, and the others are below.
_ATTACKERS = (1, 2)
_COOKIES = 200
_MOST_FALSE_TRIPS, _LEAST_FOUND = 0.05, 0.95
# Plans of each site; a tenth with an attacker.
_PLANS = 1000


@dataclass(frozen=True)
class Site:
    """The users of a site, and what happens to them."""

    #: The share of the users who are in one network.
    in_one: float
    users: int = 2_000
    #: The share of requests that fail, and how many times as many do inside.
    errors: float = 0.03
    harm: float = 1.0
    #: All users of the one network fail from some time on, in each step.
    has_outage: bool = False
    has_attacker: bool = False
    #: Whether the number of users per network is limited.
    is_limited: bool = True
    #: The percentages of the steps that are simulated.
    percents: tuple[int, ...] = _PERCENTS


SITES = {
    "1 % in one network": Site(0.01),
    "90 % in one network": Site(0.9),
    "90 % in one network, few failures": Site(0.9, errors=0.003),
    "30 % in one network that fails": Site(0.3, has_outage=True),
    **{
        f"attacker at {percent} %, {text}": replace(site, has_attacker=True, percents=(percent,))
        for percent, users in ((1, 20_000), (5, 4_000), (25, 1_000))
        for text, site in (
            ("no harm", Site(0.01, users)),
            ("5 times", Site(0.01, users, harm=5.0)),
            ("no harm, unlimited", Site(0.01, users, is_limited=False)),
        )
    },
}


@dataclass
class _Counted:
    """What the workers and the database know of one step."""

    is_limited: bool
    #: Users by worker and network.
    arrived: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    users: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    failed: dict[int, bool] = field(default_factory=dict)
    slots: set[int] = field(default_factory=set)

    def add(self, user: int, network: int, worker: int, *, inside: bool, fails: bool) -> None:
        if self.is_limited:
            arrived = self.arrived.setdefault((worker, network), set())
            if user not in arrived and len(arrived) >= _USERS_PER_NETWORK:
                return
            arrived.add(user)
        self.users[inside].add(user)
        if not fails or user in self.failed or (self.is_limited and network in self.slots):
            return
        self.slots.add(network)
        self.failed[user] = inside

    def evidence(self, errors: tuple[float, float]) -> StepEvidence:
        outside, inside = (
            len(users) * (1 + CARDINALITY_ERROR * error)
            for users, error in zip(self.users, errors, strict=True)
        )
        failed = sum(self.failed.values())
        counts = {0: GuardCounts(failed, len(self.failed) - failed)}
        spare = SPARE_NETWORKS if self.is_limited else 0
        error = share_error(inside, outside)
        return StepEvidence(inside, outside, error, counts, (1, 1), spare=spare)


def trips(site: Site, seed: str) -> bool:
    """Returns whether a plan trips."""
    source = random.Random(seed)  # noqa: S311 (a simulation)
    order = [source.random() for _ in range(site.users)]
    networks = [
        0 if source.random() < site.in_one else 10 + source.randrange(site.users)
        for _ in range(site.users)
    ]
    # Heavy-tailed: some users make most of the requests.
    rates = [source.choice((0.3, 0.5, 1, 2, 8)) for _ in range(site.users)]
    return any(
        _step_trips(site, source, index, order, networks, rates)
        for index, percent in enumerate(_PERCENTS)
        if percent in site.percents
    )


def _step_trips(  # noqa: PLR0913, PLR0917 (all that a step is made of)
    site: Site,
    source: random.Random,
    index: int,
    order: list[float],
    networks: list[int],
    rates: list[float],
) -> bool:
    share = _PERCENTS[index] / 100
    counted = _Counted(site.is_limited)
    errors = source.gauss(0, 1), source.gauss(0, 1)
    outage = source.random() * _LOOKS if site.has_outage else _LOOKS
    per_look = sum(rates) / _LOOKS
    for look in range(_LOOKS):
        for user in source.choices(range(site.users), rates, k=round(per_look)):
            inside, network = order[user] < share, networks[user]
            chance = site.errors * (site.harm if inside else 1)
            fails = source.random() < chance or (network == 0 and look > outage)
            worker = source.randrange(_WORKERS)
            counted.add(user, network, worker, inside=inside, fails=fails)
        if site.has_attacker:
            for _ in range(10):
                cookie, worker = source.randrange(_COOKIES), source.randrange(_WORKERS)
                network = _ATTACKERS[cookie % len(_ATTACKERS)]
                counted.add(-1 - cookie, network, worker, inside=True, fails=True)
        judgement = judge(_STEPS, index, [Guard("errors")], counted.evidence(errors), 10**9)
        if judgement.trip is not None:
            return True
    return False


def run(scale: float) -> tuple[str, list[str]]:
    """Runs all sites. Returns the shares of trips as text, and what is wrong with them."""
    lines, problems = [], []
    for name, site in SITES.items():
        plans = max(round(_PLANS * scale) // (10 if site.has_attacker else 1), 1)
        trips_seen = sum(run_all(trips, [(site, f"{name} {plan}") for plan in range(plans)]))
        share = trips_seen / plans
        lines.append(f"{name:<44}{share:>8.2%}{share_bound(trips_seen, plans):>8.2%}")
        if site.harm > 1 and share < _LEAST_FOUND:
            problems.append(f"{name}: {share:.1%} tripped, required {_LEAST_FOUND:.0%}")
        if site.harm == 1 and site.is_limited and share > _MOST_FALSE_TRIPS:
            problems.append(f"{name}: {share:.1%} tripped, allowed {_MOST_FALSE_TRIPS:.0%}")
    return "\n".join(lines), problems
