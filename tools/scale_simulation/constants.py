"""What the simulation knows: the engine's times, read from its source, and measured costs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["COSTS", "Costs", "Times"]

_SOURCES = Path(__file__).resolve().parents[2] / "src" / "postgres"
_UNITS = {"secs": 1.0, "millis": 1e-3}


def _constant(file: str, name: str) -> float:
    """Returns a duration of the engine in seconds."""
    pattern = rf"const {name}: Duration = Duration::from_(\w+)\((\d+)\);"
    found = re.search(pattern, (_SOURCES / file).read_text())
    if found is None:
        raise LookupError(f"{file} has no duration {name}")
    return _UNITS[found[1]] * int(found[2])


@dataclass(frozen=True)
class Times:
    """Seconds, see docs/architecture.md."""

    poll_interval: float = 5.0
    full: float = _constant("refresh/clock.rs", "FULL")
    gap: float = _constant("refresh/pace.rs", "GAP")
    connect_limit: float = _constant("deadline.rs", "CONNECT")
    statement_limit: float = _constant("deadline.rs", "STATEMENT")
    load_limit: float = _constant("deadline.rs", "LOAD")
    first_pause: float = _constant("refresh/backoff.rs", "FIRST")
    #: `limits` of refresh/backoff.rs, after a lost connection or a missed deadline.
    longest_pause: float = 2.8
    #: 90 to 110 % of an interval, as `jittered` of random.rs.
    jitter: float = 0.1
    #: After a load of rows, a full load is due within this time. 0: it is not.
    full_after_rows: float = 0.0
    #: Between a worker and its server, for each request.
    round_trip: float = 0.5e-3


@dataclass(frozen=True)
class Costs:
    """Measured with `python -m benches.many_workers`: seconds of CPU time of the server."""

    #: The process of a session, in the process that accepts connections.
    fork: float
    #: A session until its log-in, and one whose worker has given up.
    connect: float
    abandoned: float
    #: The first identification, which also prepares it.
    identify: float
    full_load: float
    #: Of one change, from the notification to the new name of the session.
    change: float
    poll: float
    #: A poll and a heartbeat through a pooler, and what the pooler itself takes for them.
    pooled_poll: float
    pooler: float
    #: The statement that changes a flag, and for each listener one signal.
    write: float
    signal: float


_WITH_200 = Costs(
    fork=0.2e-3,
    connect=4.0e-3,
    abandoned=1.0e-3,
    identify=6.7e-3,
    full_load=1.5e-3,
    change=1.5e-3,
    poll=1.0e-3,
    pooled_poll=2.1e-3,
    pooler=0.11e-3,
    write=1.6e-3,
    signal=5.6e-6,
)
_WITH_10_000 = replace(_WITH_200, full_load=5.2e-3, change=5.1e-3)
#: By number of flags.
COSTS = {200: _WITH_200, 10_000: _WITH_10_000}
#: Loads of changed rows take the same with any number of flags.
ROW_LOADS = replace(_WITH_10_000, change=_WITH_200.change)
