"""What the simulation knows: the engine's times, read from its source, and measured costs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "BACKEND_MB",
    "FEW_FLAGS",
    "FULL_AFTER_ROWS",
    "FULL_JITTER",
    "JITTER",
    "MANY_FLAGS",
    "WHOLE_TABLES",
    "Costs",
    "Times",
]

_SOURCES = Path(__file__).resolve().parents[2] / "src" / "postgres"
#: 90 to 110 % of an interval, as `jittered` of random.rs.
JITTER = 0.1
#: Of a worker's session: its RssAnon and page tables. Measured with 50 and 200 workers.
BACKEND_MB = 5.8
_UNITS = {"secs": 1.0, "millis": 1e-3}


def _constant(file: str, name: str) -> float:
    """Returns a duration of the engine in seconds."""
    pattern = rf"const {name}: Duration = Duration::from_(\w+)\((\d+)\);"
    found = re.search(pattern, (_SOURCES / file).read_text())
    if found is None:
        raise LookupError(f"{file} has no duration {name}")
    return _UNITS[found[1]] * int(found[2])


_EARLIEST = _constant("refresh/clock.rs", "AFTER_ROWS")
_SPREAD = _constant("refresh/clock.rs", "SPREAD_AFTER_ROWS")
#: The time until the load of everything after a load of rows, and how much it varies.
FULL_AFTER_ROWS = _EARLIEST + _SPREAD / 2
FULL_JITTER = _SPREAD / 2 / FULL_AFTER_ROWS


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
    #: See FULL_AFTER_ROWS. 0: there is none.
    full_after_rows: float = 0.0
    full_jitter: float = JITTER
    #: Between a worker and its server, for each request.
    round_trip: float = 0.5e-3


@dataclass(frozen=True)
class Costs:
    """Seconds of CPU time of the server, measured with `python -m benches.many_workers`."""

    #: The process of a session, in the one process that accepts connections.
    fork: float
    #: A session until its log-in.
    connect: float
    #: One whose worker has given up. Assumed.
    abandoned: float
    #: The first identification, with the preparation of the session.
    identify: float
    full_load: float
    #: A change in one worker, from the notification to the new name of the session.
    change: float
    poll: float
    #: A poll and a heartbeat through a pooler, and what the pooler itself takes for them.
    pooled_poll: float
    pooler: float
    #: The statement that changes a flag, and its signal to each listener.
    write: float
    signal: float


#: With 200 flags and with 10,000.
FEW_FLAGS = Costs(
    fork=0.2e-3,
    connect=2.0e-3,
    abandoned=1.0e-3,
    identify=13.4e-3,
    full_load=1.5e-3,
    change=0.8e-3,
    poll=1.1e-3,
    pooled_poll=2.1e-3,
    pooler=0.11e-3,
    write=1.6e-3,
    signal=5.5e-6,
)
MANY_FLAGS = replace(FEW_FLAGS, full_load=5.0e-3)
#: With 10,000 flags, if a load reads the whole table, as after a statement that changed many rows.
WHOLE_TABLES = replace(MANY_FLAGS, change=4.7e-3)
#: What a worker itself takes for a change and for a full load, where it shares the server's cores.
WORKER_CHANGE = 0.3e-3
WORKER_START = 1.0e-3
