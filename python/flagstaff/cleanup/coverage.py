"""Whether the workers have counted all evaluations of a period. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._text.times import local_time

__all__ = ["MAX_GAP", "Coverage", "problem_of_coverage"]

#: Between the reports of two workers. A pause between two deployments, or a night, is shorter.
MAX_GAP = timedelta(days=1)


@dataclass(frozen=True)
class Coverage:
    """What the usage tables say about the collection of usage."""

    #: The start of the oldest hour with evaluations of any key; None if there is none.
    first_hour: datetime | None
    #: The start of the first worker that reported since the period began; None without a worker.
    first_worker: datetime | None
    #: The last report of any worker.
    last_report: datetime | None
    #: The longest time in the period without a worker between two workers.
    longest_gap: timedelta = timedelta()


def problem_of_coverage(
    coverage: Coverage, *, since: datetime, now: datetime, is_turned_off: bool = False
) -> str:
    """Returns why evaluations since a time may be missing, translated, or an empty text."""
    if is_turned_off:
        return _("the setting USAGE_INTERVAL is 0, so usage is not collected")
    if coverage.first_hour is None or coverage.first_worker is None or coverage.last_report is None:
        return _("no worker has reported its usage")
    begin = max(coverage.first_hour, coverage.first_worker)
    if begin > since:
        return _("usage is known only since %(date)s") % {"date": _date(begin)}
    if coverage.longest_gap > MAX_GAP:
        days = coverage.longest_gap.days
        text = ngettext(
            "for %(count)s day, no worker reported its usage",
            "for %(count)s days, no worker reported its usage",
            days,
        )
        return text % {"count": days}
    if now - coverage.last_report > MAX_GAP:
        last = _date(coverage.last_report)
        return _("no worker has reported its usage since %(date)s") % {"date": last}
    return ""


def _date(at: datetime) -> str:
    return local_time(at).date().isoformat()
