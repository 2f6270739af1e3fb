"""The page of unknown keys: a table, with a link that creates each flag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db import connections
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.usage import (
    OTHER_KEYS,
    HourlyUsage,
    UsagePeriod,
    require_usage,
    unknown_keys,
    usage_period,
)
from flagstaff._tables.rows import all_rows
from flagstaff._taken_keys import key_is_taken, taken_keys
from flagstaff._words.similar import most_similar
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import aware, local_days
from flagstaff.admin.cells import time_cell
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.parts.former_flags import former_texts
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.rights import hidden_rows
from flagstaff.admin.usage_period import no_usage, period_text, reports_text
from flagstaff.conf import conf
from flagstaff.validators import key_problem

#: The parameters: the period in days, and the page.
DAYS, PAGE = "days", "p"

# The first is the default: counts of many days take longer to add up.
_PERIODS = (7, 1, 30, 365)
_PAGE_SIZE = 50


class UnknownKeysAdmin(PlainPageAdmin):
    """Users who may view flags see the keys. Those who may add flags can create them."""

    page_template = "flagstaff/unknown_keys.html"
    docs_page = "operators/"

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The unknown keys of a period. The number of queries does not depend on theirs."""
        days, number = _period(request), _page(request)
        unknown = _read(days, number) if is_postgresql(connections[conf.database]) else None
        if unknown is not None and number and not unknown.keys:
            # The page became empty, for example because the flags of its keys were created.
            number, unknown = 0, _read(days, 0)
        if unknown is None:
            return {"problem": no_usage()}
        return {
            "rows": _unknown_rows(self.admin_site, request, unknown.keys),
            "periods": [_link(period, days) for period in sorted(_PERIODS)],
            "sentence": _sentence(unknown, days),
            "notes": _notes(unknown.period, days),
            "newer": _url(days, number - 1) if number else "",
            "older": _url(days, number + 1) if unknown.total > (number + 1) * _PAGE_SIZE else "",
        }


class _Unknown(NamedTuple):
    """The keys of a page, the number of all, and which time their counts cover."""

    keys: Sequence[HourlyUsage]
    total: int
    period: UsagePeriod


def _read(days: int, page: int) -> _Unknown | None:
    def read() -> _Unknown:
        require_usage()
        # Before the keys, which include at least what was reported until then.
        period = usage_period()
        age, offset = timedelta(days=days), page * _PAGE_SIZE
        return _Unknown(*unknown_keys(age, limit=_PAGE_SIZE, offset=offset), period)

    return value_or_default("the page of unknown keys cannot read the usage", read, None)


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


def count_sentence(total: int, days: int) -> str:
    """Returns how many unknown keys there are, at least one."""
    text = ngettext(
        "In the last %(days)s, your code evaluated %(count)s key that has no flag.",
        "In the last %(days)s, your code evaluated %(count)s keys that have no flag.",
        total,
    )
    return text % {"days": _duration(days), "count": local_number(total)}


def _sentence(unknown: _Unknown, days: int) -> str:
    if unknown.total:
        return count_sentence(unknown.total, days)
    if unknown.period.until is None:
        return _("No worker has reported its evaluations yet.")
    text = _("Every key that was evaluated in the last %(days)s has a flag.")
    return text % {"days": _duration(days)}


def _notes(period: UsagePeriod, days: int) -> Sequence[str]:
    """Which time the counts cover, how late they are, and what is not counted."""
    notes = [period_text(_within(period, days)), reports_text()]
    notes.append(_("Only keys of flags are counted, not keys of values."))
    return [note for note in notes if note]


def _within(period: UsagePeriod, days: int) -> UsagePeriod:
    """The same period, which does not begin before the days of the page."""
    if period.since is None:
        return period
    first: datetime = aware(timezone.now()) - timedelta(days=days)
    return replace(period, since=max(period.since, first))


def _unknown_rows(
    site: AdminSite, request: HttpRequest, keys: Sequence[HourlyUsage]
) -> list[Mapping[str, object]]:
    """Returns the rows. Makes a number of queries that does not depend on the number of keys."""
    names = [key.key for key in keys]
    taken = taken_keys("flag", names) if names else {}
    former = former_texts(site, request, names)
    similar = _similar_flags(site, request, names) if names else {}
    problems = {name: _problem(name, taken.get(name, "")) for name in names}
    add_url = _add_url(site, request)
    return [
        {
            "key": name,
            "count": local_number(key.count),
            "last": time_cell(key.last_at),
            "first": time_cell(key.hour),
            "similar": similar.get(name),
            "former": former.get(name),
            "problem": problems[name],
            "create_url": "" if problems[name] else _create_url(add_url, name),
        }
        for name, key in zip(names, keys, strict=True)
    ]


def _create_url(add_url: str, key: str) -> str:
    return add_url and f"{add_url}?{urlencode({'key': key})}"


def _add_url(site: AdminSite, request: HttpRequest) -> str:
    """The page that adds a flag; empty if the user cannot."""
    flag_admin = admin_of(site, conf.flag_model)
    if flag_admin is None or not flag_admin.has_add_permission(request):
        return ""
    return page_url(site, conf.flag_model, "add")


def _problem(key: str, kind: str) -> str:
    """Why no flag can have the key."""
    if key == OTHER_KEYS:
        return _(
            "This row counts all keys that look generated, and all keys after the first 1,000 of a "
            "process."
        )
    if kind:
        return localized(key_is_taken(key, kind))
    if problem := key_problem(key):
        return _("No flag can have this key: %(problem)s.") % {"problem": localized(problem)}
    return ""


# "new_chekout" and "new_checkout" are similar; keys that share only a prefix are not.
_CUTOFF = 0.8
# Comparing in full is slow: only the flags with the most parts in common are compared.
_MAX_COMPARED = 5
# A part that more flags have, such as a prefix, is ignored.
_MAX_COMMON = 100
_PART = 3


def _similar_flags(
    site: AdminSite, request: HttpRequest, keys: Collection[str]
) -> Mapping[str, tuple[str, str]]:
    """Returns the key and the page of the most similar flag of each key that has one. One query.

    The page is empty if the user may not open it.
    """
    model = conf.flag_model
    hidden = hidden_rows(site, request, model)
    rows = all_rows(model).order_by("key").values_list("key", "pk")
    pks = {key: pk for key, pk in rows if str(pk) not in hidden}
    has_link = may_view(site, request, model)
    return {
        key: (name, page_url(site, model, "change", pks[name]) if has_link else "")
        for key, name in similar_keys(keys, pks).items()
    }


def similar_keys(keys: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Returns the most similar known key of each key that has one. Ignores case."""
    folded = {name.casefold(): name for name in known}
    names_by_part: dict[str, list[str]] = defaultdict(list)
    for name in folded:
        for part in _parts(name):
            names_by_part[part].append(name)
    similar: dict[str, str] = {}
    for key in keys:
        name = key.casefold()
        near = name if name in folded else _nearest(name, names_by_part)
        if near:
            similar[key] = folded[near]
    return similar


def _nearest(name: str, names_by_part: Mapping[str, list[str]]) -> str | None:
    counts = Counter(
        other
        for part in _parts(name)
        if len(those := names_by_part.get(part, ())) <= _MAX_COMMON
        for other in those
    )
    most = [other for other, _count in counts.most_common(_MAX_COMPARED)]
    return most_similar(name, most, _CUTOFF)


def _parts(name: str) -> set[str]:
    """The parts of three characters."""
    # Short names have parts, too.
    padded = f"  {name} "
    return {padded[start : start + _PART] for start in range(len(padded) - _PART + 1)}
