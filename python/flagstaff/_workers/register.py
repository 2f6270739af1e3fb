"""The register of workers: what each of them has applied, and how many do not report.

Each worker writes its own row after each load and about every 20 s. A worker that was killed is
expected until 30 s after its last report, and then lost. Workers behind replication write theirs at
the primary. The server shows sessions of workers that have no row: they do not report, so it is not
known what they have applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

from flagstaff._connection import savepoint
from flagstaff._core import RULE_FORMAT
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.database import db, fill, sql
from flagstaff.conf import conf

#: What a worker reports. Each report has a row and sequence numbers of its own.
ReportKind = Literal["usage", "measurements", "exposures"]

# The rows that one transaction deletes.
_BATCH = 1_000


@dataclass(frozen=True)
class Worker:
    """A process that evaluates from memory."""

    #: The key of its row. Differs between all workers.
    id: str
    host: str
    #: The process id on that host.
    pid: int
    #: live, poll or reload.
    mode: str
    #: The newest format of rules that it can read.
    rule_format: int
    #: The id of the newest token that it has applied; 0 if there was none.
    token: int
    #: The process id of its backend, as in pg_stat_activity; None behind a pooler.
    session: int | None
    #: The time of its first report. Its process may have started long before.
    started_at: datetime
    #: Seconds since its last report.
    seen_seconds: float
    #: False if it is lost: it has missed reports, and has no connection of its own.
    is_expected: bool
    #: Whether it has applied the barrier; None without a barrier.
    has_applied: bool | None
    #: Seconds since the oldest change that it has not applied; None if it has applied all.
    behind_seconds: float | None
    #: The setting REGION of its project; "" without one.
    region: str = ""
    #: Whether it reads a standby or a subscriber, and reports every two minutes. It is expected for
    #: five minutes after a report, and listed for a day.
    is_replicated: bool = False
    #: The system identifier and the timeline of the standby that it reads; "" and 0 if they are not
    #: known.
    system: str = ""
    timeline: int = 0
    #: Whether its token is one of this server's.
    has_token: bool = True
    #: Whether it reads another server than a copy of this one, such as an old primary.
    is_elsewhere: bool = False

    def __str__(self) -> str:
        place = f"{self.region}, " if self.region else ""
        return f"{self.host} ({place}pid {self.pid})"

    @property
    def is_behind(self) -> bool | None:
        """Whether a change is missing.

        None if it is not known: it is lost, has no tokens, or reads another server.
        """
        is_known = self.is_expected and self.mode != "reload" and not self.is_elsewhere
        return self.behind_seconds is not None if is_known else None

    @property
    def is_older(self) -> bool:
        """Whether it runs an older version, which cannot read all rules."""
        return self.rule_format < RULE_FORMAT

    def as_dict(self) -> dict[str, object]:
        """Returns the worker as a dict. `started_at` is a datetime."""
        hidden = ("has_applied", "has_token")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


@dataclass(frozen=True)
class Workers:
    """The workers of one project, those that are behind first, the longest of them first."""

    registered: tuple[Worker, ...]
    #: The number of connected workers without a row.
    unreported: int
    #: Whether the barrier still exists.
    has_barrier: bool
    #: The number of standbys, subscribers and backups of the server. They look alike.
    receivers: int = 0

    @property
    def expected(self) -> tuple[Worker, ...]:
        """The workers that are not lost."""
        return tuple(worker for worker in self.registered if worker.is_expected)

    @property
    def lost(self) -> tuple[Worker, ...]:
        """The workers that stopped without their last report, or cannot reach the database."""
        return tuple(worker for worker in self.registered if not worker.is_expected)

    @property
    def elsewhere(self) -> tuple[Worker, ...]:
        """The workers that read another server than a copy of this one, such as an old primary."""
        return tuple(worker for worker in self.expected if worker.is_elsewhere)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions in which a worker has reported within a day, and those of REGIONS."""
        reported = {worker.region for worker in self.registered if worker.is_replicated}
        return tuple(sorted({*conf.regions} | reported))

    @property
    def silent_regions(self) -> tuple[str, ...]:
        """The regions in which no worker reports: a worker has within a day, or REGIONS names them.

        Workers behind replication without the setting REGION are of the region "".
        """
        reporting = {worker.region for worker in self.expected if worker.is_replicated}
        return tuple(region for region in self.regions if region not in reporting)

    @property
    def unknown_receivers(self) -> int:
        """The number of receivers, if no worker behind replication has reported."""
        return 0 if any(worker.is_replicated for worker in self.registered) else self.receivers

    @property
    def behind(self) -> tuple[Worker, ...]:
        """The workers that have not applied the newest change."""
        return tuple(worker for worker in self.registered if worker.is_behind)

    @property
    def is_behind(self) -> bool | None:
        """Whether one of them is behind; None without workers, or if it is not known."""
        if self.behind:
            return True
        states = {worker.is_behind for worker in self.expected}
        is_known = not (self.unreported or self.silent_regions)
        return False if states == {False} and is_known else None


def read_workers(barrier: tuple[int, int | None] | None = None) -> Workers:
    """Returns the workers in the register, and whether they have applied a barrier.

    Makes one query, and without a barrier a second one if a worker says which standby it reads.
    Needs PostgreSQL. The database raises an error before the migration, and
    without the right to read the register and the tokens.
    """
    id_, nonce = barrier or (None, None)
    values = {"token_table": db.tables["token_table"], "barrier": id_, "nonce": nonce}
    rows = db.query("workers_v1", values)
    unreported, has_barrier, receivers = rows[0][:3]
    workers = tuple(Worker(*row[3:]) for row in rows if row[3] is not None)
    if barrier is None and any(worker.system for worker in workers):
        here = _this_server()
        workers = tuple(_compared(worker, here) for worker in workers)
    return Workers(workers, unreported, has_barrier, receivers)


def _this_server() -> tuple[str, int] | None:
    """The system identifier and the timeline of the server; None if it does not say them."""
    with savepoint(db.connection) as errors:
        rows = db.query("server_v1")
    return None if errors else rows[0]


def _compared(worker: Worker, here: tuple[str, int] | None) -> Worker:
    """The worker with whether it reads another server.

    A standby learns late of a promotion, but its workers have the newest tokens.
    """
    is_same = here in (None, (worker.system, worker.timeline)) or not worker.system
    has_all = worker.has_token and worker.behind_seconds is None
    return replace(worker, is_elsewhere=not (is_same or has_all))


@dataclass(frozen=True)
class LostWorker:
    """A worker that stopped without its last report.

    What it counted after `last_seen_at` may be missing.
    """

    host: str
    pid: int
    started_at: datetime
    last_seen_at: datetime
    #: The time from which on its next report was late.
    expected_by: datetime


def lost_workers(
    report: ReportKind, *, since: datetime | None = None, now: datetime | None = None
) -> tuple[LostWorker, ...]:
    """Returns the workers that are lost at a time of the database's clock; without `now`, now.

    `since` leaves out those that were lost before. Makes one query. Needs PostgreSQL; the database
    raises an error before the migration.
    """
    values = {"report": report, "since": since, "now": now}
    rows = db.query("lost_workers_v1", values)
    return tuple(LostWorker(*row) for row in rows)


def live_releases(report: ReportKind) -> frozenset[str] | None:
    """Returns the releases of the workers that write a report now; None without such a worker.

    Workers without a release are in none. Makes one query. Needs PostgreSQL.
    """
    rows = db.query("live_releases_v1", {"report": report})
    return frozenset(release for (release,) in rows if release) if rows else None


def prune_reports_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the workers that ended before a time, and yields the number of each committed batch.

    Reports of usage go if they were last seen before that time. Lost workers of the other reports
    stay: plans and experiments count them. Does nothing if the table cannot be read.
    """
    if why_unavailable(db.connection, db.tables["report_table"]) is None:
        statement = fill(sql("prune_reports_v1"), db.tables)
        yield from db.delete_in_batches(statement, {"before": before}, _BATCH)
