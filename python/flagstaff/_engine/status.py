"""How this worker is kept up to date."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flagstaff import _core
from flagstaff.conf import conf

__all__ = ["Status", "status"]


@dataclass(frozen=True)
class Status:
    """What one worker knows of itself."""

    #: idle (nothing asked yet), starting, live (LISTEN and poll), poll, reload (no triggers),
    #: down (the last load answers) or direct (the database answers).
    mode: str
    #: Why it is not live, None where it is.
    why: str | None
    #: Whether there is something to answer from.
    ready: bool
    #: Seconds since the snapshot was last known to equal the database.
    age: float | None
    #: Whether that is longer ago than MAX_STALENESS. An alarm only: the answers stay.
    stale: bool
    #: How many snapshots this process has had.
    version: int
    #: The id of the newest token in the snapshot.
    token: int | None
    flags: int
    values: int
    loads: int
    #: Seconds that the last load took.
    load_seconds: float | None
    failures: int
    #: What last went wrong, kept after it was mended.
    last_error: str | None
    #: Why it is not written down what is asked, None where it is, or nothing was to be yet.
    uncollected: str | None
    #: Rows that were set aside because they cannot be evaluated.
    problems: tuple[str, ...]
    pid: int

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self)


def status() -> Status:
    """Say how this worker is kept up to date. Returns at once, and starts nothing."""
    report = _core.report()
    age, problems = report["age"], tuple(report["problems"])
    stale = age is not None and age > conf.max_staleness
    return Status(**{**report, "stale": stale, "problems": problems})
