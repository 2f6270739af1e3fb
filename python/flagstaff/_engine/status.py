"""The state of this worker: how it is refreshed, how fresh it is, and what last failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

from flagstaff import _core
from flagstaff.conf import conf


class StatusProblem(NamedTuple):
    """Something that is wrong."""

    #: The same for each problem of a kind, in all versions.
    code: str
    #: In English.
    text: str


@dataclass(frozen=True)
class Status:
    """The state of one worker."""

    #: idle (nothing evaluated yet), starting, live (LISTEN and polling), poll, reload (without
    #: triggers), down (serving the last snapshot) or direct (querying the database).
    mode: str
    #: Why the mode is not live; None if it is.
    mode_reason: str | None
    #: Whether a snapshot has been loaded.
    ready: bool
    #: Seconds since the snapshot was last known to equal the database.
    age: float | None
    #: Whether `age` exceeds MAX_STALENESS. For alerts only: results do not change.
    stale: bool
    #: How many snapshots this process has had.
    version: int
    #: The id of the newest change token in the snapshot.
    token: int | None
    flags: int
    values: int
    loads: int
    #: Seconds that the last load took.
    load_seconds: float | None
    failures: int
    #: The last error. It stays after a recovery.
    last_error: str | None
    #: Why usage is not collected; None if it is, or if nothing was evaluated yet.
    usage_problem: str | None
    #: Rows that are ignored because they cannot be evaluated, tables and columns that the database
    #: lacks until `migrate`, triggers of groups that are disabled, and how many recent changes have
    #: no entry in the history.
    problems: tuple[StatusProblem, ...]
    #: The keys of the flags that FLAGSTAFF_FORCE_OFF turns off in this process.
    forced_off: tuple[str, ...]
    pid: int

    def as_dict(self) -> dict[str, object]:
        """Returns the status as a dict that JSON can hold."""
        return {**asdict(self), "problems": [problem._asdict() for problem in self.problems]}


def status() -> Status:
    """Returns the state of this worker. Does not block, and starts nothing."""
    report = _core.status_report()
    age = report.pop("age")
    problems = tuple(StatusProblem(*one) for one in report.pop("problems"))
    forced_off = tuple(report.pop("forced_off"))
    return Status(
        **report,
        age=age,
        stale=age is not None and age > conf.max_staleness,
        problems=problems,
        forced_off=forced_off,
    )
