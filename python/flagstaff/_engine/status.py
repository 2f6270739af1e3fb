"""The state of this worker: how it is refreshed, how fresh it is, and what last failed."""

from __future__ import annotations

from dataclasses import dataclass

from flagstaff import _core
from flagstaff._words.text import Sentence
from flagstaff.conf import conf


@dataclass(frozen=True)
class Status:
    """The state of one worker."""

    #: idle (nothing evaluated yet), starting, live (LISTEN and polling), poll, reload (without
    #: triggers), down (serving the last snapshot) or direct (querying the database).
    mode: str
    #: Why the mode is not live; None if it is.
    mode_reason: Sentence | None
    #: Whether a snapshot has been loaded.
    ready: bool
    #: Seconds since the snapshot was last known to equal the database.
    age: float | None
    #: Seconds since all members of the groups that rules read were read; None without such rules.
    members_age: float | None
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
    last_error: Sentence | None
    #: Why usage is not collected; None if it is, or if nothing was evaluated yet.
    usage_problem: Sentence | None
    #: Rows that are ignored because they cannot be evaluated, names in rules that do not exist,
    #: tables and columns that the database lacks until `migrate`, and how many recent changes have
    #: no entry in the history. At most 100 texts: the last one then says how many more there are.
    problems: tuple[Sentence, ...]
    #: The number of all problems.
    problem_count: int
    #: The keys of the flags and experiments that FLAGSTAFF_FORCE_OFF turns off in this process.
    forced_off: tuple[str, ...]
    pid: int

    def as_dict(self) -> dict[str, object]:
        """Returns the status as a dict that JSON can hold."""
        return {**vars(self), "problems": list(self.problems)}


def status() -> Status:
    """Returns the state of this worker. Does not block, and starts nothing."""
    report = _core.status_report()
    age = report["age"]
    return Status(**report, stale=age is not None and age > conf.max_staleness)
