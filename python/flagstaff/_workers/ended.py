"""Workers that ended normally, as in a deploy: they need not apply a change any more.

A worker reports its end with its last counts. One that is cut off from the database cannot, so it
stays in the list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from django.db import Error

from flagstaff._engine.usage import require_usage
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._workers.sessions import Worker
from flagstaff.exceptions import NoUsageError

# Seconds by which the report of the end may come before the end of the connection.
_LEAD = 2.0
# What the name of a session cannot contain.
_REPLACED = re.compile(r"[^A-Za-z0-9._-]")


class Lost(NamedTuple):
    """A worker that is not connected any more."""

    worker: Worker
    #: Seconds since it was connected, at most.
    age: float


class _Ended(NamedTuple):
    host: str
    pid: int
    age: float


def without_ended(lost: Sequence[Lost]) -> tuple[Worker, ...]:
    """Returns the workers that have not reported their end since they were connected.

    One report is that of one worker: containers can show the same process id and host. Makes two
    queries, or none if no worker is lost. All stay if the counts are disabled or cannot be read.
    """
    reports = _read_reports(max(one.age for one in lost) + _LEAD) if lost else []
    return tuple(one.worker for one in lost if not _take_report(reports, one))


def _read_reports(seconds: float) -> list[_Ended]:
    try:
        connection = require_usage()
        with connection.cursor() as cursor:
            cursor.execute(fill(sql("ended_workers_v1"), own_names(connection)), [seconds])
            return [_Ended(*row) for row in cursor.fetchall()]
    except (Error, NoUsageError):
        return []


def _take_report(reports: list[_Ended], lost: Lost) -> bool:
    """Removes the report of this worker, and returns whether there was one."""
    for report in reports:
        if report.age <= lost.age + _LEAD and is_same(lost.worker, report.host, report.pid):
            reports.remove(report)
            return True
    return False


def is_same(worker: Worker, host: str, pid: int) -> bool:
    """Returns True if the worker may be the process that has reported this host and process id."""
    # A session shows the host with other characters, and only the end of a long one.
    shown, host = worker.host, _REPLACED.sub("_", host)
    is_host = host.endswith(shown[1:]) if shown.startswith("~") else host == shown
    return is_host and worker.pid == pid
