"""The page of unknown keys: a table, with a link that creates each flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db import connections
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.unknown_keys import UnknownKeys, unknown_keys
from flagstaff._words.lists import join_some
from flagstaff._words.local_formats import local_days, local_number
from flagstaff._words.times import aware
from flagstaff.admin.attempts import attempt
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.unknown_keys.rows import unknown_rows
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf
from flagstaff.history.describe import and_more

#: The parameters: the period in days, and the page.
DAYS, PAGE = "days", "p"

# The first is the default: counts of many days take longer to add up.
_PERIODS = (7, 1, 30, 365)
_PAGE_SIZE = 50


class UnknownKeysAdmin(PlainPageAdmin):
    """Users who may view flags see the keys. Those who may add flags can create them."""

    page_template = "flagstaff/unknown_keys.html"

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The unknown keys of a period. The number of queries does not depend on theirs."""
        days, number = _period(request), _page(request)
        found = _read(days, number) if is_postgresql(connections[conf.database]) else None
        if found is not None and number and not found.keys:
            # The page became empty, for example because the flags of its keys were created.
            number, found = 0, _read(days, 0)
        if found is None:
            return {"problem": no_usage()}
        return {
            "rows": unknown_rows(self.admin_site, request, found.keys),
            "periods": [_link(one, days) for one in sorted(_PERIODS)],
            "sentence": _sentence(found, days),
            "notes": _notes(found, days),
            "newer": _url(days, number - 1) if number else "",
            "older": _url(days, number + 1) if found.total > (number + 1) * _PAGE_SIZE else "",
        }


def _read(days: int, page: int) -> UnknownKeys | None:
    return attempt(
        "the page of unknown keys cannot read the usage",
        lambda: unknown_keys(age=timedelta(days=days), limit=_PAGE_SIZE, offset=page * _PAGE_SIZE),
        None,
    )


def _period(request: HttpRequest) -> int:
    text = request.GET.get(DAYS, "")
    return next((days for days in _PERIODS if str(days) == text), _PERIODS[0])


def _page(request: HttpRequest) -> int:
    text = request.GET.get(PAGE, "")
    # Longer numbers are pages that do not exist.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("99999") else 0


def _url(days: int, page: int = 0) -> str:
    query = {DAYS: days} | ({PAGE: page} if page else {})
    return f"?{urlencode(query)}"


def _link(days: int, current: int) -> Mapping[str, object]:
    label = _("Last %(days)s") % {"days": _duration(days)}
    return {"label": label, "url": _url(days), "is_current": days == current}


def _duration(days: int) -> str:
    if days > 1:
        return local_days(days)
    hours = 24
    return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": hours}


def _sentence(found: UnknownKeys, days: int) -> str:
    period = {"days": _duration(days)}
    if found.total:
        text = ngettext(
            "In the last %(days)s, your code evaluated %(count)s key that has no flag.",
            "In the last %(days)s, your code evaluated %(count)s keys that have no flag.",
            found.total,
        )
        return text % {**period, "count": local_number(found.total)}
    if found.until is None:
        return _("No worker has reported its evaluations yet.")
    return _("Every key that was evaluated in the last %(days)s has a flag.") % period


def _notes(found: UnknownKeys, days: int) -> Sequence[str]:
    """Which time the counts cover, how late they are, and what is not counted."""
    notes = [period_text(_within(found, days)), reports_text(found)]
    if found.hosts:
        text = _("Reported by workers on %(hosts)s. Each count is the total of all hosts.")
        notes.append(text % {"hosts": join_some(found.hosts, more=and_more)})
    notes.append(_("Only keys of flags are counted, not keys of values."))
    return [note for note in notes if note]


def _within(found: UnknownKeys, days: int) -> UnknownKeys:
    """The same, with a period that does not begin before the days of the page."""
    if found.since is None:
        return found
    first: datetime = aware(timezone.now()) - timedelta(days=days)
    return replace(found, since=max(aware(found.since), first))
