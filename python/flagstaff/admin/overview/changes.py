"""The changes of today, counted by actor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Case, Count, F, Func, TextField, Value, When
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.local_formats import local_number
from flagstaff._words.times import aware, local_time
from flagstaff.admin.recent_changes.filters import filters_of
from flagstaff.admin.recent_changes.page import viewable_kinds
from flagstaff.admin.recent_changes.urls import actor_url, day_query
from flagstaff.history.grouping import AUTHOR
from flagstaff.history.kinds import Kind
from flagstaff.history.recent import unreadable_kinds
from flagstaff.history.selection import selected_entries
from flagstaff.history.versions import has_history

_MAX_ACTORS = 10
# An actor that is no user may be any text.
_MAX_NAME = 60

# As `history.grouping` has it: what one transaction did to one row under one author.
_EVENT = Func(
    "transaction_id",
    Case(*(When(relation__in=kind.relations, then=Value(kind.value)) for kind in Kind)),
    "object_pk",
    *AUTHOR,
    template="(%(expressions)s)",
    output_field=TextField(),
)
# Without an actor, the database user.
_USER = Case(When(actor__isnull=True, then=F("session_user")))


@dataclass(frozen=True)
class ActorChanges:
    """An actor with the number of changes."""

    name: str
    count: str
    #: The page of recent changes with these; empty if the site has none.
    url: str


@dataclass(frozen=True)
class ChangesOfToday:
    """The actors with the most changes of flags, values and segments."""

    actors: Sequence[ActorChanges]
    #: The number of other actors, as text; empty for none.
    others: str


def changes_of_today(site: AdminSite, request: HttpRequest) -> ChangesOfToday | None:
    """Returns the changes that the user may see; None without a history. Makes four queries."""
    if not (viewable := viewable_kinds(site, request)) or not has_history():
        return None
    hidden, today = unreadable_kinds(), local_time(aware(timezone.now())).date()
    kinds = [kind for kind in viewable if kind not in hidden]
    rows = _count(kinds, today)
    shown, others = rows[:_MAX_ACTORS], len(rows) - _MAX_ACTORS
    actors = {row["actor"] for row in shown if row["actor"]}
    names = actor_table().names(actors) if actors else {}
    return ChangesOfToday(
        [_shown(site, row, names.get(row["actor"], row["actor"]), today) for row in shown],
        local_number(others) if others > 0 else "",
    )


def _count(kinds: Sequence[Kind], day: date) -> Sequence[dict[str, Any]]:
    """Returns the actors and their numbers of changes. Selects as the page of recent changes."""
    filters = filters_of(QueryDict(urlencode(day_query(day))), may_see_users=False)
    entries = selected_entries(filters.selection(kinds))
    counted = entries.values("actor", user=_USER).annotate(count=Count(_EVENT, distinct=True))
    return [dict(row) for row in counted.order_by("-count", "actor", "user")]


def _shown(site: AdminSite, row: dict[str, Any], name: str | None, day: date) -> ActorChanges:
    text = _("%(user)s (database user)") % {"user": row["user"]} if name is None else name
    return ActorChanges(
        name=Truncator(text).chars(_MAX_NAME),
        count=local_number(row["count"]),
        url=actor_url(site, row["user"] if name is None else name, day),
    )
