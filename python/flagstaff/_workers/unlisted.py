"""Workers that the server does not list, such as those behind a pooler, known by their reports."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import Error

from flagstaff._engine.usage_tables import usage_tables
from flagstaff._tables.names import fill, sql
from flagstaff._workers.ended import is_same
from flagstaff._workers.sessions import Worker
from flagstaff.exceptions import NoUsageError


def count_unlisted(listed: Iterable[Worker]) -> int:
    """Returns how many other workers have reported their counts lately, and no end.

    A worker reports with USAGE_INTERVAL, from its first evaluations on. Makes two queries. Returns
    0 if the counts are disabled or cannot be read.
    """
    try:
        connection, names = usage_tables()
        with connection.cursor() as cursor:
            cursor.execute(fill(sql("reporting_workers_v1"), names))
            reports: list[tuple[str, int]] = cursor.fetchall()
    except (Error, NoUsageError):
        return 0
    for worker in listed:
        # One report is that of one worker: containers can show the same process id and host.
        found = next((one for one in reports if is_same(worker, *one)), None)
        if found is not None:
            reports.remove(found)
    return len(reports)
