"""The section with the evaluations of a flag in the last day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import UsageHour, flag_usage
from flagstaff._words.local_formats import local_days, local_number
from flagstaff._words.times import aware, local_time
from flagstaff.admin.cells import time_cell
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.svg import chart, line, rect, text
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf

#: The hours of the chart: the present one, and those before it.
HOURS = 24

_HOUR = timedelta(hours=1)

_ALL = 100
# The chart.
_HEIGHT, _WIDTH, _TOP, _BASE = 150, 100, 18, 126
# The space between two columns, as a share of a column.
_GAP = 0.2


@dataclass(frozen=True)
class Hour:
    """How often all workers evaluated the flag in one hour."""

    start: datetime
    true_count: int = 0
    false_count: int = 0

    @property
    def count(self) -> int:
        return self.true_count + self.false_count


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a flag, as the workers have reported them."""

    #: One for each of the last 24 hours, oldest first.
    hours: tuple[Hour, ...]
    #: Of the last STALE_DAYS days; None if there was none.
    last_evaluated_at: datetime | None
    #: The workers that were lost in these hours.
    lost_workers: int
    #: Whether usage has been counted for less than STALE_DAYS days.
    is_since_begin: bool
    #: Of all flags; see `Usage`.
    since: datetime | None
    until: datetime | None
    interval: float | None

    @property
    def true_count(self) -> int:
        return sum(hour.true_count for hour in self.hours)

    @property
    def count(self) -> int:
        return sum(hour.count for hour in self.hours)


def evaluations_of(request: HttpRequest, key: str) -> Evaluations | None:
    """Returns the evaluations of a flag; None where usage is not counted or cannot be read.

    Makes one query, beside the one that finds the tables for the page.
    """
    if not can_read(request, "usage_table", "worker_table"):
        return None
    present = aware(timezone.now())
    first = _start_of_hour(present) - (HOURS - 1) * _HOUR
    oldest = min(first, present - timedelta(days=conf.stale_days))
    found = flag_usage(key, since=oldest, lost_since=first)
    return Evaluations(
        hours=tuple(_hours(found.hours, first)),
        last_evaluated_at=max((one.last_evaluated_at for one in found.hours), default=None),
        lost_workers=found.lost,
        is_since_begin=found.since is None or aware(found.since) > oldest,
        since=found.since,
        until=found.until,
        interval=found.interval,
    )


def _hours(found: Iterable[UsageHour], first: datetime) -> Iterator[Hour]:
    by_start = {aware(one.start): one for one in found}
    for number in range(HOURS):
        start = first + number * _HOUR
        one = by_start.get(start)
        yield Hour(start, one.true_count, one.false_count) if one else Hour(start)


def _start_of_hour(at: datetime) -> datetime:
    """The start of the hour as the workers count them: full hours of UTC."""
    return at.astimezone(zones.utc).replace(minute=0, second=0, microsecond=0)


def hours_chart(hours: Sequence[Hour]) -> SafeString:
    """Returns the chart."""
    most = max(hour.count for hour in hours)
    scale = ngettext("%(count)s evaluation an hour", "%(count)s evaluations an hour", most)
    desc = _("One column for each hour, at most %(most)s. Below: true. Above: false.")
    most_text = scale % {"count": local_number(most)}
    parts = [
        text("quiet", 0, _TOP - 6, most_text),
        *_columns(hours, max(most, 1)),
        line("axis", (0, _BASE), (_WIDTH, _BASE)),
        *_labels(hours),
    ]
    title = _("Evaluations per hour")
    return chart("flagstaff-hours", _HEIGHT, title, desc % {"most": most_text}, parts)


def _columns(hours: Sequence[Hour], most: int) -> Iterator[SafeString]:
    slot = _WIDTH / len(hours)
    width = slot * (1 - _GAP)
    for place, hour in enumerate(hours):
        y = float(_BASE)
        for css, count in (("true", hour.true_count), ("false", hour.false_count)):
            height = count / most * (_BASE - _TOP)
            y -= height
            if height:
                yield rect(css, place * slot + (slot - width) / 2, y, width, height)


def _labels(hours: Sequence[Hour]) -> Iterator[SafeString]:
    """The start of the first hour, of the one in the middle and of the last one."""
    middle = len(hours) // 2
    for place, anchor, x in (
        (0, "start", 0.0),
        (middle, "middle", (middle + 1 / 2) / len(hours) * _WIDTH),
        (len(hours) - 1, "end", float(_WIDTH)),
    ):
        yield text(
            "quiet", x, _BASE + 16, date_format(local_time(hours[place].start), "H:i"), anchor
        )


def evaluations(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    flag: Any,
) -> SafeString:
    """Returns the section. Makes one query, beside the one that finds the tables."""
    found = evaluations_of(request, flag.key)
    context: dict[str, object] = {"sentence": no_usage()}
    if found is not None:
        context = {"sentence": _sentence(found), "notes": [*_notes(found)]}
        if found.count:
            context |= {
                "chart": hours_chart(found.hours),
                "rows": [_row(hour) for hour in reversed(found.hours)],
                "zone": date_format(local_time(found.hours[-1].start), "T"),
            }
    return render_to_string("flagstaff/flag_page/evaluations.html", context)


def _sentence(found: Evaluations) -> str:
    if found.count:
        text = ngettext(
            "{count} evaluation in the last 24 hours, {share} true, last {time}.",
            "{count} evaluations in the last 24 hours, {share} true, last {time}.",
            found.count,
        )
        return format_html(
            text,
            count=local_number(found.count),
            share=_share(found.true_count, found.count),
            time=time_cell(found.last_evaluated_at),
        )
    if found.last_evaluated_at is not None:
        text = _("No evaluation in the last 24 hours, last {time}.")
        return format_html(text, time=time_cell(found.last_evaluated_at))
    if found.is_since_begin:
        return _("No evaluation since counting began.")
    return _("No evaluation in the last %(days)s.") % {"days": local_days(conf.stale_days)}


def _share(part: int, whole: int) -> str:
    """A percentage that is 0 or 100 only if it is exact."""
    if 0 < part * _ALL < whole:
        return _("less than 1 %")
    if 0 < (whole - part) * _ALL < whole:
        return _("more than 99 %")
    return _("%(percent)s %%") % {"percent": round(part * _ALL / whole)}


def _notes(found: Evaluations) -> list[str]:
    """Which time the counts cover, and what may be missing."""
    notes = [period_text(found), reports_text(found)]
    if found.lost_workers:
        text = ngettext(
            "%(count)s worker did not shut down cleanly: some evaluations may be missing.",
            "%(count)s workers did not shut down cleanly: some evaluations may be missing.",
            found.lost_workers,
        )
        notes.append(text % {"count": local_number(found.lost_workers)})
    return [note for note in notes if note]


def _row(hour: Hour) -> dict[str, str]:
    return {
        "hour": date_format(local_time(hour.start), "SHORT_DATE_FORMAT")
        + date_format(local_time(hour.start), ", H:i"),
        "true": local_number(hour.true_count),
        "false": local_number(hour.false_count),
    }
