"""The shortcuts above the list of flags: links to filters, with the number of their flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.flag_states import ReleaseState
from flagstaff._words.local_formats import local_days, local_number
from flagstaff.admin.flag.list.conditions import LONG
from flagstaff.admin.flag.list.filters import (
    UNCHANGED,
    ChangedFilter,
    EvaluatedFilter,
    MineFilter,
    StateFilter,
)
from flagstaff.admin.flag.list.overview import ALL, CHANGED, MINE, ROLLOUT, UNUSED, Overview

_STATE, _CHANGED = StateFilter.parameter_name, ChangedFilter.parameter_name
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    CHANGED: {_CHANGED: "24h"},
    ROLLOUT: {_STATE: ReleaseState.ROLLOUT.value},
    MINE: {MineFilter.parameter_name: "yes"},
    ALL: {_STATE: ReleaseState.ALL.value, _CHANGED: UNCHANGED},
    UNUSED: {EvaluatedFilter.parameter_name: f"not-{LONG}d"},
}


@dataclass(frozen=True)
class Shortcut:
    """A link above the list."""

    label: str
    #: The number of flags, in the format of the language; empty if they were not counted.
    count: str
    query: str
    #: Whether the list shows these flags now.
    is_current: bool


def shortcuts(
    request: HttpRequest, overview: Overview, filters: Sequence[object]
) -> list[Shortcut]:
    """Returns the shortcuts to filters that the list has. Does not query.

    Those without a flag are left out, but for the first one.
    """
    labels, given = _labels(), dict(request.GET.items())
    present = {getattr(one, "parameter_name", None) for one in filters}
    return [
        Shortcut(labels[name], _number(count), f"?{urlencode(query)}", given == dict(query))
        for name, count in overview.counts.items()
        if (query := _PARAMETERS[name]).keys() <= present and (count != 0 or name == CHANGED)
    ]


def _number(count: int | None) -> str:
    return "" if count is None else local_number(count)


def _labels() -> dict[str, str]:
    days = {"days": local_days(LONG)}
    hours = 24
    changed = ngettext("Changed in %(count)s hour", "Changed in %(count)s hours", hours)
    return {
        CHANGED: changed % {"count": hours},
        ROLLOUT: _("In rollout"),
        MINE: _("Owned by me"),
        ALL: _("On for all, unchanged for %(days)s") % days,
        UNUSED: _("Not evaluated for %(days)s") % days,
    }
