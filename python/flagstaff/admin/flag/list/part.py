"""The list of flags: reads what it shows, its query, and its shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.flag_states import ReleaseState
from flagstaff._tables.model_fields import OWNER
from flagstaff._tables.tags import tags_text
from flagstaff._words.text import local_number
from flagstaff._words.times import local_days
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.list.columns import EVALUATED_ORDER, STATE_ORDER
from flagstaff.admin.flag.list.conditions import (
    LONG,
    allowed_count,
    has_usage,
    last_evaluation,
    state_rank,
)
from flagstaff.admin.flag.list.facts import FlagList, PageFacts, count_missing, read_facts
from flagstaff.admin.flag.list.filters import (
    OWNED_BY_ME,
    UNCHANGED,
    ChangedFilter,
    EvaluatedFilter,
    OwnerFilter,
    StateFilter,
)
from flagstaff.admin.flag.list.overview import (
    ALL,
    CHANGED,
    MINE,
    ROLLOUT,
    UNUSED,
    Overview,
    overview_of,
)
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.links import changes_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Part
from flagstaff.admin.rights import may, why_not_toggle
from flagstaff.history.kinds import Kind

#: The tags as text, in a query.
TAGS_TEXT = "flagstaff_tags"
#: The fields of the search, unless a subclass has its own.
SEARCH_FIELDS = ("key", "description", OWNER, TAGS_TEXT)
_NO_FACTS: Mapping[str, PageFacts] = {}


class FlagListPart(Part):
    """The list of flags. Comes before AppPanels, which shows notes about the same flags."""

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """All flags, on a page with the number of allowed users. The list counts its own rows."""
        rows = rows.alias(**{TAGS_TEXT: tags_text()})
        if page_of(request).is_list:
            return rows
        counted: QuerySet[Any] = rows.annotate(**{ALLOWED_COUNT: allowed_count(self.admin.model)})
        return counted

    def list_display(self, request: HttpRequest, columns: Sequence[Any]) -> Sequence[Any]:
        """The columns that have something to show."""
        return columns if has_usage() else [one for one in columns if one != "evaluated"]

    def list_ordering(self, request: HttpRequest, name: str) -> Any:
        """The expressions of the state and of the last evaluation."""
        if name == STATE_ORDER:
            return state_rank(request, self.admin.model)
        return last_evaluation() if name == EVALUATED_ORDER else None

    def list_count(self, request: HttpRequest, rows: QuerySet[Any]) -> int | None:
        """The number of all flags, which is known already."""
        is_whole = _is_whole(rows, self.admin.get_queryset(request))
        return overview_of(request, self.admin).total if is_whole else None

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Reads what the columns show."""
        overview = overview_of(request, self.admin)
        changelist.full_result_count = overview.total
        changelist.show_full_result_count = True
        changelist.show_admin_actions = overview.total > 0
        # Iterating keeps the rows, to which the numbers of allowed users are added.
        flags = list(changelist.result_list)
        site, read = self.admin.admin_site, partial(read_facts, flags, overview.usage_since)
        shown = FlagList(
            path=request.get_full_path(),
            toggled={str(one.pk) for one in flags if may(site, request, "toggle", one)},
            is_readable=overview.is_readable,
            facts=value_or_default(
                "the list of flags shows no evaluations and no changes", read, _NO_FACTS
            ),
        )
        page_of(request).keep(shown)
        count_missing(flags)

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> Mapping[str, object]:
        """The shortcuts above the list, and why buttons are disabled."""
        overview = overview_of(request, self.admin)
        site, model = self.admin.admin_site, self.admin.model
        may_toggle = may(site, request, "toggle", model)
        return {
            "flagstaff_shortcuts": _shortcuts(request, overview, changelist.list_filter),
            "flagstaff_total": overview.total,
            "flagstaff_deleted_url": _deleted_url(site, request, changelist.query),
            "flagstaff_why_not": "" if may_toggle else why_not_toggle(model),
        }


def _deleted_url(site: AdminSite, request: HttpRequest, text: str) -> str:
    """Returns the URL of the deleted flags whose key has this text; "" without a text."""
    if not text or not page_link(site, request, "changes"):
        return ""
    return changes_url(site, {"key": text, "kind": Kind.FLAG.value, "action": "delete"})


def _is_whole(flags: QuerySet[Any], every: QuerySet[Any]) -> bool:
    """Whether no filter and no search has added a condition."""
    return len(flags.query.where.children) == len(every.query.where.children)


def _shortcuts(
    request: HttpRequest, overview: Overview, filters: Sequence[object]
) -> list[Mapping[str, object]]:
    """The links to filters that the list has, with the numbers of their flags.

    Those without a flag are left out, but for the first one.
    """
    given, offered = dict(request.GET.items()), _offered_shortcuts()
    present = {getattr(one, "parameter_name", None) for one in filters}
    return [
        {
            "label": label,
            # Not all flags were counted.
            "count": "" if count is None else local_number(count),
            "query": f"?{urlencode(query)}",
            "is_current": given == query,
        }
        for name, count in overview.counts.items()
        for label, query in [offered[name]]
        if query.keys() <= present and (count != 0 or name == CHANGED)
    ]


def _offered_shortcuts() -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """The text and the query of each shortcut."""
    state, changed = StateFilter.parameter_name, ChangedFilter.parameter_name
    days = {"days": local_days(LONG)}
    hours = 24
    in_hours = ngettext("Changed in %(count)s hour", "Changed in %(count)s hours", hours)
    return {
        CHANGED: (in_hours % {"count": hours}, {changed: f"{hours}h"}),
        ROLLOUT: (_("In rollout"), {state: ReleaseState.ROLLOUT.value}),
        MINE: (_("Owned by me"), {OwnerFilter.parameter_name: OWNED_BY_ME}),
        ALL: (
            _("On for all, unchanged for %(days)s") % days,
            {state: ReleaseState.ALL.value, changed: UNCHANGED},
        ),
        UNUSED: (
            _("Not evaluated for %(days)s") % days,
            {EvaluatedFilter.parameter_name: f"not-{LONG}d"},
        ),
    }
