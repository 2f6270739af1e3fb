"""The page of unknown keys: those of the last days, with a link that creates each flag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

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
from flagstaff._words.times import local_days, local_time_text
from flagstaff.admin.cells import time_cell, two_lines
from flagstaff.admin.flag.key_facts import former_texts
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.rights import hidden_rows
from flagstaff.admin.table import Column, Content, Page, Table, link, page_links, page_number
from flagstaff.admin.words import key_link
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError
from flagstaff.validators import key_problem

_DAYS = 7
_PAGE_SIZE = 50


class UnknownKeys(Page):
    """Users who may view flags see the keys. Those who may add flags can create them."""

    docs_page = "how-to/clean-up/"

    def content(self) -> Content:
        """The unknown keys. The number of queries does not depend on theirs."""
        try:
            require_usage()
        except NoUsageError as error:
            return Content(notes=[localized(error.message)])
        # Before the keys, which include at least what was reported until then.
        period, number = usage_period(), page_number(self.request)
        keys, total = _read(number)
        if not keys and number > 1:
            # The page became empty, for example because the flags of its keys were created.
            number = 1
            keys, total = _read(number)
        titles = (_("Last"), _("First"), _("Action"))
        columns = [Column(_("Key")), Column(_("Evaluations"), is_number=True)]
        return Content(
            sentence=_sentence(total, period),
            tables=[Table([*columns, *map(Column, titles)], self._rows(keys))] if keys else [],
            pages=page_links(self.request, number, has_next=total > number * _PAGE_SIZE),
            remarks=[
                _(
                    "Without a flag, a call returns its default. A flag that you create here is "
                    "off, so the call then returns False."
                ),
                *filter(None, (_period_text(period), _reports_text())),
                _("Only keys of flags are counted, not keys of values."),
            ],
        )

    def _rows(self, keys: Sequence[HourlyUsage]) -> list[Sequence[str]]:
        names = [one.key for one in keys]
        taken = taken_keys("flag", names)
        similar, former = self._similar(names), former_texts(self.site, self.request, names)
        add_url, rows = self._add_url(), list[Sequence[str]]()
        for one in keys:
            problem = _problem(one.key, taken.get(one.key, ""))
            about = (similar.get(one.key, ""), former.get(one.key, ""), problem)
            create_url = f"{add_url}?{urlencode({'key': one.key})}"
            rows.append(
                [
                    two_lines(key_link(one.key), *about),
                    local_number(one.count),
                    time_cell(one.last_at),
                    time_cell(one.hour),
                    link(create_url, _("Create flag…")) if add_url and not problem else "",
                ]
            )
        return rows

    def _similar(self, names: Sequence[str]) -> Mapping[str, str]:
        """Returns the most similar flag of each key that has one. Makes one query."""
        model = conf.flag_model
        has_link = may_view(self.site, self.request, model)
        hidden = hidden_rows(self.site, self.request, model)
        rows = all_rows(model).order_by("key").values_list("key", "pk")
        pks = {key: pk for key, pk in rows if str(pk) not in hidden}
        text = _("Did you mean {flag}?")

        def shown(name: str) -> str:
            url = page_url(self.site, model, "change", pks[name]) if has_link else ""
            return format_html(text, flag=key_link(name, url))

        return {key: shown(name) for key, name in similar_keys(names, pks).items()}

    def _add_url(self) -> str:
        """The page that adds a flag; empty if the user cannot."""
        flag_admin = admin_of(self.site, conf.flag_model)
        may_add = flag_admin is not None and flag_admin.has_add_permission(self.request)
        return page_url(self.site, conf.flag_model, "add") if may_add else ""


def _read(number: int) -> tuple[Sequence[HourlyUsage], int]:
    offset = (number - 1) * _PAGE_SIZE
    return unknown_keys(timedelta(days=_DAYS), limit=_PAGE_SIZE, offset=offset)


def _sentence(total: int, period: UsagePeriod) -> str:
    if not total and period.until is None:
        return _("No worker has reported its evaluations yet.")
    text = ngettext(
        "In the last %(days)s, your code evaluated %(count)s key that has no flag.",
        "In the last %(days)s, your code evaluated %(count)s keys that have no flag.",
        total,
    )
    if not total:
        text = _("Every key that was evaluated in the last %(days)s has a flag.")
    return text % {"days": local_days(_DAYS), "count": local_number(total)}


def _period_text(period: UsagePeriod) -> str:
    """Returns which time the counts cover; empty if nothing was counted."""
    if period.since is None:
        return ""
    times = {"since": local_time_text(period.since)}
    if period.until is None:
        return _("Counted since %(since)s.") % times
    times["until"] = local_time_text(period.until)
    return _("Counted since %(since)s, and until %(until)s.") % times


def _reports_text() -> str:
    """Returns how often workers report, or why they do not."""
    if not conf.usage_interval:
        return _("Usage is turned off: USAGE_INTERVAL is 0.")
    text = _("Workers report every %(seconds)s s: later evaluations are not included yet.")
    return text % {"seconds": f"{conf.usage_interval:g}"}


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
