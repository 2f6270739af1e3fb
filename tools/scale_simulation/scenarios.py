"""The topologies for 10,000 workers, and what happens to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.scale_simulation.constants import Costs, Times
from tools.scale_simulation.site import Group, Site

__all__ = ["TOPOLOGIES", "Change", "Deploy", "Idle", "change", "deploy", "full_loads", "idle"]

Groups = tuple[Group, ...]
WORKERS = 10_000
#: Workers that must see a change at once, such as those of the shop's pages.
FEW = 1_000
TOPOLOGIES: dict[str, Groups] = {
    "primary, LISTEN": (Group(WORKERS, listens=True),),
    "primary, polling": (Group(WORKERS),),
    "PgBouncer": (Group(WORKERS, pooled=True),),
    "4 standbys": (Group(WORKERS, standbys=4),),
    "10 standbys": (Group(WORKERS, standbys=10),),
    "LISTEN for 1,000, PgBouncer": (
        Group(FEW, listens=True),
        Group(WORKERS - FEW, pooled=True),
    ),
    "LISTEN for 1,000, 4 standbys": (
        Group(FEW, listens=True),
        Group(WORKERS - FEW, standbys=4),
    ),
    "5 regions, a standby each": (Group(WORKERS, standbys=5, lag=1.0),),
}


@dataclass(frozen=True)
class Idle:
    """Busy cores without changes. `standby` is the busiest one."""

    primary: float
    standby: float
    pooler: float


@dataclass(frozen=True)
class Change:
    """Seconds from the commit until workers have a change."""

    half: float
    p99: float
    last: float
    #: The busy cores of all servers until then.
    cores: float
    #: Workers that did not have it after two minutes.
    missing: int


@dataclass(frozen=True)
class Deploy:
    """Seconds from the start of a deploy until workers have loaded."""

    half: float
    last: float
    #: Workers that had not loaded at the end.
    missing: int
    #: Requests that missed their deadline.
    failures: int


@dataclass(frozen=True)
class FullLoads:
    """What happens after a load of rows in each worker."""

    #: The busy cores of all servers, in the second with most.
    cores: float
    #: The seconds in which all cores were busy.
    full_seconds: int
    #: Requests that missed their deadline.
    failures: int


def idle(groups: Groups, costs: Costs, times: Times, *, cores: int) -> Idle:
    """Runs some intervals without changes."""
    site = _loaded(groups, costs, times, cores)
    seconds = 6 * times.poll_interval
    site.events.run(until=seconds)
    busy = [server.station.busy / seconds for server in site.servers]
    return Idle(busy[0], max(busy[1:], default=0.0), site.primary.pooler.busy / seconds)


def change(groups: Groups, costs: Costs, times: Times, *, cores: int) -> Change:
    """Commits a change."""
    site = _loaded(groups, costs, times, cores)
    at = times.poll_interval
    site.events.run(at)
    before = _busy(site)
    site.change()
    [delays] = site.delays
    end = at + 120
    while site.events.now < end and len(delays) < len(site.workers):
        site.events.run(site.events.now + 0.01)
    half, p99, last = quantile(delays, 0.5), quantile(delays, 0.99), delays[-1]
    busy = (_busy(site) - before) / (site.events.now - at)
    return Change(half, p99, last, busy, len(site.workers) - len(delays))


def deploy(groups: Groups, costs: Costs, times: Times, *, cores: int, within: float) -> Deploy:
    """Starts all workers within so many seconds, and waits for them."""
    site = Site(groups, costs, times, cores=cores)
    site.deploy(within)
    end = within + 180
    while site.events.now < end and not all(worker.loaded for worker in site.workers):
        site.events.run(site.events.now + 1)
    loaded = sorted(worker.loaded_at for worker in site.workers if worker.loaded_at is not None)
    missing = len(site.workers) - len(loaded)
    return Deploy(
        quantile(loaded, 0.5) if loaded else end, loaded[-1] if loaded else end, missing,
        site.failures,
    )  # fmt: skip


def full_loads(groups: Groups, costs: Costs, times: Times, *, cores: int) -> FullLoads:
    """Commits a change, and counts the seconds after its loads."""
    site = _loaded(groups, costs, times, cores)
    site.events.at(10, site.change)
    # The loads of the change itself are over then.
    site.events.run(until=25)
    busy = []
    while site.events.now < 110:  # noqa: PLR2004
        before = _busy(site)
        site.events.run(site.events.now + 1)
        busy.append(_busy(site) - before)
    limit = 0.95 * cores * len(site.servers)
    return FullLoads(max(busy), sum(one > limit for one in busy), site.failures)


def quantile(values: list[float], part: float) -> float:
    """Returns the value that this part of the sorted values does not exceed."""
    return values[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


def _busy(site: Site) -> float:
    return sum(server.station.busy for server in site.servers)


def _loaded(groups: Groups, costs: Costs, times: Times, cores: int) -> Site:
    site = Site(groups, costs, times, cores=cores)
    site.begin_loaded()
    return site
