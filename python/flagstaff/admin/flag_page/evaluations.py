"""The section with the evaluations of a flag in the last day."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.local_formats import local_days, local_number
from flagstaff._words.times import local_time
from flagstaff.admin.cells import time_cell
from flagstaff.admin.flag_page.evaluation_hours import Evaluations, Hour, evaluations_of
from flagstaff.admin.flag_page.evaluations_svg import hours_chart
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf

_ALL = 100


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
