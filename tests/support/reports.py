"""Rows of the register of workers, as flushes write them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.support.sql import rows

_INSERT = """
    INSERT INTO flagstaff_report
    SELECT gen_random_uuid(), %s, %s, %s, coalesce(%s, at), %s, 1, at,
        at + make_interval(secs => 2 * %s + 10), CASE WHEN %s THEN at END, %s
    FROM (SELECT coalesce(%s, clock_timestamp() - make_interval(secs => %s))) AS seen (at)
"""


def register_worker(  # noqa: PLR0913 (all optional)
    report: str = "usage",
    *,
    host: str = "web-1",
    pid: int = 1,
    started_at: datetime | None = None,
    interval: float = 60,
    at: datetime | None = None,
    seconds_ago: float = 0,
    stopped: bool = False,
    release: str = "",
    execute: Callable[..., Any] = rows,
) -> None:
    """Writes a worker whose last report was at a time, or so many seconds ago."""
    values = (report, host, pid, started_at, interval, interval, stopped, release, at, seconds_ago)
    execute(_INSERT, *values)


def age_workers(
    seconds: float, *, pid: int | None = None, execute: Callable[..., Any] = rows
) -> None:
    """Makes the last reports of all workers, or of those with a process id, older."""
    execute(
        "UPDATE flagstaff_report SET last_seen_at = last_seen_at - age, "
        "expected_by = expected_by - age FROM (SELECT make_interval(secs => %s)) AS by (age) "
        "WHERE coalesce(%s, pid) = pid",
        seconds,
        pid,
    )
