"""Reads when keys were last evaluated, and whether all evaluations were counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connections
from django.utils.translation import gettext as _

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._text.times import aware
from flagstaff.cleanup.coverage import Coverage, problem_of_coverage
from flagstaff.conf import conf

__all__ = ["Evaluations", "evaluations_of"]

_PACKAGE = "flagstaff.cleanup"


@dataclass(frozen=True)
class Evaluations:
    """What the usage tables say about some keys."""

    #: The time of the last evaluation by key; keys that were never evaluated are absent.
    last: Mapping[str, datetime] = field(default_factory=dict)
    #: Since when evaluations are counted; None if `problem` says why some may be missing.
    counted_since: datetime | None = None
    problem: str = ""


def evaluations_of(
    keys: Collection[str], *, since: datetime, now: datetime, is_readable: bool = False
) -> Evaluations:
    """Returns the last evaluations of keys. `since` is the time from which all must be counted.

    `is_readable`: the tables of the usage are known to be readable.
    """
    connection = connections[conf.database]
    names = own_names(connection)
    tables = names["usage_table"], names["worker_table"]
    reason = None if is_readable else why_unavailable(connection, *tables)
    if reason:
        problem = _("usage is not available; %(reason)s") % {"reason": reason}
        return Evaluations(problem=problem)
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("evaluations_v1", _PACKAGE), names), [since, list(keys)])
        rows = cursor.fetchall()
    last = {key: aware(at) for *_coverage, key, at in rows if key is not None}
    *times, gap, _key, _at = rows[0]
    first_hour, first_worker, last_report = map(_aware, times)
    coverage = Coverage(first_hour, first_worker, last_report, gap or timedelta())
    is_turned_off = conf.usage_interval == 0
    problem = problem_of_coverage(coverage, since=since, now=now, is_turned_off=is_turned_off)
    begin = max((time for time in (first_hour, first_worker) if time), default=None)
    return Evaluations(last, None if problem else begin, problem)


def _aware(at: datetime | None) -> datetime | None:
    return None if at is None else aware(at)
