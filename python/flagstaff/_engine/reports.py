"""The reports of workers: which workers were lost, and when their rows go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.database import db
from flagstaff._tables.names import fill, sql

#: What a worker reports. Each report has a row and sequence numbers of its own.
ReportKind = Literal["usage", "measurements", "exposures"]

# The rows that one transaction deletes.
_BATCH = 1_000


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
