"""The topologies for 10,000 workers, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass

from tools.scale_simulation.constants import Costs, Times
from tools.scale_simulation.site import Group, Site

__all__ = ["TOPOLOGIES", "Change", "Deploy", "Quiet", "change", "deploy", "full_loads", "quiet"]

WORKERS = 10_000
#: Workers that must see a change at once, such as those of the shop's pages.
FEW = 1_000
TOPOLOGIES: dict[str, tuple[Group, ...]] = {
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
class Quiet:
    """The load without changes: cores that are busy."""

    primary: float
    busiest_standby: float
    pooler: float
    failures: int


@dataclass(frozen=True)
class Change:
    """Seconds from the commit until workers have a change, and the primary's CPU time for it."""

    half: float
    p99: float
    last: float
    #: Workers that did not have it in time.
    missing: int
    failures: int


@dataclass(frozen=True)
class Deploy:
    """Seconds from the start of a deploy until workers have loaded."""

    half: float
    last: float
    missing: int
    #: Requests that missed their deadline.
    failures: int


def quiet(groups: tuple[Group, ...], costs: Costs, times: Times, *, cores: int) -> Quiet:
    """Runs a minute without changes."""
    site = _loaded(groups, costs, times, cores)
    seconds = max(60.0, 2 * times.poll_interval)
    site.events.run(until=seconds)
    standbys = [server.station.busy for server in site.servers[1:]]
    return Quiet(
        primary=site.primary.station.busy / seconds,
        busiest_standby=max(standbys, default=0.0) / seconds,
        pooler=site.primary.pooler.busy / seconds,
        failures=site.failures,
    )


def change(
    groups: tuple[Group, ...], costs: Costs, times: Times, *, cores: int, number: int = 2
) -> Change:
    """Commits changes, each after the previous one has arrived."""
    site, delays, until = _loaded(groups, costs, times, cores), list[float](), 2.0
    for _ in range(number):
        site.events.at(until, site.change)
        latest = until + 120
        site.events.run(until)
        while until < latest and len(site.delays[-1]) < len(site.workers):
            until += 1
            site.events.run(until)
        delays += site.delays[-1]
    delays.sort()
    missing = number * len(site.workers) - len(delays)
    return Change(
        half=quantile(delays, 0.5),
        p99=quantile(delays, 0.99),
        last=delays[-1],
        missing=missing,
        failures=site.failures,
    )


def deploy(
    groups: tuple[Group, ...],
    costs: Costs,
    times: Times,
    *,
    cores: int,
    within: float,
    seconds: float = 300,
) -> Deploy:
    """Starts all workers within so many seconds."""
    site = Site(groups, costs, times, cores=cores)
    site.deploy(within)
    until = 0.0
    while until < seconds and not all(worker.loaded for worker in site.workers):
        until += 1
        site.events.run(until)
    loaded = sorted(worker.loaded_at for worker in site.workers if worker.loaded_at is not None)
    return Deploy(
        half=quantile(loaded, 0.5) if loaded else seconds,
        last=loaded[-1] if loaded else seconds,
        missing=len(site.workers) - len(loaded),
        failures=site.failures,
    )


def full_loads(
    groups: tuple[Group, ...], costs: Costs, times: Times, *, cores: int
) -> tuple[float, float, int]:
    """Commits one change, and returns the busiest cores of any second after it, the seconds for
    which the server was busy with the full loads, and the requests that missed their deadline."""
    site = _loaded(groups, costs, times, cores)
    site.events.at(10, site.change)
    site.events.run(until=40)
    busy = []
    for second in range(41, 120):
        before = sum(server.station.busy for server in site.servers)
        site.events.run(until=second)
        busy.append(sum(server.station.busy for server in site.servers) - before)
    return max(busy), sum(one > cores * 0.9 for one in busy), site.failures


def quantile(values: list[float], part: float) -> float:
    """Returns a quantile of sorted values: the least value that so large a part does not exceed."""
    return values[max(0, -int(-part * len(values) // 1) - 1)]


def _loaded(groups: tuple[Group, ...], costs: Costs, times: Times, cores: int) -> Site:
    site = Site(groups, costs, times, cores=cores)
    site.run_loaded()
    return site
