"""The section with the picture of a release: the rollout, its changes, and the evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

from flagstaff._words.text import local_number
from flagstaff._words.times import local_days, local_time, local_time_text
from flagstaff.admin.cells import time_cell
from flagstaff.admin.confirmation import MAX_TEXT
from flagstaff.admin.flag.page.release_chart import Mark, release_chart
from flagstaff.admin.flag.page.release_data import (
    Count,
    Evaluations,
    ReleaseHistory,
    evaluations_of,
    release_history,
)
from flagstaff.admin.flag.page.release_period import PARAMETER, PERIODS, Period, period_of
from flagstaff.admin.history.event_cells import with_links
from flagstaff.admin.links import page_url
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_change, source_label
from flagstaff.history.log import Event

_ALL = 100
# The places for marks: those of one place become one mark.
_PLACES = 30
# What a mark shows: changes, and characters of each.
_MAX_LINES, _MAX_LINE = 4, 160
# An actor that is no user may be any text.
_MAX_ACTOR, _MAX_SHORT = 30, 15


def release(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the section: links, or the picture of the period that the URL names.

    The picture takes two queries, beside the one that finds the tables.
    """
    context: dict[str, object] = {"periods": PERIODS, "query": request.GET}
    if PARAMETER in request.GET:
        period = period_of(request.GET.get(PARAMETER, ""))
        history_url = page_url(model_admin.admin_site, model_admin.model, "history", flag.pk)
        context |= {"period": period, "history": history_url}
        context |= _picture(request, flag, period, history_url)
    return render_to_string("flagstaff/flag_page/release.html", context)


def _picture(request: HttpRequest, flag: Any, period: Period, url: str) -> Mapping[str, object]:
    usage = evaluations_of(request, flag.key, period)
    history = release_history(request, flag, period)
    counts = usage.counts if usage is not None and usage.sum.total else ()
    context: dict[str, object] = {
        "sentences": [*_sentences(usage, history)],
        "notes": [] if usage is None else _notes(usage),
        "has_rules": bool(flag.rules),
        "counts": [*_count_rows(period, counts)] if counts else [],
    }
    marks: list[Mark] = []
    if history is not None:
        marks = [*_marks(history, period, url)]
        context |= {
            "has_marks": bool(marks),
            "changes": [_change_row(history, event) for event in history.events],
            "before": _before(history, period),
            "more": _more(history.more),
        }
    if history is not None or counts:
        value = "" if history is None else _value(history)
        label = _label(period, history, usage)
        context["chart"] = release_chart(period, history, counts, marks, value=value, label=label)
    return context


def _sentences(usage: Evaluations | None, history: ReleaseHistory | None) -> Iterator[str]:
    """Yields the numbers of evaluations, and what cannot be shown."""
    if usage is not None:
        yield from _usage_sentences(usage)
    elif history is not None:
        yield no_usage()
    if history is None:
        yield (
            _("The changes and the evaluations cannot be shown.")
            if usage is None
            else _("The changes cannot be shown.")
        )
        yield _(
            "This needs PostgreSQL, the migrations of flagstaff, and the permission to read its "
            "tables."
        )


def _usage_sentences(found: Evaluations) -> Iterator[str]:
    """Says that the flag was not evaluated only where an evaluation would have been counted."""
    in_bulk, to_browsers = found.served_in_bulk_at, found.served_to_browsers_at
    is_evaluated = found.last_evaluated_at is not None
    if is_evaluated or not (in_bulk or to_browsers):
        yield _sentence(found)
    if to_browsers:
        yield format_html(_("Served to browsers, last {time}."), time=time_cell(to_browsers))
    if in_bulk:
        yield format_html(_("Served in bulk, last {time}."), time=time_cell(in_bulk))
        if not (is_evaluated or to_browsers):
            yield _(
                "It is not known whether the code uses the flag: an evaluation of one key would be "
                "counted."
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
    notes = period_text(found.usage), reports_text()
    return [note for note in notes if note]


def _marks(history: ReleaseHistory, period: Period, url: str) -> Iterator[Mark]:
    """Yields the marks, newest first."""
    for _place, group in groupby(
        history.events, lambda event: int(period.place(event.at) * _PLACES)
    ):
        events = [*group]
        newest = events[0]
        lines = [_line(history, event) for event in events[:_MAX_LINES]]
        yield Mark(
            place=period.place(newest.at),
            percent=history.percent_at(min(newest.at, period.present)) or 0,
            is_step=any(map(_is_step, events)),
            text="\n".join(filter(None, [*lines, _more(len(events) - len(lines))])),
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
        if begin not in {None, end}:
            text = _("rollout from %(begin)s %% to %(percent)s %%")
        if end is not None:
            parts.append(text % {"begin": begin, "percent": end})
        count = len(history.events) + history.more
        text = ngettext("%(count)s change", "%(count)s changes", count)
        parts.append(text % {"count": local_number(count)})
    if usage is not None:
        total = usage.sum.total
        text = ngettext("%(count)s evaluation", "%(count)s evaluations", total)
        parts.append(text % {"count": local_number(total)})
        if total:
            parts.append(_("%(share)s true") % {"share": _share(usage.sum)})
    texts = {"period": PERIODS[period.name], "parts": ", ".join(parts)}
    return _("The last %(period)s: %(parts)s.") % texts


def _count_rows(period: Period, counts: Sequence[Count]) -> Iterator[dict[str, str]]:
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
