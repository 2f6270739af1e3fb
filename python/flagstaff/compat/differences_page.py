"""The page of the differences between waffle and flagstaff, and their line on the overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._extensions import Level, OverviewLine
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.local_formats import local_days, local_number
from flagstaff._words.message import localized
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.compat.causes import URGENT, Cause, label_of, text_of
from flagstaff.compat.differences import (
    DAYS,
    SHOWN_DAYS,
    Differences,
    Found,
    days_ago,
    read_differences,
    urgent_names,
    why_nothing,
)
from flagstaff.compat.models import Difference
from flagstaff.history.user_names import may_see_users

_PERIODS = (1, SHOWN_DAYS, DAYS)
# The parameters of the filters.
_DAYS, _CAUSE, _NAME = "days", "cause", "name"


class DifferencesAdmin(PlainPageAdmin):
    """Users who may view differences see them, added up over the days of a period."""

    page_template = "flagstaff/compat/differences.html"
    docs_page = "how-to/from-waffle/"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user has the permission of the model."""
        return super(PlainPageAdmin, self).has_view_permission(request, obj)

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The differences, and what their causes mean. Makes three queries."""
        filters = _filters(request)
        found = value_or_default(
            "the page of differences cannot read them",
            lambda: read_differences(days_ago(int(filters[_DAYS]))),
            None,
        )
        if found is None:
            return {"problem": _("The differences cannot be shown. Run “manage.py migrate”.")}
        causes = [cause for cause in Cause if any(one.cause is cause for one in found.found)]
        listed = [one for one in found.found if _is_listed(one, filters)]
        names = _names(request, listed)
        return {
            "sentence": _sentence(found),
            "menus": [_periods(filters), _causes(filters, causes)],
            "name": filters[_NAME],
            "all_url": _url({**filters, _CAUSE: "", _NAME: ""}),
            "rows": [_row(one, filters, names) for one in listed],
            "causes": [{**_label(cause), "text": localized(text_of(cause))} for cause in causes],
            "problems": [
                {"kind": _kind(row.kind), "name": row.name, "problem": row.problem}
                for row in found.problems
            ],
            "may_see_users": may_see_users(request.user),
        }


_Filters = Mapping[str, str]


def _filters(request: HttpRequest) -> dict[str, str]:
    days = request.GET.get(_DAYS, "")
    return {
        _DAYS: days if days in map(str, _PERIODS) else str(SHOWN_DAYS),
        _CAUSE: request.GET.get(_CAUSE, ""),
        _NAME: request.GET.get(_NAME, ""),
    }


def _is_listed(one: Found, filters: _Filters) -> bool:
    return filters[_CAUSE] in ("", one.cause.value) and filters[_NAME] in ("", one.name)


def _url(filters: _Filters) -> str:
    return f"?{urlencode({name: value for name, value in filters.items() if value})}"


def _menu(
    label: str, filters: _Filters, name: str, choices: Sequence[tuple[str, str]]
) -> Mapping[str, object]:
    links = [
        {
            "label": text,
            "url": _url({**filters, name: value}),
            "is_current": filters[name] == value,
        }
        for value, text in choices
    ]
    return {"label": label, "links": links}


def _periods(filters: _Filters) -> Mapping[str, object]:
    text = _("Last %(days)s")
    choices = [(str(days), text % {"days": local_days(days)}) for days in _PERIODS]
    return _menu(_("Period"), filters, _DAYS, choices)


def _causes(filters: _Filters, causes: Sequence[Cause]) -> Mapping[str, object]:
    choices = [("", _("All causes")), *((cause.value, label_of(cause)) for cause in causes)]
    return _menu(_("Cause"), filters, _CAUSE, choices)


def _sentence(found: Differences) -> str:
    if not found.evaluations:
        return localized(why_nothing())
    text = _("%(count)s evaluations were compared; %(equal)s had equal results.")
    numbers = {"count": found.evaluations, "equal": found.equal.total()}
    return text % {name: local_number(number) for name, number in numbers.items()}


def _names(request: HttpRequest, listed: Sequence[Found]) -> Mapping[str, str]:
    """Returns the names of the example users that the user may see. Makes a query, or none."""
    pks = {one.user_pk for one in listed if one.user_pk}
    if not pks or not may_see_users(request.user):
        return {}
    none: Mapping[str, str] = {}
    return value_or_default(
        "the page of differences cannot read users", lambda: allowed_user_table().names(pks), none
    )


def _row(one: Found, filters: _Filters, names: Mapping[str, str]) -> Mapping[str, object]:
    return {
        "kind": _kind(one.kind),
        "name": one.name,
        "url": _url({**filters, _NAME: one.name}),
        **_label(one.cause),
        "waffle": _state(one.waffle),
        "flagstaff": _state(one.flagstaff),
        "count": local_number(one.count),
        "equal": local_number(one.equal),
        "last_day": date_format(one.last_day),
        "user": names.get(one.user_pk, one.user_pk),
        "path": one.path,
    }


def _kind(kind: str) -> str:
    return {"switch": _("switch"), "sample": _("sample")}.get(kind, _("flag"))


def _state(result: bool) -> str:  # noqa: FBT001 (a result)
    return pgettext("state of a flag", "on") if result else pgettext("state of a flag", "off")


def _label(cause: Cause) -> Mapping[str, str]:
    badge = "flagstaff-tripped" if cause in URGENT else "flagstaff-off"
    return {"cause": label_of(cause), "badge": badge}


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns a line if a person must look at a name, and the user may. Makes one query."""
    if not may_view(site, request, Difference):
        return []
    names = urgent_names(days_ago(SHOWN_DAYS))
    if not names:
        return []
    text = ngettext(
        "%(count)s name of waffle must be looked at before flagstaff serves it.",
        "%(count)s names of waffle must be looked at before flagstaff serves them.",
        len(names),
    )
    title = str(capfirst(Difference._meta.verbose_name_plural))
    count, url = local_number(len(names)), page_url(site, Difference, "changelist")
    level = Level.PROBLEM if any(names.values()) else Level.NOTICE
    return [OverviewLine(title, text % {"count": count}, level, url, count)]
