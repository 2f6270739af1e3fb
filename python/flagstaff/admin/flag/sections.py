"""Sections of the page of a flag: evaluations, who has it, signals of being stale, and apps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from datetime import timezone as zones
from functools import partial
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explain
from flagstaff._engine.typed_context import parse_text
from flagstaff._engine.usage import HourlyUsage, hourly_usage, usage_period
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import aware, local_days, local_time
from flagstaff.actions.arguments import name_of_users
from flagstaff.admin.app_pages import PAGES
from flagstaff.admin.cells import time_cell
from flagstaff.admin.charts import bars
from flagstaff.admin.fallbacks import can_read, value_or_default
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.flag.steps import shown_steps
from flagstaff.admin.menu import page_link, page_title
from flagstaff.admin.rights import may, needs_view_user_text
from flagstaff.admin.row_page import Section
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.admin.words import badge
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.flag_rows import Selection
from flagstaff.stale.signals import Assessment
from flagstaff.stale.texts import evidence_of, unknown_lines

# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"
# The results of evaluations of one flag, and the hours of the chart.
_RESULTS = {"true", "false"}
_HOURS = 7 * 24
# What a section shows that cannot be read.
_UNREADABLE: str = SafeString("\N{EN DASH}")


def evaluations(request: HttpRequest, flag: Any) -> Section:
    """Returns how often a flag was evaluated, by hour. A query or two, and that of `can_read`."""
    title = _("Evaluations")
    if not conf.usage_interval or not can_read(request, "usage_table"):
        return Section(title, "")
    now = aware(timezone.now()).astimezone(zones.utc)
    hours = hourly_usage([flag.key], now - timedelta(days=max(conf.stale_days, _HOURS // 24)))
    sentences = format_html(
        "<p>{}</p>", format_html_join(" ", "{}", ((one,) for one in _sentences(hours, now)))
    )
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=_HOURS - 1)
    counts = [[0, 0] for _hour in range(_HOURS)]
    for one in hours:
        # The clock of a worker may be ahead.
        hour = min((aware(one.hour) - first) // timedelta(hours=1), _HOURS - 1)
        if hour >= 0 and one.result in _RESULTS:
            counts[hour][0] += one.count if one.result == "true" else 0
            counts[hour][1] += one.count
    if not any(whole for _part, whole in counts):
        return Section(title, sentences)
    starts = (local_time(first + timedelta(hours=hour)) for hour in range(_HOURS))
    days = {hour: date_format(at, "D") for hour, at in enumerate(starts) if at.hour == 0}
    text = _("True results, and all, by hour in the last %(days)s") % {"days": local_days(7)}
    chart = bars([(part, whole) for part, whole in counts], days, text)
    return Section(title, format_html("{}{}", sentences, chart))


def _sentences(hours: Sequence[HourlyUsage], now: datetime) -> Iterator[SafeString | str]:
    """Says that the flag was not evaluated only where an evaluation would have been counted."""
    counted = [one for one in hours if one.result in _RESULTS]
    recent = [one for one in counted if aware(one.last_at) >= now - timedelta(days=1)]
    count = sum(one.count for one in recent)
    last, bulk, browsers = (
        max((one.last_at for one in hours if one.result in results), default=None)
        for results in (_RESULTS, {"bulk"}, {"browsers"})
    )
    if count:
        text = ngettext(
            "{count} evaluation in the last 24 hours, {percent} % true, last {time}.",
            "{count} evaluations in the last 24 hours, {percent} % true, last {time}.",
            count,
        )
        true = sum(one.count for one in recent if one.result == "true")
        percent = percent_true(true, count)
        yield format_html(text, count=local_number(count), percent=percent, time=time_cell(last))
    elif last is not None:
        text = _("No evaluation in the last 24 hours, last {time}.")
        yield format_html(text, time=time_cell(last))
    elif not (bulk or browsers):
        begin, days = usage_period().since, conf.stale_days
        is_young = begin is None or begin > now - timedelta(days=days)
        yield (
            _("No evaluation since counting began.")
            if is_young
            else _("No evaluation in the last %(days)s.") % {"days": local_days(days)}
        )
    if browsers:
        yield format_html(_("Served to browsers, last {time}."), time=time_cell(browsers))
    if bulk:
        yield format_html(_("Served in bulk, last {time}."), time=time_cell(bulk))
        if not (last or browsers):
            yield _(
                "It is not known whether the code uses the flag: an evaluation of one key would be "
                "counted."
            )


def percent_true(true: int, count: int) -> int:
    """Returns a percentage that is 0 or 100 only if it is exactly that."""
    percent = round(100 * true / count)
    return min(max(percent, int(true > 0)), 100 - int(true < count))


def who_has_it(request: HttpRequest, flag: Any) -> Section:
    """Returns a form, and each step of the evaluation for the user whom the URL names.

    Then queries the user and the flag.
    """
    # The names of the fields are those of the parameters in the URL.
    user, context = request.GET.get("user"), request.GET.get("context")
    may_see = may_see_users(request.user)
    is_submitted = may_see and (user, context) != (None, None)
    page = {
        "needs_permission": "" if may_see else needs_view_user_text(),
        "user": user or "",
        "name_of_users": name_of_users(),
        "context": context or "",
        "filters": request.GET.get(_FILTERS, ""),
        "answer": _answer(flag.key, (user or "").strip(), context or "") if is_submitted else None,
    }
    return Section(_("Who has it?"), render_to_string("flagstaff/who_has_it.html", page))


def _answer(key: str, text: str, context: str) -> Mapping[str, object]:
    """Evaluates the flag as it is stored: the snapshot of this process may be older."""
    typed, user = parse_text(context), typed_user(text)
    problems = {"context": [*map(localized, typed.problems)], "user": user.problem}
    if any(problems.values()):
        return {"problems": problems}
    with read_own_writes():
        explanation = explain(key, user.argument, context=typed.attributes)
    return {
        "result": _result(explanation, user),
        "notes": [*user.notes()],
        "steps": shown_steps(explanation),
    }


def _result(explanation: Explanation, user: TypedUser) -> str:
    texts = {"user": user.words}
    if explanation.error_code in ("PARSE_ERROR", "GENERAL"):
        return _("The flag returns the default of the call for %(user)s.") % texts
    if explanation.error_code is not None:
        return _("The flag cannot be read from the database.")
    return (_("On for %(user)s.") if explanation.value else _("Off for %(user)s.")) % texts


def clean_up(site: AdminSite, request: HttpRequest, flag: Any) -> Section:
    """Returns the signals of a flag of being stale, and a link to the page of stale flags."""
    html = value_or_default(
        "the signals of a flag cannot be read", partial(_clean_up, site, request, flag), _UNREADABLE
    )
    return Section(_("Clean-up"), html)


def _clean_up(site: AdminSite, request: HttpRequest, flag: Any) -> SafeString:
    selection = Selection(
        Q(),
        rows=[(flag, getattr(flag, ALLOWED_COUNT))],
        is_readable=can_read(request, "change_table", "usage_table"),
    )
    found = assess_flags(selection=selection)
    lines = [line for one in found for line in _stale_lines(one)] + unknown_lines(found)
    if not lines:
        return SafeString()
    if any(one.is_stale for one in found) and may(site, request, "change", flag):
        lines.append(_("If you still need it, set a review date: it is not listed until then."))
    if url := page_link(site, request, "stale"):
        lines.append(format_html('<a href="{}">{}</a>', url, page_title("stale")))
    return format_html_join("", '<p class="flagstaff-line">{}</p>', ((line,) for line in lines))


def _stale_lines(flag: Assessment) -> list[str | SafeString]:
    lines: list[str | SafeString] = [f"{text}." for text in evidence_of(flag)]
    if flag.is_stale:
        lines[0] = format_html("{} {}", badge("stale", _("stale")), lines[0])
    elif lines and flag.facts.review_on is not None:
        text = _("The flag is not listed as stale until its review on %(date)s.")
        lines.append(text % {"date": date_format(flag.facts.review_on)})
    return lines


def app_sections(site: AdminSite, request: HttpRequest, flag: Any) -> Iterator[Section]:
    """Yields what the optional apps show of a flag."""
    for pages in PAGES:
        if pages.flag_section:
            read = partial(pages.flag_section, site, request, flag)
            html = value_or_default(f"the section {pages.name} cannot be read", read, _UNREADABLE)
            yield Section(capfirst(pages.label), html)
