"""The tables of docs/discussions/scale.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tools.scale_simulation.constants import (
    BACKEND_MB,
    FEW_FLAGS,
    FULL_AFTER_ROWS,
    FULL_JITTER,
    MANY_FLAGS,
    WHOLE_TABLES,
    WORKER_CHANGE,
    WORKER_START,
    Times,
)
from tools.scale_simulation.scenarios import (
    TOPOLOGIES,
    change,
    deploy,
    full_loads,
    idle,
)
from tools.scale_simulation.site import Group

__all__ = ["tables"]

#: Of each server.
CORES = 16
_SPREADS = (0, 30, 60, 300)
_LISTENERS = (200, 500, 1_000, 2_000, 5_000, 10_000)


def tables() -> Iterator[str]:
    """Computes one table after the other."""
    yield _table("2 cores shared with the workers, 200 flags", _shared_rows())
    yield _table("10,000 workers, no change", _idle_rows())
    yield _table("10,000 workers, one change, 200 flags", _change_rows())
    yield _table("workers with LISTEN, 10,000 flags", _listener_rows())
    yield _table("all workers start, 10,000 flags", _deploy_rows())
    yield _table("the full loads after a load of rows, 10,000 flags", _full_rows())


def _shared_rows() -> Iterator[list[str]]:
    yield ["workers", "half have a change after", "all after", "started at once, all after"]
    costs = replace(
        FEW_FLAGS,
        change=FEW_FLAGS.change + WORKER_CHANGE,
        full_load=FEW_FLAGS.full_load + WORKER_START,
    )
    for number in (50, 100, 200, 400, 800, 1_600):
        groups = (Group(number, listens=True),)
        changed = change(groups, costs, Times(), cores=2)
        started = deploy(groups, costs, Times(), cores=2, within=0)
        yield [f"{number:,}", *map(_seconds, (changed.half, changed.last, started.last))]


def _idle_rows() -> Iterator[list[str]]:
    yield ["", "sessions at the primary", "their memory", "POLL_INTERVAL", "cores of the primary",
           "of each standby", "of the pooler"]  # fmt: skip
    for name, groups in TOPOLOGIES.items():
        for interval in (5.0, 30.0):
            found = idle(groups, FEW_FLAGS, Times(poll_interval=interval), cores=CORES)
            sessions = sum(one.sessions for one in groups if not one.standbys)
            cores = [f"{one:.2f}" for one in (found.primary, found.standby, found.pooler)]
            yield [name, f"{sessions:,}", _memory(sessions), f"{interval:.0f} s", *cores]


def _change_rows() -> Iterator[list[str]]:
    yield ["", "half of the workers", "99 %", "the last", "cores until then"]
    for name, groups in TOPOLOGIES.items():
        found = change(groups, FEW_FLAGS, Times(), cores=CORES)
        yield [name, *map(_seconds, (found.half, found.p99, found.last)), f"{found.cores:.1f}"]


def _listener_rows() -> Iterator[list[str]]:
    yield ["workers", "their memory", "the last", "changes a minute",
           "the last, whole tables", "changes a minute"]  # fmt: skip
    for number in _LISTENERS:
        row = [f"{number:,}", _memory(number)]
        for costs in (MANY_FLAGS, WHOLE_TABLES):
            found = change((Group(number, listens=True),), costs, Times(), cores=CORES)
            # Half of the cores are for everything else.
            at_most = 60 * CORES / 2 / (number * costs.change)
            row += [_seconds(found.last), f"{at_most:,.0f}"]
        yield row


def _deploy_rows() -> Iterator[list[str]]:
    yield ["", "started within", "half have loaded after", "all after",
           "missed deadlines"]  # fmt: skip
    for name in ("primary, LISTEN", "PgBouncer", "4 standbys", "10 standbys"):
        for spread in _SPREADS:
            found = deploy(TOPOLOGIES[name], MANY_FLAGS, Times(), cores=CORES, within=spread)
            last = f"never ({found.missing:,} missing)" if found.missing else _seconds(found.last)
            yield [name, f"{spread} s", _seconds(found.half), last, f"{found.failures:,}"]


def _full_rows() -> Iterator[list[str]]:
    yield ["", "busiest cores", "seconds at the limit", "missed deadlines"]
    times = replace(Times(), full_after_rows=FULL_AFTER_ROWS, full_jitter=FULL_JITTER)
    for name in ("primary, LISTEN", "PgBouncer", "10 standbys"):
        found = full_loads(TOPOLOGIES[name], MANY_FLAGS, times, cores=CORES)
        yield [name, f"{found.cores:.1f}", str(found.full_seconds), f"{found.failures:,}"]


def _table(title: str, rows: Iterable[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join([f"{title}\n", *("| " + " | ".join(line) + " |" for line in lines), ""])


def _memory(sessions: int) -> str:
    return f"{sessions * BACKEND_MB / 1000:.1f} GB"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004
