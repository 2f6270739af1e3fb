"""The section with the picture of a release: the rollout, its changes, and the evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.optional_fields import optional_fields
from flagstaff._words.local_formats import local_days, local_number, local_time_text
from flagstaff._words.times import local_time
from flagstaff.admin.cells import time_cell
from flagstaff.admin.confirmation import MAX_TEXT
from flagstaff.admin.flag.page.release_chart import Mark, release_chart
from flagstaff.admin.flag.page.release_counts import Count, Evaluations, evaluations_of
from flagstaff.admin.flag.page.release_history import ReleaseHistory, release_history
from flagstaff.admin.flag.page.release_period import PARAMETER, PERIODS, Period, period_of
from flagstaff.admin.history.event_cells import with_links
from flagstaff.admin.links import page_url
from flagstaff.admin.page import stored_row
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf
from flagstaff.history import Event
from flagstaff.history.describe import describe_actor, describe_change, source_label

_ALL = 100
# The places for marks: those of one place become one mark.
_PLACES = 30
# What a mark shows: changes, and characters of each.
_MAX_LINES, _MAX_LINE = 4, 160
# An actor that is no user may be any text.
_MAX_ACTOR, _MAX_SHORT = 30, 15


def release(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the section. Makes two queries, beside the one that finds the tables."""
    flag = stored_row(flag)
    period = period_of(request.GET.get(PARAMETER, ""))
    usage = evaluations_of(request, flag.key, period)
    history = release_history(request, flag, period)
    url = page_url(model_admin.admin_site, model_admin.model, "history", flag.pk)
    context: dict[str, object] = {
        "sentences": [*_sentences(usage, history)],
        "notes": [] if usage is None else _notes(usage),
        "periods": _periods(request, period),
        "has_rules": bool(optional_fields(flag).rules),
    }
    counts = usage.counts if usage is not None and usage.sum.total else None
    if history is not None or counts:
        marks = [] if history is None else [*_marks(history, period, url)]
        context |= {
            "chart": release_chart(
                period,
                history,
                counts,
                marks,
                value="" if history is None else _value(history),
                label=_label(period, history, usage),
            ),
            "has_marks": bool(marks),
            "counts": [*_count_rows(period, counts)] if counts else [],
            "is_in_days": period.is_in_days,
            "history": url,
        }
    if history is not None:
        context |= {
            "changes": [_change_row(history, event) for event in history.events],
            "before": _before(history, period),
            "more": _more(history.more),
        }
    return render_to_string("flagstaff/flag_page/release.html", context)


def _sentences(usage: Evaluations | None, history: ReleaseHistory | None) -> Iterator[str]:
    """Yields the numbers of evaluations, and what cannot be shown."""
    if usage is not None:
        yield _sentence(usage)
    elif history is not None:
        yield no_usage()
    if history is not None:
        return
    yield (
        _("The changes and the evaluations cannot be shown.")
        if usage is None
        else _("The changes cannot be shown.")
    )
    yield _(
        "This needs PostgreSQL, the migrations of flagstaff, and the permission to read its tables."
    )


def _sentence(found: Evaluations) -> str:
    count = found.last_24_hours
    if count.total:
        text = ngettext(
            "{count} evaluation in the last 24 hours, {share} true, last {time}.",
            "{count} evaluations in the last 24 hours, {share} true, last {time}.",
            count.total,
        )
        return format_html(
            text,
            count=local_number(count.total),
            share=_share(count),
            time=time_cell(found.last_evaluated_at),
        )
    if found.last_evaluated_at is not None:
        text = _("No evaluation in the last 24 hours, last {time}.")
        return format_html(text, time=time_cell(found.last_evaluated_at))
    if found.is_since_begin:
        return _("No evaluation since counting began.")
    return _("No evaluation in the last %(days)s.") % {"days": local_days(conf.stale_days)}


def _share(count: Count) -> str:
    """A percentage that is 0 or 100 only if it is exact."""
    part, whole = count.true_count, count.total
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


def _periods(request: HttpRequest, period: Period) -> list[tuple[object, str]]:
    """Returns the name of each period, and its URL, which is empty for the one that is shown."""
    found: list[tuple[object, str]] = []
    for name, text in PERIODS.items():
        parameters = request.GET.copy()
        parameters[PARAMETER] = name
        found.append((text, "" if name == period.name else f"?{parameters.urlencode()}"))
    return found


def _marks(history: ReleaseHistory, period: Period, url: str) -> Iterator[Mark]:
    """Yields the marks, newest first."""

    def number(event: Event) -> int:
        return int(period.place(event.at) * _PLACES)

    for _number, group in groupby(history.events, number):
        events = [*group]
        newest = events[0]
        lines = [_line(history, event) for event in events[:_MAX_LINES]]
        if older := _more(len(events) - len(lines)):
            lines.append(older)
        yield Mark(
            place=period.place(newest.at),
            percent=history.percent_at(min(newest.at, period.present)) or 0,
            is_step=any(map(_is_step, events)),
            lines=tuple(lines),
            url=f"{url}#version-{newest.version}",
        )


def _is_step(event: Event) -> bool:
    names = {one.field for one in event.differences}
    return event.action != "change" or not names.isdisjoint({"enabled", "rollout_percent"})


def _line(history: ReleaseHistory, event: Event) -> str:
    parts = (_actor(history, event), describe_change(event, limit=_MAX_LINE), event.reason)
    text = Truncator(" · ".join(part for part in parts if part)).chars(_MAX_LINE)
    return f"{local_time_text(event.at)}: {text}"


def _actor(history: ReleaseHistory, event: Event) -> str:
    return Truncator(describe_actor(event, history.names)).chars(_MAX_ACTOR)


def _value(history: ReleaseHistory) -> str:
    """Returns the present rollout, with the actor of its last change."""
    percent = history.steps[-1].percent
    if percent is None:
        return ""
    event = next(filter(_is_step, history.events), None)
    # The database user is less known, and as long as the line.
    actor = describe_actor(event, history.names) if event and event.actor else ""
    return f"{percent} % {Truncator(actor).chars(_MAX_SHORT)}".strip()


def _label(period: Period, history: ReleaseHistory | None, usage: Evaluations | None) -> str:
    """Returns what the picture shows, in one sentence."""
    parts = []
    if history is not None:
        begin, end = history.steps[0].percent, history.steps[-1].percent
        text = _("rollout %(percent)s %%")
        if begin is not None and begin != end:
            text = _("rollout from %(begin)s %% to %(percent)s %%")
        if end is not None:
            parts.append(text % {"begin": begin, "percent": end})
        text = ngettext("%(count)s change", "%(count)s changes", history.count)
        parts.append(text % {"count": local_number(history.count)})
    if usage is not None:
        count = usage.sum
        text = ngettext("%(count)s evaluation", "%(count)s evaluations", count.total)
        parts.append(text % {"count": local_number(count.total)})
        if count.total:
            parts.append(_("%(share)s true") % {"share": _share(count)})
    texts = {"period": PERIODS[period.name], "parts": ", ".join(parts)}
    return _("The last %(period)s: %(parts)s.") % texts


def _count_rows(period: Period, counts: tuple[Count, ...]) -> Iterator[dict[str, str]]:
    """Yields a row for each hour or day, newest first."""
    for start, count in zip(reversed(period.starts), reversed(counts), strict=True):
        local = local_time(start)
        # An hour has its time zone: two hours of a year have the same time.
        time = "" if period.is_in_days else date_format(local, ", H:i T")
        yield {
            "time": date_format(local, "SHORT_DATE_FORMAT") + time,
            "true": local_number(count.true_count),
            "false": local_number(count.false_count),
            "share": _share(count) if count.total else "",
        }


def _change_row(history: ReleaseHistory, event: Event) -> dict[str, object]:
    return {
        "version": str(event.version),
        "at": event.at,
        "time": local_time_text(event.at),
        "change": describe_change(event, limit=MAX_TEXT),
        "actor": _actor(history, event),
        "source": source_label(event.source),
        "reason": with_links(event.reason or ""),
    }


def _before(history: ReleaseHistory, period: Period) -> str:
    """Returns what was known at the start of the period."""
    first, *others = history.steps
    texts = {"percent": first.percent, "time": local_time_text(period.since)}
    if first.percent is None:
        return ""
    if first.is_known:
        return _("The rollout was %(percent)s %% on %(time)s.") % texts
    if not others:
        return _("The history has no change of this flag: the dashed line is its present rollout.")
    texts["first"] = local_time_text(others[0].at)
    return _("The history begins on %(first)s. The dashed line is the rollout before.") % texts


def _more(count: int) -> str:
    text = ngettext("and %(count)s more change", "and %(count)s more changes", count)
    return text % {"count": local_number(count)} if count else ""
